"""Run Opus with NoLACE, the neural enhancer in the decoder of libopus 1.5 (Büthe et al. 2024,
arXiv 2309.14521)."""

from __future__ import annotations

import functools
import json
import os
import struct
import tempfile
from pathlib import Path

import numpy as np

from codec.benchmark.peers.base import needs, run
from codec.benchmark.peers.opus import HEADER_PACKETS, Opus, last_granule, ogg_packets
from codec.errors import PeerError
from codec.quality.pair import Audio

PACKAGE = "@wasm-audio-decoders/opus-ml"
FOLDER_VARIABLE = "CODEC_OPUS_ML"
SCRIPT = Path(__file__).with_name("nolace.mjs")
HEAD = struct.Struct("<8sBBH")  # of OpusHead: magic, version, channels, pre-skip (RFC 7845, §5.1)


class OpusNolace(Opus):
    """Opus whose decoder enhances speech. The bits are those of plain Opus.

    folder: where `npm install @wasm-audio-decoders/opus-ml` ran; by default the folder in
    CODEC_OPUS_ML, else the working folder. The enhancer changes only what Opus codes in its SILK
    mode at 16 kHz. Below that, at 6 kbit/s by default, opusenc chooses a narrower band, and the
    output is that of plain Opus.
    """

    name = "opus-nolace"
    kinds: frozenset[str] | None = frozenset({"speech"})
    settings: tuple[str, ...] = ("9", "12")

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self._node = needs("node", "nodejs")
        where = folder or Path(os.environ.get(FOLDER_VARIABLE) or ".")
        self._package = (where / "node_modules" / PACKAGE).absolute()
        if not (self._package / "index.js").is_file():
            raise PeerError(
                f"no node_modules/{PACKAGE} in {where}: run npm install {PACKAGE}, and give the "
                f"folder by --opus-ml DIR or {FOLDER_VARIABLE}"
            )

    @functools.cached_property
    def title(self) -> str:
        try:
            found = json.loads((self._package / "package.json").read_text("utf-8"))["version"]
        except (OSError, ValueError, KeyError):
            found = "of unknown version"
        return f"Opus with NoLACE (opus-ml {found})"

    def decode(self, data: bytes, setting: str) -> Audio:
        head, *rest = ogg_packets(data)
        if len(head) < HEAD.size or not head.startswith(b"OpusHead"):
            raise PeerError("not an Ogg Opus stream")
        _, _, channels, pre_skip = HEAD.unpack_from(head)
        packets = rest[HEADER_PACKETS - 1 :]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "packets")
            source.write_bytes(b"".join(struct.pack("<I", len(p)) + p for p in packets))
            decoded = run([self._node, SCRIPT, self._package, source, str(channels)])
        # The last granule position counts the pre-skip, and ends the audio inside the last packet.
        return np.frombuffer(decoded, "<f4").astype(np.float32)[pre_skip : last_granule(data)]
