/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): the checksum of the file format. */
#ifndef NAC_CRC32C_H
#define NAC_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* table[k][b]: the remainder of byte b followed by k zero bytes. */
typedef struct {
    uint32_t table[8][256];
} nac_crc32c_tables;

void nac_crc32c_init(nac_crc32c_tables *tables);

/* The checksum of what `crc` is the checksum of, 0 for nothing, followed by data[0..n). */
uint32_t nac_crc32c_update(const nac_crc32c_tables *tables, uint32_t crc, const uint8_t *data,
                           size_t n);

#endif
