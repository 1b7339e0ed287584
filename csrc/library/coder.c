#include "coder.h"

#include <string.h>

#include "nac_layout.h"

static uint32_t bits_of(uint32_t codewords)
{
    uint32_t bits = 0;
    for (uint32_t largest = codewords - 1; largest; largest >>= 1) bits++;
    return bits;
}

static size_t count_of(const nac_shape *shape)
{
    return shape->channels * shape->levels * shape->frames;
}

static size_t raw_bytes(const nac_shape *shape)
{
    return (count_of(shape) * bits_of(shape->codewords) + 7) / 8;
}

/* Codes by frame, then channel, then level, each from its most significant bit on. */
static size_t raw_encode(const nac_shape *shape, const uint16_t *codes, uint8_t *payload)
{
    const uint32_t bits = bits_of(shape->codewords);
    const size_t rows = shape->channels * shape->levels;
    uint32_t held = 0, waiting = 0; /* the low `waiting` bits of held are not written yet */
    size_t size = 0;
    for (size_t frame = 0; frame < shape->frames; frame++)
        for (size_t row = 0; row < rows; row++) {
            held = held << bits | codes[row * shape->frames + frame];
            for (waiting += bits; waiting >= 8; waiting -= 8)
                payload[size++] = (uint8_t)(held >> (waiting - 8));
        }
    if (waiting) payload[size++] = (uint8_t)(held << (8 - waiting));
    return size;
}

static codec_status raw_decode(const nac_shape *shape, const uint8_t *payload, size_t size,
                               uint16_t *codes)
{
    const uint32_t bits = bits_of(shape->codewords), mask = (1u << bits) - 1;
    const size_t rows = shape->channels * shape->levels;
    uint32_t held = 0, waiting = 0;
    if (size != raw_bytes(shape)) return CODEC_ERROR_PAYLOAD;
    for (size_t frame = 0; frame < shape->frames; frame++)
        for (size_t row = 0; row < rows; row++) {
            for (; waiting < bits; waiting += 8) held = held << 8 | *payload++;
            waiting -= bits;
            const uint32_t code = held >> waiting & mask;
            if (code >= shape->codewords) return CODEC_ERROR_PAYLOAD;
            codes[row * shape->frames + frame] = (uint16_t)code;
        }
    return held & ((1u << waiting) - 1) ? CODEC_ERROR_PAYLOAD : CODEC_OK;
}

size_t nac_coder_bound(const codec_coder *coder, const nac_shape *shape)
{
    return coder->number == CODEC_CODER_RAW ? raw_bytes(shape) : NAC_RANGE_BYTES(count_of(shape));
}

size_t nac_coder_scratch(const codec_coder *coder, size_t channels)
{
    switch (coder->number) {
    case CODEC_CODER_FAST: return nac_tables_scratch(&coder->tables);
    case CODEC_CODER_BEST: return nac_prior_scratch(&coder->prior, channels);
    default: return 0;
    }
}

static void run(const codec_coder *coder, nac_chunk *chunk, float *scratch)
{
    if (coder->number == CODEC_CODER_FAST)
        nac_tables_code(&coder->tables, chunk, (uint32_t *)(void *)scratch);
    else
        nac_prior_code(&coder->prior, chunk, scratch);
}

static nac_chunk chunk_of(const nac_shape *shape, uint16_t *codes)
{
    return (nac_chunk){.codes = codes,
                       .channels = shape->channels,
                       .levels = shape->levels,
                       .frames = shape->frames};
}

size_t nac_coder_encode(const codec_coder *coder, const nac_shape *shape, uint16_t *codes,
                        uint8_t *payload, float *scratch)
{
    if (coder->number == CODEC_CODER_RAW) return raw_encode(shape, codes, payload);
    nac_range_encoder encoder;
    nac_chunk chunk = chunk_of(shape, codes);
    chunk.encoder = &encoder;
    nac_range_encoder_init(&encoder, payload);
    run(coder, &chunk, scratch);
    return nac_range_encoder_finish(&encoder);
}

codec_status nac_coder_decode(const codec_coder *coder, const nac_shape *shape,
                              const uint8_t *payload, size_t size, uint16_t *codes, float *scratch)
{
    if (coder->number == CODEC_CODER_RAW) return raw_decode(shape, payload, size, codes);
    nac_range_decoder decoder;
    nac_chunk chunk = chunk_of(shape, codes);
    chunk.decoder = &decoder;
    nac_range_decoder_init(&decoder, payload, size);
    run(coder, &chunk, scratch);
    return nac_range_decoder_exact(&decoder) ? CODEC_OK : CODEC_ERROR_PAYLOAD;
}

codec_status nac_coder_check(const codec_coder *coder, const codec_file_info *info)
{
    if (coder->number != info->coder) return CODEC_ERROR_CODER;
    if (memcmp(coder->tables_id, info->tables_id, sizeof info->tables_id) != 0)
        return CODEC_ERROR_CODER;
    if (!coder->known) return CODEC_OK;
    if (memcmp(coder->model_id, info->model_id, 5) != 0) return CODEC_ERROR_MODEL;
    if (info->codebooks > coder->levels || info->codebook_size != coder->codewords ||
        info->together != coder->together || info->frame_rate != coder->frame_rate ||
        info->frame_divisor != coder->frame_divisor)
        return CODEC_ERROR_MODEL;
    return CODEC_OK;
}
