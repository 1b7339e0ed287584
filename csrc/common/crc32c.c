#include "crc32c.h"

/* 0x1EDC6F41 with its bits reversed: the lowest bit is the first one of a byte. */
#define POLYNOMIAL 0x82F63B78u

void nac_crc32c_init(nac_crc32c_tables *tables)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (POLYNOMIAL & (0u - (crc & 1u)));
        tables->table[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = tables->table[k - 1][byte];
            tables->table[k][byte] = crc >> 8 ^ tables->table[0][crc & 255u];
        }
}

/* Eight bytes a step ("slicing by 8", Kounavis and Berry 2005): the remainder is linear, so that
 * of eight bytes is the sum of those of each followed by the zeros in place of the others. */
uint32_t nac_crc32c_update(const nac_crc32c_tables *tables, uint32_t crc, const uint8_t *data,
                           size_t n)
{
    const uint32_t (*t)[256] = tables->table;
    crc = ~crc;
    for (; n >= 8; n -= 8, data += 8) {
        uint32_t low = crc ^ ((uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                              (uint32_t)data[3] << 24);
        crc = t[7][low & 255u] ^ t[6][low >> 8 & 255u] ^ t[5][low >> 16 & 255u] ^ t[4][low >> 24] ^
              t[3][data[4]] ^ t[2][data[5]] ^ t[1][data[6]] ^ t[0][data[7]];
    }
    for (; n; n--, data++) crc = crc >> 8 ^ t[0][(crc ^ *data) & 255u];
    return ~crc;
}
