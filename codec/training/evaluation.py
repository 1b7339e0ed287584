"""Periodic evaluation of a model in training: distances, the health of the codes, sample files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.audio import READ_SUFFIXES, read_audio, resample, write_audio
from codec.errors import AudioError, DataError
from codec.nn.heads import noise_keys
from codec.nn.model import CodecModel
from codec.training.decoding import as_pair
from codec.training.losses.spectral import SpectralLoss
from codec.training.monitor import perplexity
from codec.training.step import rows

DECODED_CLIPS = 8
CLIP_SECONDS = 6
SPEECH_RATE = 16_000


@dataclasses.dataclass(frozen=True)
class Clip:
    name: str
    audio: Tensor  # float32 [1, samples], or [1, 2, these], at the model's rate, of whole frames


def read_clips(folder: Path, model: CodecModel) -> list[Clip]:
    """The first seconds of every audio file in `folder`, as the model takes them: channels
    averaged, or two of them. Raises DataError."""
    config = model.config
    clips = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() not in READ_SUFFIXES or path.name.startswith("."):
            continue
        try:
            channels, rate = read_audio(path)
        except (AudioError, OSError) as error:
            raise DataError(f"{path.name}: {error}") from None
        mixed = channels.mean(axis=0, keepdims=True) if config.channels == 1 else as_pair(channels)
        audio = np.stack([resample(channel, rate, config.sample_rate) for channel in mixed])
        audio = audio[:, : CLIP_SECONDS * config.sample_rate]
        padding = config.n_frames(audio.shape[1]) * config.hop_length - audio.shape[1]
        padded = F.pad(torch.from_numpy(audio), (0, padding))
        clips.append(Clip(path.stem, padded if config.channels == 1 else padded[None]))
    if not clips:
        raise DataError(f"no audio files to evaluate in {folder}")
    return clips


@torch.no_grad()
def evaluate(
    model: CodecModel,
    loss: SpectralLoss,
    clips: list[Clip],
    samples: Path | None = None,
    *,
    quantised: bool = True,
) -> dict[str, float]:
    """Scalars by name; decoded clips are written to the folder `samples`.

    mel/N, and pesq/N and stoi/N for clips whose name starts with "speech" where those packages
    are installed: decoded from the first N codebooks, N = 0: from the latents as they are. Of at
    most 8 clips spread over `clips`. Of all clips: the participation ratio of the latents
    (sum of the covariance's eigenvalues squared over the sum of their squares: how many dimensions
    are in use), and for each level the share of the latents' energy left after it, the share of
    its codes used, and their perplexity. Before there are codebooks (`quantised` false) only what
    does not need them.
    """
    config = model.config
    device = next(model.parameters()).device
    latents = [model.encoder(clip.audio.to(device)) for clip in clips]
    joined = torch.cat([z[0] for z in latents])
    result = {"latents/participation": participation_ratio(joined)}
    depths = [0]
    if quantised:
        result |= _levels(model, joined)
        n = config.n_codebooks
        depths += sorted({max(1, n // 4), max(1, n // 2), n})
    if samples is not None:
        samples.mkdir(parents=True, exist_ok=True)
    scores: dict[str, list[float]] = {}
    for index in spread(len(clips), DECODED_CLIPS):
        clip = clips[index]
        target = clip.audio.to(device)
        if samples is not None:
            _write(samples / f"{clip.name}.wav", clip.audio, config.sample_rate)
        for depth in depths:
            z, keys = latents[index], None
            if depth:
                quantised_clip = model.quantiser(z, levels=depth)
                z, keys = quantised_clip.latents, noise_keys(quantised_clip.codes)
            output = model.decoder(z, keys)
            named = {"mel": float(loss(rows(target), rows(output))["mel"])}
            if clip.name.startswith("speech"):
                before, after = (rows(x).mean(0).cpu().numpy() for x in (clip.audio, output))
                named |= _speech_scores(before, after, config.sample_rate)
            for name, value in named.items():
                scores.setdefault(f"{name}/{depth}", []).append(value)
            if samples is not None:
                _write(samples / f"{clip.name}_{depth:02d}.wav", output, config.sample_rate)
    return result | {name: float(np.mean(values)) for name, values in scores.items()}


def participation_ratio(latents: Tensor) -> float:
    """(sum of eigenvalues)^2 / (sum of their squares) of the covariance of `latents` [n, dim]."""
    covariance = torch.cov(latents.T)
    return float(covariance.trace().square() / covariance.square().sum().clamp(min=1e-12))


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers under `count`, evenly apart."""
    return sorted({i * count // most for i in range(most)})


def _write(path: Path, audio: Tensor, sample_rate: int) -> None:
    write_audio(path, rows(audio).cpu().numpy(), sample_rate, ".wav")


def _levels(model: CodecModel, latents: Tensor) -> dict[str, float]:
    size = model.config.codebook_size
    codes = model.quantiser(latents[None]).codes
    variance = latents.var(0, unbiased=False).sum().clamp(min=1e-12)
    values = perplexity(codes, size).tolist()
    residual, result = latents, {}
    for level, (chosen, book) in enumerate(zip(codes, model.quantiser.codebooks, strict=True), 1):
        residual = residual - book[chosen[0]]
        result[f"left/{level}"] = float(residual.square().sum(1).mean() / variance)
        result[f"use/{level}"] = len(chosen.unique()) / size
        result[f"code_perplexity/{level}"] = values[level - 1]
    return result


def _speech_scores(
    reference: npt.NDArray[np.float32], decoded: npt.NDArray[np.float32], rate: int
) -> dict[str, float]:
    """PESQ-WB and STOI of 16 kHz copies, as far as the packages are there and find speech."""
    pair = [resample(x, rate, SPEECH_RATE) for x in (reference, decoded)]
    scores = {}
    try:
        import pesq

        scores["pesq"] = float(pesq.pesq(SPEECH_RATE, *pair, "wb", pesq.PesqError.RETURN_VALUES))
        if scores["pesq"] < 0:  # no utterance found
            del scores["pesq"]
    except (ImportError, ValueError):
        pass
    try:
        import pystoi

        scores["stoi"] = float(pystoi.stoi(*pair, SPEECH_RATE))
    except ImportError:
        pass
    return scores
