/* A file, read whole. */
#ifndef NAC_FILE_H
#define NAC_FILE_H

#include "memory.h"
#include "status.h"

/* Reads `path` into `memory`; fails on what has no size, such as a pipe. */
codec_status nac_file_read(const char *path, nac_memory *memory, const void **data, size_t *size,
                           nac_reason reason);

#endif
