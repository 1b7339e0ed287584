#include "entropy_data.h"

#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

enum { CONTEXTS = 6, MAX_BIAS = 1 << 24, TOKENS_ID_BYTES = 5 };

/* The codes that are known before the one at level q of frame t: `back` frames before, `coarser`
 * levels above q, or level 0 if FIRST; used only for q > beyond, so that no code counts twice. */
#define FIRST (-1)
static const struct {
    int32_t back, coarser, beyond;
} contexts[CONTEXTS] = {{1, 0, -1}, {0, 1, -1},    {0, 2, -1},
                        {0, 3, -1}, {0, FIRST, 3}, {1, FIRST, 0}};

static int32_t context_level(size_t i, int32_t q)
{
    const int32_t level = contexts[i].coarser == FIRST ? 0 : q - contexts[i].coarser;
    return level >= 0 && q > contexts[i].beyond ? level : -1;
}

typedef struct {
    const nac_safetensors *file;
    const nac_entropy_model *model;
    nac_memory *memory;
    nac_reason reason;
    float *matrix; /* of the layer that is packed */
} loader;

#define SHAPE(...) \
    sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), (const size_t[]) { __VA_ARGS__ }
#define NEED(l, name, dtype, tensor, ...) \
    nac_tensor_need((l)->file, name, dtype, SHAPE(__VA_ARGS__), tensor, (l)->reason)

static size_t padded(size_t n) { return nac_round_up(n, NAC_PANEL); }

static codec_status no_memory(const loader *l)
{
    return nac_fail(l->reason, CODEC_ERROR_MEMORY, "no memory for the coder's data");
}

/* A copy of a tensor's bytes, which may lie at any alignment. */
static void *copied(loader *l, const nac_tensor *tensor)
{
    void *copy = nac_memory_new(l->memory, tensor->bytes, 1);
    if (copy) memcpy(copy, tensor->data, tensor->bytes);
    return copy;
}

/* The same of int32; all are to be in [low, high]. */
static codec_status integers(loader *l, const nac_tensor *tensor, int32_t low, int32_t high,
                             const int32_t **values)
{
    int32_t *copy = nac_memory_new(l->memory, tensor->count, sizeof *copy);
    if (!copy) return no_memory(l);
    for (size_t i = 0; i < tensor->count; i++) {
        copy[i] = nac_tensor_int32(tensor, i);
        if (copy[i] < low || copy[i] > high)
            return nac_fail(l->reason, CODEC_ERROR_MODEL, "the tables are out of their limits");
    }
    *values = copy;
    return CODEC_OK;
}

static codec_status load_tables(loader *l, nac_tables *tables)
{
    const size_t levels = l->model->levels, n = l->model->codewords;
    const nac_tensor *embed = nac_safetensors_find(l->file, "tables.embed"), *out, *bias, *bits;
    const size_t rank = embed && embed->rank == 4 ? embed->shape[3] : 0;
    codec_status status;
    if (rank < 1 || rank > NAC_MAX_RANK || n < 2 || n > NAC_MAX_CODEWORDS)
        return nac_fail(l->reason, CODEC_ERROR_MODEL, "the tables are out of their limits");
    if ((status = NEED(l, "tables.embed", NAC_DTYPE_I8, &embed, levels, CONTEXTS, n, rank)) ||
        (status = NEED(l, "tables.out", NAC_DTYPE_I8, &out, levels, rank, n)) ||
        (status = NEED(l, "tables.bias", NAC_DTYPE_I32, &bias, levels, n)) ||
        (status = NEED(l, "tables.fraction_bits", NAC_DTYPE_I32, &bits, levels)))
        return status;
    *tables = (nac_tables){.isa = l->model->kernels->isa,
                           .levels = levels,
                           .codewords = n,
                           .rank = rank,
                           .contexts = CONTEXTS,
                           .embed = copied(l, embed),
                           .out = copied(l, out)};
    int32_t *back = nac_memory_new(l->memory, CONTEXTS, sizeof *back);
    int32_t *source = nac_memory_new(l->memory, levels * CONTEXTS, sizeof *source);
    if (!tables->embed || !tables->out || !back || !source) return no_memory(l);
    for (size_t i = 0; i < CONTEXTS; i++) {
        back[i] = contexts[i].back;
        for (size_t q = 0; q < levels; q++) source[q * CONTEXTS + i] = context_level(i, (int32_t)q);
    }
    tables->back = back;
    tables->source = source;
    if ((status = integers(l, bias, -MAX_BIAS, MAX_BIAS, &tables->bias))) return status;
    return integers(l, bits, 0, NAC_MAX_FRACTION_BITS, &tables->fraction_bits);
}

/* Values [first, first + n) of a tensor, then zeros to a whole panel; zeros alone without one. */
static codec_status vector(loader *l, const nac_tensor *tensor, size_t first, size_t n,
                           const float **values)
{
    float *copy = nac_memory_new(l->memory, padded(n), sizeof *copy);
    if (!copy) return no_memory(l);
    if (tensor && !nac_tensor_floats(tensor, first, n, copy))
        return nac_fail(l->reason, CODEC_ERROR_MODEL, "the prior has values that are not finite");
    *values = copy;
    return CODEC_OK;
}

/* Packs l->matrix [columns][depth]. */
static codec_status pack(loader *l, size_t columns, size_t depth, nac_dense *layer)
{
    float *panels = nac_memory_new(l->memory, padded(columns), depth * sizeof *panels);
    if (!panels) return no_memory(l);
    nac_dense_pack(l->matrix, depth, columns, panels);
    *layer = (nac_dense){.depth = depth, .width = padded(columns), .panels = panels};
    return CODEC_OK;
}

/* A layer of `columns` rows from row `first` on: 8-bit integers [depth], and a scale for each row.
 * The product of both is exact. */
static codec_status dense(loader *l, const nac_tensor *rows, const nac_tensor *scales, size_t first,
                          size_t columns, size_t depth, nac_dense *layer)
{
    for (size_t c = 0; c < columns; c++) {
        float scale;
        if (!nac_tensor_floats(scales, first + c, 1, &scale))
            return nac_fail(l->reason, CODEC_ERROR_MODEL,
                            "the prior has scales that are not finite");
        const unsigned char *row = rows->data + (first + c) * depth;
        for (size_t k = 0; k < depth; k++)
            l->matrix[c * depth + k] = (float)((row[k] ^ 0x80) - 0x80) * scale;
    }
    return pack(l, columns, depth, layer);
}

/* The codewords of a level, each followed by its norm, as the layer that scores them. */
static codec_status scoring(loader *l, const nac_tensor *norms, size_t level, nac_dense *layer)
{
    const size_t n = l->model->codewords, dim = l->model->dim, inputs = dim + 1;
    const float *codebook = l->model->codebooks + level * n * dim;
    codec_status status;
    for (size_t k = 0; k < n; k++) {
        memcpy(l->matrix + k * inputs, codebook + k * dim, dim * sizeof *codebook);
        if (!nac_tensor_floats(norms, level * n + k, 1, l->matrix + k * inputs + dim))
            return nac_fail(l->reason, CODEC_ERROR_MODEL,
                            "the prior has norms that are not finite");
    }
    if ((status = pack(l, n, inputs, layer))) return status;
    return vector(l, NULL, 0, n, &layer->bias);
}

/* The sizes of the network, which its own tensors tell. */
static codec_status measure(loader *l, nac_prior *prior)
{
    const nac_tensor *square = nac_safetensors_find(l->file, "prior.gru_state");
    const nac_tensor *sum = nac_safetensors_find(l->file, "prior.from_sum");
    if (!square || !sum)
        return nac_fail(l->reason, CODEC_ERROR_MODEL, "the coder's data hold no prior");
    prior->state = square->rank == 2 ? square->shape[1] : 0;
    prior->hidden = sum->rank == 3 ? sum->shape[1] : 0;
    if (!prior->state || !prior->hidden || prior->state % NAC_PANEL || prior->hidden % NAC_PANEL ||
        prior->state > 1 << 14 || prior->hidden > 1 << 14)
        return nac_fail(l->reason, CODEC_ERROR_MODEL, "the prior's shapes do not fit");
    return CODEC_OK;
}

static codec_status load_layers(loader *l, nac_prior *p, nac_dense *layers)
{
    const size_t levels = p->levels, n = p->codewords, inputs = p->dim + 1;
    const size_t gates = 3 * p->state, hidden = p->hidden;
    const nac_dtype I8 = NAC_DTYPE_I8, F32 = NAC_DTYPE_F32; /* F32: any floats */
    const nac_tensor *gru_input, *gru_state, *from_state, *from_sum, *predict, *bias, *centre;
    const nac_tensor *input_scales, *state_scales, *from_scales, *sum_scales, *predict_scales;
    const nac_tensor *input_bias, *state_bias, *norms, *scale;
    codec_status status;
    if ((status = NEED(l, "prior.input_scale", F32, &scale, 1)) ||
        (status = NEED(l, "prior.gru_input", I8, &gru_input, gates, inputs)) ||
        (status = NEED(l, "prior.gru_input.scale", F32, &input_scales, gates)) ||
        (status = NEED(l, "prior.gru_input_bias", F32, &input_bias, gates)) ||
        (status = NEED(l, "prior.gru_state", I8, &gru_state, gates, p->state)) ||
        (status = NEED(l, "prior.gru_state.scale", F32, &state_scales, gates)) ||
        (status = NEED(l, "prior.gru_state_bias", F32, &state_bias, gates)) ||
        (status = NEED(l, "prior.from_state", I8, &from_state, levels, hidden, p->state)) ||
        (status = NEED(l, "prior.from_state.scale", F32, &from_scales, levels, hidden)) ||
        (status = NEED(l, "prior.from_sum", I8, &from_sum, levels, hidden, inputs)) ||
        (status = NEED(l, "prior.from_sum.scale", F32, &sum_scales, levels, hidden)) ||
        (status = NEED(l, "prior.bias", F32, &bias, levels, hidden)) ||
        (status = NEED(l, "prior.predict", I8, &predict, levels, inputs, hidden)) ||
        (status = NEED(l, "prior.predict.scale", F32, &predict_scales, levels, inputs)) ||
        (status = NEED(l, "prior.centre", F32, &centre, levels, inputs)) ||
        (status = NEED(l, "prior.norms", F32, &norms, levels, n)))
        return status;
    if (!nac_tensor_floats(scale, 0, 1, &p->input_scale))
        return nac_fail(l->reason, CODEC_ERROR_MODEL, "the prior has values that are not finite");
    if ((status = dense(l, gru_input, input_scales, 0, gates, inputs, &p->gru_input)) ||
        (status = vector(l, input_bias, 0, gates, &p->gru_input.bias)) ||
        (status = dense(l, gru_state, state_scales, 0, gates, p->state, &p->gru_state)) ||
        (status = vector(l, state_bias, 0, gates, &p->gru_state.bias)) ||
        (status =
             dense(l, from_state, from_scales, 0, levels * hidden, p->state, &p->from_state)) ||
        (status = vector(l, bias, 0, levels * hidden, &p->from_state.bias)))
        return status;
    for (size_t q = 0; q < levels; q++) {
        nac_dense *predicted = &layers[levels + q];
        if ((status = dense(l, from_sum, sum_scales, q * hidden, hidden, inputs, &layers[q])) ||
            (status = dense(l, predict, predict_scales, q * inputs, inputs, hidden, predicted)) ||
            (status = vector(l, centre, q * inputs, inputs, &predicted->bias)) ||
            (status = scoring(l, norms, q, &layers[2 * levels + q])))
            return status;
    }
    return CODEC_OK;
}

static codec_status load_prior(loader *l, const nac_tables *tables, nac_prior *prior)
{
    const nac_entropy_model *model = l->model;
    const size_t levels = model->levels, inputs = model->dim + 1;
    *prior = (nac_prior){.k = model->kernels,
                         .tables = tables,
                         .levels = levels,
                         .codewords = model->codewords,
                         .dim = model->dim,
                         .codebooks = model->codebooks};
    codec_status status = measure(l, prior);
    if (status) return status;
    float *unit = nac_memory_new(l->memory, levels, sizeof *unit);
    nac_dense *layers = nac_memory_new(l->memory, 3 * levels, sizeof *layers);
    /* Room for any of the layers: no file has as many values as would overflow this. */
    size_t rows = nac_larger(3 * prior->state, nac_larger(levels * prior->hidden, inputs));
    rows = nac_larger(rows, model->codewords);
    const size_t depth = nac_larger(inputs, nac_larger(prior->state, prior->hidden));
    l->matrix =
        rows < SIZE_MAX / sizeof(float) / depth ? malloc(rows * depth * sizeof(float)) : NULL;
    if (!unit || !layers || !l->matrix) {
        free(l->matrix);
        return no_memory(l);
    }
    for (size_t q = 0; q < levels; q++) /* log 2 over a power of two: exact */
        unit[q] = 0x1.62e430p-1f / (float)(1 << tables->fraction_bits[q]);
    prior->unit = unit;
    prior->from_sum = layers;
    prior->predict = layers + levels;
    prior->out = layers + 2 * levels;
    status = load_layers(l, prior, layers);
    free(l->matrix);
    return status;
}

/* The bytes of two hexadecimal digits each; returns 0 if text [size] is anything else. */
static int from_hex(const char *text, size_t size, uint8_t *bytes, size_t n)
{
    if (size != 2 * n) return 0;
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return 0;
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | digit);
    }
    return 1;
}

static codec_status check_metadata(const loader *l)
{
    const nac_json_node *format = nac_safetensors_metadata(l->file, "format");
    const nac_json_node *id = nac_safetensors_metadata(l->file, "model_id");
    char text[16];
    uint8_t bytes[8] = {0};
    if (!format || !nac_json_equals(format, "codec entropy 1"))
        return nac_fail(l->reason, CODEC_ERROR_MODEL, "not data of the entropy coders");
    if (!id || nac_json_string(id, text, sizeof text) != sizeof text ||
        !from_hex(text, sizeof text, bytes, sizeof bytes))
        return nac_fail(l->reason, CODEC_ERROR_MODEL, "the coder's data do not name their model");
    if (memcmp(bytes, l->model->id, TOKENS_ID_BYTES) != 0)
        return nac_fail(l->reason, CODEC_ERROR_MODEL, "the coder's data are of another model");
    return CODEC_OK;
}

codec_status nac_entropy_load(const void *data, size_t size, const nac_entropy_model *model,
                              nac_tables *tables, nac_prior *prior, nac_memory *memory,
                              nac_reason reason)
{
    nac_safetensors file;
    nac_memory header = {NULL};
    loader l = {.file = &file, .model = model, .memory = memory, .reason = reason};
    codec_status status = nac_safetensors_open(data, size, &header, &file, reason);
    if (!status) status = check_metadata(&l);
    if (!status) status = load_tables(&l, tables);
    if (!status && prior) status = load_prior(&l, tables, prior);
    nac_memory_free(&header);
    return status;
}
