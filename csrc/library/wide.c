#include "wide.h"

enum { TOP = NAC_WIDE_LIMBS - 1 }; /* the limb of integers */

nac_wide nac_wide_of(uint32_t value)
{
    nac_wide a = {{0}};
    a.limb[TOP] = value;
    return a;
}

nac_wide nac_wide_add(nac_wide a, nac_wide b)
{
    uint64_t carry = 0;
    for (int i = 0; i < NAC_WIDE_LIMBS; i++) {
        carry += (uint64_t)a.limb[i] + b.limb[i];
        a.limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return a;
}

nac_wide nac_wide_subtract(nac_wide a, nac_wide b)
{
    uint64_t borrow = 0;
    for (int i = 0; i < NAC_WIDE_LIMBS; i++) {
        const uint64_t difference = (uint64_t)a.limb[i] - b.limb[i] - borrow;
        a.limb[i] = (uint32_t)difference;
        borrow = difference >> 63;
    }
    return a;
}

nac_wide nac_wide_times(nac_wide a, uint32_t b)
{
    uint64_t carry = 0;
    for (int i = 0; i < NAC_WIDE_LIMBS; i++) {
        carry += (uint64_t)a.limb[i] * b;
        a.limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return a;
}

nac_wide nac_wide_over(nac_wide a, uint32_t b)
{
    uint64_t rest = 0;
    for (int i = TOP; i >= 0; i--) {
        rest = rest << 32 | a.limb[i];
        a.limb[i] = (uint32_t)(rest / b);
        rest %= b;
    }
    return a;
}

nac_wide nac_wide_product(nac_wide a, nac_wide b)
{
    uint32_t whole[2 * NAC_WIDE_LIMBS] = {0};
    for (int i = 0; i < NAC_WIDE_LIMBS; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < NAC_WIDE_LIMBS; j++) {
            carry += (uint64_t)a.limb[i] * b.limb[j] + whole[i + j];
            whole[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        whole[i + NAC_WIDE_LIMBS] = (uint32_t)carry;
    }
    nac_wide out;
    for (int i = 0; i < NAC_WIDE_LIMBS; i++) out.limb[i] = whole[i + TOP];
    return out;
}

static int is_zero(nac_wide a)
{
    uint32_t any = 0;
    for (int i = 0; i < NAC_WIDE_LIMBS; i++) any |= a.limb[i];
    return any == 0;
}

/* 2 atanh(a / b) = 2 sum over odd k of (a / b)^k / k, for a / b <= 1/3. A power is the one before
 * times a a / (b b), a factor below 1/9; rounded down in four steps, it is off by less than
 * 4 * 2^-256 * 9 / 8, a term by less than 6 * 2^-256. Below 2^-256 terms are zero, so there are fewer
 * than 82, and what they leave out is less than the last: in all below 2 * 83 * 6 * 2^-256 < 2^-246. */
static nac_wide atanh_twice(uint32_t a, uint32_t b)
{
    nac_wide power = nac_wide_over(nac_wide_of(a), b), sum = power;
    for (uint32_t k = 3; !is_zero(power); k += 2) {
        power = nac_wide_over(nac_wide_times(power, a), b);
        power = nac_wide_over(nac_wide_times(power, a), b);
        sum = nac_wide_add(sum, nac_wide_over(power, k));
    }
    return nac_wide_times(sum, 2);
}

/* ln(a / b) = n ln 2 + ln m, m = a / (b 2^n) in [1, 2), ln m = 2 atanh((m - 1) / (m + 1)). The
 * factors of nac_wide_times are below 2^23 and powers below 1/3, so that no limb overflows. */
nac_wide nac_wide_log(uint32_t a, uint32_t b)
{
    uint32_t n = 0;
    for (; a >= 2 * b; b *= 2) n++;
    return nac_wide_add(nac_wide_times(atanh_twice(1, 3), n), atanh_twice(a - b, a + b));
}

/* The series, whose terms are below 8^k / k!, at most 417, and fewer than 140 before they vanish.
 * Off by one unit of 2^-256 more, a term passes its error on times x / k: by 2^-256 times less than
 * the sum over j of 8^j / j!, e^8 < 2^12, for each; the sum is off by less than 140 * 2^12 * 2^-256,
 * and an error of 2^-240 in x adds e^8 2^-240 < 2^-228. */
nac_wide nac_wide_exp(nac_wide x)
{
    nac_wide term = nac_wide_of(1), sum = term;
    for (uint32_t k = 1; !is_zero(term); k++) {
        term = nac_wide_over(nac_wide_product(term, x), k);
        sum = nac_wide_add(sum, term);
    }
    return sum;
}

static int bit(const nac_wide *a, int i) { return (int)(a->limb[i / 32] >> (i % 32) & 1); }

double nac_wide_double(nac_wide a)
{
    int top = 32 * NAC_WIDE_LIMBS - 1;
    while (top >= 0 && !bit(&a, top)) top--;
    if (top < 0) return 0;
    uint64_t digits = 0;
    int i = top;
    for (; i >= 0 && i > top - 53; i--) digits = digits << 1 | (uint64_t)bit(&a, i);
    int shift = i + 1; /* of the lowest digit */
    if (i >= 0 && bit(&a, i)) {
        int more = 0; /* whether anything lies below half a unit */
        for (int j = i - 1; j >= 0 && !more; j--) more = bit(&a, j);
        if (more || (digits & 1)) digits++;
    }
    double value = (double)digits; /* exact: at most 2^53 */
    for (; shift < 32 * TOP; shift++) value *= 0.5;
    return value;
}
