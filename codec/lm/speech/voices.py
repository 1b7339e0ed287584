"""What speaking needs beside the language model: durations of phones, what phones follow each
other, and the voices that ship.

They lie in one safetensors file: the tensors of the two models, and for each voice the codes of 3 s
of it with the phones that are spoken in them. Metadata says which codec the codes are of, what the
models look like, and where each voice comes from and under which licence.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from codec.errors import DataError, ModelError, OptionError
from codec.lm.speech.durations import Clip, DurationModel, clip_of, fit, mean_logs, rate_of
from codec.lm.speech.phone_model import PhoneModel, fit_phones
from codec.lm.speech.phones import PAUSE, PHONE_IDS, Laid, lay_alignment
from codec.support.atomic import replacing
from codec.support.types import Codes

if TYPE_CHECKING:
    from codec.lm.model.language_model import LanguageModel

FORMAT = "codec speech 1"
VOICE_FRAMES = 75  # 3 s
MANY = 3000  # phones: how much a speaker must say to be told apart in durations


@dataclasses.dataclass(frozen=True)
class Voice:
    """A voice that ships: codes [levels, frames], and the phones [frames, 3] spoken in them.

    speaker: its name in the duration model. rate: how much longer than usual its phones are, a
    logarithm. model: a language model that has learned from this voice; by default the speaker's.
    """

    name: str
    codes: Codes
    phones: Laid
    speaker: str
    rate: float
    licence: str
    source: str
    model: LanguageModel | None = None


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A voice to store: the name that it gets, and whose it is."""

    name: str
    speaker: str
    licence: str
    source: str


@dataclasses.dataclass(frozen=True)
class Speech:
    """Durations, voices and phones. codec: the model id of the codes, 16 hexadecimal digits.

    phones: draws what is said where no text is given; None in a file that was made without it.
    """

    codec: str
    durations: DurationModel
    voices: Mapping[str, Voice]
    phones: PhoneModel | None = None

    def voice(self, name: str) -> Voice:
        """Return a voice by its name. Raises OptionError, which lists the names."""
        if name not in self.voices:
            known = ", ".join(self.voices) or "no voices are stored"
            raise OptionError(f"there is no voice {name!r}; there are {known}")
        return self.voices[name]

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the file, float tensors in 16 bits. Raises OutputError."""
        tensors = {
            f"durations.{name}": tensor.detach().half().contiguous()
            for name, tensor in self.durations.state_dict().items()
        }
        if self.phones is not None:
            for name, tensor in self.phones.state_dict().items():
                tensors[f"phones.{name}"] = tensor.detach().half().contiguous()
        said = []
        for name, voice in self.voices.items():
            tensors[f"voice.{name}.codes"] = torch.from_numpy(voice.codes.astype(np.int16))
            tensors[f"voice.{name}.phones"] = torch.from_numpy(voice.phones.astype(np.uint8))
            kept = ("name", "speaker", "rate", "licence", "source")
            said.append({key: getattr(voice, key) for key in kept})
        metadata = {
            "format": FORMAT,
            "codec": self.codec,
            "durations": json.dumps(self.durations.config()),
            "voices": json.dumps(said),
        }
        if self.phones is not None:
            metadata["phones"] = json.dumps(self.phones.config())
        with replacing(path, overwrite=overwrite) as aside:
            aside.write_bytes(save(tensors, metadata))

    @classmethod
    def load(cls, path: Path) -> Speech:
        """Read a file of `save`. Raises ModelError if it is missing, damaged or something else."""
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata.get("format") != FORMAT:
                raise ModelError(f"{path.name} has no durations and voices")
            return cls._of(metadata, tensors)
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from None
        except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelError(f"{path.name} is damaged: {error}") from None

    @classmethod
    def _of(cls, metadata: Mapping[str, str], tensors: Mapping[str, Any]) -> Speech:
        durations = DurationModel(**json.loads(metadata["durations"]))
        _fill(durations, tensors, "durations.")
        says = None
        if "phones" in metadata:
            says = PhoneModel(**json.loads(metadata["phones"]))
            _fill(says, tensors, "phones.")
        voices = {}
        for said in json.loads(metadata["voices"]):
            name = said["name"]
            codes = tensors[f"voice.{name}.codes"].numpy().astype(np.uint16)
            phones = tensors[f"voice.{name}.phones"].numpy().astype(np.int64)
            voices[name] = Voice(codes=codes, phones=phones, **said)
        return cls(metadata["codec"], durations, voices, says)


def _fill(model: nn.Module, tensors: Mapping[str, Any], prefix: str) -> None:
    model.load_state_dict(
        {
            name.removeprefix(prefix): tensor.float()
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
    )
    model.eval()


def read_wanted(path: Path) -> list[Wanted]:
    """Read a tab-separated table of voices: name, speaker, licence, source.

    Raises DataError if it is missing or has other columns, or a name is there twice.
    """
    names = [field.name for field in dataclasses.fields(Wanted)]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    if any(set(row) != set(names) or not all(row.values()) for row in table):
        raise DataError(f"{path}: a table of voices has the columns {', '.join(names)}")
    if len({row["name"] for row in table}) < len(table):
        raise DataError(f"{path}: a name of a voice is there twice")
    return [Wanted(**row) for row in table]


def learn(
    rows: Iterable[Mapping[str, Any]],
    codec: str,
    wanted: Sequence[Wanted] = (),
    *,
    levels: int = 8,
    frames: int = VOICE_FRAMES,
    epochs: int = 8,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> tuple[Speech, list[Clip]]:
    """Train durations and phones on rows with a column "phones", and store the voices `wanted`.

    rows: of `TokenRows`; "text" and "speaker" help, and where "split" is "validation" the row is
    not learned from but returned as a clip. codec: the model id of their codes. levels, frames: of
    the stored voices. epochs: of each of the two models. report: is called after each epoch with
    its number, from 1 to twice `epochs`, and its loss.

    Raises DataError if no row has phones, or a voice has no stretch that is long enough.
    """
    clips: list[Clip] = []
    held: list[Clip] = []
    of_speaker: dict[str, list[Mapping[str, Any]]] = {item.speaker: [] for item in wanted}
    for row in rows:
        if not row.get("phones"):
            continue
        speaker = row.get("speaker", "")
        clip = clip_of(row.get("text", ""), row["phones"], float(row["duration"]), speaker)
        if row.get("split") == "validation":
            held.append(clip)
            continue
        clips.append(clip)
        if speaker in of_speaker:
            of_speaker[speaker].append(row)
    if not clips:
        raise DataError("no row has phones to learn durations from")
    said: Counter[str] = Counter()
    for clip in clips:
        said[clip.speaker] += len(clip.phones)
    told_apart = [name for name, count in said.items() if name and count >= MANY]
    model = fit(clips, told_apart, epochs=epochs, seed=seed, report=report)
    phones = fit_phones(
        clips, epochs=epochs, seed=seed, report=lambda epoch, loss: report(epochs + epoch, loss)
    )
    means = mean_logs(clips)
    voices = {}
    for item in wanted:
        found = best_stretch(of_speaker[item.speaker], levels, frames)
        if found is None:
            raise DataError(f"no clip of {item.speaker!r} has {frames} frames of speech")
        rates = [rate_of(clip, means) for clip in clips if clip.speaker == item.speaker]
        voices[item.name] = Voice(
            item.name, *found, item.speaker, float(np.mean(rates)), item.licence, item.source
        )
    return Speech(codec, model, voices, phones), held


def best_stretch(
    rows: Sequence[Mapping[str, Any]], levels: int, frames: int
) -> tuple[Codes, Laid] | None:
    """Return codes and phones of the stretch with the most kinds of phones and no pauses.

    A stretch begins where a word or a pause does: at a phone. None if no row is long enough.
    """
    best: tuple[Codes, Laid] | None = None
    most = -1
    pause = PHONE_IDS[PAUSE]
    for row in rows:
        codes = np.asarray(row["codes"])[0, :levels]
        laid = lay_alignment(row["phones"], codes.shape[1])
        for start in range(0, codes.shape[1] - frames + 1):
            stretch = laid[start : start + frames]
            if stretch[0, 1] != 0 or not stretch[:, 0].all():
                continue
            kinds = len(np.unique(stretch[:, 0])) - int((stretch[:, 0] == pause).sum())
            if kinds > most:
                most, best = kinds, (codes[:, start : start + frames].copy(), stretch.copy())
    return best
