#include "backbone.h"

#include <string.h>

size_t nac_backbone_history(const nac_backbone *body)
{
    return body->n_blocks * (body->taps - 1) * body->width;
}

void nac_backbone_reset(const nac_backbone *body, nac_backbone_state state)
{
    for (size_t i = 0; i < body->n_blocks; i++)
        state.have[i] = (int64_t)(body->taps - 1 - body->blocks[i].lookahead);
    memset(state.history, 0, nac_backbone_history(body) * sizeof *state.history);
}

int nac_backbone_valid(const nac_backbone *body, const int64_t *have)
{
    for (size_t i = 0; i < body->n_blocks; i++) {
        const int64_t past = (int64_t)body->taps - 1;
        if (have[i] < past - (int64_t)body->blocks[i].lookahead || have[i] > past) return 0;
    }
    return 1;
}

/* Rows that come out of a window. */
static size_t outputs(const nac_backbone *body, size_t window)
{
    return window < body->taps ? 0 : window - (body->taps - 1);
}

size_t nac_backbone_ready(const nac_backbone *body, const int64_t *have, size_t rows, int flush)
{
    for (size_t i = 0; i < body->n_blocks; i++) {
        const size_t zeros = flush ? body->blocks[i].lookahead : 0;
        rows = outputs(body, (size_t)have[i] + rows + zeros);
    }
    return rows;
}

/* A block has taken in as many rows more than it gave out as its history has grown since the start. */
size_t nac_backbone_waiting(const nac_backbone *body, const int64_t *have)
{
    size_t rows = 0;
    for (size_t i = 0; i < body->n_blocks; i++)
        rows += (size_t)have[i] + body->blocks[i].lookahead - (body->taps - 1);
    return rows;
}

size_t nac_backbone_scratch(const nac_backbone *body, size_t rows)
{
    return (rows + body->lookahead) * (body->width + body->hidden);
}

size_t nac_backbone_room_before(const nac_backbone *body)
{
    return body->taps - 1 + body->lookahead;
}

size_t nac_backbone_room_after(const nac_backbone *body) { return body->lookahead; }

size_t nac_backbone_run(const nac_backbone *body, const nac_kernels *k, nac_backbone_state state,
                        float *x, size_t rows, int flush, float *scratch, float **out)
{
    const size_t width = body->width, past = body->taps - 1;

    for (size_t i = 0; i < body->n_blocks; i++) {
        const nac_block *b = &body->blocks[i];
        float *history = state.history + i * past * width;
        const size_t have = (size_t)state.have[i];
        float *window = x - have * width;

        memcpy(window, history, have * width * sizeof *window);
        if (flush) {
            memset(x + rows * width, 0, b->lookahead * width * sizeof *x);
            rows += b->lookahead;
        }
        const size_t total = have + rows, keep = total < past ? total : past;
        memcpy(history, window + (total - keep) * width, keep * width * sizeof *history);
        state.have[i] = (int64_t)keep;

        rows = outputs(body, total);
        x = window + (past - b->lookahead) * width;
        if (rows == 0) continue;
        float *normed = scratch, *hidden = normed + rows * width;
        k->conv_norm(&b->conv, window, rows, normed);
        k->dense(&b->expand, normed, width, rows, hidden);
        k->gelu(hidden, rows * body->hidden);
        k->dense_add(&b->reduce, hidden, body->hidden, rows, x);
    }
    k->norm(&body->norm, x, rows, x);
    *out = x;
    return rows;
}
