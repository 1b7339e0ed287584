#include "stream_state.h"

#include <string.h>

/* The CRC of zlib and of IEEE 802.3, four bits at a time. */
static uint32_t crc32_of(const unsigned char *bytes, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static void put(unsigned char *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) out[i] = (unsigned char)(value >> 8 * i);
}

static void write_header(nac_state_of stream, const unsigned char *body, size_t size,
                         unsigned char *out)
{
    memcpy(out, stream.kind, 4);
    memcpy(out + 4, stream.id, 8);
    put(out + 12, stream.codebooks, 2);
    put(out + 14, crc32_of(body, size), 4);
}

void nac_state_save(nac_state_of stream, const void *state, size_t size, void *bytes)
{
    unsigned char *out = bytes, *body = out + NAC_STATE_HEADER;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word;
        memcpy(&word, (const char *)state + i, sizeof word);
        put(body + i, word, 8);
    }
    write_header(stream, body, size, out);
}

int nac_state_load(nac_state_of stream, const void *bytes, size_t size, void *state)
{
    const unsigned char *body = (const unsigned char *)bytes + NAC_STATE_HEADER;
    unsigned char header[NAC_STATE_HEADER];
    write_header(stream, body, size, header);
    if (memcmp(header, bytes, sizeof header)) return 0;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        for (int k = 7; k >= 0; k--) word = word << 8 | body[i + (size_t)k];
        memcpy((char *)state + i, &word, sizeof word);
    }
    return 1;
}
