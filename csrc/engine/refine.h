/* Analysis by synthesis: codes whose decoded audio is closer to the original than that of the nearest
 * codewords, for as many codes and the same decoder.
 *
 * The encoder's latents z are moved by steps of Adam (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1).
 * Each step quantises them to q, decodes q, compares the audio with the original, and takes the
 * derivative by q for that by z (the straight-through estimator, Bengio et al. 2013, arXiv 1308.3432).
 * The codes of the step with the smallest difference are kept, so no step can make them worse. What is
 * minimised is made after what the shipped model learned from (codec.training.losses), with fewer windows:
 *
 *     mel + 2 magnitude + (levels / all levels)^2 phase + 0.2 loudness + |z - q|^2 / |z0 - mean|^2
 *
 * at three resolutions, the loudness at one. Of two channels together it is the mean of what it is for
 * left and for right, so an error counts by what it is beside the signal of its ear. All of it is
 * defined to the bit, as encoding is. */
#ifndef NAC_ENGINE_REFINE_H
#define NAC_ENGINE_REFINE_H

#include "decoder.h"
#include "rvq/rvq_beam.h"

enum { NAC_RESOLUTIONS = 3 };

typedef struct {
    const nac_decoder *net;
    const nac_rvq_plan *rvq;
    /* products with the transposed weights, their biases zero */
    nac_dense embed_back, gain_back, shape_back;
    const nac_dense *expand_back, *reduce_back; /* [net->body.n_blocks] */
    nac_resolution at[NAC_RESOLUTIONS];         /* log-mel, magnitudes, phases */
    nac_resolution loud;
} nac_refiner;

/* Floats of scratch memory for up to `tokens` token frames, aligned to NAC_ALIGN. */
size_t nac_refine_scratch(const nac_refiner *r, size_t tokens);

/* What all steps compare one channel with. */
typedef struct {
    float per_unit[NAC_RESOLUTIONS], loud_unit;
    nac_shares share[NAC_RESOLUTIONS];
} nac_heard;

/* What they compare with; the second channel is that of a model of two together. */
typedef struct {
    nac_heard heard[2];
    float rate, commitment; /* of Adam; of a squared difference of latents */
} nac_goal;

/* A refinement under way, made of separate steps so that the caller can stop between them. */
typedef struct {
    const nac_refiner *r;
    size_t tokens, levels, beam, steps, done;
    float *latents, *scratch;
    uint16_t *codes;
    nac_goal goal;
    double least, powers[2]; /* the smallest difference; of Adam's rates of decay */
} nac_refinement;

/* Begins one of audio [tokens * samples a frame], pairs with two channels, and its latents
 * [tokens][net->latent], which are overwritten, to codes [levels][tokens]; steps may be 0. beam: 1, or
 * paths for nac_rvq_beam, which quantises in each step. Latents, codes and scratch memory are used until the last step. */
nac_refinement nac_refine_begin(const nac_refiner *r, const float *audio, float *latents,
                                size_t tokens, size_t levels, size_t beam, size_t steps,
                                uint16_t *codes, float *scratch);

/* Quantises, and moves the latents unless this was the last time. Returns whether it was not. */
int nac_refine_step(nac_refinement *of);

/* The difference that `codes` [levels][tokens] make, without the commitment, and its derivative by the
 * quantised latents [tokens][net->latent]; for tests. latents: as nac_refine_begin takes them. */
double nac_difference(const nac_refiner *r, const float *audio, const float *latents, size_t tokens,
                      const uint16_t *codes, size_t levels, float *gradient, float *scratch);

#endif
