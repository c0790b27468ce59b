"""The adaptive pace, in plain numbers and against servers that keep a limit."""

import math
from collections import deque
from collections.abc import Callable
from random import Random

import pytest

from aitor.laws.adaptive_pace import FORGET_SECONDS, AdaptivePace


def paced(answers: int, refused: int, seconds: float) -> AdaptivePace:
    """Return a pace after two pauses, with so many answers in between."""
    pace = AdaptivePace()
    pace.refused(0.0, 0.0)
    pace.paused(0.0)
    for _ in range(answers):
        pace.answered(0.0, 0.0)
    for _ in range(refused - 1):
        pace.refused(0.0, 0.0)
    pace.paused(seconds)
    return pace


def test_without_a_refusal_any_pace_is_right() -> None:
    pace = AdaptivePace()
    for tenth in range(1_000):
        pace.answered(tenth / 10, tenth / 10)
    assert pace.rate(100.0) == math.inf
    pace.started(100.0)
    assert pace.ready_at(100.0) == 100.0


def test_one_pause_alone_tells_no_rate() -> None:
    pace = AdaptivePace()
    pace.refused(10.0, 10.0)
    pace.paused(10.0)
    assert pace.rate(10.0) == math.inf


def test_nine_tenths_of_what_got_through_between_two_pauses_is_sent() -> None:
    pace = paced(100, 50, 10.0)
    assert pace.rate(10.0) == pytest.approx(9.0)
    pace.started(10.0)
    # The rate grows a little until then.
    assert 10.0 + 1 / 9.1 < pace.ready_at(10.0) < 10.0 + 1 / 9


def test_a_few_answers_make_no_rate() -> None:
    assert paced(3, 3, 1.0).rate(1.0) == math.inf


@pytest.mark.parametrize("answers", [4, 8, 50])
def test_a_single_refusal_is_chance(answers: int) -> None:
    """Kind: a rate reckoned from too few calls; two refusals by chance halved it."""
    assert paced(answers, 1, 10.0).rate(10.0) == math.inf


def test_a_few_refusals_are_no_reason() -> None:
    assert paced(100, 10, 10.0).rate(10.0) == math.inf


def test_the_rate_grows_by_a_tenth_a_second_and_is_forgotten_after_a_minute() -> None:
    pace = paced(100, 50, 10.0)
    assert pace.rate(20.0) == pytest.approx(18.0)
    late = 10.0 + FORGET_SECONDS + 0.1
    assert pace.rate(late) == math.inf
    assert pace.ready_at(late) == late


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
    pace = paced(5, 5, seconds)
    pace.started(seconds + last)
    asked = max(seconds, seconds + last)
    ready = pace.ready_at(asked)
    between = [asked + (ready - asked) * part / 8 for part in range(9)]
    assert [pace.ready_at(now) for now in between] == pytest.approx([ready] * 9)
    if asked < ready < seconds + FORGET_SECONDS:
        assert (ready - (seconds + last)) * pace.rate(ready) == pytest.approx(1.0)


def test_a_pace_is_taken_down_by_three_tenths_at_most() -> None:
    pace = paced(100, 50, 10.0)
    for _ in range(20):
        pace.answered(11.0, 11.0)
    for _ in range(5):
        pace.refused(11.0, 11.0)
    pace.paused(20.0)
    assert pace.rate(20.0) == pytest.approx(0.7 * 18.0)


def test_where_as_many_are_refused_at_the_slower_pace_any_is_right() -> None:
    """Kind: a fault that sending less does not cure."""
    pace = paced(50, 50, 10.0)
    assert pace.rate(10.0) < math.inf
    for _ in range(20):
        pace.answered(11.0, 11.0)
        pace.refused(12.0, 12.0)
    assert pace.rate(12.0) == math.inf
    # And it is not tried again at once.
    for _ in range(20):
        pace.answered(14.0, 14.0)
        pace.refused(14.0, 14.0)
    assert pace.rate(14.0) == math.inf


def run(bears: Callable[[float, int], bool], pause: float) -> tuple[int, int]:
    """
    Send for two minutes as fast as the pace and the server's pauses allow.

    Args:
        bears: Whether a call goes through, by time and calls in the last second.
        pause: Seconds that the server asks everybody to wait after a refusal.

    Returns:
        Calls that were answered, and refused.
    """
    pace, recent = AdaptivePace(), deque[float]()
    now, held, answered, refused = 0.0, 0.0, 0, 0
    while now < 120.0:
        now = max(pace.ready_at(now), held, now + 0.01)
        pace.started(now)
        while recent and recent[0] <= now - 1.0:
            recent.popleft()
        if bears(now, len(recent)):
            recent.append(now)
            answered += 1
            pace.answered(now, now)
        else:
            refused += 1
            pace.refused(now, now)
            if pause:
                held = now + pause
                pace.paused(now)
    return answered, refused


@pytest.mark.parametrize("pause", [0.0, 0.1, 1.0])
def test_a_limit_that_nobody_tells_is_used_and_seldom_passed(pause: float) -> None:
    """A server of ten a second, whether it stops everybody for a while or not."""
    answered, refused = run(lambda _, recent: recent < 10, pause)
    assert answered >= 0.75 * 10 * 120
    # A probing pace is refused a part; without any, nine calls in ten are here.
    assert refused <= (0.2 if pause == 1.0 else 0.6) * answered


def test_a_limit_that_is_halved_is_followed() -> None:
    _, refused = run(lambda now, recent: recent < (20 if now < 60 else 10), 0.0)
    assert refused <= 0.25 * 15 * 120


def test_a_server_that_refuses_at_random_is_sent_as_much_as_before() -> None:
    """Kind: a fault that sending less does not cure."""
    chance = Random(5)
    answered, _ = run(lambda *_: chance.random() < 0.4, 0.0)
    assert answered >= 0.9 * 0.4 * 100 * 120


def test_what_was_sent_before_a_pace_was_taken_says_nothing_of_it() -> None:
    """Kind: calls judged in the order in which they end, not that they were sent in."""
    pace = paced(100, 50, 10.0)
    for _ in range(5):
        pace.answered(11.0, 12.0)
    for _ in range(50):
        pace.refused(9.0, 12.0)
    pace.paused(12.0)
    assert pace.rate(12.0) < 20.0
