#include "enhancer_model.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/fp_env.h"
#include "engine/periods.h"
#include "file.h"
#include "model.h"
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

/* Floats of scratch memory of an enhancer that is still taken: 1 GB. */
static const size_t MOST_SCRATCH = (size_t)1 << 28;

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

/* Whether the file says that it was made for the model `id`. */
static codec_status check_id(const nac_safetensors *file, const uint8_t *id, nac_reason reason)
{
    enum { DIGITS = 2 * NAC_ID_BYTES };
    const nac_json_node *found = nac_safetensors_metadata(file, "model");
    char wanted[DIGITS + 1], said[DIGITS + 1] = "";
    for (size_t i = 0; i < NAC_ID_BYTES; i++) snprintf(wanted + 2 * i, 3, "%02x", id[i]);
    if (!found) return damaged(reason, "model");
    if (nac_json_equals(found, wanted)) return CODEC_OK;
    nac_json_string(found, said, DIGITS);
    return nac_fail(reason, CODEC_ERROR_MODEL, "the enhancer is of model %s, not %s", said, wanted);
}

static codec_status load(codec_enhancer *made, const void *data, size_t size, const uint8_t *id,
                         nac_memory *aside, nac_reason reason)
{
    nac_enhancer *net = &made->net;
    nac_safetensors file;
    dimensions d;
    const nac_packing p = {
        .file = &file, .kernels = net->k, .memory = &made->memory, .reason = reason};
    codec_status status = nac_safetensors_open(data, size, aside, &file, reason);
    if (!status && id) status = check_id(&file, id, reason);
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
    if (status) return status;
    const size_t hops = nac_enhancer_before(net) + NAC_ENHANCER_SPAN + nac_enhancer_after(net);
    if (nac_enhancer_scratch(net, hops * net->plan.hop) > MOST_SCRATCH)
        return nac_fail(reason, CODEC_ERROR_UNSUPPORTED, "the enhancer's frames are too large");
    return CODEC_OK;
}

codec_status nac_enhancer_read(const void *data, size_t size, const uint8_t id[NAC_ID_BYTES],
                               const char *instruction_set, codec_enhancer **enhancer,
                               nac_reason reason)
{
    *enhancer = NULL;
    codec_enhancer *made = calloc(1, sizeof *made);
    if (!made) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for an enhancer");
    codec_status status = nac_find_kernels(instruction_set, &made->net.k, reason);
    if (!status) {
        nac_memory aside = {NULL};
        const nac_fp_env caller = nac_fp_env_enter();
        status = load(made, data, size, id, &aside, reason);
        nac_fp_env_leave(caller);
        nac_memory_free(&aside);
    }
    if (status)
        codec_enhancer_free(made);
    else
        *enhancer = made;
    return status;
}

codec_status codec_enhancer_read(const codec_model *model, const void *data, size_t size,
                                 const char *instruction_set, codec_enhancer **enhancer,
                                 char *message, size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    if (!model || !data || !enhancer)
        return nac_fail(reason, CODEC_ERROR_ARGUMENT,
                        "the model, the weights or the enhancer are NULL");
    *enhancer = NULL;
    if (model->config.sample_rate != NAC_PERIOD_RATE)
        return nac_fail(reason, CODEC_ERROR_UNSUPPORTED,
                        "an enhancer is for models of %d Hz, not %zu Hz", NAC_PERIOD_RATE,
                        (size_t)model->config.sample_rate);
    return nac_enhancer_read(data, size, model->id, instruction_set, enhancer, reason);
}

codec_status codec_enhancer_open(const codec_model *model, const char *path,
                                 const char *instruction_set, codec_enhancer **enhancer,
                                 char *message, size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    const void *data;
    size_t size;
    nac_memory aside = {NULL};
    if (!model || !path || !enhancer)
        return nac_fail(reason, CODEC_ERROR_ARGUMENT,
                        "the model, the path or the enhancer are NULL");
    *enhancer = NULL;
    codec_status status = nac_file_read(path, &aside, &data, &size, reason);
    if (!status)
        status = codec_enhancer_read(model, data, size, instruction_set, enhancer, message,
                                     message_size);
    nac_memory_free(&aside);
    return status;
}

void codec_enhancer_free(codec_enhancer *enhancer)
{
    if (!enhancer) return;
    nac_memory_free(&enhancer->memory);
    free(enhancer);
}
