/* Coders of a model, and what its files are like. */
#include <stdlib.h>
#include <string.h>

#include "coder.h"
#include "common/fp_env.h"
#include "entropy_data.h"
#include "model.h"
#include "nac_layout.h"
#include "sha256.h"

codec_status codec_file_describe(const codec_model *model, uint32_t channels, uint32_t codebooks,
                                 int live, codec_file_info *info)
{
    if (!model || !info || !channels || channels > 255 || !codebooks ||
        codebooks > model->config.n_codebooks)
        return CODEC_ERROR_ARGUMENT;
    const uint32_t rate = (uint32_t)model->config.sample_rate;
    const uint32_t hop = (uint32_t)model->config.hop_length, part = nac_gcd(rate, hop);
    const uint64_t two_seconds = NAC_CHUNK_SECONDS * (uint64_t)rate / hop;
    const uint32_t together = (uint32_t)model->config.channels;
    uint64_t frames = NAC_MAX_CHUNK_CODES / ((channels + together - 1) / together * codebooks);
    if (frames > two_seconds) frames = two_seconds ? two_seconds : 1;
    if (frames > 0xffff) frames = 0xffff;
    *info = (codec_file_info){
        .n_samples = CODEC_UNKNOWN_LENGTH,
        .sample_rate = rate,
        .channels = channels,
        .together = together,
        .codebooks = codebooks,
        .codebook_size = (uint32_t)model->config.codebook_size,
        .frame_rate = rate / part,
        .frame_divisor = hop / part,
        .chunk_frames = live ? 1 : (uint32_t)frames,
    };
    memcpy(info->model_id, model->id, sizeof info->model_id);
    return nac_header_check(info);
}

static codec_status load(codec_coder *coder, const codec_model *model, const void *data,
                         size_t size, nac_reason reason)
{
    codec_file_info info;
    const codec_status status = codec_file_describe(model, 1, 1, 0, &info);
    if (status) return nac_fail(reason, status, "no file can hold the codes of this model");
    coder->known = 1;
    coder->together = info.together;
    memcpy(coder->model_id, info.model_id, sizeof info.model_id);
    coder->frame_rate = info.frame_rate;
    coder->frame_divisor = info.frame_divisor;
    coder->levels = (uint32_t)model->config.n_codebooks;
    coder->codewords = info.codebook_size;
    if (coder->number == CODEC_CODER_RAW) return CODEC_OK;

    nac_sha256 hash;
    unsigned char digest[32];
    nac_sha256_begin(&hash);
    nac_sha256_update(&hash, data, size);
    nac_sha256_end(&hash, digest);
    memcpy(coder->tables_id, digest, sizeof coder->tables_id);
    const nac_entropy_model codes_of = {.kernels = model->kernels,
                                        .levels = model->config.n_codebooks,
                                        .codewords = model->config.codebook_size,
                                        .dim = model->config.latent_dim,
                                        .codebooks = model->books,
                                        .id = model->id};
    nac_prior *prior = coder->number == CODEC_CODER_BEST ? &coder->prior : NULL;
    return nac_entropy_load(data, size, &codes_of, &coder->tables, prior, &coder->memory, reason);
}

codec_status codec_coder_open(uint32_t number, const codec_model *model, const void *data,
                              size_t size, codec_coder **opened, char *message, size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    if (!opened || (!data && size))
        return nac_fail(reason, CODEC_ERROR_ARGUMENT, "an argument is missing");
    *opened = NULL;
    if (number > CODEC_CODER_BEST)
        return nac_fail(reason, CODEC_ERROR_CODER, "coder %u is unknown", (unsigned)number);
    if (number != CODEC_CODER_RAW && (!model || !data))
        return nac_fail(reason, CODEC_ERROR_ARGUMENT, "this coder needs a model and its data");
    codec_coder *coder = calloc(1, sizeof *coder);
    if (!coder) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for the coder");
    coder->number = number;
    codec_status status = CODEC_OK;
    if (model) {
        const nac_fp_env caller = nac_fp_env_enter(); /* halves of the data may be subnormal */
        status = load(coder, model, data, size, reason);
        nac_fp_env_leave(caller);
    }
    if (status) {
        codec_coder_free(coder);
        return status;
    }
    *opened = coder;
    return CODEC_OK;
}

void codec_coder_free(codec_coder *coder)
{
    if (!coder) return;
    nac_memory_free(&coder->memory);
    free(coder);
}
