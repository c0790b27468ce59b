"""The adaptive pace, in plain numbers and against servers that keep a limit."""

import math
from collections import deque

import pytest

from aitor.laws.adaptive_pace import FORGET_SECONDS, AdaptivePace


def paced(answers: int, seconds: float) -> AdaptivePace:
    """Return a pace after two pauses, with so many answers in between."""
    pace = AdaptivePace()
    pace.paused(0.0)
    for _ in range(answers):
        pace.answered()
    pace.paused(seconds)
    return pace


def test_without_a_pause_any_pace_is_right() -> None:
    pace = AdaptivePace()
    assert pace.rate(0.0) == math.inf
    pace.started(5.0)
    assert pace.ready_at(5.0) == 5.0


def test_one_pause_alone_tells_no_rate() -> None:
    pace = AdaptivePace()
    pace.answered()
    pace.paused(10.0)
    assert pace.rate(10.0) == math.inf


def test_nine_tenths_of_what_got_through_between_two_pauses_is_sent() -> None:
    pace = paced(100, 10.0)
    assert pace.rate(10.0) == pytest.approx(9.0)
    pace.started(10.0)
    # The rate grows a little until then.
    assert 10.0 + 1 / 9.1 < pace.ready_at(10.0) < 10.0 + 1 / 9


def test_a_few_answers_make_no_rate() -> None:
    assert paced(3, 1.0).rate(1.0) == math.inf


def test_the_rate_grows_by_a_tenth_a_second_and_is_forgotten_after_a_minute() -> None:
    pace = paced(100, 10.0)
    assert pace.rate(20.0) == pytest.approx(18.0)
    assert pace.rate(10.0 + FORGET_SECONDS + 0.1) == math.inf
    assert pace.ready_at(10.0 + FORGET_SECONDS + 0.1) == 10.0 + FORGET_SECONDS + 0.1


@pytest.mark.parametrize("seconds", [1.0, 10.0, 40.0])
@pytest.mark.parametrize("last", [-1.0, 0.0, 3.0, 55.0])
def test_when_the_next_may_start_does_not_depend_on_when_that_is_asked(
    seconds: float, last: float
) -> None:
    """
    Who waits until the time that it was told waits no longer than it has to.

    The kind: a time that is told is a schedule. Siblings: a start before the pause, and
    a pace that is forgotten while somebody waits for it.
    """
    pace = paced(5, seconds)
    pace.started(seconds + last)
    asked = max(seconds, seconds + last)
    ready = pace.ready_at(asked)
    between = [asked + (ready - asked) * part / 8 for part in range(9)]
    assert [pace.ready_at(now) for now in between] == pytest.approx([ready] * 9)
    if asked < ready < seconds + FORGET_SECONDS:
        assert (ready - (seconds + last)) * pace.rate(ready) == pytest.approx(1.0)


def test_what_was_known_before_a_long_time_is_not_known_at_the_next_pause() -> None:
    pace = paced(100, 10.0)
    pace.paused(200.0)
    assert pace.rate(200.0) == math.inf


def test_a_limit_that_nobody_tells_is_used_and_seldom_passed() -> None:
    """A server of 10 a second says "too many" for a second; nine tenths get through."""
    pace, recent = AdaptivePace(), deque[float]()
    now, held, sent, answered = 0.0, 0.0, 0, 0
    while now < 120.0:
        now = max(pace.ready_at(now), held, now + 0.01)
        pace.started(now)
        sent += 1
        while recent and recent[0] <= now - 1.0:
            recent.popleft()
        if len(recent) < 10:
            recent.append(now)
            answered += 1
            pace.answered()
        else:
            pace.paused(now)
            held = now + 1.0
    assert answered >= 0.7 * 10 * 120
    assert sent - answered <= 0.05 * sent
