/* A range coder over bytes, in 32-bit integers.
 *
 * Symbols are intervals [start, start + freq) of [0, 2^16), freq >= 1. The state is an interval
 * [low, low + range) of the numbers that may follow the bytes written so far; a symbol narrows it
 * to its share, and what all numbers in it have in common is written (Martin, Range encoding,
 * 1979; Schindler 1998).
 *
 * Bounds that it rests on:
 *   - 2^24 <= range < 2^32 between symbols, so unit = range >> 16 is in [2^8, 2^16);
 *   - unit * start and unit * freq are < 2^16 * 2^16: no product leaves 32 bits;
 *   - the last interval, which ends at 2^16, takes what the division drops, so that the intervals
 *     fill the range: every payload, valid or not, decodes to some symbols;
 *   - the number that the bytes stand for is < 1 (as 0.b0 b1 b2 ... in base 256), since it only
 *     ever moves inside the first interval [0, 1 - 2^-32): a carry never leaves the first byte.
 *
 * Cost above the code length of the model: unit is range / 2^16 rounded down, by less than 2^-8 of
 * itself, some 2^-11 bits a symbol; and the end, a multiple of 2^24 in the interval, which is the
 * byte that is needed to tell the interval and all that is needed.
 *
 * Past its end a payload goes on with zeros; so its last byte, if it has one, is not zero. */
#ifndef NAC_RANGE_CODER_H
#define NAC_RANGE_CODER_H

#include <stddef.h>
#include <stdint.h>

enum { NAC_RANGE_BITS = 16 };
#define NAC_RANGE_TOTAL (1u << NAC_RANGE_BITS)
#define NAC_RANGE_SMALLEST (1u << 24)

/* Bytes that `symbols` symbols can take. A symbol divides the range by at most
 * 2^16 / (1 - 2^-8) < 2^17, eight of them by less than 2^(8 * 16 + 1): 17 bytes. And the end. */
#define NAC_RANGE_BYTES(symbols) (2 * (size_t)(symbols) + (size_t)(symbols) / 8 + 8)

typedef struct {
    uint8_t *bytes; /* NAC_RANGE_BYTES of all symbols that will be coded */
    size_t size;
    uint32_t low, range;
} nac_range_encoder;

typedef struct {
    const uint8_t *bytes;
    size_t size, at; /* `at` counts the zeros behind the end too */
    uint32_t low, range;
    uint32_t offset; /* of the number in the payload from low; < range */
} nac_range_decoder;

void nac_range_encoder_init(nac_range_encoder *coder, uint8_t *bytes);
void nac_range_encode(nac_range_encoder *coder, uint32_t start, uint32_t freq);
/* The end; returns the number of bytes in all. */
size_t nac_range_encoder_finish(nac_range_encoder *coder);

void nac_range_decoder_init(nac_range_decoder *coder, const uint8_t *bytes, size_t size);
/* The place in [0, 2^16) of the next symbol, whose interval `nac_range_decode` then takes. */
uint32_t nac_range_decode_target(const nac_range_decoder *coder);
void nac_range_decode(nac_range_decoder *coder, uint32_t start, uint32_t freq);
/* Whether the payload is, byte for byte, what the encoder makes of the symbols decoded. */
int nac_range_decoder_exact(const nac_range_decoder *coder);

/* Symbol frequencies from weights. cumulative [n + 1] are sums of the weights of the symbols
 * before, from 0; n <= 4096, and the sum of all is in [1, 2^32). Symbol k starts at
 *
 *     k + floor(cumulative[k] (2^16 - n) / cumulative[n])
 *
 * so each has a frequency of at least 1. The product is the one number of 64 bits (< 2^48). */
static inline uint32_t nac_range_start(const uint32_t *cumulative, uint32_t n, uint32_t k)
{
    return k + (uint32_t)((uint64_t)cumulative[k] * (NAC_RANGE_TOTAL - n) / cumulative[n]);
}

/* Encodes symbol k of n; decodes a symbol. */
void nac_range_encode_symbol(nac_range_encoder *coder, const uint32_t *cumulative, uint32_t n,
                             uint32_t k);
uint32_t nac_range_decode_symbol(nac_range_decoder *coder, const uint32_t *cumulative, uint32_t n);

#endif
