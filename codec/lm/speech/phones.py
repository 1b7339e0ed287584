"""Phones along the frames of tokens.

The inventory is the 39 phones of the CMU Pronouncing Dictionary (ARPABET without stress) and SIL, a
pause. Their ids begin at 1; 0 stands for "no phone is known".

An alignment says when each phone begins, in units of 10 ms: "0:SIL 31:EH 41:N 45:T". A token frame
is several units long (4 at 25 frames a second), and some phones are shorter than that. None is lost
in the conversion to frames: each gets one frame or more, and boundaries move by as little as
possible for that (in the sense of least squares).

What a model is given is int64 [frames, 3]: the id of the frame's phone, how many frames ago it
began (0, 1, ...), and how many frames remain until it ends (..., 2, 1), both of at most `FARTHEST`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import DataError

PAUSE = "SIL"
# fmt: off
PHONES = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH",
    "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH",
    "UW", "V", "W", "Y", "Z", "ZH", PAUSE,
)
# fmt: on
PHONE_IDS = {name: number for number, name in enumerate(PHONES, 1)}
UNIT = 0.01  # seconds: what alignments and durations count in
FARTHEST = 31  # frames: the largest distance that is told apart

Laid = npt.NDArray[np.int64]


def ids_of(phones: Sequence[str]) -> list[int]:
    """Return the ids of phones. Raises DataError on a name that is not of the inventory."""
    try:
        return [PHONE_IDS[name] for name in phones]
    except KeyError as error:
        known = ", ".join(PHONES)
        raise DataError(f"{error.args[0]!r} is not a phone; phones are {known}") from None


def read_alignment(text: str) -> tuple[list[str], list[int]]:
    """Return the phones of "START:PHONE ..." and their starts, in units of 10 ms.

    A noise, which aligners write as "+NSN+", "+SPN+" and the like, counts as a pause. Raises
    DataError on another form, an unknown phone, or starts that do not rise.
    """
    phones: list[str] = []
    starts: list[int] = []
    for item in text.split():
        start, _, phone = item.partition(":")
        phone = PAUSE if phone.startswith("+") and phone.endswith("+") else phone
        if not start.isdecimal() or phone not in PHONE_IDS:
            raise DataError(f"{item!r} is not START:PHONE")
        if starts and int(start) <= starts[-1]:
            raise DataError(f"{item!r} does not start after the phone before it")
        phones.append(phone)
        starts.append(int(start))
    return phones, starts


def lay(
    phones: Sequence[str],
    durations: Sequence[float] | npt.NDArray[Any],
    n_frames: int | None = None,
    *,
    frame_rate: float = 25.0,
) -> Laid:
    """Lay phones along frames: int64 [frames, 3], as the module's description says.

    durations: of each phone, in units of 10 ms, above 0. n_frames: the length; by default the sum
    of the durations, rounded, or the number of phones if that is more. A last phone that would
    end before the last frame goes on to it. Where `n_frames` is given, phones that begin after it
    are left out, and of phones that are more than the frames, the shortest.

    Raises DataError on an unknown phone or a duration that is not above 0.
    """
    if len(phones) != len(durations):
        raise DataError(f"{len(phones)} phones have {len(durations)} durations")
    lengths = np.asarray(durations, np.float64) * (UNIT * frame_rate)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise DataError("a phone has a duration that is not above 0")
    ids = np.array(ids_of(phones), np.int64)
    starts = np.cumsum(lengths) - lengths
    if n_frames is None:
        n_frames = max(int(np.floor(lengths.sum() + 0.5)), len(ids))
        kept = np.arange(len(ids))
    else:
        kept = np.nonzero(starts < n_frames)[0]
    if len(kept) > n_frames:
        kept = np.sort(kept[np.argsort(-lengths[kept], kind="stable")[:n_frames]])
    return _fill(ids[kept], _spaced(starts[kept], n_frames), n_frames)


def lay_alignment(text: str, n_frames: int, *, frame_rate: float = 25.0) -> Laid:
    """Lay an alignment "START:PHONE ..." along the frames of its clip: int64 [n_frames, 3].

    Frames before the first phone, and all of them if the text is empty, have no phone: zeros.
    Raises DataError where `read_alignment` does.
    """
    phones, starts = read_alignment(text)
    if not phones:
        return np.zeros((n_frames, 3), np.int64)
    factor = UNIT * frame_rate
    ends = [*starts[1:], max(starts[-1] + 1, int(np.ceil(n_frames / factor)))]
    before = min(int(np.floor(starts[0] * factor + 0.5)), n_frames)
    durations = np.subtract(ends, starts)
    laid = lay(phones, durations, n_frames - before, frame_rate=frame_rate)
    return np.concatenate([np.zeros((before, 3), np.int64), laid])


def read_back(laid: Laid) -> list[tuple[str, int]]:
    """Return the phones of `lay` and the frames of each. Frames without a phone are skipped."""
    begins = np.nonzero((laid[:, 0] > 0) & (laid[:, 1] == 0))[0]
    ends = np.append(begins, len(laid))[1:]
    return [
        (PHONES[laid[start, 0] - 1], int(np.count_nonzero(laid[start:end, 0])))
        for start, end in zip(begins, ends, strict=True)
    ]


def _spaced(starts: npt.NDArray[np.float64], n_frames: int) -> npt.NDArray[np.int64]:
    """Round rising starts to frames that are at least 1 apart: within [0, n_frames), first at 0.

    With u = starts - (0, 1, ...) the condition is that u does not fall, so the nearest solution is
    isotonic regression of u (pool adjacent violators); rounding and clipping keep the order.
    """
    count = len(starts)
    sums: list[float] = []
    sizes: list[int] = []
    for value in starts - np.arange(count):
        sums.append(float(value))
        sizes.append(1)
        while len(sums) > 1 and sums[-2] * sizes[-1] > sums[-1] * sizes[-2]:
            total, size = sums.pop(), sizes.pop()
            sums[-1] += total
            sizes[-1] += size
    means = [total / size for total, size in zip(sums, sizes, strict=True)]
    rising = np.repeat(np.floor(np.array(means) + 0.5).astype(np.int64), sizes)
    spaced = np.clip(rising, 0, n_frames - count) + np.arange(count)
    spaced[:1] = 0
    return spaced


def _fill(ids: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], n_frames: int) -> Laid:
    laid = np.zeros((n_frames, 3), np.int64)
    for phone, (start, end) in zip(
        ids, itertools.pairwise([*starts.tolist(), n_frames]), strict=True
    ):
        frames = np.arange(end - start)
        laid[start:end, 0] = phone
        laid[start:end, 1] = np.minimum(frames, FARTHEST)
        laid[start:end, 2] = np.minimum(end - start - frames, FARTHEST)
    return laid
