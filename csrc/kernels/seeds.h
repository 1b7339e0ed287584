/* Seeds of the decoder's drawn signs: a hash of a token frame's codes (FNV-1a, modulo 2^32). They do
 * not depend on where in a stream the frame stands. */
#ifndef NAC_SEEDS_H
#define NAC_SEEDS_H

#include <stdint.h>

#include "common/isa.h"

#define SEED_START 0x811c9dc5u
#define SEED_SIDE 0x10000u /* what is hashed for the side of a stereo model: no code is as large */

/* The seed of the codes that `seed` is of, followed by `code`. */
ALWAYS_INLINE uint32_t seed_with(uint32_t seed, uint32_t code)
{
    return (seed ^ code) * 0x01000193u;
}

#endif
