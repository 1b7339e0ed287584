/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): the checksum of the file format. */
#ifndef CODEC_CRC32C_H
#define CODEC_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* table[k][b]: the remainder of byte b followed by k zero bytes. */
typedef struct {
    uint32_t table[8][256];
} crc32c_tables;

void crc32c_init(crc32c_tables *tables);

/* The checksum of what `crc` is the checksum of, 0 for nothing, followed by data[0..n). */
uint32_t crc32c_update(const crc32c_tables *tables, uint32_t crc, const uint8_t *data, size_t n);

#endif
