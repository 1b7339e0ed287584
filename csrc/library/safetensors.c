#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

/* More than any header has; the limit of the format's own library. */
static const uint64_t LARGEST_HEADER = 100000000;

static const struct {
    const char *name;
    nac_dtype dtype;
    size_t bytes;
} DTYPES[] = {
    {"I8", NAC_DTYPE_I8, 1},         {"U8", NAC_DTYPE_U8, 1},      {"I32", NAC_DTYPE_I32, 4},
    {"F16", NAC_DTYPE_F16, 2},       {"BF16", NAC_DTYPE_BF16, 2},  {"F32", NAC_DTYPE_F32, 4},
    {"F64", NAC_DTYPE_F64, 8},       {"BOOL", NAC_DTYPE_OTHER, 1}, {"F8_E4M3", NAC_DTYPE_OTHER, 1},
    {"F8_E5M2", NAC_DTYPE_OTHER, 1}, {"I16", NAC_DTYPE_OTHER, 2},  {"U16", NAC_DTYPE_OTHER, 2},
    {"U32", NAC_DTYPE_OTHER, 4},     {"I64", NAC_DTYPE_OTHER, 8},  {"U64", NAC_DTYPE_OTHER, 8},
};

static uint64_t little_endian(const unsigned char *bytes, size_t n)
{
    uint64_t value = 0;
    while (n--) value = value << 8 | bytes[n];
    return value;
}

/* Reads {"dtype", "shape", "data_offsets"} of the value area's `size` bytes at `values`. */
static int read_tensor(const nac_json_node *nodes, size_t object, const unsigned char *values,
                       size_t size, nac_tensor *tensor)
{
    const size_t dtype = nac_json_member(nodes, object, "dtype");
    const size_t shape = nac_json_member(nodes, object, "shape");
    const size_t offsets = nac_json_member(nodes, object, "data_offsets");
    if (!dtype || !shape || !offsets) return 0;

    size_t bytes = 0;
    for (size_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++) {
        if (!nac_json_equals(&nodes[dtype], DTYPES[i].name)) continue;
        tensor->dtype_name = DTYPES[i].name;
        tensor->dtype = DTYPES[i].dtype;
        bytes = DTYPES[i].bytes;
    }
    if (!bytes || nodes[shape].type != NAC_JSON_ARRAY || nodes[shape].count > NAC_TENSOR_RANK)
        return 0;

    tensor->rank = nodes[shape].count;
    tensor->count = 1;
    for (size_t i = 0; i < tensor->rank; i++) {
        int64_t extent;
        if (!nac_json_integer(&nodes[shape + 1 + i], &extent) || extent < 0 ||
            (uint64_t)extent > PTRDIFF_MAX)
            return 0;
        tensor->shape[i] = (size_t)extent;
        if (extent && tensor->count > PTRDIFF_MAX / (size_t)extent) return 0;
        tensor->count *= (size_t)extent;
    }
    if (tensor->count > size / bytes) return 0;
    tensor->bytes = tensor->count * bytes;

    int64_t first, last;
    if (nodes[offsets].type != NAC_JSON_ARRAY || nodes[offsets].count != 2 ||
        !nac_json_integer(&nodes[offsets + 1], &first) ||
        !nac_json_integer(&nodes[offsets + 2], &last) || first < 0 || last < first ||
        (uint64_t)last > size || (uint64_t)(last - first) != tensor->bytes)
        return 0;
    tensor->data = values + first;
    return 1;
}

static int compare_names(const void *one, const void *other)
{
    const nac_json_node *a = ((const nac_tensor *)one)->name;
    const nac_json_node *b = ((const nac_tensor *)other)->name;
    /* Names with escapes decode in pieces; those without, which are all in practice, compare at once. */
    const int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    if (order) return order;
    return (a->size > b->size) - (a->size < b->size);
}

static int compare_places(const void *one, const void *other)
{
    const nac_tensor *a = *(const nac_tensor *const *)one, *b = *(const nac_tensor *const *)other;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* Whether the tensors fill the values without gap or overlap. */
static int fill(const nac_tensor **places, size_t count, const unsigned char *values, size_t size)
{
    const unsigned char *at = values;
    qsort(places, count, sizeof *places, compare_places);
    for (size_t i = 0; i < count; i++) {
        if (places[i]->data != at) return 0;
        at += places[i]->bytes;
    }
    return at == values + size;
}

/* Whether an object has strings only, as the format demands of its metadata. */
static int of_strings(const nac_json_node *nodes, size_t object)
{
    if (nodes[object].type != NAC_JSON_OBJECT) return 0;
    for (size_t i = 0; i < nodes[object].count; i++)
        if (nodes[object + 2 + 2 * i].type != NAC_JSON_STRING) return 0;
    return 1;
}

codec_status nac_safetensors_open(const void *data, size_t size, nac_memory *memory,
                                  nac_safetensors *file, nac_reason reason)
{
    const unsigned char *bytes = data;
    const uint64_t header = size < 8 ? UINT64_MAX : little_endian(bytes, 8);
    if (header > LARGEST_HEADER || header > size - 8)
        return nac_fail(reason, CODEC_ERROR_MODEL, "not a safetensors file");
    const char *text = (const char *)bytes + 8;
    const unsigned char *values = bytes + 8 + header;
    const size_t room = size - 8 - (size_t)header;

    const size_t n = nac_json_parse(text, (size_t)header, NULL, 0);
    if (n == 0) return nac_fail(reason, CODEC_ERROR_MODEL, "not a safetensors file: no header");
    *file = (nac_safetensors){.nodes = nac_memory_new(memory, n, sizeof *file->nodes)};
    if (!file->nodes) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for the header");
    nac_json_parse(text, (size_t)header, file->nodes, n);
    if (file->nodes[0].type != NAC_JSON_OBJECT)
        return nac_fail(reason, CODEC_ERROR_MODEL, "not a safetensors file: no header");

    const size_t members = file->nodes[0].count;
    file->tensors = nac_memory_new(memory, members, sizeof *file->tensors);
    const nac_tensor **places = nac_memory_new(memory, members, sizeof *places);
    if (!file->tensors || !places)
        return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for the header");
    for (size_t i = 0, key = 1; i < members; i++, key = file->nodes[key + 1].next) {
        if (nac_json_equals(&file->nodes[key], "__metadata__")) {
            if (file->metadata || !of_strings(file->nodes, key + 1))
                return nac_fail(reason, CODEC_ERROR_MODEL, "the metadata is damaged");
            file->metadata = key + 1;
            continue;
        }
        nac_tensor *tensor = &file->tensors[file->count];
        if (memchr(file->nodes[key].text, '\\', file->nodes[key].size) ||
            !read_tensor(file->nodes, key + 1, values, room, tensor))
            return nac_fail(reason, CODEC_ERROR_MODEL, "the header is damaged: tensor %zu",
                            file->count);
        tensor->name = &file->nodes[key];
        file->count++;
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_names);
    for (size_t i = 0; i < file->count; i++) {
        if (i && compare_names(&file->tensors[i - 1], &file->tensors[i]) == 0)
            return nac_fail(reason, CODEC_ERROR_MODEL, "the header names a tensor twice");
        places[i] = &file->tensors[i];
    }
    if (!fill(places, file->count, values, room))
        return nac_fail(reason, CODEC_ERROR_MODEL,
                        "tensors do not fill the file one after another");
    return CODEC_OK;
}

const nac_tensor *nac_safetensors_find(const nac_safetensors *file, const char *name)
{
    const nac_json_node node = {NAC_JSON_STRING, name, strlen(name), 0, 0};
    const nac_tensor key = {.name = &node};
    if (file->count == 0) return NULL;
    return bsearch(&key, file->tensors, file->count, sizeof key, compare_names);
}

const nac_json_node *nac_safetensors_metadata(const nac_safetensors *file, const char *name)
{
    const size_t found = file->metadata ? nac_json_member(file->nodes, file->metadata, name) : 0;
    return found ? &file->nodes[found] : NULL;
}

static int of_floats(nac_dtype dtype)
{
    return dtype == NAC_DTYPE_F16 || dtype == NAC_DTYPE_BF16 || dtype == NAC_DTYPE_F32 ||
           dtype == NAC_DTYPE_F64;
}

codec_status nac_tensor_need(const nac_safetensors *file, const char *name, nac_dtype dtype,
                             size_t rank, const size_t *shape, const nac_tensor **tensor,
                             nac_reason reason)
{
    const nac_tensor *found = nac_safetensors_find(file, name);
    if (!found) return nac_fail(reason, CODEC_ERROR_MODEL, "%s is missing", name);
    if (dtype == NAC_DTYPE_F32 ? !of_floats(found->dtype) : found->dtype != dtype)
        return nac_fail(reason, CODEC_ERROR_MODEL, "%s has type %s", name, found->dtype_name);
    int fits = found->rank == rank;
    for (size_t i = 0; fits && i < rank; i++) fits = found->shape[i] == shape[i];
    if (!fits)
        return nac_fail(reason, CODEC_ERROR_MODEL, "the shape of %s does not fit the model", name);
    *tensor = found;
    return CODEC_OK;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Exact: every half is a float. Its bits in those of a float have an exponent that is too small by 112,
 * which a product mends, that of subnormals too; but for infinity and NaN. */
static float float_of_half(uint32_t half)
{
    const uint32_t sign = (half & 0x8000) << 16, size = (half & 0x7fff) << 13;
    const uint32_t special = size >= 0x0f800000 ? 0x7f800000 : 0;
    uint32_t bits;
    const float value = float_of(size) * 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    return float_of(sign | special | bits);
}

static uint32_t two_bytes(const unsigned char *bytes) { return bytes[0] | (uint32_t)bytes[1] << 8; }

static uint32_t four_bytes(const unsigned char *bytes)
{
    return two_bytes(bytes) | two_bytes(bytes + 2) << 16;
}

int nac_tensor_floats(const nac_tensor *tensor, size_t first, size_t n, float *out)
{
    const unsigned char *at = tensor->data;
    switch (tensor->dtype) {
    case NAC_DTYPE_F16:
        for (size_t i = 0; i < n; i++) out[i] = float_of_half(two_bytes(at + 2 * (first + i)));
        break;
    case NAC_DTYPE_BF16:
        for (size_t i = 0; i < n; i++) out[i] = float_of(two_bytes(at + 2 * (first + i)) << 16);
        break;
    case NAC_DTYPE_F32:
        for (size_t i = 0; i < n; i++) out[i] = float_of(four_bytes(at + 4 * (first + i)));
        break;
    case NAC_DTYPE_F64:
        for (size_t i = 0; i < n; i++) {
            const uint64_t wide = little_endian(at + 8 * (first + i), 8);
            double value;
            memcpy(&value, &wide, sizeof value);
            out[i] = (float)value;
        }
        break;
    default: return 0;
    }
    int finite = 1;
    for (size_t i = 0; i < n; i++) finite &= out[i] - out[i] == 0; /* infinity less itself is NaN */
    return finite;
}

int32_t nac_tensor_int32(const nac_tensor *tensor, size_t i)
{
    const uint32_t bits = (uint32_t)little_endian(tensor->data + 4 * i, 4);
    int32_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

codec_status nac_tensor_read(const nac_safetensors *file, const char *name, size_t rank,
                             const size_t *shape, nac_memory *memory, const float **values,
                             nac_reason reason)
{
    const nac_tensor *tensor = NULL;
    const codec_status status =
        nac_tensor_need(file, name, NAC_DTYPE_F32, rank, shape, &tensor, reason);
    if (status) return status;
    float *floats = nac_memory_new(memory, tensor->count, sizeof *floats);
    if (!floats) return nac_fail(reason, CODEC_ERROR_MEMORY, "no memory for %s", name);
    if (!nac_tensor_floats(tensor, 0, tensor->count, floats))
        return nac_fail(reason, CODEC_ERROR_MODEL, "%s has values that are not finite numbers",
                        name);
    *values = floats;
    return CODEC_OK;
}
