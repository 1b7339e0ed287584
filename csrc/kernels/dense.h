/* The matrix product: tiles of sums that stay in registers while k runs.
 *
 *                  panels [depth][NAC_PANEL] each     every step of k loads the tile's weights once and
 *                 +--- panels * NAC_PANEL ---+        uses them for each of its rows; a sum is one chain
 *               k |         w[k]         |        of fused multiply-adds over k, in order.
 *                 +----------------------+
 *   x [rows]  x[r][k]  ->  sum [rows][panels * NAC_PANEL]
 *
 * Included once for each instruction set, which defines `VEC` (floats in a vector), `VFMA`, and the
 * tile that fills its registers, TILE_ROWS by TILE_PANELS.
 */

#if VEC == 1
typedef float vec;
#else
typedef float vec __attribute__((vector_size(4 * VEC), aligned(4), may_alias));
#endif

enum {
    PANEL_VECS = NAC_PANEL / VEC,
    MAX_PANELS = 4,
    /* Depth that is worked on at a time: that much of a panel fits the first-level cache and is
     * used for all rows. Sums rest in y between; storing a float loses nothing. */
    DEPTH = 384
};

ALWAYS_INLINE void tile(const int rows, const int panels, size_t depth, const float *x,
                        size_t stride, const float *w, size_t next_panel, const float *from,
                        size_t from_stride, float *y, size_t width)
{
    vec sum[TILE_ROWS][MAX_PANELS * PANEL_VECS];
    const int vecs = panels * PANEL_VECS;

    UNROLL_ROWS
    for (int r = 0; r < rows; r++) {
        UNROLL_ROWS
        for (int v = 0; v < vecs; v++)
            sum[r][v] = *(const vec *)(from + (size_t)r * from_stride + (size_t)v * VEC);
    }
    for (size_t k = 0; k < depth; k++) {
        vec weight[MAX_PANELS * PANEL_VECS];
        UNROLL_ROWS
        for (int v = 0; v < vecs; v++)
            weight[v] = *(const vec *)(w + (size_t)(v / PANEL_VECS) * next_panel + k * NAC_PANEL +
                                       (size_t)(v % PANEL_VECS) * VEC);
        UNROLL_ROWS
        for (int r = 0; r < rows; r++) {
            const vec input = VSET(x[(size_t)r * stride + k]);
            UNROLL_ROWS
            for (int v = 0; v < vecs; v++) sum[r][v] = VFMA(input, weight[v], sum[r][v]);
        }
    }
    UNROLL_ROWS
    for (int r = 0; r < rows; r++) {
        UNROLL_ROWS
        for (int v = 0; v < vecs; v++)
            *(vec *)(y + (size_t)r * width + (size_t)v * VEC) = sum[r][v];
    }
}

/* All columns of as many of the rows as whole tiles of `height` cover; returns that number. */
ALWAYS_INLINE size_t sweep(const int height, const int panels, const nac_dense *layer, int add,
                           const float *x, size_t stride, size_t rows, float *y)
{
    const size_t width = layer->width, depth = layer->depth;
    const size_t covered = rows - rows % (size_t)height;
    if (covered == 0) return 0;

    for (size_t k = 0; k < depth; k += DEPTH) {
        const size_t here = depth - k < DEPTH ? depth - k : DEPTH;
        const int resume = add || k > 0;
        size_t column = 0;
        while (column < width) {
            const float *w = layer->panels + column * depth + k * NAC_PANEL;
            const int wide = width - column >= (size_t)panels * NAC_PANEL;
            for (size_t r = 0; r < covered; r += (size_t)height) {
                float *out = y + r * width + column;
                const float *from = resume ? out : layer->bias + column;
                const size_t from_stride = resume ? width : 0;
                if (wide)
                    tile(height, panels, here, x + r * stride + k, stride, w, depth * NAC_PANEL,
                         from, from_stride, out, width);
                else
                    tile(height, 1, here, x + r * stride + k, stride, w, 0, from, from_stride, out,
                         width);
            }
            column += wide ? (size_t)panels * NAC_PANEL : NAC_PANEL;
        }
    }
    return covered;
}

/* Tall tiles first; the rows that are left, and single frames, in flat and wide ones: they too have
 * enough chains to hide the latency of an FMA. */
ALWAYS_INLINE void product(const nac_dense *layer, int add, const float *x, size_t stride,
                           size_t rows, float *y)
{
    size_t done = sweep(TILE_ROWS, TILE_PANELS, layer, add, x, stride, rows, y);
    done += sweep(4, TILE_PANELS, layer, add, x + done * stride, stride, rows - done,
                  y + done * layer->width);
    done +=
        sweep(2, 2, layer, add, x + done * stride, stride, rows - done, y + done * layer->width);
    sweep(1, 4, layer, add, x + done * stride, stride, rows - done, y + done * layer->width);
}

static void run_dense(const nac_dense *layer, const float *x, size_t stride, size_t rows, float *y)
{
    product(layer, 0, x, stride, rows, y);
}

static void run_dense_add(const nac_dense *layer, const float *x, size_t stride, size_t rows,
                          float *y)
{
    product(layer, 1, x, stride, rows, y);
}
