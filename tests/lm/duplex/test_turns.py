"""Turn-taking on made-up probabilities: 16 ms each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import codec
from codec.lm.duplex.turns import Action, TurnTaker, TurnTaking, hops

EAGER = TurnTaking(adaptive=False)


def actions(
    taker: TurnTaker, *parts: tuple[float, float], speaking: bool = False
) -> list[tuple[Action, int]]:
    """What `taker` does during parts of (probability, seconds), with the hop of each action."""
    found, hop = [], 0
    for probability, seconds in parts:
        for _ in range(hops(seconds)):
            hop += 1
            found += [(a, hop) for a in taker.push(probability, speaking=speaking)]
    return found


def names(found: list[tuple[Action, int]]) -> list[Action]:
    return [action for action, _ in found]


def test_a_turn_begins_pauses_and_ends() -> None:
    found = actions(TurnTaker(EAGER), (0, 1), (1, 0.5), (0, 1))
    assert names(found) == ["begin", "pause", "end"]
    began, paused, ended = (hop for _, hop in found)
    assert began == hops(1) + hops(EAGER.begin)
    assert paused == ended == hops(1) + hops(0.5) + hops(EAGER.pause)


def test_a_breath_is_no_end_and_a_cough_no_turn() -> None:
    patient = TurnTaking(patience=0.5)
    assert names(actions(TurnTaker(EAGER), (1, 0.5), (0, 0.048), (1, 0.5))) == ["begin"]
    found = actions(TurnTaker(patient), (1, 0.5), (0, 0.3), (1, 0.5), (0, 1))
    assert names(found) == ["begin", "pause", "resume", "pause", "end"]
    assert names(actions(TurnTaker(EAGER), (0, 1), (1, 0.08), (0, 1))) == ["begin", "drop"]
    assert names(actions(TurnTaker(EAGER), (0, 1), (1, 0.032), (0, 1))) == []


def test_a_click_holds_a_reply_and_speech_interrupts_it() -> None:
    click = actions(TurnTaker(EAGER), (0, 1), (0.9, 0.032), (0, 1), speaking=True)
    assert names(click) == ["hold", "release"]
    assert click[1][1] - click[0][1] <= hops(EAGER.doubt)
    speech = actions(TurnTaker(EAGER), (0, 1), (0.3, 0.032), (0.9, 0.3), speaking=True)
    assert names(speech) == ["hold", "begin"]
    assert speech[0][1] == hops(1) + 1  # with the first suspicion
    hum = actions(TurnTaker(EAGER), (0.3, 1), speaking=True)
    assert names(hum) == ["hold", "release"]  # and no further hold while the hum goes on


def test_patience_grows_when_a_reply_came_too_early_and_shrinks_again() -> None:
    taker = TurnTaker(TurnTaking())
    assert names(actions(taker, (1, 0.5), (0, 0.3), (1, 0.5))) == ["begin", "pause", "end", "begin"]
    taker.came_too_early()
    assert names(actions(taker, (0, 0.3), (1, 0.5), (0, 1))) == ["pause", "resume", "pause", "end"]
    patience = taker.patience
    for _ in range(50):
        taker.ended_well()
    assert hops(TurnTaking().patience) == taker.patience < patience


def test_a_turn_that_never_pauses_ends() -> None:
    found = actions(TurnTaker(TurnTaking(longest=2.0)), (1, 2.05))
    assert found[1:] == [("pause", hops(2.0)), ("end", hops(2.0))]


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.6, 1.0]), st.booleans()), max_size=300),
    st.booleans(),
)
def test_every_order_of_actions_makes_sense(hops_: list[tuple[float, bool]], adapt: bool) -> None:
    taker = TurnTaker(TurnTaking(adaptive=adapt, patience=0.2))
    follows: dict[Action | None, set[Action]] = {
        None: {"begin", "hold"},
        "begin": {"pause", "drop"},
        "pause": {"resume", "end"},
        "resume": {"pause"},
        "end": {"begin", "hold"},
        "drop": {"begin", "hold"},
        "hold": {"release", "begin", "hold"},  # a reply may end while it is held
        "release": {"begin", "hold"},
    }
    last: Action | None = None
    for probability, speaking in hops_:
        for action in taker.push(probability, speaking=speaking):
            assert action in follows[last], (last, action)
            assert taker.began < taker.last or action in ("hold", "release")
            last = action


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"threshold": 1.5},
        {"pause": "long"},
        {"pause": 0.5},
        {"suspect": 0.9},
        {"patience": 2.0},
    ],
)
def test_rules_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(codec.OptionError):
        TurnTaking(**wrong)  # type: ignore[arg-type]
