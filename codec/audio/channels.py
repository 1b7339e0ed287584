"""Orders of channels: WAVE order here and in WAV and FLAC, Vorbis order in Ogg.

Sources: Microsoft, "Multiple channel audio data and WAVE files"; Xiph, "Vorbis I specification",
section 4.3.9; RFC 7845, section 5.1.1.2.
"""

from __future__ import annotations

# By the number of channels: the index in Vorbis order of the k-th channel in WAVE order.
WAVE_FROM_VORBIS: dict[int, tuple[int, ...]] = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}
VORBIS_FROM_WAVE = {
    count: tuple(sorted(range(count), key=order.__getitem__))
    for count, order in WAVE_FROM_VORBIS.items()
}

# Names of the speakers in `dwChannelMask`, lowest bit first.
SPEAKERS = (
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC",
    "TFR", "TBL", "TBC", "TBR",
)  # fmt: skip
LAYOUTS = {
    3: "FL FR FC",
    4: "FL FR BL BR",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}  # of Vorbis, FLAC and Opus, in the order of WAVE


def speakers(mask: int, channels: int) -> str:
    """Name the channels whose bits are set in `mask`; "" if their number is not `channels`."""
    names = [name for bit, name in enumerate(SPEAKERS) if mask >> bit & 1]
    return " ".join(names) if len(names) == channels else ""
