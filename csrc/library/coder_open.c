#include <stdlib.h>

#include "coder.h"

codec_status codec_coder_open(uint32_t number, const codec_model *model, const void *data,
                              size_t size, codec_coder **opened, char *message, size_t message_size)
{
    const nac_reason reason = nac_reason_begin(message, message_size);
    (void)data;
    (void)size;
    if (!opened) return nac_fail(reason, CODEC_ERROR_ARGUMENT, "an argument is missing");
    *opened = NULL;
    if (number != CODEC_CODER_RAW || model)
        return nac_fail(reason, CODEC_ERROR_UNSUPPORTED, "only raw codes of any model so far");
    codec_coder *coder = calloc(1, sizeof *coder);
    if (!coder) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for the coder");
    coder->number = number;
    *opened = coder;
    return CODEC_OK;
}

void codec_coder_free(codec_coder *coder)
{
    if (!coder) return;
    nac_memory_free(&coder->memory);
    free(coder);
}
