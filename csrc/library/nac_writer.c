/* Writes .nac files front to back in constant memory; the twin of codec/nac/writer.py. */
#include <stdlib.h>
#include <string.h>

#include "coder.h"
#include "nac_layout.h"
#include "nac_tags.h"

struct codec_writer {
    codec_write *write;
    void *user;
    codec_file_info info;
    const codec_coder *coder;
    nac_crc32c_tables crc;
    nac_index index;
    uint16_t *codes; /* [streams][codebooks][chunk_frames]: of the chunk that is filled */
    size_t filled;   /* frames of it */
    uint64_t frames; /* in the file */
    uint64_t at;
    nac_memory memory; /* of what follows, and of codes */
    float *scratch;
    uint8_t *packed; /* a chunk as in the file */
    int ended;
    codec_status failed; /* what every further call gives */
};

static codec_status put(codec_writer *w, const void *bytes, size_t n)
{
    if (w->write(w->user, bytes, n) != 0) return CODEC_ERROR_IO;
    w->at += n;
    return CODEC_OK;
}

/* The header, and the metadata, which the caller has left in `packed`. */
static codec_status write_start(codec_writer *w)
{
    uint8_t header[NAC_HEADER_BYTES];
    const size_t n = w->info.metadata_bytes;
    nac_header_pack(&w->info, &w->crc, header);
    codec_status status = put(w, header, sizeof header);
    if (status != CODEC_OK || !n) return status;
    nac_put(w->packed + n, nac_crc32c_update(&w->crc, 0, w->packed, n), NAC_CRC_BYTES);
    return put(w, w->packed, n + NAC_CRC_BYTES);
}

static codec_status allocate(codec_writer *w, size_t n_tags, const codec_tag *tags)
{
    const codec_file_info *info = &w->info;
    const nac_shape most = {.channels = codec_file_streams(info),
                            .levels = info->codebooks,
                            .frames = info->chunk_frames,
                            .codewords = info->codebook_size};
    size_t packed = NAC_CHUNK_HEADER_BYTES + nac_coder_bound(w->coder, &most);
    if (n_tags) packed = nac_larger(packed, NAC_MAX_METADATA + NAC_CRC_BYTES);
    w->packed = nac_memory_new(&w->memory, packed, 1);
    w->codes = nac_memory_new(&w->memory, most.channels * most.levels * most.frames, 2);
    w->scratch = nac_memory_new(&w->memory, nac_coder_scratch(w->coder, most.channels), 4);
    if (!w->packed || !w->codes || !w->scratch) return CODEC_ERROR_MEMORY;
    if (!n_tags) return CODEC_OK;
    if (n_tags > SIZE_MAX / sizeof tags) return CODEC_ERROR_ARGUMENT;
    const codec_tag **order = malloc(n_tags * sizeof *order);
    if (!order) return CODEC_ERROR_MEMORY;
    w->info.metadata_bytes = (uint32_t)nac_tags_pack(tags, n_tags, order, w->packed);
    free(order);
    return CODEC_OK;
}

codec_status codec_writer_open(const codec_file_info *info, const codec_coder *coder,
                               const codec_tag *tags, size_t n_tags, codec_write *write, void *user,
                               codec_writer **writer)
{
    if (!writer || !info || !coder || !write || (!tags && n_tags)) return CODEC_ERROR_ARGUMENT;
    for (size_t i = 0; i < n_tags; i++)
        if (!tags[i].key || !tags[i].value) return CODEC_ERROR_ARGUMENT;
    *writer = NULL;
    codec_writer *w = calloc(1, sizeof *w);
    if (!w) return CODEC_ERROR_MEMORY;
    w->write = write;
    w->user = user;
    w->coder = coder;
    w->info = *info;
    w->info.coder = coder->number;
    memcpy(w->info.tables_id, coder->tables_id, sizeof coder->tables_id);
    w->info.metadata_bytes = 0;
    nac_crc32c_init(&w->crc);
    codec_status status = nac_header_check(&w->info);
    if (status == CODEC_OK) status = nac_coder_check(coder, &w->info);
    if (status == CODEC_OK) status = allocate(w, n_tags, tags);
    if (status == CODEC_OK) status = write_start(w);
    if (status != CODEC_OK) {
        codec_writer_free(w);
        return status;
    }
    w->index.stride = nac_index_stride(&w->info);
    *writer = w;
    return CODEC_OK;
}

void codec_writer_free(codec_writer *w)
{
    if (!w) return;
    nac_memory_free(&w->memory);
    free(w->index.offsets);
    free(w);
}

/* Writes a chunk of w->codes, which hold [streams][codebooks][frames]. */
static codec_status write_chunk(codec_writer *w, size_t codebooks, size_t frames)
{
    const nac_shape shape = {.channels = codec_file_streams(&w->info),
                             .levels = codebooks,
                             .frames = frames,
                             .codewords = w->info.codebook_size};
    if (w->frames + frames > UINT32_MAX) return CODEC_ERROR_LENGTH;
    const size_t size = nac_coder_encode(w->coder, &shape, w->codes,
                                         w->packed + NAC_CHUNK_HEADER_BYTES, w->scratch);
    if (size > NAC_MAX_PAYLOAD) return CODEC_ERROR_LENGTH;
    nac_chunk_header chunk = {.first_frame = (uint32_t)w->frames,
                              .payload_bytes = (uint32_t)size,
                              .frames = (uint32_t)frames,
                              .codebooks = (uint32_t)codebooks};
    nac_chunk_pack(&chunk, &w->crc, w->packed);
    codec_status status = nac_index_add(&w->index, &w->crc, w->at, chunk.crc);
    if (status == CODEC_OK) status = put(w, w->packed, NAC_CHUNK_HEADER_BYTES + size);
    if (status == CODEC_OK) w->frames += frames;
    return status;
}

/* The frames of the chunk that is being filled, moved together if it is not full. */
static codec_status write_filled(codec_writer *w)
{
    const size_t rows = (size_t)codec_file_streams(&w->info) * w->info.codebooks,
                 frames = w->filled;
    const size_t full = w->info.chunk_frames;
    for (size_t row = 1; frames < full && row < rows; row++)
        memmove(w->codes + row * frames, w->codes + row * full, frames * sizeof *w->codes);
    w->filled = 0;
    return write_chunk(w, w->info.codebooks, frames);
}

static int in_codebook(const codec_writer *w, const uint16_t *codes, size_t stride, size_t rows,
                       size_t frames)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < frames; i++)
            if (codes[row * stride + i] >= w->info.codebook_size) return 0;
    return 1;
}

codec_status codec_writer_write(codec_writer *w, const uint16_t *codes, size_t stride,
                                size_t frames)
{
    if (!w || (!codes && frames) || stride < frames) return CODEC_ERROR_ARGUMENT;
    if (w->failed != CODEC_OK || w->ended) return w->failed ? w->failed : CODEC_ERROR_STATE;
    const size_t rows = (size_t)codec_file_streams(&w->info) * w->info.codebooks;
    const size_t full = w->info.chunk_frames;
    if (frames && w->frames % full != 0) return CODEC_ERROR_STATE; /* behind a short chunk */
    if (!in_codebook(w, codes, stride, rows, frames)) return CODEC_ERROR_CODES;
    for (size_t done = 0; done < frames;) {
        const size_t n = frames - done < full - w->filled ? frames - done : full - w->filled;
        for (size_t row = 0; row < rows; row++)
            memcpy(w->codes + row * full + w->filled, codes + row * stride + done,
                   n * sizeof *codes);
        w->filled += n;
        done += n;
        if (w->filled < full) break;
        const codec_status status = write_filled(w);
        if (status != CODEC_OK) return w->failed = status;
    }
    return CODEC_OK;
}

codec_status codec_writer_write_chunk(codec_writer *w, const uint16_t *codes, size_t codebooks,
                                      size_t frames)
{
    if (!w || !codes) return CODEC_ERROR_ARGUMENT;
    if (w->failed != CODEC_OK || w->ended) return w->failed ? w->failed : CODEC_ERROR_STATE;
    const size_t most = w->info.codebooks, rows = codec_file_streams(&w->info) * codebooks;
    if (w->frames % w->info.chunk_frames != 0) return CODEC_ERROR_STATE; /* behind a short chunk */
    if (w->filled || frames < 1 || frames > w->info.chunk_frames || codebooks > most ||
        codebooks < (w->info.variable ? 1 : most))
        return CODEC_ERROR_ARGUMENT;
    if (!in_codebook(w, codes, frames, rows, frames)) return CODEC_ERROR_CODES;
    memcpy(w->codes, codes, rows * frames * sizeof *codes);
    const codec_status status = write_chunk(w, codebooks, frames);
    if (status != CODEC_OK) w->failed = status;
    return status;
}

/* The index and the trailer; then `header` as it replaces the first one. */
static codec_status write_end(codec_writer *w, uint64_t n_samples, uint8_t *header)
{
    uint8_t bytes[NAC_TRAILER_BYTES];
    nac_trailer trailer = {.header = w->info,
                           .index_offset = w->at,
                           .n_chunks = w->index.n_chunks,
                           .digest = w->index.digest};
    trailer.header.n_samples = n_samples;
    const size_t size = nac_index_bytes(w->index.n_offsets);
    uint8_t *index = malloc(size);
    if (!index) return CODEC_ERROR_MEMORY;
    nac_index_pack(&w->index, &w->crc, index);
    codec_status status = put(w, index, size);
    free(index);
    nac_trailer_pack(&trailer, &w->crc, bytes);
    if (status == CODEC_OK) status = put(w, bytes, sizeof bytes);
    if (status == CODEC_OK && header) nac_header_pack(&trailer.header, &w->crc, header);
    return status;
}

codec_status codec_writer_finish(codec_writer *w, uint64_t n_samples,
                                 uint8_t header[CODEC_HEADER_BYTES])
{
    if (!w) return CODEC_ERROR_ARGUMENT;
    if (w->failed != CODEC_OK || w->ended) return w->failed ? w->failed : CODEC_ERROR_STATE;
    const uint64_t frames = w->frames + w->filled;
    if (n_samples < 1 || n_samples == CODEC_UNKNOWN_LENGTH ||
        nac_frames_of(&w->info, n_samples) != frames ||
        (w->info.n_samples != CODEC_UNKNOWN_LENGTH && w->info.n_samples != n_samples))
        return CODEC_ERROR_LENGTH;
    codec_status status = w->filled ? write_filled(w) : CODEC_OK;
    if (status == CODEC_OK) status = write_end(w, n_samples, header);
    w->ended = status == CODEC_OK;
    return w->failed = status;
}
