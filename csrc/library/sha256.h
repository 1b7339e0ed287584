/* SHA-256 (FIPS 180-4), by which weights get their id. */
#ifndef NAC_SHA256_H
#define NAC_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
} nac_sha256;

void nac_sha256_begin(nac_sha256 *hash);
void nac_sha256_update(nac_sha256 *hash, const void *data, size_t size);
void nac_sha256_end(nac_sha256 *hash, unsigned char digest[32]);

#endif
