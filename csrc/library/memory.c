#include "memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/align.h"

struct nac_memory_block {
    nac_memory_block *before;
};

void *nac_memory_new(nac_memory *memory, size_t count, size_t size)
{
    if (size && count > (PTRDIFF_MAX - 2 * NAC_ALIGN) / size) return NULL;
    const size_t bytes = nac_round_up(count * size, NAC_ALIGN) + NAC_ALIGN;
    nac_memory_block *block = aligned_alloc(NAC_ALIGN, bytes);
    if (!block) return NULL;
    memset(block, 0, bytes);
    block->before = memory->last;
    memory->last = block;
    return (char *)block + NAC_ALIGN;
}

void nac_memory_free(nac_memory *memory)
{
    while (memory->last) {
        nac_memory_block *block = memory->last;
        memory->last = block->before;
        free(block);
    }
}
