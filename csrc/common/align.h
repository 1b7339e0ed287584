/* Sizes of arrays that vectors read whole. */
#ifndef NAC_ALIGN_H
#define NAC_ALIGN_H

#include <stddef.h>

/* Alignment of packed weights and of scratch memory, bytes: a cache line, and the widest vector. */
enum { NAC_ALIGN = 64 };

static inline size_t nac_larger(size_t a, size_t b) { return a > b ? a : b; }

/* n rounded up to a multiple of `unit`. */
static inline size_t nac_round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

/* Floats to reserve for n of them, so that the next array is aligned too. */
static inline size_t nac_aligned_floats(size_t n)
{
    return nac_round_up(n, NAC_ALIGN / sizeof(float));
}

/* The next `floats` of scratch memory, of which *used are taken; without scratch it only counts. */
static inline float *nac_take_floats(float *scratch, size_t *used, size_t floats)
{
    float *at = scratch ? scratch + *used : NULL;
    *used += nac_aligned_floats(floats);
    return at;
}

#endif
