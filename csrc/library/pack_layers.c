#include "pack_layers.h"

#include <stdio.h>
#include <string.h>

#include "tables.h"

/* The widest product of dimensions, at most 2^35, must not overflow. */
_Static_assert(sizeof(size_t) >= 8, "the library is for 64-bit systems");

/* Names of tensors are short. */
enum { NAME = 96 };

codec_status nac_find_kernels(const char *name, const nac_kernels **kernels, nac_reason reason)
{
    const nac_kernels *found = NULL, *at;
    for (size_t i = 0; (at = nac_kernels_at(i)); i++)
        if (!name || !strcmp(name, at->name)) found = at;
    if (!found)
        return nac_fail(reason, CODEC_ERROR_UNSUPPORTED,
                        "this processor or library has no instruction set %s", name);
    *kernels = found;
    return CODEC_OK;
}

static size_t padded(size_t n) { return nac_round_up(n, NAC_PANEL); }

codec_status nac_pack_no_memory(const nac_packing *p)
{
    return nac_fail(p->reason, CODEC_ERROR_MEMORY, "no memory for the weights");
}

codec_status nac_pack_wrong(const nac_packing *p, const char *what)
{
    return nac_fail(p->reason, CODEC_ERROR_MODEL, "the configuration makes no sense: %s", what);
}

/* out = first.second; names are made here, and shorter than NAME. */
static void join(const char *first, const char *second, char out[NAME])
{
    size_t n = 0;
    for (; *first && n < NAME - 2; first++) out[n++] = *first;
    out[n++] = '.';
    for (; *second && n < NAME - 1; second++) out[n++] = *second;
    out[n] = 0;
}

codec_status nac_pack_read(const nac_packing *p, const char *name, const char *part, size_t rows,
                           size_t columns, nac_memory *memory, const float **values)
{
    char full[NAME];
    join(name, part, full);
    const size_t shape[2] = {rows ? rows : columns, columns};
    return nac_tensor_read(p->file, full, rows ? 2 : 1, shape, memory, values, p->reason);
}

nac_side nac_plain(size_t n) { return (nac_side){1, n, n}; }

nac_side nac_side_by_side(size_t groups, size_t dim)
{
    return (nac_side){groups, dim, padded(dim)};
}

static size_t values_of(nac_side s) { return s.groups * s.dim; }

static size_t width_of(nac_side s) { return s.groups * s.width; }

static size_t place_of(nac_side s, size_t i) { return i / s.dim * s.width + i % s.dim; }

int nac_place(nac_side s, const float *values, float scale, float *out)
{
    int finite = 1;
    for (size_t group = 0; group < s.groups; group++, values += s.dim, out += s.width)
        for (size_t i = 0; i < s.dim; i++) {
            out[i] = values[i] * scale;
            finite &= out[i] - out[i] == 0; /* infinity less itself is NaN */
        }
    return finite;
}

codec_status nac_load_vector(const nac_packing *p, const char *name, const char *part, nac_side s,
                             const float **vector)
{
    nac_memory aside = {NULL};
    const float *values = NULL;
    codec_status status = nac_pack_read(p, name, part, 0, values_of(s), &aside, &values);
    if (!status) {
        float *wide = nac_memory_new(p->memory, padded(width_of(s)), sizeof *wide);
        if (wide) nac_place(s, values, 1, wide);
        *vector = wide;
        if (!wide) status = nac_pack_no_memory(p);
    }
    nac_memory_free(&aside);
    return status;
}

codec_status nac_load_matrix(const nac_packing *p, const float *weight, size_t stride,
                             const float *scale, nac_side rows, nac_side columns, nac_dense *layer)
{
    nac_memory aside = {NULL};
    const size_t depth = width_of(columns), width = padded(width_of(rows));
    float *wide = nac_memory_new(&aside, width_of(rows) * depth, sizeof *wide);
    float *panels = nac_memory_new(p->memory, width * depth, sizeof *panels);
    codec_status status = wide && panels ? CODEC_OK : nac_pack_no_memory(p);
    for (size_t i = 0; !status && i < values_of(rows); i++)
        if (!nac_place(columns, weight + i * stride, scale ? scale[i] : 1,
                       wide + place_of(rows, i) * depth))
            status = nac_pack_wrong(p, "a scaled weight is not finite");
    if (!status) {
        nac_dense_pack(wide, depth, width_of(rows), panels);
        *layer = (nac_dense){depth, width, panels, NULL};
    }
    nac_memory_free(&aside);
    return status;
}

codec_status nac_load_dense(const nac_packing *p, const char *name, nac_side rows, nac_side columns,
                            nac_dense *layer)
{
    nac_memory aside = {NULL};
    const float *weight = NULL, *bias = NULL;
    codec_status status =
        nac_pack_read(p, name, "weight", values_of(rows), values_of(columns), &aside, &weight);
    if (!status) status = nac_load_vector(p, name, "bias", rows, &bias);
    if (!status)
        status = nac_load_matrix(p, weight, values_of(columns), NULL, rows, columns, layer);
    if (!status) layer->bias = bias;
    nac_memory_free(&aside);
    return status;
}

/* The second layer of a block, whose rows make one channel each, which the block then scales. */
static codec_status load_reduce(const nac_packing *p, const char *block, size_t dim, size_t hidden,
                                nac_dense *layer)
{
    nac_memory aside = {NULL};
    const float *weight = NULL, *scale = NULL;
    codec_status status = nac_pack_read(p, block, "reduce.weight", dim, hidden, &aside, &weight);
    if (!status) status = nac_pack_read(p, block, "scale", 0, dim, &aside, &scale);
    if (!status)
        status =
            nac_load_matrix(p, weight, hidden, scale, nac_plain(dim), nac_plain(hidden), layer);
    nac_memory_free(&aside);
    return status;
}

codec_status nac_load_norm(const nac_packing *p, const char *name, size_t dim, nac_conv_norm *layer)
{
    layer->dim = dim;
    layer->width = padded(dim);
    codec_status status = nac_load_vector(p, name, "weight", nac_plain(dim), &layer->gain);
    if (!status) status = nac_load_vector(p, name, "bias", nac_plain(dim), &layer->shift);
    return status;
}

static codec_status load_convolution(const nac_packing *p, const char *name, size_t taps,
                                     size_t dim, nac_conv_norm *layer)
{
    nac_memory aside = {NULL};
    const float *weight = NULL;
    codec_status status = nac_pack_read(p, name, "weight", taps, dim, &aside, &weight);
    if (!status) status = nac_load_vector(p, name, "bias", nac_plain(dim), &layer->bias);
    if (!status) {
        float *wide = nac_memory_new(p->memory, taps * padded(dim), sizeof *wide);
        for (size_t k = 0; wide && k < taps; k++)
            memcpy(wide + k * padded(dim), weight + k * dim, dim * sizeof *wide);
        layer->weight = wide;
        layer->taps = taps;
        if (!wide) status = nac_pack_no_memory(p);
    }
    nac_memory_free(&aside);
    return status;
}

static codec_status load_block(const nac_packing *p, const char *name, nac_body_shape shape,
                               nac_block *block)
{
    char part[NAME];
    join(name, "norm", part);
    codec_status status = nac_load_norm(p, part, shape.dim, &block->conv);
    join(name, "conv", part);
    if (!status) status = load_convolution(p, part, shape.taps, shape.dim, &block->conv);
    join(name, "expand", part);
    if (!status)
        status =
            nac_load_dense(p, part, nac_plain(shape.hidden), nac_plain(shape.dim), &block->expand);
    if (!status) status = load_reduce(p, name, shape.dim, shape.hidden, &block->reduce);
    return status;
}

codec_status nac_load_body(const nac_packing *p, nac_body_shape shape, nac_backbone *body)
{
    const size_t n = shape.blocks, taps = shape.taps;
    char name[NAME];
    if (shape.lookahead > n || (shape.lookahead && taps < 2))
        return nac_pack_wrong(p, "more layers look ahead than there are");
    nac_block *blocks = nac_memory_new(p->memory, n + 1, sizeof *blocks);
    if (!blocks) return nac_pack_no_memory(p);
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s.%zu", shape.name, i);
        blocks[i].lookahead = i < shape.lookahead;
        const codec_status status = load_block(p, name, shape, &blocks[i]);
        if (status) return status;
    }
    *body = (nac_backbone){.n_blocks = n,
                           .blocks = blocks,
                           .width = padded(shape.dim),
                           .hidden = padded(shape.hidden),
                           .taps = taps,
                           .lookahead = shape.lookahead};
    snprintf(name, sizeof name, "%s.%zu", shape.name, n);
    return nac_load_norm(p, name, shape.dim, &body->norm);
}

codec_status nac_load_window(const nac_packing *p, const nac_fft_plan *fft, const float **window)
{
    float *out = nac_memory_new(p->memory, fft->n, sizeof *out);
    if (!out) return nac_pack_no_memory(p);
    nac_hann(fft->n, out);
    *window = out;
    return CODEC_OK;
}

codec_status nac_load_bands(const nac_packing *p, size_t n, size_t n_fft, size_t sample_rate,
                            const int **band, const float **lower, const float **upper)
{
    const size_t bins = n_fft / 2 + 1;
    nac_memory aside = {NULL};
    float *low = nac_memory_new(p->memory, bins, sizeof *low);
    float *high = nac_memory_new(p->memory, bins, sizeof *high);
    int *of = nac_memory_new(p->memory, bins, sizeof *of);
    double *edges = nac_memory_new(&aside, n, sizeof *edges);
    codec_status status = low && high && of && edges ? CODEC_OK : nac_pack_no_memory(p);
    if (!status) {
        nac_band_edges(n, sample_rate, edges);
        if (!nac_band_weights(edges, n, n_fft, sample_rate, of, low, high))
            status = nac_pack_wrong(p, "bands coincide");
    }
    nac_memory_free(&aside);
    *band = of;
    *lower = low;
    *upper = high;
    return status;
}
