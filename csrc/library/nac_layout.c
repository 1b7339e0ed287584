#include "nac_layout.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t magic[8] = {0x89, 'N', 'A', 'C', '\r', '\n', 0x1a, '\n'};
static const uint8_t end_magic[8] = {0x89, 'N', 'A', 'C', 'e', 'n', 'd', '\n'};
const uint8_t nac_chunk_marker[NAC_MARKER_BYTES] = {0x9e, 'C', 'K', 0xf6};
const uint8_t nac_index_marker[NAC_MARKER_BYTES] = {0x9e, 'I', 'X', 0xf6};
static const uint8_t trailer_marker[NAC_MARKER_BYTES] = {0x9e, 'E', 'N', 0xf6};

enum { VERSION = 2, VARIABLE = 1, PAIRS = 2 }; /* the last two: bits of the flags */

#define MAX_FRAMES 0xffffffffu
#define TOO_MANY ((uint64_t)1 << 32)

static void seal(uint8_t *bytes, size_t n, const nac_crc32c_tables *crc)
{
    nac_put(bytes + n, nac_crc32c_update(crc, 0, bytes, n), NAC_CRC_BYTES);
}

static int sealed(const uint8_t *bytes, size_t n, const nac_crc32c_tables *crc)
{
    return nac_get(bytes + n, NAC_CRC_BYTES) == nac_crc32c_update(crc, 0, bytes, n);
}

/* n p / d with d = R q < 2^36 and p < 2^32. With n = a d + b, b < d, and p = p1 2^16 + p0, it is
 *
 *     a p + (b p1 / d) 2^16 + ((b p1 mod d) 2^16 + b p0) / d
 *
 * where a < 2^32, or there are too many frames, and every product is below 2^64. */
uint64_t nac_frames_of(const codec_file_info *info, uint64_t n_samples)
{
    const uint64_t d = (uint64_t)info->sample_rate * info->frame_divisor;
    const uint64_t p = info->frame_rate, a = n_samples / d, b = n_samples % d;
    if (a > MAX_FRAMES || a * p > MAX_FRAMES) return TOO_MANY;
    const uint64_t high = b * (p >> 16), rest = (high % d << 16) + b * (p & 0xffff);
    const uint64_t frames = a * p + (high / d << 16) + rest / d + (rest % d != 0);
    return frames > MAX_FRAMES ? TOO_MANY : frames;
}

uint32_t nac_gcd(uint32_t a, uint32_t b)
{
    while (b) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static int within(uint32_t value, uint32_t low, uint32_t high)
{
    return low <= value && value <= high;
}

codec_status nac_header_check(const codec_file_info *info)
{
    static const uint8_t zeros[sizeof info->tables_id] = {0};
    const uint64_t p = info->frame_rate, q = info->frame_divisor;
    if (!within(info->channels, 1, 255) || !within(info->codebooks, 1, 255) ||
        !within(info->codebook_size, 2, 1 << 16) || !within(info->sample_rate, 1000, 768000) ||
        !within(info->chunk_frames, 1, 0xffff) || info->metadata_bytes > NAC_MAX_METADATA ||
        info->variable > 1 || info->coder > 255 || !within(info->together, 1, 2))
        return CODEC_ERROR_FORMAT;
    /* No more frames than samples: then some number of samples makes any number of frames. */
    if (p < 1 || !within(info->frame_divisor, 1, 1 << 16) || p > info->sample_rate * q ||
        nac_gcd(info->frame_rate, info->frame_divisor) != 1)
        return CODEC_ERROR_FORMAT;
    if ((uint64_t)codec_file_streams(info) * info->codebooks * info->chunk_frames >
        NAC_MAX_CHUNK_CODES)
        return CODEC_ERROR_FORMAT;
    if (info->coder == CODEC_CODER_RAW && memcmp(info->tables_id, zeros, sizeof zeros) != 0)
        return CODEC_ERROR_FORMAT;
    if (info->n_samples == CODEC_UNKNOWN_LENGTH) return CODEC_OK;
    if (info->n_samples == 0 || nac_frames_of(info, info->n_samples) > MAX_FRAMES)
        return CODEC_ERROR_FORMAT;
    return CODEC_OK;
}

void nac_header_pack(const codec_file_info *info, const nac_crc32c_tables *crc,
                     uint8_t bytes[NAC_HEADER_BYTES])
{
    memcpy(bytes, magic, 8);
    nac_put(bytes + 8, VERSION, 2);
    bytes[10] = (uint8_t)((info->variable ? VARIABLE : 0) | (info->together == 2 ? PAIRS : 0));
    bytes[11] = (uint8_t)info->coder;
    memcpy(bytes + 12, info->model_id, 8);
    memcpy(bytes + 20, info->tables_id, 8);
    nac_put(bytes + 28, info->sample_rate, 4);
    nac_put(bytes + 32, info->n_samples, 8);
    nac_put(bytes + 40, info->frame_rate, 4);
    nac_put(bytes + 44, info->frame_divisor, 4);
    nac_put(bytes + 48, info->codebook_size, 4);
    nac_put(bytes + 52, info->chunk_frames, 2);
    bytes[54] = (uint8_t)info->channels;
    bytes[55] = (uint8_t)info->codebooks;
    nac_put(bytes + 56, info->metadata_bytes, 4);
    seal(bytes, NAC_HEADER_BYTES - NAC_CRC_BYTES, crc);
}

codec_status nac_header_unpack(const uint8_t *bytes, size_t size, const nac_crc32c_tables *crc,
                               codec_file_info *info)
{
    if (memcmp(bytes, magic, size < 8 ? size : 8) != 0) return CODEC_ERROR_NOT_NAC;
    if (size >= 10 && nac_get(bytes + 8, 2) != VERSION) return CODEC_ERROR_VERSION;
    if (size < NAC_HEADER_BYTES) return CODEC_ERROR_TRUNCATED;
    if (!sealed(bytes, NAC_HEADER_BYTES - NAC_CRC_BYTES, crc)) return CODEC_ERROR_CHECKSUM;
    if (bytes[10] > (VARIABLE | PAIRS)) return CODEC_ERROR_FORMAT;
    *info = (codec_file_info){
        .variable = bytes[10] & VARIABLE,
        .together = bytes[10] & PAIRS ? 2 : 1,
        .coder = bytes[11],
        .sample_rate = (uint32_t)nac_get(bytes + 28, 4),
        .n_samples = nac_get(bytes + 32, 8),
        .frame_rate = (uint32_t)nac_get(bytes + 40, 4),
        .frame_divisor = (uint32_t)nac_get(bytes + 44, 4),
        .codebook_size = (uint32_t)nac_get(bytes + 48, 4),
        .chunk_frames = (uint32_t)nac_get(bytes + 52, 2),
        .channels = bytes[54],
        .codebooks = bytes[55],
        .metadata_bytes = (uint32_t)nac_get(bytes + 56, 4),
    };
    memcpy(info->model_id, bytes + 12, 8);
    memcpy(info->tables_id, bytes + 20, 8);
    return nac_header_check(info);
}

int nac_header_same(const codec_file_info *one, const codec_file_info *other)
{
    return memcmp(one->model_id, other->model_id, sizeof one->model_id) == 0 &&
           memcmp(one->tables_id, other->tables_id, sizeof one->tables_id) == 0 &&
           one->sample_rate == other->sample_rate && one->frame_rate == other->frame_rate &&
           one->frame_divisor == other->frame_divisor &&
           one->codebook_size == other->codebook_size && one->codebooks == other->codebooks &&
           one->channels == other->channels && one->chunk_frames == other->chunk_frames &&
           one->coder == other->coder && one->variable == other->variable &&
           one->together == other->together && one->metadata_bytes == other->metadata_bytes;
}

uint32_t codec_file_streams(const codec_file_info *info)
{
    return info && info->together ? (info->channels + info->together - 1) / info->together : 0;
}

uint64_t nac_body(const codec_file_info *info)
{
    const uint64_t tags = info->metadata_bytes ? info->metadata_bytes + NAC_CRC_BYTES : 0;
    return NAC_HEADER_BYTES + tags;
}

uint32_t nac_index_stride(const codec_file_info *info)
{
    const uint64_t p = (uint64_t)NAC_CHUNK_SECONDS * info->frame_rate;
    const uint64_t d = (uint64_t)info->frame_divisor * info->chunk_frames;
    const uint64_t stride = p / d + (p % d != 0);
    return stride > MAX_FRAMES ? MAX_FRAMES : (uint32_t)stride; /* no file has as many chunks */
}

void nac_chunk_pack(nac_chunk_header *chunk, const nac_crc32c_tables *crc, uint8_t *bytes)
{
    memcpy(bytes, nac_chunk_marker, NAC_MARKER_BYTES);
    nac_put(bytes + 4, chunk->first_frame, 4);
    nac_put(bytes + 8, chunk->payload_bytes, 4);
    nac_put(bytes + 12, chunk->frames, 2);
    bytes[14] = (uint8_t)chunk->codebooks;
    bytes[15] = 0;
    const uint32_t head = nac_crc32c_update(crc, 0, bytes, 16);
    chunk->crc = nac_crc32c_update(crc, head, bytes + NAC_CHUNK_HEADER_BYTES, chunk->payload_bytes);
    nac_put(bytes + 16, chunk->crc, NAC_CRC_BYTES);
}

codec_status nac_chunk_unpack(const uint8_t *bytes, const codec_file_info *info,
                              nac_chunk_header *chunk)
{
    *chunk = (nac_chunk_header){
        .first_frame = (uint32_t)nac_get(bytes + 4, 4),
        .payload_bytes = (uint32_t)nac_get(bytes + 8, 4),
        .frames = (uint32_t)nac_get(bytes + 12, 2),
        .codebooks = bytes[14],
        .crc = (uint32_t)nac_get(bytes + 16, 4),
    };
    const uint32_t most = info->codebooks, step = info->chunk_frames;
    /* A range coder removes zeros at the end, and may be left with nothing. */
    const uint32_t shortest = info->coder == CODEC_CODER_RAW;
    const int possible = within(chunk->frames, 1, step) && chunk->first_frame % step == 0 &&
                         chunk->first_frame <= MAX_FRAMES - chunk->frames &&
                         within(chunk->codebooks, info->variable ? 1 : most, most) &&
                         within(chunk->payload_bytes, shortest, NAC_MAX_PAYLOAD) && bytes[15] == 0;
    return possible ? CODEC_OK : CODEC_ERROR_FORMAT;
}

int nac_chunk_intact(const uint8_t *bytes, const uint8_t *payload, size_t payload_bytes,
                     const nac_crc32c_tables *crc)
{
    const uint32_t head = nac_crc32c_update(crc, 0, bytes, 16);
    return nac_get(bytes + 16, 4) == nac_crc32c_update(crc, head, payload, payload_bytes);
}

codec_status nac_index_add(nac_index *index, const nac_crc32c_tables *crc, uint64_t offset,
                           uint32_t chunk_crc)
{
    if (index->n_chunks % index->stride == 0) {
        if (index->n_offsets == NAC_MAX_POINTS) return CODEC_ERROR_LENGTH;
        if (index->n_offsets == index->capacity) {
            const size_t capacity = index->capacity ? 2 * index->capacity : 64;
            uint64_t *offsets = realloc(index->offsets, capacity * sizeof *offsets);
            if (!offsets) return CODEC_ERROR_MEMORY;
            index->offsets = offsets;
            index->capacity = capacity;
        }
        index->offsets[index->n_offsets++] = offset;
    }
    index->n_chunks++;
    uint8_t bytes[NAC_CRC_BYTES];
    nac_put(bytes, chunk_crc, NAC_CRC_BYTES);
    index->digest = nac_crc32c_update(crc, index->digest, bytes, NAC_CRC_BYTES);
    return CODEC_OK;
}

void nac_index_pack(const nac_index *index, const nac_crc32c_tables *crc, uint8_t *bytes)
{
    memcpy(bytes, nac_index_marker, NAC_MARKER_BYTES);
    nac_put(bytes + 4, index->n_offsets, 4);
    for (size_t i = 0; i < index->n_offsets; i++)
        nac_put(bytes + NAC_INDEX_HEADER_BYTES + 8 * i, index->offsets[i], 8);
    seal(bytes, nac_index_bytes(index->n_offsets) - NAC_CRC_BYTES, crc);
}

void nac_trailer_pack(const nac_trailer *trailer, const nac_crc32c_tables *crc,
                      uint8_t bytes[NAC_TRAILER_BYTES])
{
    memcpy(bytes, trailer_marker, NAC_MARKER_BYTES);
    nac_header_pack(&trailer->header, crc, bytes + 4);
    nac_put(bytes + 68, trailer->index_offset, 8);
    nac_put(bytes + 76, trailer->n_chunks, 4);
    nac_put(bytes + 80, trailer->digest, 4);
    seal(bytes, 84, crc);
    memcpy(bytes + 88, end_magic, sizeof end_magic);
}

codec_status nac_trailer_unpack(const uint8_t bytes[NAC_TRAILER_BYTES],
                                const nac_crc32c_tables *crc, nac_trailer *trailer)
{
    if (memcmp(bytes, trailer_marker, NAC_MARKER_BYTES) != 0) return CODEC_ERROR_FORMAT;
    if (memcmp(bytes + 88, end_magic, sizeof end_magic) != 0) return CODEC_ERROR_FORMAT;
    if (!sealed(bytes, 84, crc)) return CODEC_ERROR_CHECKSUM;
    const codec_status status =
        nac_header_unpack(bytes + 4, NAC_HEADER_BYTES, crc, &trailer->header);
    if (status != CODEC_OK) return status;
    if (trailer->header.n_samples == CODEC_UNKNOWN_LENGTH) return CODEC_ERROR_FORMAT;
    trailer->index_offset = nac_get(bytes + 68, 8);
    trailer->n_chunks = (uint32_t)nac_get(bytes + 76, 4);
    trailer->digest = (uint32_t)nac_get(bytes + 80, 4);
    return CODEC_OK;
}
