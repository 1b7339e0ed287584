#include "cuda_arrays.h"

#include <string.h>

/* Floats to which an array is filled up, and columns to which a matrix is. */
enum { UNIT = 4, COLUMNS = 128 };

typedef struct {
    float *floats; /* NULL if they are only counted */
    size_t used;
} writer;

/* Appends values [n], filled up with zeros to a multiple of `unit`. */
static void put(writer *w, const float *values, size_t n, size_t unit)
{
    const size_t room = nac_round_up(n, unit);
    if (w->floats) {
        memcpy(w->floats + w->used, values, n * sizeof *values);
        memset(w->floats + w->used + n, 0, (room - n) * sizeof *values);
    }
    w->used += room;
}

/* The matrix [depth][columns], out of panels of NAC_PANEL columns, and the bias if there is one. */
static void put_dense(writer *w, const nac_dense *layer)
{
    const size_t columns = nac_round_up(layer->width, COLUMNS), depth = layer->depth;
    if (w->floats) {
        float *matrix = w->floats + w->used;
        memset(matrix, 0, depth * columns * sizeof *matrix);
        for (size_t first = 0; first < layer->width; first += NAC_PANEL)
            for (size_t k = 0; k < depth; k++)
                memcpy(matrix + k * columns + first, layer->panels + first * depth + k * NAC_PANEL,
                       NAC_PANEL * sizeof *matrix);
    }
    w->used += depth * columns;
    if (layer->bias) put(w, layer->bias, layer->width, COLUMNS);
}

static void put_norm(writer *w, const nac_conv_norm *norm)
{
    put(w, norm->gain, norm->width, UNIT);
    put(w, norm->shift, norm->width, UNIT);
}

static void put_body(writer *w, const nac_backbone *body)
{
    for (size_t i = 0; i < body->n_blocks; i++) {
        const nac_block *block = &body->blocks[i];
        put(w, block->conv.weight, body->taps * body->width, UNIT);
        put(w, block->conv.bias, body->width, UNIT);
        put_norm(w, &block->conv);
        put_dense(w, &block->expand);
        put_dense(w, &block->reduce);
    }
    put_norm(w, &body->norm);
}

static void put_fft(writer *w, const nac_fft_plan *plan)
{
    size_t pairs = 0, length = plan->n / 2;
    for (size_t i = 0; i < plan->n_steps; i++) {
        length /= (size_t)plan->radices[i];
        pairs += length * (size_t)(plan->radices[i] - 1);
    }
    put(w, plan->twiddles, 2 * pairs, UNIT);
    put(w, plan->unpack, 2 * (plan->n / 4 + 1), UNIT);
}

size_t nac_cuda_encoder_floats(const codec_model *model, float *floats)
{
    const nac_encoder *net = &model->encoder;
    const nac_analysis *front = &net->front;
    writer w = {floats, 0};
    put_fft(&w, &front->long_fft);
    put_fft(&w, &front->short_fft);
    put(&w, front->long_window, front->long_fft.n, UNIT);
    put(&w, front->short_window, front->short_fft.n, UNIT);
    put(&w, front->mean, front->size, UNIT);
    put(&w, front->scale, front->size, UNIT);
    put_dense(&w, &net->embed);
    put_body(&w, &net->body);
    put_dense(&w, &net->project);
    put(&w, net->rvq.codebooks, net->rvq.levels * net->rvq.codewords * net->rvq.dim, UNIT);
    return w.used;
}

size_t nac_cuda_decoder_floats(const codec_model *model, float *floats)
{
    const nac_decoder *net = &model->decoder;
    const nac_synthesis *back = &net->back;
    const size_t bins = back->fft.n / 2 + 1;
    writer w = {floats, 0};
    put(&w, net->codebooks, net->levels * net->codewords * net->latent, UNIT);
    put_dense(&w, &net->embed);
    put_body(&w, &net->body);
    put_fft(&w, &back->fft);
    put(&w, back->window, back->fft.n, UNIT);
    put(&w, back->lower, bins, UNIT);
    put(&w, back->upper, bins, UNIT);
    put_dense(&w, &net->gain);
    put_dense(&w, &net->shape);
    return w.used;
}

/* Appends values [n] at `used`; returns the new end. */
static size_t put_ints(int32_t *ints, size_t used, const int32_t *values, size_t n)
{
    if (ints) memcpy(ints + used, values, n * sizeof *values);
    return used + n;
}

size_t nac_cuda_encoder_ints(const codec_model *model, int32_t *ints)
{
    const nac_analysis *front = &model->encoder.front;
    const size_t used = put_ints(ints, 0, front->long_fft.radices, front->long_fft.n_steps);
    return put_ints(ints, used, front->short_fft.radices, front->short_fft.n_steps);
}

size_t nac_cuda_decoder_ints(const codec_model *model, int32_t *ints)
{
    const nac_synthesis *back = &model->decoder.back;
    const size_t used = put_ints(ints, 0, back->fft.radices, back->fft.n_steps);
    return put_ints(ints, used, back->band, back->fft.n / 2 + 1);
}

static nac_cuda_fft_sizes fft_sizes(const nac_fft_plan *plan)
{
    return (nac_cuda_fft_sizes){(int64_t)plan->n, (int64_t)plan->n_steps};
}

static nac_cuda_body_sizes body_sizes(const nac_backbone *body, size_t dim, size_t hidden)
{
    return (nac_cuda_body_sizes){(int64_t)dim, (int64_t)hidden, (int64_t)body->n_blocks,
                                 (int64_t)body->taps, (int64_t)body->lookahead};
}

void nac_cuda_encoder_fill(const codec_model *model, nac_cuda_encoder_sizes *sizes)
{
    const nac_config *c = &model->config;
    const nac_encoder *net = &model->encoder;
    *sizes = (nac_cuda_encoder_sizes){
        .long_fft = fft_sizes(&net->front.long_fft),
        .short_fft = fft_sizes(&net->front.short_fft),
        .hop = (int64_t)net->front.hop,
        .per_frame = (int64_t)net->front.per_frame,
        .phase_bins = (int64_t)net->front.phase_bins,
        .waveform = net->front.waveform,
        .gather = (int64_t)net->gather,
        .stack = (int64_t)net->stack,
        .body = body_sizes(&net->body, c->encoder_dim, c->encoder_hidden),
        .levels = (int64_t)net->rvq.levels,
        .codewords = (int64_t)net->rvq.codewords,
        .latent = (int64_t)net->latent,
    };
}

void nac_cuda_decoder_fill(const codec_model *model, nac_cuda_decoder_sizes *sizes)
{
    const nac_config *c = &model->config;
    const nac_decoder *net = &model->decoder;
    *sizes = (nac_cuda_decoder_sizes){
        .levels = (int64_t)net->levels,
        .codewords = (int64_t)net->codewords,
        .latent = (int64_t)net->latent,
        .stack = (int64_t)net->stack,
        .body = body_sizes(&net->body, c->decoder_dim, c->decoder_hidden),
        .fft = fft_sizes(&net->back.fft),
        .hop = (int64_t)net->back.hop,
        .per_frame = (int64_t)net->back.per_frame,
        .bands = (int64_t)net->back.bands,
        .noise_bin = (int64_t)net->back.noise_bin,
    };
}
