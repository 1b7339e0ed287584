"""Mimi while its audio or its codes arrive: the two halves as `codec.engine.backend.Network`.

The encoder is causal. transformers keeps what its convolutions and its attention have seen (caches
of padding, and of keys and values in a sliding window), so each frame of 80 ms comes out as soon as
its samples are there. The decoder has a cache for its attention only. Its upsampling needs one
latent before, its convolutions `_past` steps before: those are kept and run again, and what they
give is dropped. So frames are those of the whole item but for the rounding of float32, which
depends on how much is computed together.

All that is kept lies in a flat array, as `codec.engine.stream` asks: three integers, then floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import BackendError, ModelError
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]
State = npt.NDArray[np.int64]

_ENDED, _STEPS, _PENDING, _HEAD = range(4)  # integers of a state, and how many there are


class MimiHalf:
    """What both halves share: the layout of the state, and the attention's cache within it."""

    def __init__(self, module: Any, half: Any, transformer: Any, device: Any) -> None:
        import torch

        self._torch, self._module, self._half, self._device = torch, module, half, device
        self._transformer = transformer
        config = half.config
        if not config.use_causal_conv or config.trim_right_ratio != 1.0:
            raise ModelError("mimi: only a causal model can be a stream")
        self._layers = config.num_hidden_layers
        self._window = config.sliding_window - 1  # positions before one that it sees
        keys = (self._layers, config.num_key_value_heads, self._window, config.head_dim)
        self._shapes: dict[str, tuple[int, ...]] = {"keys": keys, "values": keys}

    def _keep(self, **shapes: tuple[int, ...]) -> None:
        self._shapes |= shapes

    @property
    def state_size(self) -> int:
        """Values of the state."""
        return _HEAD + -(-sum(map(math.prod, self._shapes.values())) // 2)

    @property
    def lookahead(self) -> int:
        """A frame depends on no sample after it, and its samples on no later frame."""
        return 0

    def reset(self, state: State) -> None:
        """Make `state` that of a stream in which nothing was pushed."""
        state[:] = 0

    def ended(self, state: State) -> bool:
        """Tell whether the stream was flushed."""
        return bool(state[_ENDED])

    def valid(self, state: State) -> bool:
        """Tell whether the integers are in range and the floats finite."""
        ended, steps, pending = (int(value) for value in state[:_HEAD])
        finite = bool(np.isfinite(state[_HEAD:].view(np.float32)).all())
        return ended in (0, 1) and steps >= 0 and 0 <= pending < self._most_pending and finite

    @property
    def _most_pending(self) -> int:
        return 1

    def _parts(self, state: State) -> dict[str, Floats]:
        """Views of the floats of a state."""
        floats = state[_HEAD:].view(np.float32)
        parts, at = {}, 0
        for name, shape in self._shapes.items():
            size = math.prod(shape)
            parts[name] = floats[at : at + size].reshape(shape)
            at += size
        return parts

    def _tensor(self, array: Floats) -> Any:
        # A copy: what torch is given must not change when the state does.
        return self._torch.from_numpy(array.copy()).to(self._device, self._module.dtype)

    def _attention_cache(self, state: State) -> Any:
        """The cache of transformers that `state` holds."""
        from transformers import DynamicCache

        cache: Any = DynamicCache(config=self._half.config)
        steps, parts = int(state[_STEPS]), self._parts(state)
        if not steps:
            return cache
        seen = min(steps, self._window)
        for layer, keys, values in zip(cache.layers, parts["keys"], parts["values"], strict=True):
            given = [self._tensor(part[None, :, self._window - seen :]) for part in (keys, values)]
            layer.lazy_initialization(*given)
            layer.keys, layer.values = given
            layer.cumulative_length = steps
        return cache

    def _put_cache(self, state: State, cache: Any, steps: int) -> None:
        parts = self._parts(state)
        state[_STEPS] += steps
        for i, layer in enumerate(cache.layers):
            for name, kept in (("keys", layer.keys), ("values", layer.values)):
                last = kept[0, :, -self._window :].float().cpu().numpy()
                parts[name][i][:, self._window - last.shape[1] :] = last


class MimiEncoder(MimiHalf):
    """Samples to codes, a whole frame at a time."""

    def __init__(self, module: Any, device: Any, hop: int) -> None:
        encoder = module.encoder
        super().__init__(module, encoder, encoder.encoder_transformer, device)
        self._hop, seanet = hop, encoder.encoder_seanet
        convs = [seanet.get_submodule(name) for name in seanet._conv1d_layer_names]
        self._convs = [*convs, encoder.downsample]
        shapes = {
            f"padding {i}": (int(conv.in_channels), int(conv.padding_total))
            for i, conv in enumerate(self._convs)
        }
        self._keep(pending=(hop - 1,), **shapes)

    @property
    def _most_pending(self) -> int:
        return self._hop

    def push(self, state: State, audio: Floats, levels: int) -> Codes:
        """Take float32 [samples]; give codes uint16 [levels, frames], of frames that are full."""
        parts, pending = self._parts(state), int(state[_PENDING])
        samples = np.concatenate([parts["pending"][:pending], audio])
        whole = len(samples) // self._hop * self._hop
        parts["pending"][: len(samples) - whole] = samples[whole:]
        state[_PENDING] = len(samples) - whole
        return self._encode(state, samples[:whole], levels)

    def flush(self, state: State, levels: int) -> Codes:
        """Continue a frame that has begun with silence, as `TorchAdapter.encode` does; end."""
        missing = -int(state[_PENDING]) % self._hop
        codes = self.push(state, np.zeros(missing, np.float32), levels)
        state[_ENDED] = 1
        return codes

    def _encode(self, state: State, samples: Floats, levels: int) -> Codes:
        if not len(samples):
            return np.zeros((levels, 0), np.uint16)
        parts, fresh = self._parts(state), not state[_STEPS]
        cache, padding = self._attention_cache(state), self._padding_cache(parts, fresh)
        with self._torch.inference_mode():
            found = self._half(
                self._tensor(samples)[None, None],
                cache=cache,
                padding_cache=padding,
                use_streaming=True,
            )
            codes = self._module.quantizer.encode(found.latents, levels)[:, 0]
        for i, kept in enumerate(padding.padding_cache):
            parts[f"padding {i}"][:] = kept[0].float().cpu().numpy()
        before = int(state[_STEPS])
        self._put_cache(state, cache, cache.get_seq_length() - before)
        given: Codes = codes.cpu().numpy().astype(np.uint16)
        return np.ascontiguousarray(given)

    def _padding_cache(self, parts: dict[str, Floats], fresh: bool) -> Any:
        from transformers.models.mimi.modeling_mimi import MimiConv1dPaddingCache

        cache: Any = MimiConv1dPaddingCache(
            num_layers=len(self._convs),
            per_layer_padding=[int(conv.padding_total) for conv in self._convs],
            per_layer_padding_mode=[conv.pad_mode for conv in self._convs],
            per_layer_in_channels=[conv.in_channels for conv in self._convs],
        )
        if not fresh:
            cache.padding_cache = [
                self._tensor(parts[f"padding {i}"])[None] for i in range(len(self._convs))
            ]
        return cache

    def push_latents(self, state: State, audio: Floats) -> Floats:
        raise BackendError("mimi has no continuous latents here")

    def flush_latents(self, state: State) -> Floats:
        raise BackendError("mimi has no continuous latents here")


class MimiDecoder(MimiHalf):
    """Codes to samples, all those of a frame at once."""

    def __init__(self, module: Any, device: Any, hop: int) -> None:
        decoder = module.decoder
        super().__init__(module, decoder, decoder.decoder_transformer, device)
        self._hop = hop
        self._stride = int(decoder.upsample.conv.stride[0])
        self._past = _past(decoder.decoder_seanet.layers)
        dim = decoder.config.hidden_size
        self._keep(latent=(dim, 1), context=(dim, self._past))

    def push(self, state: State, codes: Codes) -> Floats:
        """Take codes [1 to Q, frames]; give float32 [frames * hop]."""
        if not codes.shape[1]:
            return np.zeros(0, np.float32)
        torch, parts, steps = self._torch, self._parts(state), int(state[_STEPS])
        given = torch.from_numpy(codes.astype(np.int64)).to(self._device)[None]
        with torch.inference_mode():
            latents = self._module.quantizer.decode(given)
            last = latents[0, :, -1:].float().cpu().numpy()
            if steps:
                latents = torch.cat([self._tensor(parts["latent"])[None], latents], dim=2)
            up = self._half.upsample(latents)[:, :, self._stride if steps else 0 :]
            cache = self._attention_cache(state)
            found = self._transformer(up.transpose(1, 2), cache=cache)
            hidden = found.last_hidden_state.transpose(1, 2)
            before = min(steps, self._past)
            context = self._tensor(parts["context"][:, self._past - before :])[None]
            joined = torch.cat([context, hidden], dim=2)
            audio = self._half.decoder_seanet(joined)[0, 0]
            kept = joined[0, :, -self._past :].float().cpu().numpy()
        parts["latent"][:] = last
        parts["context"][:, self._past - kept.shape[1] :] = kept
        self._put_cache(state, cache, up.shape[2])
        samples: Floats = audio[-codes.shape[1] * self._hop :].float().cpu().numpy()
        return samples

    def flush(self, state: State) -> Floats:
        """End the stream: nothing is left."""
        state[_ENDED] = 1
        return np.zeros(0, np.float32)

    def push_latents(self, state: State, latents: Floats) -> Floats:
        raise BackendError("mimi has no continuous latents here")


def _past(layers: Sequence[Any]) -> int:
    """Steps before one of the first layer's input on which the samples of that step depend."""
    past = 0
    for layer in reversed(list(layers)):
        if hasattr(layer, "block"):  # its convolutions one after the other; stride 1
            past += sum(_reach(part.conv) for part in layer.block if hasattr(part, "conv"))
        elif hasattr(layer, "trim_right_ratio"):
            stride = int(layer.conv.stride[0])
            past = -(-(past + int(layer.conv.kernel_size[0]) - stride) // stride)
        elif hasattr(layer, "conv"):
            past += _reach(layer.conv)
    return past


def _reach(conv: Any) -> int:
    return (int(conv.kernel_size[0]) - 1) * int(conv.dilation[0])
