"""Adaptive concurrency against small servers, with every call a number."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aitor.laws.adaptive_concurrency import AdaptiveConcurrency

SECONDS = 0.05
"""A call's time in a server that has room."""


@dataclass
class Run:
    """
    Callers that always have another call for a server.

    Args:
        room: How many calls it has room for, by time.
        queues: Whether what is beyond waits inside, instead of being refused.
        fails: The share that it refuses at random.
        spread: How much its times differ: the sigma of a log-normal factor.
        instant: Whether a refusal takes no time worth naming.
        together: So many calls at once double the time of each, and none waits.
    """

    room: Callable[[float], int]
    queues: bool = False
    fails: float = 0.0
    spread: float = 0.0
    instant: bool = True
    together: float = math.inf
    ceiling: int = 64
    random: Random = field(default_factory=lambda: Random(1))
    limits: list[tuple[float, int]] = field(default_factory=list)
    served: int = 0
    refused: int = 0

    def until(self, end: float) -> "Run":
        law = AdaptiveConcurrency(self.ceiling)
        calls: list[tuple[float, int, float, bool, bool]] = []
        now, number, inside = 0.0, 0, 0
        while now < end:
            while len(calls) < law.limit:
                number += 1
                full = not self.queues and inside >= self.room(now)
                refused = full or self.random.random() < self.fails
                seconds = SECONDS
                if full and self.instant:
                    seconds = 0.002
                elif self.queues:
                    seconds *= max(1.0, (len(calls) + 1) / self.room(now))
                    seconds *= self.random.lognormvariate(0.0, self.spread)
                seconds *= 1.0 + len(calls) / self.together
                heappush(calls, (now + seconds, number, now, refused, not full))
                inside += not full
                law.changed(len(calls), now)
            now, _, sent, refused, entered = heappop(calls)
            law.changed(len(calls), now)
            inside -= entered
            self.served += not refused
            self.refused += refused
            told = self.queues or self.together < math.inf
            first = now - sent if told and not refused else None
            law.ended(sent, now, refused=refused, first_byte=first)
            self.limits.append((now, law.limit))
        return self

    def mean(self, begin: float, end: float) -> float:
        """Return the mean limit, by time."""
        spans = zip(self.limits, self.limits[1:], strict=False)
        parts = [
            (after - now, limit)
            for (now, limit), (after, _) in spans
            if begin <= now < end
        ]
        return sum(s * limit for s, limit in parts) / sum(s for s, _ in parts)


@pytest.mark.parametrize("room", [1, 2, 5, 20, 50])
@pytest.mark.parametrize("instant", [True, False])
def test_a_server_with_room_for_some_is_sent_as_many(room: int, instant: bool) -> None:
    """It refuses what is beyond, at once or after a while."""
    run = Run(lambda _: room, instant=instant).until(30.0)
    # One more is tried for, and a share of a few calls has a large error.
    assert run.mean(5.0, 30.0) == pytest.approx(room, rel=0.2, abs=1.1)
    assert run.served >= 0.95 * room * 30.0 / SECONDS


@pytest.mark.parametrize("room", [4, 16, 32])
def test_a_server_that_queues_inside_is_sent_what_it_serves_at_once(room: int) -> None:
    run = Run(lambda _: room, queues=True).until(30.0)
    assert run.mean(5.0, 30.0) == pytest.approx(room, rel=0.2)
    assert run.served >= 0.95 * room * 30.0 / SECONDS


@pytest.mark.parametrize("together", [5.0, 20.0, 100.0])
def test_a_server_that_works_at_many_at_once_is_sent_many(together: float) -> None:
    """
    Each call takes longer then, but more are served: to send fewer would help nobody.

    The kind: what looks as if calls waited is tried, and judged by what is served.
    Siblings: a server of few places (above), and one whose times differ by chance.
    """
    run = Run(lambda _: 64, together=together).until(60.0)
    most = 64 / (1.0 + 63 / together) / SECONDS
    assert run.served >= 0.7 * most * 60.0


@pytest.mark.parametrize("queues", [False, True])
def test_a_halving_is_followed_within_ten_seconds(queues: bool) -> None:
    run = Run(lambda now: 20 if now < 30.0 else 10, queues=queues).until(60.0)
    assert run.mean(20.0, 30.0) == pytest.approx(20, rel=0.2)
    assert run.mean(40.0, 60.0) == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize("queues", [False, True])
def test_more_room_is_found(queues: bool) -> None:
    run = Run(lambda now: 4 if now < 30.0 else 40, queues=queues).until(90.0)
    assert run.mean(70.0, 90.0) == pytest.approx(40, rel=0.2)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_server_that_refuses_at_random_is_sent_as_much_as_before(
    share: float,
) -> None:
    """Kind: a fault that sending less does not cure. TCP's rule would starve it."""
    run = Run(lambda _: 1_000, fails=share).until(60.0)
    assert run.mean(0.0, 60.0) >= 0.9 * 64


def test_times_that_differ_by_themselves_are_no_reason_to_send_less() -> None:
    """Kind: a fault that sending less does not cure. Prompts are long and short."""
    run = Run(lambda _: 1_000, queues=True, spread=1.0).until(60.0)
    assert run.mean(0.0, 60.0) >= 0.85 * 64


def test_a_server_that_never_served_anything_is_down_and_not_full() -> None:
    run = Run(lambda _: 0).until(5.0)
    assert run.limits[-1][1] == 64


def test_what_was_sent_under_another_limit_says_nothing_of_this_one() -> None:
    law = AdaptiveConcurrency(64)
    for _ in range(64):
        law.ended(0.0, 1.0, refused=False, first_byte=None)
    for _ in range(64):
        law.ended(1.0, 2.0, refused=True, first_byte=None)
    assert law.limit == 64


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 10.0),
            st.floats(0.0, 10.0),
            st.booleans(),
            st.none() | st.floats(0.0, 10.0),
        ),
        max_size=300,
    ),
    st.integers(1, 70),
)
def test_the_limit_is_a_number_from_one_to_its_ceiling(
    calls: list[tuple[float, float, bool, float | None]], ceiling: int
) -> None:
    law, now = AdaptiveConcurrency(ceiling), 0.0
    for waited, seconds, refused, first in calls:
        now += waited
        law.changed(law.limit, now)
        law.ended(now - seconds, now, refused=refused, first_byte=first)
        assert 1 <= law.limit <= ceiling
        assert math.isfinite(law.limit)
