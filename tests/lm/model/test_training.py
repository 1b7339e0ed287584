"""Training: batches, a run that stops and goes on, and that it learns."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec.errors import DataError, ModelError, TrainingError  # noqa: E402
from codec.lm.model.data import Batches, Dropping, known_tags, streams_of  # noqa: E402
from codec.lm.model.learner import Learner, Settings  # noqa: E402
from codec.lm.model.run import Run, bits_of, hold_out  # noqa: E402
from tests.lm.model.small import CONFIG, codes, network, streams  # noqa: E402

SETTINGS = Settings(batch=2, steps=6, warmup=2)


def run(folder, **changes):
    folder.mkdir(exist_ok=True)
    return Run(folder, CONFIG, dataclasses.replace(SETTINGS, **changes), streams())


@pytest.mark.parametrize(("dropout", "seed"), [(0.0, 2**64 - 1), (0.3, 0)])
def test_a_run_goes_on_to_the_bit(tmp_path, dropout, seed):
    whole = run(tmp_path / "whole", dropout=dropout, seed=seed)
    assert whole.train()
    for _ in range(3):
        part = run(tmp_path / "parts", dropout=dropout, seed=seed)
        first = part.step
        if first == 2:
            assert not part.train(minutes=1e-9)
            assert part.step == 3
            continue
        for _ in range(2 if first == 0 else 3):
            part.learner.learn(part.batches.draw(part.step), part.step)
            part.step += 1
        part.save()
    assert part.step == 6
    for one, other in zip(
        whole.learner.exact.parameters(), part.learner.exact.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_layers_leave_out_a_share_in_training_alone(tmp_path):
    batch = Batches(streams(), CONFIG, 2, 0).draw(0)
    plain, dropping = run(tmp_path / "plain").learner, run(tmp_path / "d", dropout=0.3).learner
    for one, other in zip(plain.exact.parameters(), dropping.exact.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(plain.exact(codes(1, 3, 9)), dropping.exact(codes(1, 3, 9)))
    assert not torch.equal(plain.learn(batch, 0), dropping.learn(batch, 0))


def test_a_deeper_model_begins_where_the_other_ended():
    known, tokens = network(), codes(2, CONFIG.levels, 9)
    deeper = Learner(dataclasses.replace(CONFIG, layers=3), SETTINGS, bfloat16=False)
    deeper.begin_with(known)
    with torch.no_grad():
        torch.testing.assert_close(deeper.exact(tokens), known(tokens))
    batches = Batches(streams(), deeper.config, 2, 0)
    for step in range(2):
        deeper.learn(batches.draw(step), step)
    assert all(parameter.any() for parameter in deeper.exact.blocks[2].parameters())
    for other in (dataclasses.replace(CONFIG, layers=1), dataclasses.replace(CONFIG, hidden=25)):
        with pytest.raises(ModelError, match="of another model"):
            Learner(other, SETTINGS).begin_with(known)


def test_other_settings_do_not_continue_a_run(tmp_path):
    run(tmp_path).save()
    with pytest.raises(
        TrainingError, match=r"other settings: lr 0.002, not 1.0; name another folder$"
    ):
        run(tmp_path, lr=1.0)
    run(tmp_path, steps=50)
    (tmp_path / "latest.pt").write_bytes(b"no")
    with pytest.raises(TrainingError, match="damaged"):
        run(tmp_path)


def test_a_run_learns_its_data(tmp_path):
    training = run(tmp_path, steps=60, lr=1e-2)
    held = hold_out(streams(), CONFIG, lambda codes: np.full(codes.shape, 4.0))
    before = training.validate(held)
    lines: list[str] = []
    training.train(held, say=lines.append)
    after = training.validate(held)
    assert after.mean() < before.mean() - 0.1
    assert "the prior 300 bit/s" in lines[-1]
    logged = scalars_of(tmp_path)
    assert logged["held out, with conditions/bits a code"] == {60: pytest.approx(after.mean())}
    assert [*logged["train/level 3"]] == [20, 40, 60]
    assert logged["train/lr"][60] == pytest.approx(training.settings.rate(59))


def scalars_of(folder):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(folder)).Reload()
    return {
        name: {event.step: event.value for event in found.Scalars(name)}
        for name in found.Tags()["scalars"]
    }


def test_batches_are_functions_of_their_number():
    batches = Batches(streams(), CONFIG, 3, seed=1)
    one, again = batches.draw(5), Batches(streams(), CONFIG, 3, seed=1).draw(5)
    for field in dataclasses.fields(one):
        assert np.array_equal(getattr(one, field.name), getattr(again, field.name))
    assert not np.array_equal(one.codes, batches.draw(6).codes)


def test_batches_are_stretches_of_streams_with_the_voice_apart():
    count = np.arange(3 * 200, dtype=np.uint16).reshape(3, 200)
    config = dataclasses.replace(CONFIG, codebook_size=1000)
    stream = dataclasses.replace(streams(1)[0], codes=count, phones=np.ones((200, 3), np.uint8))
    nothing = Dropping(0, 0, 0, 0, 0)
    batches = Batches([stream], config, 4, seed=0, dropping=nothing)
    for number in range(5):
        batch = batches.draw(number)
        for heard, voice in zip(batch.codes, batch.voice, strict=True):
            assert np.array_equal(np.diff(heard), np.ones((3, CONFIG.context - 1)))
            assert not np.isin(voice[0], heard[0]).any()
            assert (voice >= 0).all()
        assert batch.kept.all()
        assert batch.phones.all()


def test_phones_that_are_known_from_a_frame_on_hide_nothing_before_it():
    phones = np.ones((200, 3), np.uint8)
    stream = dataclasses.replace(streams(1, 200)[0], phones=phones)
    shares = Dropping(tags=0, voice=0, phones=0, prompt=1, history=1)
    batches = Batches([stream], CONFIG, 8, seed=0, dropping=shares)
    starts = set()
    for number in range(5):
        batch = batches.draw(number)
        known = batch.phones[..., 0] > 0
        assert (np.diff(known.astype(int)) >= 0).all()  # once known, known to the end
        assert known[:, -1].all()
        assert not known[:, 0].any()
        assert np.array_equal(batch.kept, ~known)
        starts |= set(known.argmax(1).tolist())
    assert starts == set(range(1, CONFIG.context))


def test_streams_join_the_rows_of_a_speaker():
    def row(path, offset, speaker, value):
        codes = np.full((1, 4, 5), value, np.uint16)
        return {"id": "x", "path": path, "offset": offset, "speaker": speaker, "tags": "rain wind",
                "phones": "0:AA", "codes": codes}  # fmt: skip

    rows = [row("b", 0.0, "amy", 3), row("a", 9.0, "amy", 2), row("a", 1.0, "amy", 1)]
    rows += [row("c", 0.0, "", 4), row("c", 1.0, "", 5)]
    found = streams_of(rows, CONFIG)
    assert [stream.codes[0].tolist() for stream in found] == [
        [1] * 5 + [2] * 5 + [3] * 5, [4] * 5, [5] * 5,
    ]  # fmt: skip
    assert found[0].codes.shape[0] == CONFIG.levels
    assert found[0].tags == (CONFIG.tags.index("rain"),)
    assert (found[0].phones[:, 0] == 1).all()
    assert known_tags(rows) == ("rain", "wind")
    with pytest.raises(DataError, match="levels"):
        streams_of([{**rows[0], "codes": np.zeros((1, 2, 5), np.uint16)}], CONFIG)


def test_bits_of_uniform_scores_are_those_of_the_codebook(tmp_path):
    training = run(tmp_path)
    with torch.no_grad():
        training.learner.exact.depth_gain.zero_()
    held = hold_out(streams(), CONFIG)
    bits = bits_of(training.learner.exact, held.batches, plain=False)
    np.testing.assert_allclose(bits, 4.0, rtol=1e-6)
