/* Status codes inside the library, and reasons of one line for whoever asked for them. */
#ifndef NAC_STATUS_H
#define NAC_STATUS_H

#include "include/codec.h"

/* Where a reason goes: `size` bytes, or NULL and 0. */
typedef struct {
    char *text;
    size_t size;
} nac_reason;

/* The caller's `message`, emptied. */
nac_reason nac_reason_begin(char *message, size_t size);

#if defined(__GNUC__)
#define NAC_PRINTF __attribute__((format(printf, 3, 4)))
#else
#define NAC_PRINTF
#endif

/* Writes the reason, cut to its room, and returns `status`. Text from files may be among what is
 * printed: bytes that are no printable ASCII become '?', so that a reason stays one line. */
codec_status nac_fail(nac_reason reason, codec_status status, const char *format, ...) NAC_PRINTF;

#endif
