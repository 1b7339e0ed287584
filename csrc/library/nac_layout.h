/* The parts of a .nac file as bytes (docs/format.md); the twin of codec/nac/layout.py.
 *
 * Every field is checked against its limit here, before any code acts on it. A header is the
 * codec_file_info of the public header, so that nothing is copied between the two. */
#ifndef NAC_LAYOUT_H
#define NAC_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "common/crc32c.h"
#include "include/codec.h"

enum {
    NAC_HEADER_BYTES = 64,
    NAC_CHUNK_HEADER_BYTES = 20,
    NAC_INDEX_HEADER_BYTES = 8,
    NAC_TRAILER_BYTES = 96,
    NAC_CRC_BYTES = 4,
    NAC_MARKER_BYTES = 4,
    NAC_CHUNK_SECONDS = 2,
    NAC_MAX_CHUNK_CODES = 1 << 19,
    NAC_MAX_PAYLOAD = 1 << 20,
    NAC_MAX_METADATA = 1 << 16,
    NAC_MAX_POINTS = 1 << 20
};

extern const uint8_t nac_chunk_marker[NAC_MARKER_BYTES];
extern const uint8_t nac_index_marker[NAC_MARKER_BYTES];

static inline void nac_put(uint8_t *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) to[i] = (uint8_t)(value >> 8 * i);
}

static inline uint64_t nac_get(const uint8_t *from, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)from[i] << 8 * i;
    return value;
}

/* ceil(n_samples * frame rate / sample rate); 2^32 where there are more frames than a file holds.
 * The fields of the rates have been checked. */
uint64_t nac_frames_of(const codec_file_info *info, uint64_t n_samples);

/* The greatest common divisor. */
uint32_t nac_gcd(uint32_t a, uint32_t b);

/* CODEC_OK if every field is within its limits. */
codec_status nac_header_check(const codec_file_info *info);

void nac_header_pack(const codec_file_info *info, const nac_crc32c_tables *crc,
                     uint8_t bytes[NAC_HEADER_BYTES]);

/* Of `size` bytes, fewer than NAC_HEADER_BYTES only where the file ends. */
codec_status nac_header_unpack(const uint8_t *bytes, size_t size, const nac_crc32c_tables *crc,
                               codec_file_info *info);

/* Whether two headers differ in nothing but the number of samples. */
int nac_header_same(const codec_file_info *one, const codec_file_info *other);

uint64_t nac_body(const codec_file_info *info);         /* offset of the first chunk */
uint32_t nac_index_stride(const codec_file_info *info); /* chunks from one offset to the next */

typedef struct {
    uint32_t first_frame, payload_bytes, frames, codebooks, crc;
} nac_chunk_header;

/* bytes [NAC_CHUNK_HEADER_BYTES], then the payload; chunk->crc is filled in. */
void nac_chunk_pack(nac_chunk_header *chunk, const nac_crc32c_tables *crc, uint8_t *bytes);
/* Without the marker, which the caller has compared. CODEC_OK if a file with `info` can hold it. */
codec_status nac_chunk_unpack(const uint8_t *bytes, const codec_file_info *info,
                              nac_chunk_header *chunk);
int nac_chunk_intact(const uint8_t *bytes, const uint8_t *payload, size_t payload_bytes,
                     const nac_crc32c_tables *crc);

/* The index of a file while its chunks are written, or read, one after another. */
typedef struct {
    uint64_t *offsets;
    size_t n_offsets, capacity;
    uint32_t stride, n_chunks, digest;
} nac_index;

codec_status nac_index_add(nac_index *index, const nac_crc32c_tables *crc, uint64_t offset,
                           uint32_t chunk_crc);
static inline size_t nac_index_bytes(size_t n_offsets)
{
    return NAC_INDEX_HEADER_BYTES + 8 * n_offsets + NAC_CRC_BYTES;
}
/* bytes [nac_index_bytes(index->n_offsets)]. */
void nac_index_pack(const nac_index *index, const nac_crc32c_tables *crc, uint8_t *bytes);

typedef struct {
    codec_file_info header; /* with the number of samples */
    uint64_t index_offset;
    uint32_t n_chunks, digest;
} nac_trailer;

void nac_trailer_pack(const nac_trailer *trailer, const nac_crc32c_tables *crc,
                      uint8_t bytes[NAC_TRAILER_BYTES]);
codec_status nac_trailer_unpack(const uint8_t bytes[NAC_TRAILER_BYTES],
                                const nac_crc32c_tables *crc, nac_trailer *trailer);

#endif
