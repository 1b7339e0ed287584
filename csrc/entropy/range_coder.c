#include "range_coder.h"

void nac_range_encoder_init(nac_range_encoder *coder, uint8_t *bytes)
{
    coder->bytes = bytes;
    coder->size = 0;
    coder->low = 0;
    coder->range = 0xffffffffu;
}

/* low wrapped around 2^32: the bytes before are one more. One of them is below 255, because the
 * number they begin stays below 1. */
static void carry(nac_range_encoder *coder)
{
    uint8_t *byte = coder->bytes + coder->size;
    while (++*--byte == 0) {}
}

void nac_range_encode(nac_range_encoder *coder, uint32_t start, uint32_t freq)
{
    const uint32_t unit = coder->range >> NAC_RANGE_BITS, below = unit * start;
    coder->low += below;
    if (coder->low < below) carry(coder);
    coder->range = start + freq < NAC_RANGE_TOTAL ? unit * freq : coder->range - below;
    while (coder->range < NAC_RANGE_SMALLEST) {
        coder->bytes[coder->size++] = (uint8_t)(coder->low >> 24);
        coder->low <<= 8;
        coder->range <<= 8;
    }
}

/* The multiple of 2^24 at or above low, modulo 2^32: below low + range, as range >= 2^24. */
static uint32_t last_number(uint32_t low) { return (low + 0xffffffu) & 0xff000000u; }

size_t nac_range_encoder_finish(nac_range_encoder *coder)
{
    const uint32_t value = last_number(coder->low);
    if (value < coder->low) carry(coder);
    coder->bytes[coder->size++] = (uint8_t)(value >> 24);
    while (coder->size > 0 && coder->bytes[coder->size - 1] == 0) coder->size--;
    return coder->size;
}

static uint32_t next_byte(nac_range_decoder *coder)
{
    const size_t at = coder->at++;
    return at < coder->size ? coder->bytes[at] : 0;
}

void nac_range_decoder_init(nac_range_decoder *coder, const uint8_t *bytes, size_t size)
{
    coder->bytes = bytes;
    coder->size = size;
    coder->at = 0;
    coder->low = 0;
    coder->range = 0xffffffffu;
    coder->offset = 0;
    for (int i = 0; i < 4; i++) coder->offset = coder->offset << 8 | next_byte(coder);
}

/* At most 2^16 - 1: what the division leaves over belongs to the last symbol, and the one offset
 * of a damaged payload that is not below the range (2^32 - 1 at the start) counts as there too. */
uint32_t nac_range_decode_target(const nac_range_decoder *coder)
{
    const uint32_t place = coder->offset / (coder->range >> NAC_RANGE_BITS);
    return place < NAC_RANGE_TOTAL ? place : NAC_RANGE_TOTAL - 1;
}

void nac_range_decode(nac_range_decoder *coder, uint32_t start, uint32_t freq)
{
    const uint32_t unit = coder->range >> NAC_RANGE_BITS, below = unit * start;
    coder->low += below;
    coder->offset -= below;
    coder->range = start + freq < NAC_RANGE_TOTAL ? unit * freq : coder->range - below;
    while (coder->range < NAC_RANGE_SMALLEST) {
        coder->low <<= 8;
        coder->range <<= 8;
        coder->offset = coder->offset << 8 | next_byte(coder);
    }
}

/* The encoder has written at - 4 bytes before its last; carries are in the payload. The payload's
 * number is what the encoder wrote before plus the 4 bytes low + offset, so it has the encoder's
 * bytes if those 4 are the encoder's last number, whose bytes beyond the first are zero; nothing
 * may be left behind them. */
int nac_range_decoder_exact(const nac_range_decoder *coder)
{
    return coder->offset < coder->range && coder->low + coder->offset == last_number(coder->low) &&
           coder->size <= coder->at && (coder->size == 0 || coder->bytes[coder->size - 1] != 0);
}

void nac_range_encode_symbol(nac_range_encoder *coder, const uint32_t *cumulative, uint32_t n,
                             uint32_t k)
{
    const uint32_t start = nac_range_start(cumulative, n, k);
    nac_range_encode(coder, start, nac_range_start(cumulative, n, k + 1) - start);
}

uint32_t nac_range_decode_symbol(nac_range_decoder *coder, const uint32_t *cumulative, uint32_t n)
{
    const uint32_t target = nac_range_decode_target(coder);
    uint32_t first = 0,
             last = n; /* the start of `first` is at or below the target, of `last` above */
    while (last - first > 1) {
        const uint32_t middle = (first + last) / 2;
        if (nac_range_start(cumulative, n, middle) <= target)
            first = middle;
        else
            last = middle;
    }
    const uint32_t start = nac_range_start(cumulative, n, first);
    nac_range_decode(coder, start, nac_range_start(cumulative, n, first + 1) - start);
    return first;
}
