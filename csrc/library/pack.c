#include "pack.h"

#include <stdio.h>
#include <string.h>

#include "tables.h"

/* The widest product of dimensions, at most 2^35, must not overflow. */
_Static_assert(sizeof(size_t) >= 8, "the library is for 64-bit systems");

/* Names of tensors are short. */
enum { NAME = 96 };

/* Floats of scratch memory of a model that is still taken: 1 GB. What a damaged configuration could ask
 * for beyond that, it shall not get. */
static const size_t MOST_SCRATCH = (size_t)1 << 28;

static size_t padded(size_t n) { return nac_round_up(n, NAC_PANEL); }

static codec_status no_memory(const nac_packing *p)
{
    return nac_fail(p->reason, CODEC_ERROR_MEMORY, "no memory for the weights");
}

static codec_status wrong(const nac_packing *p, const char *what)
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

/* A tensor [rows][columns], or [columns] if rows is 0, into `memory`. */
static codec_status read(const nac_packing *p, const char *name, const char *part, size_t rows,
                         size_t columns, nac_memory *memory, const float **values)
{
    char full[NAME];
    join(name, part, full);
    const size_t shape[2] = {rows ? rows : columns, columns};
    return nac_tensor_read(p->file, full, rows ? 2 : 1, shape, memory, values, p->reason);
}

/* How the values along one side of a matrix lie: in the file `groups` of `dim`, one after another; in
 * memory each group in `width`, of which the rest is zeros. */
typedef struct {
    size_t groups, dim, width;
} side;

static side plain(size_t n) { return (side){1, n, n}; }

/* Frames side by side, as wide as the engine's. */
static side frames_of(size_t groups, size_t dim) { return (side){groups, dim, padded(dim)}; }

static size_t values_of(side s) { return s.groups * s.dim; }

static size_t width_of(side s) { return s.groups * s.width; }

static size_t place_of(side s, size_t i) { return i / s.dim * s.width + i % s.dim; }

/* Copies values_of(s) values, each times `scale`, to their places. Returns 0 unless all are finite. */
static int place(side s, const float *values, float scale, float *out)
{
    int finite = 1;
    for (size_t group = 0; group < s.groups; group++, values += s.dim, out += s.width)
        for (size_t i = 0; i < s.dim; i++) {
            out[i] = values[i] * scale;
            finite &= out[i] - out[i] == 0; /* infinity less itself is NaN */
        }
    return finite;
}

/* A vector, continued with zeros to whole panels. */
static codec_status load_vector(const nac_packing *p, const char *name, const char *part, side s,
                                const float **vector)
{
    nac_memory aside = {NULL};
    const float *values = NULL;
    codec_status status = read(p, name, part, 0, values_of(s), &aside, &values);
    if (!status) {
        float *wide = nac_memory_new(p->memory, padded(width_of(s)), sizeof *wide);
        if (wide) place(s, values, 1, wide);
        *vector = wide;
        if (!wide) status = no_memory(p);
    }
    nac_memory_free(&aside);
    return status;
}

/* Packs the weight [rows][columns] of a layer, whose rows lie `stride` values apart, each row times its
 * scale if there are any. */
static codec_status pack_matrix(const nac_packing *p, const float *weight, size_t stride,
                                const float *scale, side rows, side columns, nac_dense *layer)
{
    nac_memory aside = {NULL};
    const size_t depth = width_of(columns), width = padded(width_of(rows));
    float *wide = nac_memory_new(&aside, width_of(rows) * depth, sizeof *wide);
    float *panels = nac_memory_new(p->memory, width * depth, sizeof *panels);
    codec_status status = wide && panels ? CODEC_OK : no_memory(p);
    for (size_t i = 0; !status && i < values_of(rows); i++)
        if (!place(columns, weight + i * stride, scale ? scale[i] : 1,
                   wide + place_of(rows, i) * depth))
            status = wrong(p, "a scaled weight is not finite");
    if (!status) {
        nac_dense_pack(wide, depth, width_of(rows), panels);
        *layer = (nac_dense){depth, width, panels, NULL};
    }
    nac_memory_free(&aside);
    return status;
}

/* A layer name.weight [rows][columns], with name.bias [rows]. */
static codec_status load_dense(const nac_packing *p, const char *name, side rows, side columns,
                               nac_dense *layer)
{
    nac_memory aside = {NULL};
    const float *weight = NULL, *bias = NULL;
    codec_status status =
        read(p, name, "weight", values_of(rows), values_of(columns), &aside, &weight);
    if (!status) status = load_vector(p, name, "bias", rows, &bias);
    if (!status) status = pack_matrix(p, weight, values_of(columns), NULL, rows, columns, layer);
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
    codec_status status = read(p, block, "reduce.weight", dim, hidden, &aside, &weight);
    if (!status) status = read(p, block, "scale", 0, dim, &aside, &scale);
    if (!status) status = pack_matrix(p, weight, hidden, scale, plain(dim), plain(hidden), layer);
    nac_memory_free(&aside);
    return status;
}

static codec_status load_norm(const nac_packing *p, const char *name, size_t dim,
                              nac_conv_norm *layer)
{
    layer->dim = dim;
    layer->width = padded(dim);
    codec_status status = load_vector(p, name, "weight", plain(dim), &layer->gain);
    if (!status) status = load_vector(p, name, "bias", plain(dim), &layer->shift);
    return status;
}

static codec_status load_convolution(const nac_packing *p, const char *name, size_t taps,
                                     size_t dim, nac_conv_norm *layer)
{
    nac_memory aside = {NULL};
    const float *weight = NULL;
    codec_status status = read(p, name, "weight", taps, dim, &aside, &weight);
    if (!status) status = load_vector(p, name, "bias", plain(dim), &layer->bias);
    if (!status) {
        float *wide = nac_memory_new(p->memory, taps * padded(dim), sizeof *wide);
        for (size_t k = 0; wide && k < taps; k++)
            memcpy(wide + k * padded(dim), weight + k * dim, dim * sizeof *wide);
        layer->weight = wide;
        layer->taps = taps;
        if (!wide) status = no_memory(p);
    }
    nac_memory_free(&aside);
    return status;
}

typedef struct {
    const char *name;
    size_t blocks, dim, hidden, lookahead;
} body_shape;

static codec_status load_block(const nac_packing *p, const char *name, body_shape shape,
                               nac_block *block)
{
    char part[NAME];
    join(name, "norm", part);
    codec_status status = load_norm(p, part, shape.dim, &block->conv);
    join(name, "conv", part);
    if (!status)
        status = load_convolution(p, part, p->config->kernel_size, shape.dim, &block->conv);
    join(name, "expand", part);
    if (!status)
        status = load_dense(p, part, plain(shape.hidden), plain(shape.dim), &block->expand);
    if (!status) status = load_reduce(p, name, shape.dim, shape.hidden, &block->reduce);
    return status;
}

static codec_status load_body(const nac_packing *p, body_shape shape, nac_backbone *body)
{
    const size_t n = shape.blocks, taps = p->config->kernel_size;
    char name[NAME];
    if (shape.lookahead > n || (shape.lookahead && taps < 2))
        return wrong(p, "more layers look ahead than there are");
    nac_block *blocks = nac_memory_new(p->memory, n + 1, sizeof *blocks);
    if (!blocks) return no_memory(p);
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
    return load_norm(p, name, shape.dim, &body->norm);
}

codec_status nac_pack_codebooks(const nac_packing *p, const float **books)
{
    static const char codewords[] = "quantiser.codewords", scales[] = "quantiser.scales";
    const nac_config *c = p->config;
    const size_t shape[3] = {c->n_codebooks, c->codebook_size, c->latent_dim};
    const nac_tensor *words = NULL;
    const float *scale = NULL;
    nac_memory aside = {NULL};
    codec_status status =
        nac_tensor_need(p->file, codewords, NAC_DTYPE_I8, 3, shape, &words, p->reason);
    if (!status) status = nac_tensor_read(p->file, scales, 2, shape, &aside, &scale, p->reason);
    if (!status) {
        float *out = nac_memory_new(p->memory, words->count, sizeof *out);
        if (!out) status = no_memory(p);
        const size_t dim = c->latent_dim;
        for (size_t i = 0; out && i < words->count / dim; i++) {
            for (size_t k = i * dim; k < (i + 1) * dim; k++) {
                const int byte = words->data[k];
                out[k] = (float)(byte < 128 ? byte : byte - 256);
            }
            if (!place(plain(dim), out + i * dim, scale[i], out + i * dim))
                status = wrong(p, "a codeword is not finite");
        }
        *books = out;
    }
    nac_memory_free(&aside);
    return status;
}

static codec_status load_window(const nac_packing *p, const nac_fft_plan *fft, const float **window)
{
    float *out = nac_memory_new(p->memory, fft->n, sizeof *out);
    if (!out) return no_memory(p);
    nac_hann(fft->n, out);
    *window = out;
    return CODEC_OK;
}

static codec_status load_analysis(const nac_packing *p, nac_analysis *front)
{
    const nac_config *c = p->config;
    codec_status status = nac_fft_tables(c->long_fft, p->memory, &front->long_fft, p->reason);
    if (!status) status = nac_fft_tables(c->short_fft, p->memory, &front->short_fft, p->reason);
    if (!status) status = load_window(p, &front->long_fft, &front->long_window);
    if (!status) status = load_window(p, &front->short_fft, &front->short_window);
    if (status) return status;

    const size_t short_hop = c->short_fft / 2, hop = c->backbone_hop;
    if (hop < short_hop || hop % short_hop || c->long_fft < hop)
        return wrong(p, "the analysis windows do not fit the hop");
    if (c->phase_bins > c->long_fft / 2) return wrong(p, "there are more phase bins than bins");
    front->hop = hop;
    front->phase_bins = c->phase_bins;
    front->per_frame = hop / short_hop;
    front->waveform = c->waveform;
    front->size = c->long_fft / 2 + 1 + front->per_frame * (short_hop + 1) + 2 * c->phase_bins +
                  (c->waveform ? c->long_fft : 0);
    const size_t long_left = (c->long_fft - hop) / 2, short_left = (c->short_fft - short_hop) / 2;
    front->left = nac_larger(long_left, short_left);
    front->right = nac_larger(c->long_fft - hop - long_left, c->short_fft - short_hop - short_left);
    /* Of two channels, mean and scale are those of the mid and then those of the side. */
    const size_t rows = c->channels == 1 ? 0 : c->channels;
    status = read(p, "encoder.front", "mean", rows, front->size, p->memory, &front->mean);
    if (!status)
        status = read(p, "encoder.front", "scale", rows, front->size, p->memory, &front->scale);
    return status;
}

/* The embedding, whose columns are the features of the frame, or those of its mid and then of its side. */
static codec_status load_embedding(const nac_packing *p, nac_encoder *net)
{
    static const char name[] = "encoder.embed";
    const size_t dim = p->config->encoder_dim, depth = net->gather * net->front.size;
    const size_t columns = p->config->channels * depth;
    nac_memory aside = {NULL};
    const float *weight = NULL, *bias = NULL;
    codec_status status = read(p, name, "weight", dim, columns, &aside, &weight);
    if (!status) status = load_vector(p, name, "bias", plain(dim), &bias);
    if (!status)
        status = pack_matrix(p, weight, columns, NULL, plain(dim), plain(depth), &net->embed);
    if (!status) net->embed.bias = bias;
    if (!status && net->stereo)
        status = pack_matrix(p, weight + depth, columns, NULL, plain(dim), plain(depth),
                             &net->embed_side);
    nac_memory_free(&aside);
    return status;
}

static codec_status load_search(const nac_packing *p, const float *books, nac_rvq_plan *rvq)
{
    const nac_config *c = p->config;
    const size_t levels = c->n_codebooks, words = c->codebook_size, dim = c->latent_dim;
    *rvq = (nac_rvq_plan){.levels = levels, .codewords = words, .dim = dim, .codebooks = books};
    rvq->panels =
        nac_memory_new(p->memory, nac_rvq_panels_size(levels, words, dim), sizeof *rvq->panels);
    rvq->half = nac_memory_new(p->memory, nac_rvq_half_size(levels, words), sizeof *rvq->half);
    const size_t screen = nac_rvq_screen_size(p->kernels->isa, levels, words, dim);
    if (screen) rvq->screen = nac_memory_new(p->memory, screen, 1);
    if (!rvq->panels || !rvq->half || (screen && !rvq->screen)) return no_memory(p);
    nac_rvq_pack(rvq, p->kernels->isa);
    return CODEC_OK;
}

codec_status nac_pack_encoder(const nac_packing *p, const float *books, nac_encoder *net)
{
    const nac_config *c = p->config;
    if (c->hop_length % (c->backbone_hop * c->encoder_stack))
        return wrong(p, "the frames of the encoder do not fit the hop");
    *net = (nac_encoder){.k = p->kernels, .gather = c->encoder_stack, .latent = c->latent_dim};
    net->stack = c->hop_length / (c->backbone_hop * c->encoder_stack);
    net->block = nac_round_up(p->block, net->stack);

    const size_t dim = c->encoder_dim;
    const body_shape shape = {"encoder.backbone", c->encoder_blocks, dim, c->encoder_hidden,
                              c->encoder_lookahead};
    codec_status status = load_analysis(p, &net->front);
    net->stereo = c->channels == 2;
    if (!status && net->stereo) {
        net->side = net->front;
        net->side.mean += net->front.size;
        net->side.scale += net->front.size;
    }
    if (!status) status = load_embedding(p, net);
    if (!status) status = load_body(p, shape, &net->body);
    if (!status)
        status = load_dense(p, "encoder.project", plain(net->latent), frames_of(net->stack, dim),
                            &net->project);
    if (!status) status = load_search(p, books, &net->rvq);
    if (!status && nac_encoder_scratch(net) > MOST_SCRATCH)
        return nac_fail(p->reason, CODEC_ERROR_UNSUPPORTED, "the encoder's frames are too large");
    return status;
}

static codec_status load_synthesis(const nac_packing *p, nac_synthesis *back)
{
    const nac_config *c = p->config;
    const size_t n = c->synthesis_fft, bins = n / 2 + 1, bands = c->gain_bands;
    const codec_status status = nac_fft_tables(n, p->memory, &back->fft, p->reason);
    if (status) return status;
    if (c->backbone_hop % c->synthesis_hop || n < c->synthesis_hop || (n - c->synthesis_hop) % 2)
        return wrong(p, "the synthesis window does not fit the hop");
    if (bands > bins) return wrong(p, "there are more bands than bins");
    back->hop = c->synthesis_hop;
    back->bands = bands;
    back->per_frame = c->backbone_hop / back->hop;
    const size_t noise_bin = (c->noise_from * n + c->sample_rate - 1) / c->sample_rate;
    back->noise_bin = noise_bin < bins ? noise_bin : bins;

    float *window = nac_memory_new(p->memory, n, sizeof *window);
    float *lower = nac_memory_new(p->memory, bins, sizeof *lower);
    float *upper = nac_memory_new(p->memory, bins, sizeof *upper);
    int *band = nac_memory_new(p->memory, bins, sizeof *band);
    nac_memory aside = {NULL};
    double *edges = nac_memory_new(&aside, bands, sizeof *edges);
    int fits = 0;
    if (window && lower && upper && band && edges) {
        nac_synthesis_window(n, back->hop, window);
        nac_band_edges(bands, c->sample_rate, edges);
        fits = nac_band_weights(edges, bands, n, c->sample_rate, band, lower, upper);
    }
    const int memory = edges != NULL;
    nac_memory_free(&aside);
    if (!window || !lower || !upper || !band || !memory) return no_memory(p);
    if (!fits) return wrong(p, "bands coincide");
    back->window = window;
    back->band = band;
    back->lower = lower;
    back->upper = upper;
    return CODEC_OK;
}

codec_status nac_pack_decoder(const nac_packing *p, const float *books, nac_decoder *net)
{
    const nac_config *c = p->config;
    if (c->hop_length % c->backbone_hop)
        return wrong(p, "the frames of the decoder do not fit the hop");
    *net = (nac_decoder){.k = p->kernels,
                         .codebooks = books,
                         .levels = c->n_codebooks,
                         .codewords = c->codebook_size,
                         .latent = c->latent_dim,
                         .stack = c->hop_length / c->backbone_hop,
                         .stereo = c->channels == 2};
    net->block = nac_round_up(p->block, net->stack);

    const size_t dim = c->decoder_dim;
    const body_shape shape = {"decoder.backbone", c->decoder_blocks, dim, c->decoder_hidden,
                              c->decoder_lookahead};
    codec_status status = load_body(p, shape, &net->body);
    if (!status)
        status = load_dense(p, "decoder.embed", frames_of(net->stack, dim), plain(net->latent),
                            &net->embed);
    if (!status) status = load_synthesis(p, &net->back);
    const size_t spectra = c->channels * net->back.per_frame, bins = c->synthesis_fft / 2 + 1;
    if (!status)
        status = load_dense(p, "decoder.head.gain", plain(spectra * c->gain_bands), plain(dim),
                            &net->gain);
    if (!status)
        status =
            load_dense(p, "decoder.head.shape", plain(spectra * bins * 2), plain(dim), &net->shape);
    if (!status && nac_decoder_scratch(net) > MOST_SCRATCH)
        return nac_fail(p->reason, CODEC_ERROR_UNSUPPORTED, "the decoder's frames are too large");
    return status;
}
