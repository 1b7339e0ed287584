/* The safetensors format: a JSON header of names, types, shapes and offsets, then the values.
 *
 *     8 bytes: size n of the header | n bytes: {"name": {"dtype", "shape", "data_offsets"}, ...} | values
 *
 * Every size and offset is checked once, when the file is opened: tensors lie one after another without
 * gap or overlap, and fill the file. So no later access can leave it. */
#ifndef NAC_SAFETENSORS_H
#define NAC_SAFETENSORS_H

#include "json.h"
#include "memory.h"
#include "status.h"

enum { NAC_TENSOR_RANK = 8 };

typedef enum {
    NAC_DTYPE_OTHER, /* of a known size, but no type that this library computes with */
    NAC_DTYPE_I8,
    NAC_DTYPE_U8,
    NAC_DTYPE_I32,
    NAC_DTYPE_F16,
    NAC_DTYPE_BF16,
    NAC_DTYPE_F32,
    NAC_DTYPE_F64
} nac_dtype;

typedef struct {
    const nac_json_node *name; /* nac_json_string decodes it */
    const char *dtype_name;    /* as in the file: "F16" */
    nac_dtype dtype;
    size_t rank, shape[NAC_TENSOR_RANK];
    size_t count;              /* of values: the product of the shape */
    const unsigned char *data; /* little endian, at any alignment */
    size_t bytes;
} nac_tensor;

typedef struct {
    nac_json_node *nodes; /* of the header */
    size_t metadata;      /* the node of "__metadata__", an object of strings, or 0 */
    nac_tensor *tensors;  /* in the order of their names, by code points */
    size_t count;
} nac_safetensors;

/* Opens the file in `data`, to which the tensors will point; `memory` gets the rest. */
codec_status nac_safetensors_open(const void *data, size_t size, nac_memory *memory,
                                  nac_safetensors *file, nac_reason reason);

/* The tensor of that name, or NULL. */
const nac_tensor *nac_safetensors_find(const nac_safetensors *file, const char *name);

/* The string `name` of the metadata, or NULL. */
const nac_json_node *nac_safetensors_metadata(const nac_safetensors *file, const char *name);

/* Finds a tensor of exactly this shape and type; *tensor is not NULL on success. NAC_DTYPE_F32 stands
 * for all floating types. */
codec_status nac_tensor_need(const nac_safetensors *file, const char *name, nac_dtype dtype,
                             size_t rank, const size_t *shape, const nac_tensor **tensor,
                             nac_reason reason);

/* Values [first, first + n) as float32, rounded to nearest from float64; returns 0 unless the tensor
 * is of a floating type and all of them are finite. */
int nac_tensor_floats(const nac_tensor *tensor, size_t first, size_t n, float *out);

/* Value i of a tensor of int32. */
int32_t nac_tensor_int32(const nac_tensor *tensor, size_t i);

/* Writes [count] values into new memory, `reason` names the tensor if that fails. */
codec_status nac_tensor_read(const nac_safetensors *file, const char *name, size_t rank,
                             const size_t *shape, nac_memory *memory, const float **values,
                             nac_reason reason);

#endif
