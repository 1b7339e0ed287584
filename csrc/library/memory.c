#include "memory.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/align.h"

struct nac_memory_block {
    nac_memory_block *before;
};

void *nac_memory_new(nac_memory *memory, size_t count, size_t size)
{
    if (size && count > (PTRDIFF_MAX - 3 * NAC_ALIGN) / size) return NULL;
    nac_memory_block *block = calloc(1, nac_round_up(count * size, NAC_ALIGN) + 2 * NAC_ALIGN);
    if (!block) return NULL;
    block->before = memory->last;
    memory->last = block;
    /* the first place past the struct that is aligned */
    char *place = (char *)(block + 1);
    return place + (NAC_ALIGN - (uintptr_t)place % NAC_ALIGN) % NAC_ALIGN;
}

void nac_memory_free(nac_memory *memory)
{
    while (memory->last) {
        nac_memory_block *block = memory->last;
        memory->last = block->before;
        free(block);
    }
}
