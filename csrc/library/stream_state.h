/* Saved states of streams, the bytes that codec/engine/stream.py writes and reads:
 *
 *     4 bytes kind | 8 model id | 2 codebooks | 4 CRC-32 of the rest | state, integers of 64 bits
 *
 * all little-endian. */
#ifndef NAC_STREAM_STATE_H
#define NAC_STREAM_STATE_H

#include <stddef.h>
#include <stdint.h>

enum { NAC_STATE_HEADER = 18 };

typedef struct {
    const char *kind; /* four letters */
    const uint8_t *id;
    size_t codebooks; /* 0 for a decoder */
} nac_state_of;

/* `size` is that of the state, a multiple of 8; `bytes` has NAC_STATE_HEADER more. */
void nac_state_save(nac_state_of stream, const void *state, size_t size, void *bytes);

/* Returns 0 unless the bytes are an intact state of such a stream. */
int nac_state_load(nac_state_of stream, const void *bytes, size_t size, void *state);

#endif
