"""The probe finds what is there: equal to its closed forms, and to a plain fit of frames."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.phonetic_probe import count, fit_linear, labels_of, mutual_information, probe, wrong
from codec.training.phones import AlignedClip


def test_frames_are_named_by_their_middle() -> None:
    clips = [
        AlignedClip("a", 0.09, 0.20, ((0, "A"), (6, "B"))),  # A until 0.15 s, B until 0.29 s
        AlignedClip("a", 0.29, 0.06, ((0, "C"),)),
    ]
    # Middles at 0.02, 0.06, 0.10 ... s.
    assert labels_of(clips, 10, 25.0) == ["", "", "A", "A", "B", "B", "B", "C", "C", ""]


@given(st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_information_is_all_or_nothing_at_the_ends(seed: int) -> None:
    random = np.random.default_rng(seed)
    phones = random.integers(1, 50, 7)
    assert mutual_information(np.diag(phones)) == pytest.approx(1)
    assert mutual_information(np.outer(random.integers(1, 9, 5), phones)) == pytest.approx(0)
    counts = random.integers(0, 9, (5, 7)) + np.eye(5, 7, dtype=int)
    assert 0 <= mutual_information(counts) <= 1


def test_a_linear_probe_equals_the_fit_of_single_frames() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    words = random.standard_normal((20, 3))
    codes = random.integers(0, 20, 3000)
    names = ["A", "B", "C"]
    scores = words @ random.standard_normal((3, 3)) + random.gumbel(size=(20, 3))
    labels = [names[i] for i in (scores[codes] + random.gumbel(size=(3000, 3))).argmax(1)]
    counts = count(codes, labels, names, 20)
    assert counts.sum() == 3000
    x = words[codes]
    # As `fit_linear`: PENALTY of the squared weights beside the mean cross-entropy.
    plain = linear_model.LogisticRegression(C=1 / (2 * 1e-4 * 3000), tol=1e-8, max_iter=2000)
    plain.fit((x - x.mean(0)) / x.std(0), labels)
    wanted = plain.predict_proba((words - x.mean(0)) / x.std(0))
    found = np.exp(fit_linear(words, counts))
    np.testing.assert_allclose(found / found.sum(1, keepdims=True), wanted, atol=1e-4)


def test_errors_are_those_of_the_phones_chosen() -> None:
    words = np.eye(4)
    train = 10 * np.array([[3, 0, 0], [0, 3, 0], [0, 0, 4], [0, 0, 4]])
    test = np.array([[3, 1, 0], [0, 2, 0], [0, 2, 2], [0, 0, 0]])
    found = probe(words, train, test)
    assert (found.linear, found.table, found.frequent) == pytest.approx((0.3, 0.3, 0.8))
    assert (found.train_frames, found.test_frames) == (140, 10)
    assert wrong(np.zeros(4, int), test) == pytest.approx(0.7)
