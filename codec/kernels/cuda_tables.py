"""A log-mel front end's tables as csrc/cuda takes them: one array of integers, one of floats."""

from __future__ import annotations

import dataclasses

import numpy as np

from codec.kernels.mel_tables import Floats, Ints, MelTables


@dataclasses.dataclass(frozen=True)
class CudaTables:
    """The arguments of csrc/cuda/launch.h's cuda_mel_unpack."""

    ints: Ints
    floats: Floats
    sizes: list[int]
    numbers: list[float]


def cuda_tables(tables: MelTables) -> CudaTables:
    fft = tables.fft
    at = fft.order + fft.order // 16
    band_first = np.cumsum(tables.band_size) - tables.band_size
    ints = [at, fft.places, fft.radices, fft.bins]
    ints += [tables.band_start, tables.band_size, band_first.astype(np.int32)]
    floats = [fft.window, fft.turns, fft.twiddles, fft.unpack, tables.band_weights]
    sizes = [fft.n, fft.split, len(fft.order), tables.hop_length, tables.pad]
    sizes += [tables.reflect, tables.magnitude, tables.log, tables.top]
    sizes += [part.size for part in ints + floats]
    return CudaTables(
        ints=np.concatenate([part.ravel() for part in ints]),
        floats=np.concatenate([part.ravel() for part in floats]),
        sizes=[int(size) for size in sizes],
        numbers=[tables.floor, tables.range, tables.scale, tables.offset],
    )
