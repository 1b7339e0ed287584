#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "common/fp_env.h"
#include "file.h"

static codec_status find_kernels(const char *name, const nac_kernels **kernels, nac_reason reason)
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

static codec_status read_config(const nac_safetensors *file, nac_config *config, nac_reason reason)
{
    const nac_json_node *text = nac_safetensors_metadata(file, "config");
    nac_memory aside = {NULL};
    if (!text)
        return nac_fail(reason, CODEC_ERROR_MODEL,
                        "there is no model configuration: not weights of codec");
    char *json = nac_memory_new(&aside, text->size, 1);
    codec_status status = CODEC_ERROR_MEMORY;
    if (json) {
        const size_t size = nac_json_string(text, json, text->size);
        status = nac_config_read(json, size, config, reason);
    }
    nac_memory_free(&aside);
    return status;
}

/* Fills `model` from the file in `data`; `aside` is for what is not needed afterwards. */
static codec_status load(codec_model *model, const void *data, size_t size, nac_memory *aside,
                         nac_reason reason)
{
    nac_safetensors file;
    codec_status status = nac_safetensors_open(data, size, aside, &file, reason);
    if (!status) status = read_config(&file, &model->config, reason);
    if (status) return status;
    const nac_packing packing = {&file,     &model->config, model->kernels,
                                 NAC_BLOCK, &model->memory, reason};
    nac_model_id(&file, &model->config, model->id);
    status = nac_pack_codebooks(&packing, &model->books);
    if (!status) status = nac_pack_encoder(&packing, model->books, &model->encoder);
    if (!status) status = nac_pack_decoder(&packing, model->books, &model->decoder);
    return status;
}

codec_status codec_model_read(const void *data, size_t size, const char *instruction_set,
                              codec_model **model, char *message, size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    if (!model || !data)
        return nac_fail(reason, CODEC_ERROR_ARGUMENT, "the weights or the model are NULL");
    *model = NULL;
    codec_model *made = calloc(1, sizeof *made);
    if (!made) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for a model");
    codec_status status = find_kernels(instruction_set, &made->kernels, reason);
    if (!status) {
        nac_memory aside = {NULL};
        const nac_fp_env caller = nac_fp_env_enter();
        status = load(made, data, size, &aside, reason);
        nac_fp_env_leave(caller);
        nac_memory_free(&aside);
    }
    if (status)
        codec_model_free(made);
    else
        *model = made;
    return status;
}

codec_status codec_model_open(const char *path, const char *instruction_set, codec_model **model,
                              char *message, size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    const void *data;
    size_t size;
    nac_memory aside = {NULL};
    if (!model || !path)
        return nac_fail(reason, CODEC_ERROR_ARGUMENT, "the path or the model is NULL");
    *model = NULL;
    codec_status status = nac_file_read(path, &aside, &data, &size, reason);
    if (!status)
        status = codec_model_read(data, size, instruction_set, model, message, message_size);
    nac_memory_free(&aside);
    return status;
}

void codec_model_free(codec_model *model)
{
    if (!model) return;
    nac_memory_free(&model->memory);
    free(model);
}

static uint32_t latency(size_t samples)
{
    return samples < UINT32_MAX ? (uint32_t)samples : UINT32_MAX;
}

codec_status codec_model_info(const codec_model *model, codec_info *info, size_t info_size)
{
    if (!model || !info) return CODEC_ERROR_ARGUMENT;
    const nac_config *c = &model->config;
    const nac_analysis *front = &model->encoder.front;
    const nac_synthesis *back = &model->decoder.back;
    codec_info all = {
        .sample_rate = (uint32_t)c->sample_rate,
        .hop_length = (uint32_t)c->hop_length,
        .codebooks = (uint32_t)c->n_codebooks,
        .codebook_size = (uint32_t)c->codebook_size,
        .latent_dim = (uint32_t)c->latent_dim,
        .encoder_latency = latency(front->right + model->encoder.body.lookahead *
                                                      model->encoder.gather * front->hop),
        .decoder_latency = latency((back->fft.n - back->hop) / 2 +
                                   model->decoder.body.lookahead * back->hop * back->per_frame),
    };
    all.channels = (uint32_t)c->channels;
    memcpy(all.id, model->id, sizeof all.id);
    memcpy(info, &all, info_size < sizeof all ? info_size : sizeof all);
    return CODEC_OK;
}

const char *codec_model_instruction_set(const codec_model *model)
{
    return model ? model->kernels->name : "";
}

size_t codec_frames(const codec_model *model, size_t n)
{
    if (!model) return 0;
    const size_t hop = model->config.hop_length;
    return n / hop + (n % hop != 0);
}

int nac_finite(const float *samples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, samples + i, sizeof bits);
        if ((bits & 0x7f800000) == 0x7f800000) return 0;
    }
    return 1;
}

int nac_codes_fit(const uint16_t *codes, size_t stride, size_t levels, size_t n, size_t codewords)
{
    for (size_t level = 0; level < levels; level++)
        for (size_t i = 0; i < n; i++)
            if (codes[level * stride + i] >= codewords) return 0;
    return 1;
}

int nac_latents_fit(const float *latents, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(latents[i] >= -1e30f && latents[i] <= 1e30f)) return 0; /* also NaN */
    return 1;
}
