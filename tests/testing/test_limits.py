"""Limits per minute, held exactly over every window."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.testing.limits import Limits


def test_the_request_after_the_last_allowed_one_is_refused() -> None:
    limits = Limits({"requests": 3})
    assert [limits.admit(1, 1, now) for now in (0.0, 10.0, 20.0)] == [None] * 3
    excess = limits.admit(1, 1, 30.0)
    assert excess is not None
    assert (excess.limit, excess.used, excess.requested) == (3, 3, 1)
    assert excess.delay == 30.0


def test_a_window_later_to_the_moment_there_is_room_again() -> None:
    limits = Limits({"requests": 1})
    assert limits.admit(1, 1, 5.0) is None
    assert limits.admit(1, 1, math.nextafter(65.0, 0)) is not None
    assert limits.admit(1, 1, 65.0) is None


def test_tokens_are_counted_as_input_output_and_both() -> None:
    limits = Limits({"tokens": 100, "input_tokens": 80, "output_tokens": 40})
    assert limits.admit(60, 40, 0.0) is None
    states = limits.states(0.0)
    remaining = {name: state.remaining for name, state in states.items()}
    assert remaining == {"tokens": 0, "input_tokens": 20, "output_tokens": 0}
    assert states["tokens"].reset == 60.0


def test_a_refused_request_takes_from_no_limit() -> None:
    limits = Limits({"requests": 5, "tokens": 10})
    assert limits.admit(20, 0, 0.0) is not None
    assert limits.states(0.0)["requests"].remaining == 5


def test_the_limit_that_takes_longest_is_the_one_named() -> None:
    limits = Limits({"requests": 2, "tokens": 10})
    assert limits.admit(2, 0, 0.0) is None
    assert limits.admit(8, 0, 30.0) is None
    excess = limits.admit(5, 0, 40.0)
    assert excess is not None
    assert (excess.name, excess.delay) == ("tokens", 50.0)


def test_what_is_larger_than_the_limit_never_passes() -> None:
    excess = Limits({"tokens": 10}).admit(8, 3, 0.0)
    assert excess is not None
    assert excess.delay == math.inf


def test_the_worst_window_counts_what_was_refused_too() -> None:
    limits = Limits({"requests": 2})
    for now in (0.0, 1.0, 2.0, 3.0, 61.0):
        limits.admit(1, 1, now)
    state = limits.states(61.0)["requests"]
    assert (state.violations, state.worst) == (2, 4)


@pytest.mark.parametrize(
    ("most", "seconds"),
    [({"requests": 0}, 60.0), ({"requests": 1}, 0.0), ({"words": 1}, 60.0)],
)
def test_limits_that_make_no_sense_are_refused(
    most: dict[str, int], seconds: float
) -> None:
    with pytest.raises(ValueError, match="limits"):
        Limits(most, seconds)


steps = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 6)), min_size=1, max_size=40
)


@given(steps=steps)
def test_no_window_holds_more_than_the_limit_and_none_is_refused_in_vain(
    steps: list[tuple[int, int]],
) -> None:
    limits = Limits({"tokens": 10})
    admitted: list[tuple[int, int]] = []
    now = 0
    for gap, tokens in steps:
        now += gap
        held = sum(amount for when, amount in admitted if when > now - 60)
        excess = limits.admit(tokens, 0, now)
        assert (excess is None) == (held + tokens <= 10)
        if excess is None:
            admitted.append((now, tokens))
            continue
        # The wait is long enough and no longer than needed.
        room = [
            when
            for when in (t + 60 for t, _ in admitted)
            if sum(a for t, a in admitted if t > when - 60) + tokens <= 10
        ]
        assert now + excess.delay == min(when for when in room if when > now)
