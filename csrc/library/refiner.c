#include "refiner.h"

#include <stdatomic.h>

#include "common/fp_env.h"
#include "tables.h"

typedef struct {
    nac_memory memory; /* of all, and of this struct */
    nac_refiner refiner;
} owned;

struct nac_refiner_slot {
    _Atomic(owned *) made;
};

/* The loudness: bands of equal width on the Bark scale up to HIGHEST hertz. */
enum { BARK_BANDS = 49, HIGHEST = 8000 };

static codec_status no_memory(nac_reason reason)
{
    return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for the tables of a refinement");
}

static float exp_of(double x)
{
    const float in = (float)x;
    float y;
    nac_elementary(0, &in, 1, &y);
    return y;
}

static double log_of(double x)
{
    const float in = (float)x;
    float y;
    nac_elementary(1, &in, 1, &y);
    return (double)y;
}

/* The layer whose product with a row is that of the transposed weights. */
static int transpose(nac_memory *memory, const nac_dense *layer, const float *zeros,
                     nac_dense *back)
{
    const size_t depth = layer->depth, width = layer->width;
    const size_t columns = nac_round_up(depth, NAC_PANEL);
    nac_memory aside = {NULL};
    float *rows = nac_memory_new(&aside, depth * width, sizeof *rows);
    float *panels = nac_memory_new(memory, columns * width, sizeof *panels);
    if (rows && panels) {
        for (size_t n = 0; n < width; n++)
            for (size_t k = 0; k < depth; k++)
                rows[k * width + n] =
                    layer->panels[(n - n % NAC_PANEL) * depth + k * NAC_PANEL + n % NAC_PANEL];
        nac_dense_pack(rows, width, depth, panels);
        *back = (nac_dense){.depth = width, .width = columns, .panels = panels, .bias = zeros};
    }
    const int made = rows && panels;
    nac_memory_free(&aside);
    return made;
}

static codec_status load_products(const codec_model *model, nac_memory *memory, nac_refiner *r,
                                  nac_reason reason)
{
    const nac_decoder *net = &model->decoder;
    const nac_backbone *body = &net->body;
    const size_t longest =
        nac_larger(nac_larger(body->width, body->hidden), nac_round_up(net->latent, NAC_PANEL));
    const float *zeros = nac_memory_new(memory, longest, sizeof *zeros);
    nac_dense *expand = nac_memory_new(memory, body->n_blocks, sizeof *expand);
    nac_dense *reduce = nac_memory_new(memory, body->n_blocks, sizeof *reduce);
    if (!zeros || !expand || !reduce) return no_memory(reason);
    int made = transpose(memory, &net->embed, zeros, &r->embed_back) &&
               transpose(memory, &net->gain, zeros, &r->gain_back) &&
               transpose(memory, &net->shape, zeros, &r->shape_back);
    for (size_t i = 0; made && i < body->n_blocks; i++)
        made = transpose(memory, &body->blocks[i].expand, zeros, &expand[i]) &&
               transpose(memory, &body->blocks[i].reduce, zeros, &reduce[i]);
    r->expand_back = expand;
    r->reduce_back = reduce;
    return made ? CODEC_OK : no_memory(reason);
}

/* The tables of a resolution that all have, and room for its bands. */
typedef struct {
    float *window, *lower, *upper, *weight;
    int *band;
} tables;

static codec_status new_tables(nac_memory *memory, size_t n, nac_resolution *at, tables *t,
                               nac_reason reason)
{
    const size_t bins = n / 2 + 1;
    const codec_status status = nac_fft_tables(n, memory, &at->fft, reason);
    if (status) return status;
    t->window = nac_memory_new(memory, n, sizeof *t->window);
    t->lower = nac_memory_new(memory, bins, sizeof *t->lower);
    t->upper = nac_memory_new(memory, bins, sizeof *t->upper);
    t->weight = nac_memory_new(memory, bins, sizeof *t->weight);
    t->band = nac_memory_new(memory, bins, sizeof *t->band);
    if (!t->window || !t->lower || !t->upper || !t->weight || !t->band) return no_memory(reason);
    nac_hann(n, t->window);
    at->window = t->window;
    at->lower = t->lower;
    at->upper = t->upper;
    at->band = t->band;
    return CODEC_OK;
}

/* Complex values count where the codes carry phases: 1 up to `edge` hertz, then falling by e every
 * quarter of it, and 1 on average (codec.training.losses.spectral). */
static void weigh_phases(size_t bins, double bin_width, double edge, float *weight)
{
    double sum = 0;
    for (size_t k = 0; k < bins; k++) {
        const double above = (double)k * bin_width - edge;
        weight[k] = above > 0 ? exp_of(-4.0 * above / edge) : 1.0f;
        sum += (double)weight[k];
    }
    for (size_t k = 0; k < bins; k++) weight[k] = (float)((double)weight[k] * (double)bins / sum);
}

static codec_status load_resolution(const nac_config *c, nac_memory *memory, size_t n, size_t bands,
                                    int complex, nac_resolution *at, nac_reason reason)
{
    tables t;
    codec_status status = new_tables(memory, n, at, &t, reason);
    if (status) return status;
    const size_t bins = n / 2 + 1;
    nac_memory aside = {NULL};
    double *edges = nac_memory_new(&aside, bands, sizeof *edges);
    if (!edges) return no_memory(reason);
    nac_band_edges(bands, c->sample_rate, edges);
    const int fits = nac_band_weights(edges, bands, n, c->sample_rate, t.band, t.lower, t.upper);
    nac_memory_free(&aside);
    if (!fits) return nac_fail(reason, CODEC_ERROR_UNSUPPORTED, "bands of the objective coincide");
    at->hop = n / 4;
    at->bands = bands;
    if (complex) {
        const double edge = c->noise_from > 0 ? (double)c->noise_from : 4000.0;
        weigh_phases(bins, (double)c->sample_rate / (double)n, edge, t.weight);
        at->weight = t.weight;
    }
    return CODEC_OK;
}

/* Bark scale: z = 6 asinh(f / 600) (Wang, Sekey & Gersho 1992). */
static double hertz_at(double part, double top)
{
    const double z = log_of(top / 600 + (double)__builtin_sqrtf((float)(top * top / 360000 + 1)));
    const double e = (double)exp_of(part * z);
    return 300 * (e - 1 / e);
}

/* The power at the threshold in quiet (Terhardt 1979), 1 for 0 dB. */
static float threshold(double hertz)
{
    const double khz = hertz / 1000, off = khz - 3.3;
    const double db = 3.64 * (double)exp_of(-0.8 * log_of(khz)) -
                      6.5 * (double)exp_of(-0.6 * off * off) + 1e-3 * khz * khz * khz * khz;
    return exp_of((db < 60 ? db : 60) * 0.230258509299404568); /* log(10) / 10 */
}

static codec_status load_loudness(const nac_config *c, nac_memory *memory, size_t n,
                                  nac_resolution *at, nac_reason reason)
{
    tables t;
    codec_status status = new_tables(memory, n, at, &t, reason);
    float *quiet = nac_memory_new(memory, BARK_BANDS, sizeof *quiet);
    if (status) return status;
    if (!quiet) return no_memory(reason);
    const double rate = (double)c->sample_rate, bin = rate / (double)n;
    const double top = rate / 2 < HIGHEST ? rate / 2 : HIGHEST;
    size_t band = 0;
    for (size_t k = 0; k <= n / 2; k++) {
        const double from = k ? ((double)k - 0.5) * bin : 0, to = ((double)k + 0.5) * bin;
        while (band + 2 < BARK_BANDS && hertz_at((double)(band + 1) / BARK_BANDS, top) <= from)
            band++;
        const double end = hertz_at((double)(band + 1) / BARK_BANDS, top);
        const double within = to < top ? to : top, first = within < end ? within : end;
        t.band[k] = (int)band;
        t.lower[k] = first > from ? (float)((first - from) / bin) : 0.0f;
        t.upper[k] = within > (end > from ? end : from)
                         ? (float)((within - (end > from ? end : from)) / bin)
                         : 0.0f;
    }
    for (size_t b = 0; b < BARK_BANDS; b++)
        quiet[b] = threshold(hertz_at(((double)b + 0.5) / BARK_BANDS, top));
    at->hop = n / 2;
    at->bands = BARK_BANDS;
    at->quiet = quiet;
    return CODEC_OK;
}

static codec_status load(const codec_model *model, nac_memory *memory, nac_refiner *r,
                         nac_reason reason)
{
    const nac_config *c = &model->config;
    const size_t hop = c->backbone_hop;
    *r = (nac_refiner){.net = &model->decoder, .rvq = &model->encoder.rvq};
    codec_status status = load_products(model, memory, r, reason);
    if (!status) status = load_resolution(c, memory, 2 * hop, 80, 1, &r->at[0], reason);
    if (!status) status = load_resolution(c, memory, hop, 64, 1, &r->at[1], reason);
    if (!status) status = load_resolution(c, memory, hop / 2, 40, 0, &r->at[2], reason);
    if (!status) status = load_loudness(c, memory, 2 * hop, &r->loud, reason);
    return status;
}

static void free_owned(owned *one)
{
    if (!one) return;
    nac_memory memory = one->memory;
    nac_memory_free(&memory);
}

static codec_status make(const codec_model *model, owned **made, nac_reason reason)
{
    nac_memory memory = {NULL};
    owned *one = nac_memory_new(&memory, 1, sizeof *one);
    if (!one) return no_memory(reason);
    const nac_fp_env caller = nac_fp_env_enter();
    const codec_status status = load(model, &memory, &one->refiner, reason);
    nac_fp_env_leave(caller);
    one->memory = memory;
    if (status)
        free_owned(one);
    else
        *made = one;
    return status;
}

nac_refiner_slot *nac_refiner_slot_new(nac_memory *memory)
{
    nac_refiner_slot *slot = nac_memory_new(memory, 1, sizeof *slot);
    if (slot) atomic_init(&slot->made, NULL);
    return slot;
}

void nac_refiner_slot_clear(nac_refiner_slot *slot)
{
    free_owned(atomic_exchange(&slot->made, NULL));
}

codec_status nac_refiner_of(const codec_model *model, const nac_refiner **refiner,
                            nac_reason reason)
{
    const size_t hop = model->config.backbone_hop;
    if (hop % 8 || hop < 64)
        return nac_fail(reason, CODEC_ERROR_UNSUPPORTED,
                        "codes cannot be refined with a hop of %zu samples", hop);
    owned *found = atomic_load(&model->refiner->made), *made = NULL;
    if (!found) {
        const codec_status status = make(model, &made, reason);
        if (status) return status;
        /* Of threads that make one at once, the first one's is kept. */
        if (atomic_compare_exchange_strong(&model->refiner->made, &found, made))
            found = made;
        else
            free_owned(made);
    }
    *refiner = &found->refiner;
    return CODEC_OK;
}
