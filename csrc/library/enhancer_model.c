#include "enhancer_model.h"

#include <stdlib.h>

#include "common/fp_env.h"
#include "engine/periods.h"
#include "pack_layers.h"
#include "tables.h"

/* Every dimension, with the most that is taken: what fits together is found by the weights' shapes. */
typedef struct {
    size_t bands, blocks, dim, fft, hidden, hop, kernel_size, lookahead, narrow, wide;
} dimensions;

static const struct {
    const char *name;
    size_t offset;
    int64_t least, most;
} FIELDS[] = {
    {"bands", offsetof(dimensions, bands), 2, 1 << 12},
    {"blocks", offsetof(dimensions, blocks), 0, 1 << 8},
    {"dim", offsetof(dimensions, dim), 1, 1 << 14},
    {"fft", offsetof(dimensions, fft), 240, 1 << 14},
    {"hidden", offsetof(dimensions, hidden), 1, 1 << 16},
    {"hop", offsetof(dimensions, hop), NAC_PERIOD_HOP, 1 << 13},
    {"kernel_size", offsetof(dimensions, kernel_size), 1, 1 << 8},
    {"lookahead", offsetof(dimensions, lookahead), 0, 1 << 8},
    {"narrow", offsetof(dimensions, narrow), 0, 1 << 13},
    {"wide", offsetof(dimensions, wide), 0, 1 << 13},
};

enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS, MAX_NODES = 64 };

static codec_status damaged(nac_reason reason, const char *name)
{
    return nac_fail(reason, CODEC_ERROR_MODEL, "the enhancer's %s is missing or out of range",
                    name);
}

static codec_status read_dimensions(const nac_safetensors *file, dimensions *d, nac_reason reason)
{
    const nac_json_node *text = nac_safetensors_metadata(file, "config");
    nac_json_node nodes[MAX_NODES];
    nac_memory aside = {NULL};
    char *json = text ? nac_memory_new(&aside, text->size, 1) : NULL;
    if (!json)
        return text ? nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for an enhancer")
                    : damaged(reason, "configuration");
    const size_t n =
        nac_json_parse(json, nac_json_string(text, json, text->size), nodes, MAX_NODES);
    const int object = n > 0 && n <= MAX_NODES && nodes[0].type == NAC_JSON_OBJECT;
    codec_status status = object ? CODEC_OK : damaged(reason, "configuration");
    for (size_t i = 0; !status && i < N_FIELDS; i++) {
        const size_t at = nac_json_member(nodes, 0, FIELDS[i].name);
        int64_t value;
        if (!at || !nac_json_integer(&nodes[at], &value) || value < FIELDS[i].least ||
            value > FIELDS[i].most)
            status = damaged(reason, FIELDS[i].name);
        else
            *(size_t *)(void *)((char *)d + FIELDS[i].offset) = (size_t)value;
    }
    nac_memory_free(&aside);
    return status;
}

static codec_status check(const dimensions *d, nac_reason reason)
{
    const size_t bins = d->fft / 2 + 1;
    if (d->fft % (2 * d->hop) || d->fft < 4 * d->hop || d->hop % NAC_PERIOD_HOP)
        return damaged(reason, "hop");
    if (d->wide > bins) return damaged(reason, "wide");
    if (d->narrow > d->wide) return damaged(reason, "narrow");
    return d->bands > bins ? damaged(reason, "bands") : CODEC_OK;
}

static codec_status load_plan(const nac_packing *p, const dimensions *d, nac_enhancement *plan)
{
    *plan =
        (nac_enhancement){.hop = d->hop, .bands = d->bands, .wide = d->wide, .narrow = d->narrow};
    codec_status status = nac_fft_tables(d->fft, p->memory, &plan->fft, p->reason);
    if (!status) status = nac_load_window(p, &plan->fft, &plan->window);
    if (!status)
        status = nac_load_bands(p, d->bands, d->fft, NAC_PERIOD_RATE, &plan->band, &plan->lower,
                                &plan->upper);
    if (status) return status;
    float *back = nac_memory_new(p->memory, d->fft, sizeof *back);
    if (!back) return nac_pack_no_memory(p);
    /* The squares of Hann windows, a quarter or less apart, sum up to 3/8 of a window's length. */
    const double scale = (double)d->hop / (0.375 * (double)d->fft) / (double)d->fft;
    for (size_t i = 0; i < d->fft; i++) back[i] = (float)((double)plan->window[i] * scale);
    plan->back = back;
    return CODEC_OK;
}

static codec_status load(nac_enhancer_model *model, const void *data, size_t size,
                         nac_memory *aside, nac_reason reason)
{
    nac_enhancer *net = &model->net;
    nac_safetensors file;
    dimensions d;
    const nac_packing p = {
        .file = &file, .kernels = net->k, .memory = &model->memory, .reason = reason};
    codec_status status = nac_safetensors_open(data, size, aside, &file, reason);
    if (!status) status = read_dimensions(&file, &d, reason);
    if (!status) status = check(&d, reason);
    if (!status) status = load_plan(&p, &d, &net->plan);
    if (status) return status;

    const nac_body_shape shape = {"backbone", d.blocks,      d.dim,
                                  d.hidden,   d.kernel_size, d.lookahead};
    const size_t seen = nac_features(&net->plan) + 3;
    status = nac_load_dense(&p, "embed", nac_plain(d.dim), nac_plain(seen), &net->embed);
    if (!status) status = nac_load_norm(&p, "norm", d.dim, &net->norm);
    if (!status) status = nac_load_body(&p, shape, &net->body);
    if (!status)
        status = nac_load_dense(&p, "factors", nac_plain(nac_factors(&net->plan)),
                                nac_side_by_side(1, d.dim), &net->factors);
    return status;
}

codec_status nac_enhancer_read(const void *data, size_t size, const char *instruction_set,
                               nac_enhancer_model **model, nac_reason reason)
{
    *model = NULL;
    nac_enhancer_model *made = calloc(1, sizeof *made);
    if (!made) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for an enhancer");
    codec_status status = nac_find_kernels(instruction_set, &made->net.k, reason);
    if (!status) {
        nac_memory aside = {NULL};
        const nac_fp_env caller = nac_fp_env_enter();
        status = load(made, data, size, &aside, reason);
        nac_fp_env_leave(caller);
        nac_memory_free(&aside);
    }
    if (status)
        nac_enhancer_free(made);
    else
        *model = made;
    return status;
}

void nac_enhancer_free(nac_enhancer_model *model)
{
    if (!model) return;
    nac_memory_free(&model->memory);
    free(model);
}
