/* Reads .nac files front to back in constant memory, or any part by the index; the twin of
 * codec/nac/reader.py and seek.py.
 *
 * The file decides only the size of a chunk, of the metadata and of the index that are allocated;
 * each has a limit. Every byte is under some CRC; chunks that are missing, repeated, swapped or
 * from another file do not fit their place or the trailer's digest. */
#include <stdlib.h>
#include <string.h>

#include "coder.h"
#include "nac_layout.h"
#include "nac_tags.h"

struct codec_reader {
    codec_read_at *read_at; /* one of the two */
    codec_read *read;
    void *user;
    uint64_t at, size; /* size: with read_at */

    codec_file_info info;
    nac_crc32c_tables crc;
    char *metadata;
    size_t n_tags;
    const codec_coder *coder;
    nac_memory memory; /* of scratch and payload */
    float *scratch;
    uint8_t *payload;
    size_t capacity; /* of the payload */

    nac_index index;     /* of the chunks read so far, from front to back */
    uint64_t frame;      /* the first of the next chunk */
    int full;            /* whether the chunk before had all its frames */
    nac_trailer trailer; /* once `points` are known */
    uint64_t *points;    /* the index of the file, for seeking */
    int sought;          /* whether chunks are read by the index from now on */
    int ended;           /* whether the last chunk has been read, and what follows it */
    codec_status failed; /* what every further call gives */
};

/* Reads n bytes, or as many as are left. */
static codec_status take(codec_reader *r, void *bytes, size_t n, size_t *taken)
{
    uint8_t *to = bytes;
    *taken = 0;
    while (*taken < n) {
        size_t wanted = n - *taken;
        if (r->read_at) {
            const uint64_t left = r->at < r->size ? r->size - r->at : 0;
            if (wanted > left) wanted = (size_t)left;
            if (!wanted) break;
        }
        const int64_t got = r->read_at ? r->read_at(r->user, r->at, to + *taken, wanted)
                                       : r->read(r->user, to + *taken, wanted);
        if (got < 0 || (uint64_t)got > wanted) return CODEC_ERROR_IO;
        if (got == 0) break;
        r->at += (uint64_t)got;
        *taken += (size_t)got;
    }
    return CODEC_OK;
}

static codec_status exactly(codec_reader *r, void *bytes, size_t n)
{
    size_t taken = 0;
    const codec_status status = take(r, bytes, n, &taken);
    return status != CODEC_OK ? status : taken < n ? CODEC_ERROR_TRUNCATED : CODEC_OK;
}

static int64_t read_memory(void *user, uint64_t offset, void *bytes, size_t n)
{
    memcpy(bytes, (const uint8_t *)user + offset, n);
    return (int64_t)n;
}

static codec_status read_header(codec_reader *r)
{
    uint8_t bytes[NAC_HEADER_BYTES];
    size_t taken = 0;
    codec_status status = take(r, bytes, sizeof bytes, &taken);
    if (status == CODEC_OK) status = nac_header_unpack(bytes, taken, &r->crc, &r->info);
    return status;
}

static codec_status read_metadata(codec_reader *r)
{
    const size_t n = r->info.metadata_bytes;
    uint8_t crc[NAC_CRC_BYTES];
    if (!n) return CODEC_OK;
    r->metadata = malloc(n);
    if (!r->metadata) return CODEC_ERROR_MEMORY;
    codec_status status = exactly(r, r->metadata, n);
    if (status == CODEC_OK) status = exactly(r, crc, sizeof crc);
    if (status != CODEC_OK) return status;
    const uint8_t *bytes = (const uint8_t *)r->metadata;
    if (nac_get(crc, sizeof crc) != nac_crc32c_update(&r->crc, 0, bytes, n))
        return CODEC_ERROR_CHECKSUM;
    return nac_tags_unpack(r->metadata, n, &r->n_tags);
}

static codec_status open_reader(codec_reader **reader, codec_read *read, codec_read_at *read_at,
                                uint64_t size, void *user)
{
    *reader = NULL;
    codec_reader *r = calloc(1, sizeof *r);
    if (!r) return CODEC_ERROR_MEMORY;
    r->read = read;
    r->read_at = read_at;
    r->user = user;
    r->size = size;
    r->full = 1;
    nac_crc32c_init(&r->crc);
    codec_status status = read_header(r);
    if (status == CODEC_OK) status = read_metadata(r);
    if (status != CODEC_OK) {
        codec_reader_free(r);
        return status;
    }
    r->index.stride = nac_index_stride(&r->info);
    *reader = r;
    return CODEC_OK;
}

codec_status codec_reader_open(codec_read *read, void *user, codec_reader **reader)
{
    if (!reader || !read) return CODEC_ERROR_ARGUMENT;
    return open_reader(reader, read, NULL, 0, user);
}

codec_status codec_reader_open_at(codec_read_at *read, uint64_t size, void *user,
                                  codec_reader **reader)
{
    if (!reader || !read) return CODEC_ERROR_ARGUMENT;
    return open_reader(reader, NULL, read, size, user);
}

codec_status codec_reader_open_memory(const void *data, size_t size, codec_reader **reader)
{
    if (!reader || (!data && size)) return CODEC_ERROR_ARGUMENT;
    return open_reader(reader, NULL, read_memory, size, (void *)(uintptr_t)data);
}

void codec_reader_free(codec_reader *r)
{
    if (!r) return;
    free(r->metadata);
    nac_memory_free(&r->memory);
    free(r->index.offsets);
    free(r->points);
    free(r);
}

const codec_file_info *codec_reader_info(const codec_reader *r) { return r ? &r->info : NULL; }

uint64_t codec_reader_frame(const codec_reader *r) { return r ? r->frame : 0; }

size_t codec_reader_tags(const codec_reader *r) { return r ? r->n_tags : 0; }

codec_status codec_reader_tag(const codec_reader *r, size_t i, codec_tag *tag)
{
    if (!r || !tag || i >= r->n_tags) return CODEC_ERROR_ARGUMENT;
    const char *text = r->metadata;
    for (size_t skipped = 0; skipped < 2 * i; skipped++) text += strlen(text) + 1;
    *tag = (codec_tag){.key = text, .value = text + strlen(text) + 1};
    return CODEC_OK;
}

codec_status codec_reader_use(codec_reader *r, const codec_coder *coder)
{
    if (!r || !coder) return CODEC_ERROR_ARGUMENT;
    const codec_status status = nac_coder_check(coder, &r->info);
    if (status != CODEC_OK) return status;
    const nac_shape shape = {.channels = codec_file_streams(&r->info),
                             .levels = r->info.codebooks,
                             .frames = r->info.chunk_frames,
                             .codewords = r->info.codebook_size};
    const size_t bound = nac_coder_bound(coder, &shape);
    const size_t capacity = bound < NAC_MAX_PAYLOAD ? bound : NAC_MAX_PAYLOAD;
    nac_memory_free(&r->memory);
    r->coder = NULL;
    uint8_t *payload = nac_memory_new(&r->memory, capacity, 1);
    float *scratch = nac_memory_new(&r->memory, nac_coder_scratch(coder, shape.channels), 4);
    if (!payload || !scratch) return CODEC_ERROR_MEMORY;
    r->payload = payload;
    r->scratch = scratch;
    r->capacity = capacity;
    r->coder = coder;
    return CODEC_OK;
}

/* What follows the last chunk, from front to back: the index, the trailer, nothing more. */
static codec_status read_end(codec_reader *r, const uint8_t *marker)
{
    uint8_t bytes[NAC_TRAILER_BYTES], *expected;
    nac_trailer trailer;
    if (memcmp(marker, nac_index_marker, NAC_MARKER_BYTES) != 0) return CODEC_ERROR_FORMAT;
    const uint64_t start = r->at - NAC_MARKER_BYTES;
    const size_t size = nac_index_bytes(r->index.n_offsets), rest = size - NAC_MARKER_BYTES;
    uint8_t *both = malloc(size + rest);
    if (!both) return CODEC_ERROR_MEMORY;
    expected = both + rest;
    nac_index_pack(&r->index, &r->crc, expected);
    codec_status status = exactly(r, both, rest);
    if (status == CODEC_OK && memcmp(both, expected + NAC_MARKER_BYTES, rest) != 0)
        status = CODEC_ERROR_CHECKSUM;
    free(both);
    if (status == CODEC_OK) status = exactly(r, bytes, sizeof bytes);
    if (status == CODEC_OK) status = nac_trailer_unpack(bytes, &r->crc, &trailer);
    if (status != CODEC_OK) return status;

    const uint64_t n_samples = trailer.header.n_samples;
    if (!nac_header_same(&trailer.header, &r->info) ||
        (r->info.n_samples != CODEC_UNKNOWN_LENGTH && r->info.n_samples != n_samples))
        return CODEC_ERROR_FORMAT;
    if (nac_frames_of(&trailer.header, n_samples) != r->frame || trailer.index_offset != start ||
        trailer.n_chunks != r->index.n_chunks || trailer.digest != r->index.digest)
        return CODEC_ERROR_FORMAT;
    size_t more = 0;
    status = take(r, bytes, 1, &more);
    if (status != CODEC_OK) return status;
    if (more) return CODEC_ERROR_FORMAT;
    r->info.n_samples = n_samples;
    r->ended = 1;
    return CODEC_OK;
}

/* The header and the payload of the chunk that starts at r->at; no frames at the end. */
static codec_status read_chunk(codec_reader *r, nac_chunk_header *chunk)
{
    uint8_t bytes[NAC_CHUNK_HEADER_BYTES];
    const uint64_t offset = r->at;
    *chunk = (nac_chunk_header){0};
    if (r->sought && offset == r->trailer.index_offset) {
        if (r->frame != nac_frames_of(&r->info, r->info.n_samples)) return CODEC_ERROR_FORMAT;
        r->ended = 1;
        return CODEC_OK;
    }
    codec_status status = exactly(r, bytes, NAC_MARKER_BYTES);
    if (status != CODEC_OK) return status;
    if (memcmp(bytes, nac_chunk_marker, NAC_MARKER_BYTES) != 0)
        return r->sought ? CODEC_ERROR_FORMAT : read_end(r, bytes);
    status = exactly(r, bytes + NAC_MARKER_BYTES, NAC_CHUNK_HEADER_BYTES - NAC_MARKER_BYTES);
    if (status == CODEC_OK) status = nac_chunk_unpack(bytes, &r->info, chunk);
    if (status != CODEC_OK) return status;
    if (chunk->payload_bytes > r->capacity) return CODEC_ERROR_FORMAT; /* no coder writes as many */
    status = exactly(r, r->payload, chunk->payload_bytes);
    if (status != CODEC_OK) return status;
    if (!nac_chunk_intact(bytes, r->payload, chunk->payload_bytes, &r->crc))
        return CODEC_ERROR_CHECKSUM;
    if (chunk->first_frame != r->frame || !r->full) return CODEC_ERROR_FORMAT;
    return r->sought ? CODEC_OK : nac_index_add(&r->index, &r->crc, offset, chunk->crc);
}

codec_status codec_reader_next(codec_reader *r, uint16_t *codes, size_t capacity, size_t *codebooks,
                               size_t *frames)
{
    if (!r || !r->coder || !codes || !codebooks || !frames) return CODEC_ERROR_ARGUMENT;
    const codec_file_info *info = &r->info;
    if (capacity < (size_t)codec_file_streams(info) * info->codebooks * info->chunk_frames)
        return CODEC_ERROR_SIZE;
    *codebooks = *frames = 0;
    if (r->failed != CODEC_OK || r->ended) return r->failed;
    nac_chunk_header chunk;
    codec_status status = read_chunk(r, &chunk);
    if (status == CODEC_OK && !r->ended) {
        const nac_shape shape = {.channels = codec_file_streams(info),
                                 .levels = chunk.codebooks,
                                 .frames = chunk.frames,
                                 .codewords = info->codebook_size};
        status =
            nac_coder_decode(r->coder, &shape, r->payload, chunk.payload_bytes, codes, r->scratch);
    }
    if (status != CODEC_OK) return r->failed = status;
    if (r->ended) return CODEC_OK;
    r->full = chunk.frames == info->chunk_frames;
    r->frame += chunk.frames;
    *codebooks = chunk.codebooks;
    *frames = chunk.frames;
    return CODEC_OK;
}

/* The trailer and the index, at the end of the file. */
static codec_status read_points(codec_reader *r)
{
    uint8_t bytes[NAC_TRAILER_BYTES];
    nac_trailer trailer;
    if (r->size < nac_body(&r->info) + nac_index_bytes(0) + sizeof bytes)
        return CODEC_ERROR_TRUNCATED;
    r->at = r->size - sizeof bytes;
    const uint64_t end = r->at;
    codec_status status = exactly(r, bytes, sizeof bytes);
    if (status == CODEC_OK) status = nac_trailer_unpack(bytes, &r->crc, &trailer);
    if (status != CODEC_OK) return status;
    if (!nac_header_same(&trailer.header, &r->info) ||
        (r->info.n_samples != CODEC_UNKNOWN_LENGTH &&
         r->info.n_samples != trailer.header.n_samples))
        return CODEC_ERROR_FORMAT;
    const uint64_t frames = nac_frames_of(&r->info, trailer.header.n_samples),
                   step = r->info.chunk_frames;
    if (trailer.n_chunks != frames / step + (frames % step != 0)) return CODEC_ERROR_FORMAT;
    const uint32_t stride = r->index.stride;
    const uint64_t n_points = trailer.n_chunks / stride + (trailer.n_chunks % stride != 0);
    if (n_points < 1 || n_points > NAC_MAX_POINTS) return CODEC_ERROR_FORMAT;
    const size_t size = nac_index_bytes((size_t)n_points);
    if (trailer.index_offset < nac_body(&r->info) || trailer.index_offset > end ||
        end - trailer.index_offset != size)
        return CODEC_ERROR_FORMAT;
    uint8_t *index = malloc(size);
    uint64_t *points = malloc((size_t)n_points * sizeof *points);
    r->at = trailer.index_offset;
    status = index && points ? exactly(r, index, size) : CODEC_ERROR_MEMORY;
    if (status == CODEC_OK && (memcmp(index, nac_index_marker, NAC_MARKER_BYTES) != 0 ||
                               nac_get(index + 4, 4) != n_points ||
                               nac_get(index + size - NAC_CRC_BYTES, NAC_CRC_BYTES) !=
                                   nac_crc32c_update(&r->crc, 0, index, size - NAC_CRC_BYTES)))
        status = CODEC_ERROR_CHECKSUM;
    for (size_t i = 0; status == CODEC_OK && i < n_points; i++)
        points[i] = nac_get(index + NAC_INDEX_HEADER_BYTES + 8 * i, 8);
    free(index);
    if (status != CODEC_OK) {
        free(points);
        return status;
    }
    r->points = points;
    r->trailer = trailer;
    r->info.n_samples = trailer.header.n_samples;
    return CODEC_OK;
}

/* Passes over chunks from a point of the index to the one that starts at `frame`. */
static codec_status walk_to(codec_reader *r, uint64_t offset, uint64_t from, uint64_t frame)
{
    const uint64_t end = r->trailer.index_offset;
    while (from < frame) {
        uint8_t bytes[NAC_CHUNK_HEADER_BYTES];
        nac_chunk_header chunk;
        if (offset >= end) return CODEC_ERROR_FORMAT;
        r->at = offset;
        codec_status status = exactly(r, bytes, sizeof bytes);
        if (status == CODEC_OK && memcmp(bytes, nac_chunk_marker, NAC_MARKER_BYTES) != 0)
            status = CODEC_ERROR_FORMAT;
        if (status == CODEC_OK) status = nac_chunk_unpack(bytes, &r->info, &chunk);
        if (status != CODEC_OK) return status;
        if (chunk.first_frame != from) return CODEC_ERROR_FORMAT;
        offset += NAC_CHUNK_HEADER_BYTES + chunk.payload_bytes;
        from += chunk.frames;
    }
    if (from != frame || offset >= end) return CODEC_ERROR_FORMAT;
    r->at = offset;
    return CODEC_OK;
}

codec_status codec_reader_seek(codec_reader *r, uint64_t frame)
{
    if (!r) return CODEC_ERROR_ARGUMENT;
    if (!r->read_at) return CODEC_ERROR_UNSUPPORTED;
    const uint64_t at = r->at;
    codec_status status = r->points ? CODEC_OK : read_points(r);
    if (status == CODEC_OK && frame >= nac_frames_of(&r->info, r->info.n_samples))
        status = CODEC_ERROR_ARGUMENT;
    if (status != CODEC_OK) { /* the reader stays where it is */
        r->at = at;
        return status;
    }
    const uint64_t step = r->info.chunk_frames, chunk = frame / step;
    const uint64_t point = chunk / r->index.stride; /* there are as many as the chunks need */
    r->frame = chunk * step;
    status = walk_to(r, r->points[point], point * r->index.stride * step, r->frame);
    r->sought = r->full = 1;
    r->ended = 0;
    return r->failed = status;
}
