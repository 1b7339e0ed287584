/* A network that makes decoded audio sound closer to the original: a second stage of the decoder, which
 * needs nothing but the decoded audio, and so leaves codes and files as they are.
 *
 * The decoder knows nothing of a voice's period. So the network sees the audio x together with p and f, the
 * audio a period before and a period after each sample (periods.h), as an adaptive comb filter does: it is
 * a relative of LACE and NoLACE (Buethe et al. 2023, arXiv 2309.14521), whose filters work on samples, and
 * of DeepFilterNet (Schroeter et al. 2022, arXiv 2110.05588), whose complex factors lie over the frequency.
 *
 *     X, P, F     spectra of frames of n_fft samples under a Hann window, hop apart
 *     m           mean of |X_k|^2 over the bins, + 1e-7
 *     a_k         |X_k|^2 / m + 1e-4, p_k and f_k likewise of P and F
 *     features    0.2 log a_k;  0.2 log(p_k / a_k), 0.2 log(f_k / a_k);  P_k conj X_k / (m sqrt(p_k a_k)),
 *                 real parts, imaginary parts;  likewise of F;  0.1 log m;  lag / 200;  4 share;  share > 0
 *     network     dense - norm - backbone - dense
 *     factors     complex A_k, B_k, C_k and a gain's logarithm g for each band, interpolated to g_k
 *     enhanced    Y_k = e^g_k (1 + A_k) X_k + B_k P_k + C_k F_k
 *
 * B and C, and the features of P and F, are for the lowest `narrow` bins, A for the lowest `wide`. Frames
 * are centred on the multiples of hop. The result overlaps under the same window. */
#ifndef NAC_ENGINE_ENHANCER_H
#define NAC_ENGINE_ENHANCER_H

#include "backbone.h"
#include "periods.h"

typedef struct {
    const nac_kernels *k;
    nac_enhancement plan; /* its hop, a multiple of NAC_PERIOD_HOP, divides half of its FFT */
    nac_dense embed;
    nac_conv_norm norm; /* its convolution is not used */
    nac_backbone body;
    nac_dense factors;
} nac_enhancer;

/* Hops of audio that are seen before a hop, and after it. */
size_t nac_enhancer_before(const nac_enhancer *net);
size_t nac_enhancer_after(const nac_enhancer *net);

/* Floats of scratch memory for n samples, aligned to NAC_ALIGN. */
size_t nac_enhancer_scratch(const nac_enhancer *net, size_t n);

/* Enhances the hops [first, last) of audio [n], n > 0, which end at the latest where it does: out gets
 * (last - first) * hop samples, or fewer if n ends within the last hop. What lies outside audio counts as
 * zeros; so many hops before and after as above, if there are any, make the result that of the whole. */
void nac_enhancer_run(const nac_enhancer *net, const float *audio, size_t n, size_t first,
                      size_t last, float *out, float *scratch);

/* Samples that frames reach over before the audio's start and after its last hop's end: a sample is in all
 * frames whose centre is nearer than half a window. The first frame of audio begins so far before it. */
size_t nac_enhancer_margin(const nac_enhancer *net);

/* Samples after a frame that are seen, a multiple of NAC_PERIOD_HOP: by the moment at its end or after it. */
enum { NAC_ENHANCER_AHEAD = (NAC_PERIOD_AFTER + 1) * NAC_PERIOD_HOP };

/* Frames of audio [length], length a multiple of NAC_PERIOD_HOP. The first begins at audio[lead], lead a
 * multiple of NAC_PERIOD_HOP too; the first `known` of them went into the network before, and have not come
 * out of it. */
typedef struct {
    const float *audio;
    size_t length, lead, rows, known;
    int last; /* whether these are the last frames, behind which the network sees zeros */
} nac_enhancer_frames;

/* Floats of scratch memory for frames, aligned to NAC_ALIGN. */
size_t nac_enhancer_frames_scratch(const nac_enhancer *net, size_t length, size_t rows);

/* Runs frames through the network, whose history `state` is, and adds those that come out of it to mix
 * [(rows - 1) * hop + n_fft], where the first frame begins at mix[0]. Returns their number. */
size_t nac_enhancer_run_frames(const nac_enhancer *net, nac_backbone_state state,
                               const nac_enhancer_frames *frames, float *mix, float *scratch);

#endif
