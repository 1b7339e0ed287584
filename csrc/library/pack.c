#include "pack.h"

#include <string.h>

#include "tables.h"

/* Floats of scratch memory of a model that is still taken: 1 GB. What a damaged configuration could ask
 * for beyond that, it shall not get. */
static const size_t MOST_SCRATCH = (size_t)1 << 28;

codec_status nac_pack_codebooks(const nac_packing *p, const float **books)
{
    static const char codewords[] = "quantiser.codewords", scales[] = "quantiser.scales";
    const nac_config *c = p->config;
    const size_t shape[3] = {c->n_codebooks, c->codebook_size, c->latent_dim};
    const nac_tensor *words = NULL;
    const float *scale = NULL;
    nac_memory aside = {NULL};
    codec_status status =
        nac_tensor_need(p->file, codewords, NAC_DTYPE_I8, 3, shape, &words, p->reason);
    if (!status) status = nac_tensor_read(p->file, scales, 2, shape, &aside, &scale, p->reason);
    if (!status) {
        float *out = nac_memory_new(p->memory, words->count, sizeof *out);
        if (!out) status = nac_pack_no_memory(p);
        const size_t dim = c->latent_dim;
        for (size_t i = 0; out && i < words->count / dim; i++) {
            for (size_t k = i * dim; k < (i + 1) * dim; k++) {
                const int byte = words->data[k];
                out[k] = (float)(byte < 128 ? byte : byte - 256);
            }
            if (!nac_place(nac_plain(dim), out + i * dim, scale[i], out + i * dim))
                status = nac_pack_wrong(p, "a codeword is not finite");
        }
        *books = out;
    }
    nac_memory_free(&aside);
    return status;
}

static codec_status load_analysis(const nac_packing *p, nac_analysis *front)
{
    const nac_config *c = p->config;
    codec_status status = nac_fft_tables(c->long_fft, p->memory, &front->long_fft, p->reason);
    if (!status) status = nac_fft_tables(c->short_fft, p->memory, &front->short_fft, p->reason);
    if (!status) status = nac_load_window(p, &front->long_fft, &front->long_window);
    if (!status) status = nac_load_window(p, &front->short_fft, &front->short_window);
    if (status) return status;

    const size_t short_hop = c->short_fft / 2, hop = c->backbone_hop;
    if (hop < short_hop || hop % short_hop || c->long_fft < hop)
        return nac_pack_wrong(p, "the analysis windows do not fit the hop");
    if (c->phase_bins > c->long_fft / 2)
        return nac_pack_wrong(p, "there are more phase bins than bins");
    front->hop = hop;
    front->phase_bins = c->phase_bins;
    front->per_frame = hop / short_hop;
    front->waveform = c->waveform;
    front->size = c->long_fft / 2 + 1 + front->per_frame * (short_hop + 1) + 2 * c->phase_bins +
                  (c->waveform ? c->long_fft : 0);
    const size_t long_left = (c->long_fft - hop) / 2, short_left = (c->short_fft - short_hop) / 2;
    front->left = nac_larger(long_left, short_left);
    front->right = nac_larger(c->long_fft - hop - long_left, c->short_fft - short_hop - short_left);
    /* Of two channels, mean and scale are those of the mid and then those of the side. */
    const size_t rows = c->channels == 1 ? 0 : c->channels;
    status = nac_pack_read(p, "encoder.front", "mean", rows, front->size, p->memory, &front->mean);
    if (!status)
        status =
            nac_pack_read(p, "encoder.front", "scale", rows, front->size, p->memory, &front->scale);
    return status;
}

/* The embedding, whose columns are the features of the frame, or those of its mid and then of its side. */
static codec_status load_embedding(const nac_packing *p, nac_encoder *net)
{
    static const char name[] = "encoder.embed";
    const size_t dim = p->config->encoder_dim, depth = net->gather * net->front.size;
    const size_t columns = p->config->channels * depth;
    nac_memory aside = {NULL};
    const float *weight = NULL, *bias = NULL;
    codec_status status = nac_pack_read(p, name, "weight", dim, columns, &aside, &weight);
    if (!status) status = nac_load_vector(p, name, "bias", nac_plain(dim), &bias);
    if (!status)
        status = nac_load_matrix(p, weight, columns, NULL, nac_plain(dim), nac_plain(depth),
                                 &net->embed);
    if (!status) net->embed.bias = bias;
    if (!status && net->stereo)
        status = nac_load_matrix(p, weight + depth, columns, NULL, nac_plain(dim), nac_plain(depth),
                                 &net->embed_side);
    nac_memory_free(&aside);
    return status;
}

static codec_status load_search(const nac_packing *p, const float *books, nac_rvq_plan *rvq)
{
    const nac_config *c = p->config;
    const size_t levels = c->n_codebooks, words = c->codebook_size, dim = c->latent_dim;
    *rvq = (nac_rvq_plan){.levels = levels, .codewords = words, .dim = dim, .codebooks = books};
    rvq->panels =
        nac_memory_new(p->memory, nac_rvq_panels_size(levels, words, dim), sizeof *rvq->panels);
    rvq->half = nac_memory_new(p->memory, nac_rvq_half_size(levels, words), sizeof *rvq->half);
    const size_t screen = nac_rvq_screen_size(p->kernels->isa, levels, words, dim);
    if (screen) rvq->screen = nac_memory_new(p->memory, screen, 1);
    if (!rvq->panels || !rvq->half || (screen && !rvq->screen)) return nac_pack_no_memory(p);
    nac_rvq_pack(rvq, p->kernels->isa);
    return CODEC_OK;
}

codec_status nac_pack_encoder(const nac_packing *p, const float *books, nac_encoder *net)
{
    const nac_config *c = p->config;
    if (c->hop_length % (c->backbone_hop * c->encoder_stack))
        return nac_pack_wrong(p, "the frames of the encoder do not fit the hop");
    *net = (nac_encoder){.k = p->kernels, .gather = c->encoder_stack, .latent = c->latent_dim};
    net->stack = c->hop_length / (c->backbone_hop * c->encoder_stack);
    net->block = nac_round_up(p->block, net->stack);

    const size_t dim = c->encoder_dim;
    const nac_body_shape shape = {"encoder.backbone", c->encoder_blocks, dim,
                                  c->encoder_hidden,  c->kernel_size,    c->encoder_lookahead};
    codec_status status = load_analysis(p, &net->front);
    net->stereo = c->channels == 2;
    if (!status && net->stereo) {
        net->side = net->front;
        net->side.mean += net->front.size;
        net->side.scale += net->front.size;
    }
    if (!status) status = load_embedding(p, net);
    if (!status) status = nac_load_body(p, shape, &net->body);
    if (!status)
        status = nac_load_dense(p, "encoder.project", nac_plain(net->latent),
                                nac_side_by_side(net->stack, dim), &net->project);
    if (!status) status = load_search(p, books, &net->rvq);
    if (!status && nac_encoder_scratch(net) > MOST_SCRATCH)
        return nac_fail(p->reason, CODEC_ERROR_UNSUPPORTED, "the encoder's frames are too large");
    return status;
}

static codec_status load_synthesis(const nac_packing *p, nac_synthesis *back)
{
    const nac_config *c = p->config;
    const size_t n = c->synthesis_fft, bins = n / 2 + 1, bands = c->gain_bands;
    const codec_status status = nac_fft_tables(n, p->memory, &back->fft, p->reason);
    if (status) return status;
    if (c->backbone_hop % c->synthesis_hop || n < c->synthesis_hop || (n - c->synthesis_hop) % 2)
        return nac_pack_wrong(p, "the synthesis window does not fit the hop");
    if (bands > bins) return nac_pack_wrong(p, "there are more bands than bins");
    back->hop = c->synthesis_hop;
    back->bands = bands;
    back->per_frame = c->backbone_hop / back->hop;
    const size_t noise_bin = (c->noise_from * n + c->sample_rate - 1) / c->sample_rate;
    back->noise_bin = noise_bin < bins ? noise_bin : bins;

    float *window = nac_memory_new(p->memory, n, sizeof *window);
    if (!window) return nac_pack_no_memory(p);
    nac_synthesis_window(n, back->hop, window);
    back->window = window;
    return nac_load_bands(p, bands, n, c->sample_rate, &back->band, &back->lower, &back->upper);
}

codec_status nac_pack_decoder(const nac_packing *p, const float *books, nac_decoder *net)
{
    const nac_config *c = p->config;
    if (c->hop_length % c->backbone_hop)
        return nac_pack_wrong(p, "the frames of the decoder do not fit the hop");
    *net = (nac_decoder){.k = p->kernels,
                         .codebooks = books,
                         .levels = c->n_codebooks,
                         .codewords = c->codebook_size,
                         .latent = c->latent_dim,
                         .stack = c->hop_length / c->backbone_hop,
                         .stereo = c->channels == 2};
    net->block = nac_round_up(p->block, net->stack);

    const size_t dim = c->decoder_dim;
    const nac_body_shape shape = {"decoder.backbone", c->decoder_blocks, dim,
                                  c->decoder_hidden,  c->kernel_size,    c->decoder_lookahead};
    codec_status status = nac_load_body(p, shape, &net->body);
    if (!status)
        status = nac_load_dense(p, "decoder.embed", nac_side_by_side(net->stack, dim),
                                nac_plain(net->latent), &net->embed);
    if (!status) status = load_synthesis(p, &net->back);
    const size_t spectra = c->channels * net->back.per_frame, bins = c->synthesis_fft / 2 + 1;
    if (!status)
        status = nac_load_dense(p, "decoder.head.gain", nac_plain(spectra * c->gain_bands),
                                nac_plain(dim), &net->gain);
    if (!status)
        status = nac_load_dense(p, "decoder.head.shape", nac_plain(spectra * bins * 2),
                                nac_plain(dim), &net->shape);
    if (!status && nac_decoder_scratch(net) > MOST_SCRATCH)
        return nac_fail(p->reason, CODEC_ERROR_UNSUPPORTED, "the decoder's frames are too large");
    return status;
}
