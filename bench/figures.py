"""Draw the figures of README and docs from the configuration of the shipped model.

`python -m bench.figures` writes overview.svg and network.svg to docs/figures. The waveform is
synthetic, its codes are those of the shipped model; every number comes from the configuration.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import codec
from codec.model.config import ModelConfig

FOLDER = Path(__file__).parents[1] / "docs/figures"
FRAMES = 30  # in the token grid
CELL = 7  # pixels of a token
# From few to many, dark to light: readable on both backgrounds, also without colour.
RAMP = ("#2d3a6b", "#34558b", "#3a74a3", "#3f95ad", "#55b3a8", "#86cb9a", "#c2dd8e", "#f0e68c")

STYLE = """
.card { fill: #ffffff; stroke: #d7dce3; }
text { fill: #1c2530; font: 13px "Helvetica Neue", Helvetica, Arial, sans-serif; }
.head { font-size: 15px; font-weight: 600; }
.soft { fill: #5b6775; font-size: 12px; }
.box { fill: #eef3fa; stroke: #4b6ea9; stroke-width: 1.2; }
.code { fill: #f3efe2; stroke: #a8893c; }
.line { fill: none; stroke: #5b6775; stroke-width: 1.4; }
.tip { fill: #5b6775; }
.wave { fill: none; stroke: #4b6ea9; stroke-width: 1.3; }
@media (prefers-color-scheme: dark) {
  .card { fill: #12171e; stroke: #2b3440; }
  text { fill: #e6eaf0; }
  .soft { fill: #a3aebb; }
  .box { fill: #1c2736; stroke: #7fa3dd; }
  .code { fill: #2c2719; stroke: #cfae5a; }
  .line { stroke: #a3aebb; }
  .tip { fill: #a3aebb; }
  .wave { stroke: #7fa3dd; }
}
"""


def vowel(n_samples: int, sample_rate: int) -> npt.NDArray[np.float32]:
    """Make a gliding voice-like tone, float32 [n_samples].

    Products and sums only, no library sine: every machine makes the same samples.
    """
    time = np.arange(n_samples, dtype=np.float64) / sample_rate
    place = time * sample_rate / n_samples
    cycles = 110.0 * time + 40.0 * time * place * (1 - place)  # the pitch rises and falls
    audio = np.zeros(n_samples)
    for harmonic, strength in ((1, 0.5), (2, 0.8), (3, 0.6), (5, 0.35), (9, 0.2), (17, 0.08)):
        phase = (cycles * harmonic) % 1.0
        parabola = 16 * phase * (0.5 - phase)  # a sine's first half
        other = phase - 0.5
        audio += strength * np.where(phase < 0.5, parabola, -16 * other * (0.5 - other))
    syllables = (place * 3) % 1.0
    envelope = 6.75 * syllables * (1 - syllables) ** 2  # a fast attack
    level = 0.55 + 0.45 * np.where(place * 3 < 1, 0.3, np.where(place * 3 < 2, 1.0, 0.0))
    return (0.25 * level * audio * envelope).astype(np.float32)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """Return one line of text."""
    place = f'class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f"<text {place}>{html.escape(words)}</text>"


def box(
    x: float, y: float, width: float, height: float, lines: Sequence[str], kind: str = "box"
) -> str:
    """Return a rounded box: the first line is its name, the others are details."""
    top = y + height / 2 - 8.5 * (len(lines) - 1) + 4.5
    words = [
        text(x + width / 2, top + 17 * i, line, "head" if i == 0 else "soft")
        for i, line in enumerate(lines)
    ]
    shape = (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>'
    )
    return shape + "".join(words)


def arrow(*points: tuple[float, float]) -> str:
    """Return a line through the points with a tip at the last: right, down or up."""
    (x0, y0), (x1, y1) = points[-2:]
    if x1 > x0:
        tip, end = f"M{x1} {y1}l-8 -4v8z", (x1 - 7, y1)
    elif y1 > y0:
        tip, end = f"M{x1} {y1}l-4 -8h8z", (x1, y1 - 7)
    else:
        tip, end = f"M{x1} {y1}l-4 8h8z", (x1, y1 + 7)
    path = "L".join(f"{x:g} {y:g}" for x, y in (*points[:-1], end))
    return f'<path class="line" d="M{path}"/><path class="tip" d="{tip}"/>'


def waveform(audio: npt.NDArray[np.float32], x: float, y: float, width: int, height: float) -> str:
    """Return the range of `audio` [samples] as a bar every two pixels, centred on y."""
    edges = np.linspace(0, len(audio), width // 2 + 1).astype(int)
    scale = height / 2 / float(np.abs(audio).max())
    parts = []
    for bar in range(width // 2):
        piece = audio[edges[bar] : edges[bar + 1]]
        high, low = y - scale * float(piece.max()), y - scale * float(piece.min())
        parts.append(f"M{x + 2 * bar:g} {high:.1f}V{max(low, high + 0.8):.1f}")
    return f'<path class="wave" d="{"".join(parts)}"/>'


def grid(codes: npt.NDArray[np.uint16], size: int, x: float, y: float) -> str:
    """Return the codes [codebooks, frames] as coloured cells, the coarsest codebook on top."""
    cells = []
    for level, row in enumerate(codes):
        for frame, code in enumerate(row):
            colour = RAMP[int(code) * len(RAMP) // size]
            cells.append(
                f'<rect x="{x + frame * CELL:g}" y="{y + level * CELL:g}" width="{CELL - 0.8}"'
                f' height="{CELL - 0.8}" fill="{colour}"/>'
            )
    return "".join(cells)


def bracket(x: float, top: float, bottom: float, reach: float) -> str:
    """Return a bracket that opens to the left."""
    return f'<path class="line" d="M{x:g} {top:g}h{reach:g}V{bottom:g}h-{reach:g}"/>'


def page(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """Return a whole SVG on a card that is light or dark as the reader's system is."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-label="{html.escape(title)}">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>\n'
        f"{body}\n</svg>\n"
    )


def overview(model: codec.Codec) -> str:
    """Return the figure of the README: waveform, encoder, codes, decoder, waveform."""
    config = model.config
    audio = vowel(FRAMES * config.hop_length, config.sample_rate)
    tokens = model.encode(audio, config.sample_rate)
    restored = model.decode(tokens)[0]
    khz, each = config.sample_rate / 1000, config.bitrate_per_codebook / 1000
    middle, top, left = 158, 60, 352
    bottom = top + config.n_codebooks * CELL
    right = left + FRAMES * CELL
    parts = [
        text(90, 84, f"{khz:g} kHz audio", "head"),
        waveform(audio, 20, middle, 140, 90),
        text(90, 246, f"{config.hop_length} samples a frame", "soft"),
        arrow((168, middle), (192, middle)),
        box(192, middle - 44, 124, 88, encoder_words(config)),
        arrow((316, middle), (346, middle)),
        text((left + right) / 2, 32, f"{config.frame_rate:g} frames a second", "head"),
        text(
            (left + right) / 2,
            50,
            f"of {config.n_codebooks} codes of {config.bits_per_code} bits, coarse to fine",
            "soft",
        ),
        grid(tokens.codes[0], config.codebook_size, left, top),
    ]
    for number, count in enumerate((4, 12, config.n_codebooks)):
        end = top + count * CELL - 1
        parts.append(bracket(right + 4, top, end, 8 + 8 * number))
        parts.append(
            text(right + 36, end - 3, f"{count}: {count * each:g} kbit/s", "soft", "start")
        )
    parts += [
        text((left + right) / 2, bottom + 22, "any prefix of the codebooks decodes", "soft"),
        arrow((right + 112, middle), (right + 136, middle)),
        box(right + 136, middle - 44, 124, 88, decoder_words(config)),
        arrow((right + 260, middle), (right + 284, middle)),
        text(right + 360, 84, f"{khz:g} kHz audio", "head"),
        waveform(restored, right + 290, middle, 140, 90),
        text(right + 360, 246, f"{1000 * config.latency / config.sample_rate:g} ms later", "soft"),
    ]
    return page(right + 450, 296, "Audio to codes, and back", parts)


def encoder_words(config: ModelConfig) -> list[str]:
    """Name the encoder's parts for a box."""
    return ["Encoder", f"{config.encoder_blocks} ConvNeXt blocks", f"{config.encoder_dim} wide"]


def decoder_words(config: ModelConfig) -> list[str]:
    """Name the decoder's parts for a box."""
    return ["Decoder", f"{config.decoder_blocks} ConvNeXt blocks", f"{config.decoder_dim} wide"]


def network(config: ModelConfig) -> str:
    """Return the figure of docs/architecture.md: the layers with their sizes."""
    long_bins, short_bins = config.long_fft // 2 + 1, config.short_fft // 2 + 1
    per_frame = config.backbone_hop * 2 // config.short_fft
    features = long_bins + per_frame * short_bins + 2 * config.phase_bins
    backbone_rate = config.sample_rate // config.backbone_hop
    encoder_rate = backbone_rate // config.encoder_stack
    stack = config.hop_length // config.backbone_hop
    spectra = config.backbone_hop // config.synthesis_hop
    bins = config.synthesis_fft // 2 + 1
    low = config.phase_bins * config.sample_rate / config.long_fft / 1000
    row, height, width = 88.0, 82.0, 172.0
    columns = [24 + i * 200 for i in range(5)]

    def place(column: int, line: int, lines: Sequence[str], kind: str = "box") -> str:
        return box(columns[column], 56 + row * line, width, height, lines, kind)

    def across(column: int, line: int) -> str:
        y = 56 + row * line + height / 2
        return arrow((columns[column] + width, y), (columns[column + 1], y))

    seen = [
        f"log |X|, FFT {config.long_fft}: {long_bins}",
        f"log |X|, FFT {config.short_fft}: {per_frame} x {short_bins}",
        f"X / √|X| to {low:g} kHz: {2 * config.phase_bins}",
    ]
    parts = [
        text(24, 34, f"Encoder, {encoder_rate} Hz", "head", "start"),
        place(0, 0, ["STFT features", *seen[:2], seen[2]]),
        across(0, 0),
        place(1, 0, ["Linear", f"{config.encoder_stack} x {features} → {config.encoder_dim}"]),
        across(1, 0),
        place(
            2,
            0,
            [f"{config.encoder_blocks} x ConvNeXt", f"{config.encoder_dim}, causal", "LayerNorm"],
        ),
        across(2, 0),
        place(3, 0, ["Linear", f"{config.encoder_dim} → {config.latent_dim}"]),
        across(3, 0),
        place(
            4,
            0,
            [
                "Residual VQ",
                f"{config.n_codebooks} codebooks of {config.codebook_size}",
                f"{config.n_codebooks * config.bits_per_code} bits a frame",
            ],
            "box code",
        ),
    ]
    line = 2
    y = 56 + row * line
    down = [
        ["Sum of codewords", f"{config.latent_dim} a frame"],
        ["Linear", f"{config.latent_dim} → {stack} x {config.decoder_dim}"],
        [f"{config.decoder_blocks} x ConvNeXt", f"{config.decoder_dim}, causal", "LayerNorm"],
        [
            "Gains x shapes",
            f"{spectra} x {config.gain_bands} gains",
            f"{spectra} x {bins} complex",
        ],
        [
            "Inverse STFT",
            f"FFT {config.synthesis_fft}, hop {config.synthesis_hop}",
            f"{config.sample_rate // 1000} kHz audio",
        ],
    ]
    # Codes enter the decoder at its left: the line runs back under the encoder.
    start, entry = columns[4] + width / 2, columns[0] + width / 2
    parts += [
        arrow((start, 56 + height), (start, y - 44), (entry, y - 44), (entry, y)),
        text(start - 10, y - 51, "codes, uint16 [codebooks, frames]", "soft", "end"),
        text(columns[1], y - 14, f"Decoder, {backbone_rate} Hz", "head", "start"),
    ]
    for column, lines in enumerate(down):
        parts.append(place(column, line, lines, "box code" if column == 0 else "box"))
        if column < len(down) - 1:
            parts.append(across(column, line))
    base = y + height + 34
    parts += [
        text(24, base + 5, "A ConvNeXt block", "head", "start"),
        text(
            190,
            base + 5,
            f"x + s · W₂ GELU(W₁ LayerNorm(conv(x)));  conv: depthwise over"
            f" {config.kernel_size} frames;  hidden layer: {config.encoder_hidden}"
            f" in the encoder, {config.decoder_hidden} in the decoder",
            "soft",
            "start",
        ),
    ]
    return page(1020, int(base + 28), "The network", parts)


def main() -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=FOLDER)
    folder = parser.parse_args().output
    model = codec.load()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "overview.svg").write_text(overview(model), encoding="utf-8")
    (folder / "network.svg").write_text(network(model.config), encoding="utf-8")


if __name__ == "__main__":
    main()
