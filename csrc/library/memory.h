/* Memory that belongs to one object and is freed with it. */
#ifndef NAC_MEMORY_H
#define NAC_MEMORY_H

#include <stddef.h>

typedef struct nac_memory_block nac_memory_block;

/* Starts as {NULL}. */
typedef struct {
    nac_memory_block *last;
} nac_memory;

/* `count` * `size` zeroed bytes, aligned to NAC_ALIGN; NULL if there are none, or the product overflows. */
void *nac_memory_new(nac_memory *memory, size_t count, size_t size);
void nac_memory_free(nac_memory *memory);

#endif
