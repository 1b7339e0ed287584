"""Our tokens in Hugging Face's terms: a tokenizer that knows them, a processor that makes batches.

    tokenizer = AutoTokenizer.from_pretrained(...)
    vocabulary = Vocabulary(len(tokenizer), make_layout("flat", 8), frame_rate=25.0)
    processor = CodecProcessor(extend_tokenizer(tokenizer, vocabulary), vocabulary, codec.load())
    model.resize_token_embeddings(vocabulary.size)
    batch = processor(text=["Say it again: "], audio=[waveform], sampling_rate=24_000)
    processor.save_pretrained("folder")

An id means the same to the tokenizer and to the vocabulary, so what a model writes is decoded by
either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.api import Codec, load
from codec.errors import LayoutError, ModelError
from codec.lm.vocabulary import Audio, Segment, Text, Vocabulary
from codec.model.identity import same_tokens
from codec.support.arguments import as_bool, shown, whole

VOCABULARY_NAME = "audio_vocabulary.json"


def extend_tokenizer(tokenizer: Any, vocabulary: Vocabulary) -> Any:
    """Add the vocabulary's tokens to a `transformers` tokenizer, right above its own, and give it.

    It is saved and loaded with them by its own `save_pretrained` and `from_pretrained`. One that
    has them already stays as it is. Raises LayoutError if its ids do not end where the
    vocabulary's text ids do.
    """
    from transformers import AddedToken

    names = vocabulary.tokens()
    have = len(tokenizer)
    if have == vocabulary.size and tokenizer.convert_tokens_to_ids(names[-1]) == have - 1:
        return tokenizer
    if have != vocabulary.text_size:
        raise LayoutError(f"the tokenizer has {have} ids, the vocabulary {vocabulary.text_size}")
    tokenizer.add_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    for name in (names[0], names[-1]):
        expected = vocabulary.text_size + (0 if name == names[0] else len(names) - 1)
        if tokenizer.convert_tokens_to_ids(name) != expected:
            raise LayoutError(f"the tokenizer has a token {name} of its own")
    return tokenizer


class CodecProcessor:
    """Text and audio to batches of ids, and ids back to text and audio.

    tokenizer: with the vocabulary's tokens (`extend_tokenizer`). Raises LayoutError if it has not
    got them, or if the codec's codebooks are not those of the vocabulary's layout.
    """

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary, codec: Codec) -> None:
        layout = vocabulary.layout
        if len(tokenizer) != vocabulary.size:
            raise LayoutError(f"the tokenizer has {len(tokenizer)} ids, not {vocabulary.size}")
        if (
            codec.config.codebook_size != layout.codebook_size
            or codec.config.n_codebooks < layout.n_codebooks
        ):
            raise LayoutError(f"the codec's codebooks are not those of {layout}")
        self.tokenizer, self.vocabulary, self.codec = tokenizer, vocabulary, codec

    @property
    def sampling_rate(self) -> int:
        """Of the audio that `decode` gives, in Hz."""
        return self.codec.config.sample_rate

    def __call__(
        self,
        text: str | Sequence[str | None] | None = None,
        audio: npt.ArrayLike | Sequence[npt.ArrayLike | None] | None = None,
        sampling_rate: int | None = None,
        *,
        padding: bool | str = True,
        padding_side: str | None = None,
        max_length: int | None = None,
        return_tensors: str | None = "np",
    ) -> Any:
        """A BatchFeature of `input_ids` and `attention_mask`, int64 [batch, length].

        text, audio: one item, or a list of items of which any may be None; of an item its text
            comes first. audio: float32 [samples] at `sampling_rate` Hz, by default the codec's.
        padding: as a tokenizer has it: True or "longest", "max_length", False or "do_not_pad". It
            is with `pad`, on `padding_side`, "left" (to generate from) or "right", by default the
            tokenizer's. Without it a tensor needs sequences of one length.
        max_length: where longer sequences are cut, at least 1.
        return_tensors: "np", "pt", or None for lists.
        What looks like one of our tokens in `text` stays text. Raises AudioError, LayoutError.
        """
        from transformers import BatchFeature

        texts = _items(text, lambda item: isinstance(item, str))
        if max_length is not None:
            max_length = whole(max_length, "max_length", LayoutError)
            if max_length < 1:
                raise LayoutError(f"max_length must be at least 1, not {max_length}")
        target = _padding(padding, max_length)
        waveforms = _items(audio, _is_waveform)
        if texts is None and waveforms is None:
            raise LayoutError("neither text nor audio")
        count = len(texts if texts is not None else waveforms or [])
        texts = texts if texts is not None else [None] * count
        waveforms = waveforms if waveforms is not None else [None] * count
        if len(waveforms) != count:
            raise LayoutError(f"{count} texts and {len(waveforms)} pieces of audio")
        rows = []
        for words, waveform in zip(texts, waveforms, strict=True):
            segments: list[Segment] = []
            if words:
                segments.append(self.text(words))
            if waveform is not None:
                segments.append(self.audio(waveform, sampling_rate))
            rows.append(self.vocabulary.encode(segments)[:max_length].tolist())
        side = padding_side if padding_side is not None else self.tokenizer.padding_side
        if side not in ("left", "right"):
            raise LayoutError(f"padding_side must be 'left' or 'right', not {shown(side)}")
        masks = [[1] * len(row) for row in rows]
        if target is not None:
            masks = _padded(masks, 0, side, target)
            rows = _padded(rows, self.vocabulary.special("pad"), side, target)
        batch: dict[str, Any] = {"input_ids": rows, "attention_mask": masks}
        if return_tensors is not None:
            if len({len(row) for row in rows}) > 1:
                raise LayoutError("sequences of several lengths are no tensor: pad them")
            shape = (len(rows), len(rows[0]) if rows else 0)
            batch = {key: np.array(held, np.int64).reshape(shape) for key, held in batch.items()}
        return BatchFeature(batch, tensor_type=return_tensors)

    def text(self, words: str) -> Text:
        """A segment of text. Raises LayoutError on what the tokenizer makes nothing of."""
        ids = self.tokenizer(words, add_special_tokens=False, split_special_tokens=True)
        return Text(np.array(ids["input_ids"], np.int64))

    def audio(self, waveform: npt.ArrayLike, sampling_rate: int | None = None) -> Audio:
        """A segment of audio; `waveform` is [samples]."""
        levels = self.vocabulary.layout.n_codebooks
        rate = self.sampling_rate if sampling_rate is None else sampling_rate
        tokens = self.codec.encode(waveform, rate, n_codebooks=levels)
        if tokens.channels != 1:
            raise LayoutError(f"audio is of one channel, not {tokens.channels}")
        return Audio(tokens.codes[0])

    def decode(
        self, ids: Any, *, skip_special_tokens: bool = False, strict: bool = False
    ) -> list[str | npt.NDArray[np.float32]]:
        """The texts and waveforms that `ids` [length] hold, in their order.

        ids: lists, an array, or a tensor on any device. skip_special_tokens: as for a tokenizer:
        leave those of its own out, such as the end that a model writes.
        Waveforms are float32 [samples] at `sampling_rate`; of audio that was cut short, the whole
        frames. strict: raise LayoutError on what no vocabulary writes, in place of skipping it.
        """
        found: list[str | npt.NDArray[np.float32]] = []
        for segment in self.vocabulary.decode(ids, strict=strict):
            if isinstance(segment, Text):
                text = self.tokenizer.decode(
                    segment.ids.tolist(), skip_special_tokens=skip_special_tokens
                )
                if text or not skip_special_tokens:
                    found.append(text)
            elif isinstance(segment, Audio):
                found.append(self._waveform(segment.codes))
        return found

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tokenizer and the vocabulary; the codec's weights stay where they are."""
        self.tokenizer.save_pretrained(str(folder))
        said = {**json.loads(self.vocabulary.to_json()), "model_id": self.codec.model_id.hex()}
        Path(folder, VOCABULARY_NAME).write_text(json.dumps(said, indent=2) + "\n", "utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path, codec: Codec | None = None) -> CodecProcessor:
        """Inverse of `save_pretrained`. codec: by default the package's model.

        Raises LayoutError, or ModelError if it is not the model that the tokens are of.
        """
        from transformers import AutoTokenizer

        try:
            said = json.loads(Path(folder, VOCABULARY_NAME).read_text("utf-8"))
            model_id = bytes.fromhex(said.pop("model_id"))
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise LayoutError(f"{folder}: no {VOCABULARY_NAME}: {error}") from None
        codec = codec or load()
        if not same_tokens(codec.model_id, model_id):
            raise ModelError(
                f"the tokens are of model {model_id.hex()}, not {codec.model_id.hex()}"
            )
        vocabulary = Vocabulary.from_json(json.dumps(said))
        return cls(AutoTokenizer.from_pretrained(str(folder)), vocabulary, codec)

    def _waveform(self, codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        if not codes.shape[1]:
            return np.zeros(0, np.float32)
        tokens = self.codec.tokens(codes, lone=self.codec.config.channels == 2)
        waveform: npt.NDArray[np.float32] = self.codec.decode(tokens)[0]
        return waveform


def _padding(padding: Any, max_length: int | None) -> int | None:
    """Return the least length that sequences are padded to, or None if they are not."""
    if padding == "max_length":
        if max_length is None:
            raise LayoutError("padding to max_length needs one")
        return max_length
    if padding == "longest":
        return 0
    if padding == "do_not_pad":
        return None
    if isinstance(padding, str):
        raise LayoutError(
            f"padding is longest, max_length, do_not_pad, True or False, not {shown(padding)}"
        )
    return 0 if as_bool(padding, "padding", LayoutError) else None


def _padded(rows: list[list[int]], value: int, side: str, least: int) -> list[list[int]]:
    longest = max(map(len, rows), default=0)
    missing = [[value] * (max(longest, least) - len(row)) for row in rows]
    pairs = zip(rows, missing, strict=True)
    return [more + row if side == "left" else row + more for row, more in pairs]


def _is_waveform(item: Any) -> bool:
    """Tell an array of any library, or a list of numbers, from a number."""
    return isinstance(item, list | tuple) or getattr(item, "ndim", 0) > 0


def _items(given: Any, is_item: Callable[[Any], bool]) -> list[Any] | None:
    """A list of items; one item may stand for a list of it."""
    if given is None:
        return None
    if getattr(getattr(given, "dtype", None), "kind", "") in ("U", "O"):  # an array of texts
        given = given.tolist()
    listed = isinstance(given, list | tuple)
    if listed and (not given or any(item is None or is_item(item) for item in given)):
        return list(given)
    return [given]
