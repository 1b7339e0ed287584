#include "refine.h"

#include <string.h>

#include "common/fp_env.h"

/* Rates are relative to the latents' deviation, and fall to a tenth over the steps. */
static const double RATE = 0.05, LAST_RATE = 0.1, BETA1 = 0.9, BETA2 = 0.99;
static const float MAGNITUDE = 2.0f, LOUDNESS = 0.2f, COMMITMENT = 1.0f;
static const double QUIETEST = 1e-3; /* RMS below which audio counts as this loud */

/* Where scratch memory is used for what. */
typedef struct {
    size_t tokens, rows, samples; /* rows: frames of the backbone */
    uint16_t *codes;              /* [levels][tokens] of this step */
    uint32_t *seeds[2];           /* [rows], of the mid and of the side */
    float *quantised, *gradient;  /* [tokens][latent] */
    float *first, *second;        /* the same: Adam's moments */
    float *x;                     /* [rows][width], room for the convolution's padding around it */
    float *kept;                  /* [blocks][rows][width]: what each norm got */
    float *hidden;                /* [blocks][rows][hidden]: what each GELU got */
    float *last;                  /* [rows][width]: what the last norm got */
    float *normed, *active;       /* [rows][width], [rows][hidden] */
    float *gains, *shapes;        /* [rows][their widths] */
    float *by_gains, *by_shapes;
    float *mix[2], *by_mix[2]; /* audio and its derivative, with what the windows reach over */
    float *target[2][NAC_RESOLUTIONS], *loud_target[2];
    float *rest;
    size_t size;
} layout;

static size_t frame_size(const nac_decoder *net) { return net->back.hop * net->back.per_frame; }
static size_t overlap(const nac_decoder *net) { return net->back.fft.n - net->back.hop; }

/* Signals that are heard: the audio, or left and right. */
static size_t ears(const nac_decoder *net) { return net->stereo ? 2 : 1; }

static layout layout_of(const nac_refiner *r, size_t tokens, float *scratch)
{
    const nac_decoder *net = r->net;
    const nac_backbone *body = &net->body;
    const size_t rows = tokens * net->stack, samples = rows * frame_size(net);
    const size_t width = body->width, padding = (body->taps - 1) * width;
    layout m = {.tokens = tokens, .rows = rows, .samples = samples};
    size_t used = 0;
    m.codes = (uint16_t *)nac_take_floats(scratch, &used, tokens * net->levels / 2 + 1);
    for (size_t p = 0; p < ears(net); p++)
        m.seeds[p] = (uint32_t *)nac_take_floats(scratch, &used, rows);
    m.quantised = nac_take_floats(scratch, &used, tokens * net->latent);
    m.gradient = nac_take_floats(scratch, &used, tokens * r->embed_back.width);
    m.first = nac_take_floats(scratch, &used, tokens * net->latent);
    m.second = nac_take_floats(scratch, &used, tokens * net->latent);
    m.x = nac_take_floats(scratch, &used, rows * width + padding);
    m.kept = nac_take_floats(scratch, &used, body->n_blocks * rows * width);
    m.hidden = nac_take_floats(scratch, &used, body->n_blocks * rows * body->hidden);
    m.last = nac_take_floats(scratch, &used, rows * width);
    m.normed = nac_take_floats(scratch, &used, rows * width);
    m.active = nac_take_floats(scratch, &used, rows * body->hidden);
    m.gains = nac_take_floats(scratch, &used, rows * net->gain.width);
    m.shapes = nac_take_floats(scratch, &used, rows * net->shape.width);
    m.by_gains = nac_take_floats(scratch, &used, rows * net->gain.width);
    m.by_shapes = nac_take_floats(scratch, &used, rows * net->shape.width);
    for (size_t p = 0; p < ears(net); p++) {
        m.mix[p] = nac_take_floats(scratch, &used, samples + overlap(net));
        m.by_mix[p] = nac_take_floats(scratch, &used, samples + overlap(net));
    }
    size_t most = nac_larger(nac_rvq_scratch_size(net->latent),
                             nac_rvq_beam_scratch_size(net->levels, net->latent));
    most = nac_larger(most, nac_synthesise_scratch(&net->back));
    for (size_t i = 0; i < NAC_RESOLUTIONS; i++) {
        for (size_t p = 0; p < ears(net); p++)
            m.target[p][i] = nac_take_floats(scratch, &used, nac_target_size(&r->at[i], samples));
        most = nac_larger(most, nac_objective_scratch(&r->at[i], samples));
    }
    for (size_t p = 0; p < ears(net); p++)
        m.loud_target[p] = nac_take_floats(scratch, &used, nac_target_size(&r->loud, samples));
    m.rest =
        nac_take_floats(scratch, &used, nac_larger(most, nac_objective_scratch(&r->loud, samples)));
    m.size = used;
    return m;
}

size_t nac_refine_scratch(const nac_refiner *r, size_t tokens)
{
    return layout_of(r, tokens, NULL).size;
}

/* Rows of zeros that a block's convolution sees before its first input. */
static size_t lead_of(const nac_backbone *body, const nac_block *block)
{
    return body->taps - 1 - block->lookahead;
}

/* Left and right from mid and side, and the derivatives by these from those by the former. */
static void rotate(float *one, float *other, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float sum = one[i] + other[i], difference = one[i] - other[i];
        one[i] = sum;
        other[i] = difference;
    }
}

/* Decodes m->codes, all at once, and keeps what the derivative needs. What is heard starts at sample
 * overlap / 2 of m->mix. */
static void decode(const nac_refiner *r, const layout *m, size_t levels)
{
    const nac_decoder *net = r->net;
    const nac_backbone *body = &net->body;
    const nac_kernels *k = net->k;
    const size_t rows = m->rows, width = body->width, padding = (body->taps - 1) * width;

    nac_rvq_decode(net->codebooks, net->codewords, net->latent, levels, m->codes, m->tokens,
                   m->quantised);
    nac_decoder_seeds(net, m->codes, m->tokens, levels, m->seeds[0]);
    memset(m->x, 0, (rows * width + padding) * sizeof *m->x);
    float *x = m->x + lead_of(body, &body->blocks[0]) * width;
    k->dense(&net->embed, m->quantised, net->latent, m->tokens, x);
    for (size_t i = 0; i < body->n_blocks; i++) {
        const nac_block *b = &body->blocks[i];
        float *hidden = m->hidden + i * rows * body->hidden;
        float *start = m->x + lead_of(body, b) * width;
        if (start != x) {
            memmove(start, x, rows * width * sizeof *x);
            memset(m->x, 0, lead_of(body, b) * width * sizeof *x);
            memset(start + rows * width, 0, b->lookahead * width * sizeof *x);
            x = start;
        }
        k->conv_norm_kept(&b->conv, m->x, rows, m->normed, m->kept + i * rows * width);
        k->dense(&b->expand, m->normed, width, rows, hidden);
        memcpy(m->active, hidden, rows * body->hidden * sizeof *hidden);
        k->gelu(m->active, rows * body->hidden);
        k->dense_add(&b->reduce, m->active, body->hidden, rows, x);
    }
    memcpy(m->last, x, rows * width * sizeof *x);
    k->norm(&body->norm, x, rows, m->normed);
    k->dense(&net->gain, m->normed, width, rows, m->gains);
    k->dense(&net->shape, m->normed, width, rows, m->shapes);
    const size_t reach = m->samples + overlap(net);
    for (size_t p = 0; p < ears(net); p++) {
        if (p == 1) nac_decoder_side_seeds(m->seeds[0], rows, m->seeds[1]);
        memset(m->mix[p], 0, reach * sizeof(float));
        k->synthesise(&net->back, m->shapes + p * nac_decoder_shapes(net), net->shape.width,
                      m->gains + p * nac_decoder_gains(net), net->gain.width, m->seeds[p], rows,
                      m->mix[p], m->rest);
    }
    if (net->stereo) rotate(m->mix[0], m->mix[1], reach);
}

/* From the derivative by the mix, which is overwritten, to that by the quantised latents, in
 * m->gradient. */
static void differentiate(const nac_refiner *r, const layout *m)
{
    const nac_decoder *net = r->net;
    const nac_backbone *body = &net->body;
    const nac_kernels *k = net->k;
    const size_t rows = m->rows, width = body->width;
    float *dx = m->x; /* its activations are not needed any more */

    memset(m->by_gains, 0, rows * net->gain.width * sizeof *m->by_gains);
    memset(m->by_shapes, 0, rows * net->shape.width * sizeof *m->by_shapes);
    if (net->stereo) rotate(m->by_mix[0], m->by_mix[1], m->samples + overlap(net));
    for (size_t p = 0; p < ears(net); p++) {
        const size_t shape = p * nac_decoder_shapes(net), gain = p * nac_decoder_gains(net);
        k->synthesise_back(&net->back, m->by_mix[p], m->shapes + shape, net->shape.width,
                           m->gains + gain, net->gain.width, m->seeds[p], rows,
                           m->by_shapes + shape, m->by_gains + gain, m->rest);
    }
    k->dense(&r->shape_back, m->by_shapes, net->shape.width, rows, dx);
    k->dense_add(&r->gain_back, m->by_gains, net->gain.width, rows, dx);
    k->norm_back(&body->norm, m->last, rows, dx, dx);
    for (size_t i = body->n_blocks; i-- > 0;) {
        const nac_block *b = &body->blocks[i];
        k->dense(&r->reduce_back[i], dx, width, rows, m->active);
        k->gelu_back(m->hidden + i * rows * body->hidden, rows * body->hidden, m->active);
        k->dense(&r->expand_back[i], m->active, body->hidden, rows, m->normed);
        k->norm_back(&b->conv, m->kept + i * rows * width, rows, m->normed, m->normed);
        k->conv_back(&b->conv, lead_of(body, b), m->normed, rows, dx);
    }
    k->dense(&r->embed_back, dx, net->stack * width, m->tokens, m->gradient);
}

/* What the audio of one ear, of ears(net), is compared with. */
static nac_heard listen(const nac_refiner *r, const layout *m, const float *audio, size_t levels,
                        size_t ear)
{
    const nac_decoder *net = r->net;
    const double depth = (double)levels / (double)net->levels, each = (double)ears(net);
    nac_heard g;
    double square = 0;
    for (size_t i = 0; i < m->samples; i++) square += (double)audio[i] * (double)audio[i];
    double loud = square / (double)m->samples;
    if (!(loud > QUIETEST * QUIETEST)) loud = QUIETEST * QUIETEST;

    double complex = 0; /* resolutions whose complex values count */
    for (size_t i = 0; i < NAC_RESOLUTIONS; i++) complex += r->at[i].weight != NULL;
    for (size_t i = 0; i < NAC_RESOLUTIONS; i++) {
        const nac_resolution *at = &r->at[i];
        const double frames = (double)nac_frames(at, m->samples),
                     bins = (double)(at->fft.n / 2 + 1);
        double energy[2];
        g.per_unit[i] = (float)(1.0 / (loud * (double)at->fft.n));
        net->k->describe(at, g.per_unit[i], audio, m->samples, m->target[ear][i], energy, m->rest);
        g.share[i] = (nac_shares){0, 0, 0};
        if (frames == 0) continue;
        /* the mean over frames and bins of the squares cancels against that of the errors */
        const double few = 1e-6 * frames * bins;
        g.share[i].band = (float)(0.5 / (each * NAC_RESOLUTIONS * frames * (double)at->bands));
        g.share[i].magnitude = (float)((double)MAGNITUDE / (each * complex * (energy[0] + few)));
        g.share[i].phase = (float)(depth * depth / (each * complex * (energy[1] + few)));
    }
    g.loud_unit =
        net->k->describe_loudness(&r->loud, audio, m->samples, m->loud_target[ear], m->rest);
    return g;
}

/* rate: the latents' deviation times RATE; commitment: COMMITMENT over their energy. */
static nac_goal aim(const nac_refiner *r, const layout *m, const float *audio, const float *latents,
                    size_t levels)
{
    const nac_decoder *net = r->net;
    const size_t dim = net->latent, n = m->tokens * dim;
    nac_goal g;
    for (size_t ear = 0; ear < ears(net); ear++) {
        const float *own = audio;
        if (net->stereo) {
            for (size_t i = 0; i < m->samples; i++) m->mix[0][i] = audio[2 * i + ear];
            own = m->mix[0];
        }
        g.heard[ear] = listen(r, m, own, levels, ear);
    }

    double sum = 0, all = 0, about = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)latents[i];
        all += (double)latents[i] * (double)latents[i];
    }
    for (size_t d = 0; d < dim; d++) {
        double mean = 0;
        for (size_t t = 0; t < m->tokens; t++) mean += (double)latents[t * dim + d];
        about += mean * mean / (double)m->tokens;
    }
    const double mean = sum / (double)n, variance = all / (double)n - mean * mean;
    g.rate = (float)RATE * __builtin_sqrtf((float)(variance > 0 ? variance : 0));
    const double energy = all - about;
    g.commitment = (float)((double)COMMITMENT / (energy > 1e-6 ? energy : 1e-6));
    return g;
}

/* The difference of decoded audio; its derivative by the mix. */
static double compare(const nac_refiner *r, const layout *m, const nac_goal *g)
{
    const nac_kernels *k = r->net->k;
    const size_t start = overlap(r->net) / 2;
    const float loudness = LOUDNESS / (float)ears(r->net);
    double loss = 0;
    for (size_t ear = 0; ear < ears(r->net); ear++) {
        const nac_heard *heard = &g->heard[ear];
        const float *decoded = m->mix[ear] + start;
        float *by = m->by_mix[ear] + start;
        memset(m->by_mix[ear], 0, (m->samples + overlap(r->net)) * sizeof(float));
        for (size_t i = 0; i < NAC_RESOLUTIONS; i++)
            loss += k->compare(&r->at[i], heard->per_unit[i], &heard->share[i], m->target[ear][i],
                               decoded, m->samples, by, m->rest);
        loss += k->compare_loudness(&r->loud, heard->loud_unit, loudness, m->loud_target[ear],
                                    decoded, m->samples, by, m->rest);
    }
    return loss;
}

static double decode_and_compare(const nac_refiner *r, const layout *m, const nac_goal *g,
                                 size_t levels)
{
    decode(r, m, levels);
    return compare(r, m, g);
}

/* A step of Adam. powers: BETA1^t and BETA2^t. */
static void move(const layout *m, const nac_goal *g, const double *powers, double rate, size_t dim,
                 size_t stride, float *latents)
{
    const float b1 = (float)BETA1, b2 = (float)BETA2;
    const float unbiased = (float)(1.0 / (1.0 - powers[1]));
    const float step = (float)((double)g->rate * rate / (1.0 - powers[0]));
    for (size_t t = 0; t < m->tokens; t++)
        for (size_t d = 0; d < dim; d++) {
            const size_t i = t * dim + d;
            const float pull = 2.0f * g->commitment * (latents[i] - m->quantised[i]);
            const float by = m->gradient[t * stride + d] + pull;
            m->first[i] = b1 * m->first[i] + (1.0f - b1) * by;
            m->second[i] = b2 * m->second[i] + (1.0f - b2) * (by * by);
            latents[i] -= step * m->first[i] / (__builtin_sqrtf(m->second[i] * unbiased) + 1e-30f);
        }
}

nac_refinement nac_refine_begin(const nac_refiner *r, const float *audio, float *latents,
                                size_t tokens, size_t levels, size_t beam, size_t steps,
                                uint16_t *codes, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const layout m = layout_of(r, tokens, scratch);
    nac_refinement of = {.r = r, .tokens = tokens, .levels = levels, .beam = beam, .steps = steps};
    of.latents = latents;
    of.scratch = scratch;
    of.codes = codes;
    of.goal = aim(r, &m, audio, latents, levels);
    of.powers[0] = of.powers[1] = 1.0;
    memset(m.first, 0, tokens * r->net->latent * sizeof *m.first);
    memset(m.second, 0, tokens * r->net->latent * sizeof *m.second);
    nac_fp_env_leave(caller);
    return of;
}

int nac_refine_step(nac_refinement *of)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const nac_refiner *r = of->r;
    const nac_decoder *net = r->net;
    const layout m = layout_of(r, of->tokens, of->scratch);
    const int more = of->done < of->steps;

    if (of->beam > 1)
        nac_rvq_beam(r->rvq, net->k->isa, of->levels, of->beam, of->latents, of->tokens, m.codes,
                     m.rest);
    else
        nac_rvq_encode(r->rvq, net->k->isa, of->levels, of->latents, of->tokens, m.codes, m.rest);
    /* without steps there is nothing to compare */
    const double loss = of->steps ? decode_and_compare(r, &m, &of->goal, of->levels) : 0;
    if (of->done == 0 || loss < of->least) {
        of->least = loss;
        memcpy(of->codes, m.codes, of->levels * of->tokens * sizeof *of->codes);
    }
    if (more) {
        differentiate(r, &m);
        const double left = 1.0 - (double)of->done / (double)of->steps;
        of->powers[0] *= BETA1;
        of->powers[1] *= BETA2;
        move(&m, &of->goal, of->powers, left > LAST_RATE ? left : LAST_RATE, net->latent,
             r->embed_back.width, of->latents);
        of->done++;
    }
    nac_fp_env_leave(caller);
    return more;
}

double nac_difference(const nac_refiner *r, const float *audio, const float *latents, size_t tokens,
                      const uint16_t *codes, size_t levels, float *gradient, float *scratch)
{
    const nac_fp_env caller = nac_fp_env_enter();
    const size_t dim = r->net->latent;
    const layout m = layout_of(r, tokens, scratch);
    const nac_goal g = aim(r, &m, audio, latents, levels);
    memcpy(m.codes, codes, levels * tokens * sizeof *codes);
    const double loss = decode_and_compare(r, &m, &g, levels);
    differentiate(r, &m);
    for (size_t t = 0; t < tokens; t++)
        memcpy(gradient + t * dim, m.gradient + t * r->embed_back.width, dim * sizeof *gradient);
    nac_fp_env_leave(caller);
    return loss;
}
