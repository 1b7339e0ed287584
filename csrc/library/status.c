#include "status.h"

#include <stdarg.h>
#include <stdio.h>

const char *codec_status_text(int status)
{
    switch (status) {
    case CODEC_OK: return "no error";
    case CODEC_ERROR_ARGUMENT: return "an argument is missing or out of range";
    case CODEC_ERROR_SIZE: return "the output does not fit its memory";
    case CODEC_ERROR_MEMORY: return "out of memory";
    case CODEC_ERROR_IO: return "a file cannot be opened, read or written";
    case CODEC_ERROR_MODEL: return "the weights are damaged, or of another model";
    case CODEC_ERROR_UNSUPPORTED: return "not supported by this library or processor";
    case CODEC_ERROR_AUDIO: return "the samples are not finite numbers";
    case CODEC_ERROR_CODES: return "codes or latents are out of range";
    case CODEC_ERROR_STATE: return "the stream has ended, or the saved state does not fit it";
    case CODEC_ERROR_FORMAT: return "the file is damaged: it holds what no writer writes";
    case CODEC_ERROR_NOT_NAC: return "not a .nac file";
    case CODEC_ERROR_VERSION: return "a .nac file of another version of the format";
    case CODEC_ERROR_TRUNCATED: return "the file is truncated";
    case CODEC_ERROR_CHECKSUM: return "the file is damaged: a checksum does not match";
    case CODEC_ERROR_PAYLOAD: return "the file is damaged: codes that its coder does not write";
    case CODEC_ERROR_CODER: return "the file needs another coder, or other data for it";
    case CODEC_ERROR_LENGTH: return "the samples do not fit the frames, or are too many";
    default: return "unknown status";
    }
}

const char *codec_version(void) { return CODEC_VERSION; }

int codec_abi_version(void) { return CODEC_ABI_VERSION; }

nac_reason nac_reason_begin(char *message, size_t size)
{
    const nac_reason reason = {message, message ? size : 0};
    if (reason.size) message[0] = 0;
    return reason;
}

codec_status nac_fail(nac_reason reason, codec_status status, const char *format, ...)
{
    if (reason.size == 0) return status;
    va_list values;
    va_start(values, format);
    if (vsnprintf(reason.text, reason.size, format, values) < 0) reason.text[0] = 0;
    va_end(values);
    for (char *c = reason.text; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return status;
}
