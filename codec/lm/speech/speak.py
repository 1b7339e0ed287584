"""Speech from text: phones with predicted durations, laid along frames that the model then draws.

Each sentence is drawn by itself, so that the first is heard before the next is begun. The voice
stands before it as history: a stored one with its phones, one known from a recording without.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from codec.api import Codec, load
from codec.audio.arrays import as_channels, check_sample_rate
from codec.errors import AudioError, ModelError, OptionError
from codec.lm.continuation import LEARNED, VOICE_STEPS, attuned
from codec.lm.continuation import SPEECH as SPEECH_TAG
from codec.lm.cuts import cuts_of
from codec.lm.model.adaptation import Report, unreported
from codec.lm.model.language_model import Conditions, LanguageModel
from codec.lm.model.sampling import Sampling
from codec.lm.speech.phones import PAUSE, Laid, lay
from codec.lm.speech.pronounce import phones_of
from codec.lm.speech.voices import Speech, Voice
from codec.model.catalogue import FOLDER
from codec.support.arguments import as_path, real, shown, whole
from codec.support.types import Codes
from codec.tokens import Tokens

WEIGHTS = FOLDER / "lm.safetensors"
SPEECH = FOLDER / "speech.safetensors"

BEGIN = 12.0  # units of 10 ms: the pause before the first phone
END = 20.0  # and after the last
SENTENCE = 40.0  # between two sentences
SHORTEST_PROMPT = 1.0  # seconds of a recording of a voice
LONGEST_PROMPT = 10.0


@dataclasses.dataclass(frozen=True)
class Style:
    """How codes are drawn; the fields are those of `LanguageModel.generate`.

    temperature: 0 takes the likeliest codes, above 0 the seed decides; `bench/speak.md` compares.
    guidance, prompt_guidance: how closely phones and the voice are followed; each that is not 1
        runs the network on one sequence more.
    seed: the same seed gives the same speech on the same machine; None gives another each time.
    """

    temperature: float = 0.3
    top_k: int | None = 50
    guidance: float = 2.0
    prompt_guidance: float = 1.0
    seed: int | None = 0


STYLE = Style()


class Speaker:
    """A language model that speaks, with the durations and the voices that belong to it.

    Raises ModelError if the three are not of one codec.
    """

    def __init__(self, codec: Codec, language_model: LanguageModel, speech: Speech) -> None:
        own = codec.model_id.hex()
        made = {"language model": language_model.config.codec, "file of voices": speech.codec}
        for name, of in made.items():
            if of and of != own:
                raise ModelError(f"the {name} is made for the codec {of}, not for {own}")
        self.codec, self.language_model, self.speech = codec, language_model, speech

    @classmethod
    def load(
        cls,
        weights: str | os.PathLike[str] = WEIGHTS,
        speech: str | os.PathLike[str] = SPEECH,
        codec: Codec | None = None,
    ) -> Speaker:
        """Read the weights; by default those that ship. Raises ModelError."""
        files = [as_path(file, "a file of weights", ModelError) for file in (weights, speech)]
        return cls(codec or load(), LanguageModel.read(files[0]), Speech.load(files[1]))

    def voice_of(
        self,
        audio: npt.ArrayLike,
        sample_rate: int,
        *,
        steps: int = VOICE_STEPS,
        report: Report = unreported,
    ) -> Voice:
        """Return the voice of a recording: of its first channel, and its first 10 s at most.

        audio, sample_rate: as `Codec.encode` takes them. steps: in which the model learns from the
        voice first; three take about a second, and 0 leaves it as it is. report: as in
        `LanguageModel.adapted`. Raises AudioError, also if the recording is shorter than 1 s, and
        OptionError on wrong steps.
        """
        sample_rate = whole(sample_rate, "the sample rate", AudioError)
        check_sample_rate(sample_rate)
        samples = as_channels(audio)[:, : int(LONGEST_PROMPT * sample_rate)]
        if samples.shape[1] < SHORTEST_PROMPT * sample_rate:
            raise AudioError(f"a voice needs {SHORTEST_PROMPT:g} s of speech, better 3 s")
        levels = self.language_model.config.levels
        codes = self.codec.encode(samples[:1], sample_rate, n_codebooks=levels).codes[0]
        voice = Voice("", codes, np.zeros((0, 3), np.int64), "", 0.0, "", "")
        if steps == 0:
            return voice
        cuts = cuts_of(self.codec, samples[0], sample_rate, levels, LEARNED)
        model = attuned(self.language_model, cuts, self._tags(), steps, report)
        return dataclasses.replace(voice, model=model)

    def script(self, text: str, voice: Voice, *, rate: float = 1.0) -> list[Laid]:
        """Return the phones of each sentence along its frames: int64 [frames, 3].

        rate: how fast, 1 as the voice speaks. Raises OptionError on a rate that is not .25 to 4;
        TextError and MissingPackageError as `phones_of`.
        """
        rate = real(rate, "the rate", OptionError)
        if not 0.25 <= rate <= 4:
            raise OptionError("the rate is 0.25 to 4")
        phones, follows = phones_of(text)
        phones, follows = [PAUSE, *phones, PAUSE], ["edge", *follows, "edge"]
        durations = self.speech.durations.predict(
            phones, follows, voice=voice.speaker, rate=voice.rate - math.log(rate)
        )
        durations[0], durations[-1] = BEGIN, END
        ends = [k + 1 for k, item in enumerate(follows) if item == "."] + [len(phones)]
        pieces = []
        first = 0
        for end in ends:
            if end < len(phones):
                durations[end - 1] = SENTENCE / rate
            pieces.append(
                lay(
                    phones[first:end],
                    durations[first:end],
                    frame_rate=self.language_model.config.frame_rate,
                )
            )
            first = end
        return pieces

    def frames(
        self,
        text: str,
        voice: str | Voice,
        *,
        rate: float = 1.0,
        style: Style = STYLE,
    ) -> Iterator[Codes]:
        """Yield the frames of the speech, uint16 [levels, 1], each as soon as it is drawn.

        voice: the name of a stored voice, or what `voice_of` returns. rate: as in `script`. Raises
        what `script` does, at once, and OptionError on an unknown voice.
        """
        known = self.speech.voice(voice) if isinstance(voice, str) else voice
        if not isinstance(known, Voice):
            raise OptionError(f"a voice is a name or what voice_of returns, not {shown(voice)}")
        Sampling(style.temperature, style.top_k)  # raises what is wrong with them
        return self.draw(self.script(text, known, rate=rate), known, style=style)

    def draw(self, script: list[Laid], voice: Voice, *, style: Style = STYLE) -> Iterator[Codes]:
        """Yield the frames of a script, uint16 [levels, 1], each as soon as it is drawn."""
        before, model = voice.phones, voice.model or self.language_model
        if not len(before):
            before = np.zeros((voice.codes.shape[1], 3), np.int64)
        for laid in script:
            asked = Conditions(
                tags=self._tags(),
                voice=voice.codes,
                phones=np.concatenate([before, laid]),
            )
            yield from model.generate(
                voice.codes,
                asked,
                len(laid),
                **dataclasses.asdict(style),
            )

    def _tags(self) -> list[str]:
        return [tag for tag in self.language_model.config.tags if tag == SPEECH_TAG]

    def speak(
        self,
        text: str,
        voice: str | Voice,
        *,
        rate: float = 1.0,
        style: Style = STYLE,
    ) -> Tokens:
        """Return the whole speech as tokens, for `Codec.decode`. Arguments as of `frames`."""
        drawn = list(self.frames(text, voice, rate=rate, style=style))
        return self.codec.tokens(np.concatenate(drawn, axis=1))
