/* Numbers of 32 integer and 256 fractional bits, for logarithms and exponentials that round correctly.
 *
 * Not negative. Products and quotients are rounded down, so each is off by less than 2^-256. */
#ifndef NAC_WIDE_H
#define NAC_WIDE_H

#include <stdint.h>

enum { NAC_WIDE_LIMBS = 9 };

/* Value: the sum of limb[i] 2^(32 (i - 8)). */
typedef struct {
    uint32_t limb[NAC_WIDE_LIMBS];
} nac_wide;

nac_wide nac_wide_of(uint32_t value);
nac_wide nac_wide_add(nac_wide a, nac_wide b);
nac_wide nac_wide_subtract(nac_wide a, nac_wide b); /* a >= b */
nac_wide nac_wide_times(nac_wide a, uint32_t b);
nac_wide nac_wide_over(nac_wide a, uint32_t b);
nac_wide nac_wide_product(nac_wide a, nac_wide b);

/* ln(a / b) for a >= b >= 1, both below 2^22, off by less than 2^-240. */
nac_wide nac_wide_log(uint32_t a, uint32_t b);

/* e^x for x < 8, off by less than 2^-230. */
nac_wide nac_wide_exp(nac_wide x);

/* The nearest double, to even on a tie. */
double nac_wide_double(nac_wide a);

#endif
