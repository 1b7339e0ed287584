/* Layers out of a weights file, packed as the engine reads them: what all networks are made of. */
#ifndef NAC_PACK_LAYERS_H
#define NAC_PACK_LAYERS_H

#include "config.h"
#include "engine/backbone.h"

/* What networks are packed from, and into. */
typedef struct {
    const nac_safetensors *file;
    const nac_config *config; /* of a codec's model; NULL for any other network */
    const nac_kernels *kernels;
    size_t block;       /* backbone frames worked on at a time; no bit depends on it */
    nac_memory *memory; /* of what is packed */
    nac_reason reason;
} nac_packing;

/* The kernels of that name, or the widest that this processor runs if it is NULL. */
codec_status nac_find_kernels(const char *name, const nac_kernels **kernels, nac_reason reason);

/* How the values along one side of a matrix lie: in the file `groups` of `dim`, one after another; in
 * memory each group in `width`, of which the rest is zeros. */
typedef struct {
    size_t groups, dim, width;
} nac_side;

nac_side nac_plain(size_t n);

/* Frames side by side, as wide as the engine's. */
nac_side nac_side_by_side(size_t groups, size_t dim);

/* Copies values, each times `scale`, to their places. Returns 0 unless all are finite. */
int nac_place(nac_side s, const float *values, float scale, float *out);

/* Fail with a reason. */
codec_status nac_pack_no_memory(const nac_packing *p);
codec_status nac_pack_wrong(const nac_packing *p, const char *what);

/* A tensor name.part [rows][columns], or [columns] if rows is 0, into `memory`. */
codec_status nac_pack_read(const nac_packing *p, const char *name, const char *part, size_t rows,
                           size_t columns, nac_memory *memory, const float **values);

/* A vector, continued with zeros to whole panels. */
codec_status nac_load_vector(const nac_packing *p, const char *name, const char *part, nac_side s,
                             const float **vector);

/* Packs the weight [rows][columns] of a layer, whose rows lie `stride` values apart, each row times its
 * scale if there are any. */
codec_status nac_load_matrix(const nac_packing *p, const float *weight, size_t stride,
                             const float *scale, nac_side rows, nac_side columns, nac_dense *layer);

/* A layer name.weight [rows][columns], with name.bias [rows]. */
codec_status nac_load_dense(const nac_packing *p, const char *name, nac_side rows, nac_side columns,
                            nac_dense *layer);

/* name.weight and name.bias [dim] of a layer norm. */
codec_status nac_load_norm(const nac_packing *p, const char *name, size_t dim,
                           nac_conv_norm *layer);

/* Blocks name.0, name.1, ..., the first `lookahead` of which see a frame ahead, and a norm after them. */
typedef struct {
    const char *name;
    size_t blocks, dim, hidden, taps, lookahead;
} nac_body_shape;

codec_status nac_load_body(const nac_packing *p, nac_body_shape shape, nac_backbone *body);

/* The Hann window of a transform. */
codec_status nac_load_window(const nac_packing *p, const nac_fft_plan *fft, const float **window);

/* Of n bands on the mel scale, for each bin of n_fft samples: nac_band_weights. */
codec_status nac_load_bands(const nac_packing *p, size_t n, size_t n_fft, size_t sample_rate,
                            const int **band, const float **lower, const float **upper);

#endif
