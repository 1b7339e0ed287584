"""The name of a model's weights: what makes the tokens, and what decodes them.

    byte  0 .. 4    of what decides the codes: encoder, codebooks, and the dimensions of both
    byte  5 .. 7    of the decoder and its dimensions

A decoder that was trained on keeps the first five: codes, files, entropy coders and corpora made
with one decoder can be read with another, and sound as that one makes them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from codec.errors import ModelError
from codec.model.config import ModelConfig

MODEL_ID_BYTES = 8
TOKENS_ID_BYTES = 5

_DECODER_FIELDS = frozenset(("head", "gain_bands", "noise_from"))
_DECODER_PREFIXES = ("decoder_", "synthesis_")


def model_id(data: Any, config: ModelConfig) -> bytes:
    """The 8 bytes that name the weights in `data`, a safetensors file as a buffer.

    They are of names, types, shapes and values of the tensors; what else the file says, such as
    how long it was trained, does not count. Raises ModelError if the file has no such header.
    """
    tokens, decoder = hashlib.sha256(), hashlib.sha256()
    for name, value in sorted(config.dimensions().items()):
        of_decoder = name in _DECODER_FIELDS or name.startswith(_DECODER_PREFIXES)
        (decoder if of_decoder else tokens).update(json.dumps([name, value]).encode())
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        for name, tensor in sorted(header.items()):
            first, last = tensor["data_offsets"]
            digest = decoder if name.startswith("decoder.") else tokens
            digest.update(json.dumps([name, tensor["dtype"], tensor["shape"]]).encode())
            digest.update(memoryview(data)[start + first : start + last])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"not a safetensors file: {error}") from None
    return tokens.digest()[:TOKENS_ID_BYTES] + decoder.digest()[: MODEL_ID_BYTES - TOKENS_ID_BYTES]


def same_tokens(one: bytes, other: bytes) -> bool:
    """Tell whether models with these ids make and read the same codes."""
    return one[:TOKENS_ID_BYTES] == other[:TOKENS_ID_BYTES]
