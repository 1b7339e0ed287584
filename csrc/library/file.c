#include "file.h"

#include <stdio.h>

static codec_status read_open(FILE *file, const char *path, nac_memory *memory, const void **data,
                              size_t *size, nac_reason reason)
{
    if (fgetc(file) == EOF && ferror(file)) /* a folder opens, but does not read */
        return nac_fail(reason, CODEC_ERROR_IO, "%s: cannot be read", path);
    if (fseek(file, 0, SEEK_END)) return nac_fail(reason, CODEC_ERROR_IO, "%s: cannot seek", path);
    const long end = ftell(file);
    if (end < 0 || fseek(file, 0, SEEK_SET))
        return nac_fail(reason, CODEC_ERROR_IO, "%s: cannot seek", path);
    char *bytes = nac_memory_new(memory, (size_t)end, 1);
    if (!bytes) return nac_fail(reason, CODEC_ERROR_MEMORY, "%s: no memory to read it", path);
    if (fread(bytes, 1, (size_t)end, file) != (size_t)end)
        return nac_fail(reason, CODEC_ERROR_IO, "%s: cannot be read", path);
    *data = bytes;
    *size = (size_t)end;
    return CODEC_OK;
}

codec_status nac_file_read(const char *path, nac_memory *memory, const void **data, size_t *size,
                           nac_reason reason)
{
    FILE *file = fopen(path, "rb");
    if (!file) return nac_fail(reason, CODEC_ERROR_IO, "%s: cannot be opened", path);
    const codec_status status = read_open(file, path, memory, data, size, reason);
    fclose(file);
    return status;
}
