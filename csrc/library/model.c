#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "common/fp_env.h"
#include "file.h"
#include "refiner.h"

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

/* The codewords that are given, or those of the file. */
static codec_status find_books(const nac_model_source *source, const nac_packing *packing,
                               const float **books)
{
    const nac_config *c = packing->config;
    if (!source->books) return nac_pack_codebooks(packing, books);
    if (source->n_books != c->n_codebooks * c->codebook_size * c->latent_dim)
        return nac_fail(packing->reason, CODEC_ERROR_MODEL, "the codebooks do not fit the model");
    *books = source->books;
    return CODEC_OK;
}

/* Fills `model`; `aside` is for what is not needed afterwards. */
static codec_status load(codec_model *model, const nac_model_source *source, nac_memory *aside,
                         nac_reason reason)
{
    nac_safetensors file;
    const nac_packing packing = {&file,         &model->config, model->kernels,
                                 source->block, &model->memory, reason};
    model->refiner = nac_refiner_slot_new(&model->memory);
    if (!model->refiner) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for a model");
    codec_status status = nac_safetensors_open(source->data, source->size, aside, &file, reason);
    if (!status)
        status = source->config
                     ? nac_config_read(source->config, source->config_size, &model->config, reason)
                     : read_config(&file, &model->config, reason);
    if (!status) status = find_books(source, &packing, &model->books);
    if (!status && source->halves & NAC_ENCODER)
        status = nac_pack_encoder(&packing, model->books, &model->encoder);
    if (!status && source->halves & NAC_DECODER)
        status = nac_pack_decoder(&packing, model->books, &model->decoder);
    if (!status && source->halves == (NAC_ENCODER | NAC_DECODER))
        nac_model_id(&file, &model->config, model->id);
    return status;
}

codec_status nac_model_make(const nac_model_source *source, codec_model **model, nac_reason reason)
{
    *model = NULL;
    codec_model *made = calloc(1, sizeof *made);
    if (!made) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for a model");
    codec_status status = nac_find_kernels(source->instruction_set, &made->kernels, reason);
    if (!status) {
        nac_memory aside = {NULL};
        const nac_fp_env caller = nac_fp_env_enter();
        status = load(made, source, &aside, reason);
        nac_fp_env_leave(caller);
        nac_memory_free(&aside);
    }
    if (status)
        codec_model_free(made);
    else
        *model = made;
    return status;
}

codec_status codec_model_read(const void *data, size_t size, const char *instruction_set,
                              codec_model **model, char *message, size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    if (!model || !data)
        return nac_fail(reason, CODEC_ERROR_ARGUMENT, "the weights or the model are NULL");
    const nac_model_source source = {.data = data,
                                     .size = size,
                                     .instruction_set = instruction_set,
                                     .block = NAC_BLOCK,
                                     .halves = NAC_ENCODER | NAC_DECODER};
    return nac_model_make(&source, model, reason);
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
    if (model->refiner) nac_refiner_slot_clear(model->refiner);
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
    codec_info all = {
        .sample_rate = (uint32_t)c->sample_rate,
        .hop_length = (uint32_t)c->hop_length,
        .codebooks = (uint32_t)c->n_codebooks,
        .codebook_size = (uint32_t)c->codebook_size,
        .latent_dim = (uint32_t)c->latent_dim,
        .encoder_latency = latency(nac_encoder_lookahead(&model->encoder)),
        .decoder_latency = latency(nac_decoder_lookahead(&model->decoder)),
        .channels = (uint32_t)c->channels,
    };
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
