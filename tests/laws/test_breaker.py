"""The circuit breaker, in plain numbers and against a small model."""

import math
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aitor.laws.breaker import (
    CERTAIN,
    WELL_AGAIN,
    CircuitBreaker,
    CircuitState,
    Ticket,
    Verdict,
)

SUCCESS, FAILURE, IGNORED, DEAD, SUSPECTED = Verdict

BY_COUNT: dict[str, Any] = {
    "failures": 5,
    "failing_seconds": 0.0,
    "first_open_seconds": 30.0,
}
"""A circuit that opens after five failures in a row, for the same time each time."""


def admitted(breaker: CircuitBreaker, now: float) -> Ticket:
    """Return a ticket that must be there."""
    ticket = breaker.admit(now)
    assert ticket is not None
    return ticket


def fail(breaker: CircuitBreaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        breaker.record(admitted(breaker, now), FAILURE, now)


def opened(**settings: float) -> CircuitBreaker:
    """Return a breaker that opened at 0.0 and lets a probe through at 30.0."""
    breaker = CircuitBreaker(**{**BY_COUNT, **settings})
    fail(breaker, 5)
    return breaker


def recovering(probes: int = 1) -> CircuitBreaker:
    """Return a breaker that closed again at 30.0."""
    breaker = opened(probes=probes)
    breaker.record(admitted(breaker, 30.0), SUCCESS, 30.0)
    return breaker


# Closed and open.


def test_a_closed_circuit_lets_everything_through_on_one_ticket() -> None:
    breaker = CircuitBreaker()
    assert len({id(breaker.admit(0.0)) for _ in range(1_000)}) == 1
    assert breaker.state(0.0) is CircuitState.CLOSED
    assert breaker.retry_at(7.0) == 7.0


def test_failures_in_a_row_open_the_circuit() -> None:
    breaker = CircuitBreaker(**BY_COUNT)
    fail(breaker, 4)
    assert breaker.state(0.0) is CircuitState.CLOSED
    fail(breaker, 1, now=2.0)
    assert breaker.state(2.0) is CircuitState.OPEN
    assert breaker.admit(31.9) is None
    assert breaker.retry_at(10.0) == 32.0
    assert breaker.state(32.0) is CircuitState.HALF_OPEN


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker(failures=2, failing_seconds=0.0)
    for _ in range(10):
        fail(breaker, 1)
        breaker.record(admitted(breaker, 0.0), SUCCESS, 0.0)
    assert breaker.state(0.0) is CircuitState.CLOSED


def test_what_is_ignored_is_neither_success_nor_failure() -> None:
    breaker = CircuitBreaker(failures=2, failing_seconds=0.0)
    fail(breaker, 1)
    breaker.record(admitted(breaker, 0.0), IGNORED, 0.0)
    assert breaker.failing
    assert breaker.state(0.0) is CircuitState.CLOSED
    fail(breaker, 1)
    assert breaker.state(0.0) is CircuitState.OPEN


def test_a_dead_account_opens_it_at_once_and_for_longer() -> None:
    breaker = CircuitBreaker(dead_seconds=300.0)
    breaker.record(admitted(breaker, 5.0), DEAD, 5.0)
    assert breaker.retry_at(5.0) == 305.0
    assert breaker.admit(304.0) is None
    breaker.record(admitted(breaker, 305.0), DEAD, 305.0)
    assert breaker.retry_at(305.0) == 605.0


def test_failing_tells_the_last_verdict_that_counted() -> None:
    breaker = CircuitBreaker()
    assert not breaker.failing
    fail(breaker, 1)
    assert breaker.failing
    breaker.record(admitted(breaker, 0.0), SUCCESS, 0.0)
    assert not breaker.failing


def test_a_verdict_from_before_the_outage_does_not_count_after_it() -> None:
    breaker = CircuitBreaker(**BY_COUNT)
    before = admitted(breaker, 0.0)
    fail(breaker, 5)
    breaker.record(before, SUCCESS, 1.0)
    assert breaker.state(1.0) is CircuitState.OPEN
    probe = admitted(breaker, 30.0)
    for verdict in Verdict:
        breaker.record(before, verdict, 31.0)
    assert breaker.state(31.0) is CircuitState.HALF_OPEN
    assert breaker.failing
    breaker.record(probe, SUCCESS, 32.0)
    breaker.record(before, FAILURE, 33.0)
    assert not breaker.failing


# Down, and not merely flaky.


def test_a_row_is_long_enough_only_with_the_time_it_took() -> None:
    breaker = CircuitBreaker(failures=20, failing_seconds=2.0)
    fail(breaker, 40, now=1.0)
    assert breaker.state(1.0) is CircuitState.CLOSED
    fail(breaker, 1, now=2.9)
    assert breaker.state(2.9) is CircuitState.CLOSED
    fail(breaker, 1, now=3.0)
    assert breaker.state(3.0) is CircuitState.OPEN


def test_a_long_time_with_few_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker(failures=20, failing_seconds=2.0)
    for second in range(19):
        fail(breaker, 1, now=10.0 * second)
    assert breaker.state(190.0) is CircuitState.CLOSED
    assert breaker.lets_through
    fail(breaker, 1, now=190.0)
    assert breaker.state(190.0) is CircuitState.OPEN


def test_so_many_failures_are_certain_at_once() -> None:
    breaker = CircuitBreaker(failures=20, failing_seconds=2.0)
    fail(breaker, CERTAIN * 20 - 1)
    fail(breaker, 1, now=0.2)
    assert breaker.state(0.2) is CircuitState.CLOSED
    fail(breaker, 1, now=0.25)
    assert breaker.state(0.25) is CircuitState.OPEN


@pytest.mark.parametrize(("one_in", "failures"), [(2, 20), (10, 83), (20, 160)])
def test_of_one_that_answers_rarely_a_longer_row_is_asked_for(
    one_in: int, failures: int
) -> None:
    breaker = CircuitBreaker(failures=20, failing_seconds=0.0)
    for _ in range(200):
        fail(breaker, one_in - 1)
        breaker.record(admitted(breaker, 0.0), SUCCESS, 0.0)
    fail(breaker, failures - 1, now=1.0)
    assert breaker.state(1.0) is CircuitState.CLOSED
    fail(breaker, 1, now=1.0)
    assert breaker.state(1.0) is CircuitState.OPEN


def test_of_one_that_answers_rarely_as_many_probes_are_asked() -> None:
    breaker = CircuitBreaker(**{**BY_COUNT, "failures": 10})
    for _ in range(200):
        fail(breaker, 4)
        breaker.record(admitted(breaker, 0.0), SUCCESS, 0.0)
    fail(breaker, 37)
    fail(breaker, 4, now=30.0)
    assert breaker.state(30.0) is CircuitState.HALF_OPEN
    fail(breaker, 1, now=30.0)
    assert breaker.state(30.0) is CircuitState.OPEN


def test_while_a_probe_is_out_its_end_is_what_is_expected() -> None:
    breaker = opened()
    assert breaker.expected_at(10.0, 2.0) == 30.0
    admitted(breaker, 40.0)
    assert breaker.retry_at(41.0) == 100.0
    assert breaker.expected_at(41.0, 2.0) == 42.0
    assert breaker.expected_at(50.0, 2.0) == 50.0


def test_calls_that_hang_and_end_together_say_how_it_was_when_they_were_sent() -> None:
    """Kind: calls judged in the order in which they end, not that they were sent in."""
    breaker = CircuitBreaker(**BY_COUNT)
    hanging = [(admitted(breaker, 0.1 * n), 0.1 * n) for n in range(64)]
    answered = admitted(breaker, 6.4)
    breaker.record(answered, SUCCESS, 6.5, 6.4)
    for ticket, sent in hanging:
        breaker.record(ticket, FAILURE, 10.0 + sent, sent)
    assert breaker.state(20.0) is CircuitState.CLOSED
    assert breaker.snapshot(20.0).failures == 0


def test_an_answer_to_an_old_call_ends_the_row_of_newer_failures() -> None:
    breaker = CircuitBreaker(**BY_COUNT)
    slow = admitted(breaker, 0.0)
    fail(breaker, 4, now=1.0)
    breaker.record(slow, SUCCESS, 2.0, 0.0)
    fail(breaker, 4, now=3.0)
    assert breaker.state(3.0) is CircuitState.CLOSED


def test_it_opens_briefly_at_first_and_longer_each_time_a_probe_fails() -> None:
    breaker = CircuitBreaker(failures=1, failing_seconds=0.0, open_seconds=6.0)
    fail(breaker, 1)
    now, lasted = 0.0, []
    for _ in range(5):
        lasted.append(breaker.retry_at(now) - now)
        now = breaker.retry_at(now)
        fail(breaker, 1, now=now)
    assert lasted == [1.0, 2.0, 4.0, 6.0, 6.0]


def test_it_opens_briefly_again_once_it_was_closed_without_reserve() -> None:
    def reopened(successes: int) -> float:
        breaker = CircuitBreaker(failures=1, failing_seconds=0.0)
        fail(breaker, 1)
        fail(breaker, 1, now=1.0)
        for _ in range(successes):
            breaker.record(admitted(breaker, 3.0), SUCCESS, 3.0)
        fail(breaker, 1, now=4.0)
        return breaker.retry_at(4.0) - 4.0

    assert reopened(1) == 4.0
    assert reopened(WELL_AGAIN) == 4.0
    assert reopened(WELL_AGAIN + 1) == 1.0


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_provider_that_fails_a_part_of_its_calls_stays_closed(share: float) -> None:
    """Sixty calls a second for a minute, as 64 callers with a backoff make them."""
    chance = Random(7)
    breaker = CircuitBreaker()
    for call in range(3_600):
        now = call / 60.0
        ticket = breaker.admit(now)
        if ticket is not None:
            failed = chance.random() < share
            breaker.record(ticket, FAILURE if failed else SUCCESS, now)
    assert breaker.generation == 0


# Half-open.


@pytest.mark.parametrize("probes", [1, 3])
def test_half_open_lets_its_probes_through_and_no_more(probes: int) -> None:
    breaker = opened(probes=probes)
    tickets = [breaker.admit(30.0) for _ in range(5)]
    assert [ticket is not None for ticket in tickets] == [n < probes for n in range(5)]
    assert all(ticket.probe for ticket in tickets if ticket)


def test_one_success_closes_it() -> None:
    breaker = opened(probes=3)
    first, second = admitted(breaker, 30.0), admitted(breaker, 30.0)
    breaker.record(first, SUCCESS, 31.0)
    assert breaker.state(31.0) is CircuitState.CLOSED
    breaker.record(second, FAILURE, 32.0)
    assert breaker.state(32.0) is CircuitState.CLOSED


def test_one_failure_opens_it_again() -> None:
    breaker = opened()
    breaker.record(admitted(breaker, 40.0), FAILURE, 41.0)
    assert breaker.state(41.0) is CircuitState.OPEN
    assert breaker.retry_at(41.0) == 71.0


def test_a_probe_that_is_ignored_gives_its_place_back() -> None:
    breaker = opened()
    breaker.record(admitted(breaker, 30.0), IGNORED, 31.0)
    assert breaker.state(31.0) is CircuitState.HALF_OPEN
    assert breaker.retry_at(31.0) == 31.0
    assert admitted(breaker, 31.0).probe
    assert breaker.admit(31.0) is None


def test_a_probe_that_never_ends_gives_its_place_to_another() -> None:
    breaker = opened(probe_seconds=60.0)
    admitted(breaker, 30.0)
    assert breaker.retry_at(35.0) == 90.0
    assert breaker.admit(89.0) is None
    assert admitted(breaker, 90.0).probe
    assert breaker.admit(90.0) is None
    assert breaker.retry_at(90.0) == 150.0


def test_a_late_probe_still_counts_but_has_no_second_place_to_give() -> None:
    breaker = opened(probe_seconds=60.0)
    late = admitted(breaker, 30.0)
    admitted(breaker, 90.0)
    breaker.record(late, IGNORED, 95.0)
    assert breaker.admit(95.0) is None
    breaker.record(late, SUCCESS, 96.0)
    assert breaker.state(96.0) is CircuitState.CLOSED


def test_the_generation_changes_with_each_change_of_state_and_with_nothing_else() -> (
    None
):
    breaker = CircuitBreaker(**BY_COUNT)
    seen = [breaker.generation]
    fail(breaker, 5)
    seen.append(breaker.generation)
    breaker.state(30.0)
    breaker.retry_at(30.0)
    assert breaker.generation == seen[-1]
    probe = admitted(breaker, 30.0)
    seen.append(breaker.generation)
    breaker.record(probe, SUCCESS, 30.0)
    seen.append(breaker.generation)
    assert seen == [0, 1, 2, 3]


def test_a_clock_that_steps_back_lets_nothing_through_early() -> None:
    breaker = opened()
    assert breaker.admit(-100.0) is None
    assert breaker.retry_at(-100.0) == 30.0
    admitted(breaker, 30.0)
    assert breaker.admit(-100.0) is None
    assert breaker.retry_at(-100.0) == 90.0


# The slow start.


@pytest.mark.parametrize("probes", [1, 3])
def test_after_an_outage_calls_return_little_by_little(probes: int) -> None:
    breaker = recovering(probes)
    in_flight: list[Ticket] = []
    for successes in range(WELL_AGAIN):
        while ticket := breaker.admit(30.0):
            in_flight.append(ticket)
        assert len(in_flight) == probes + successes
        assert breaker.retry_at(30.0) == 30.0
        breaker.record(in_flight.pop(), SUCCESS, 30.0)
    for _ in range(10_000):
        admitted(breaker, 30.0)


def test_a_failure_neither_raises_the_limit_nor_begins_the_slow_start_again() -> None:
    """Who fails a part of the time would never come to its end."""
    breaker = recovering()
    for _ in range(10):
        breaker.record(admitted(breaker, 30.0), SUCCESS, 30.0)
    fail(breaker, 1, now=30.0)
    assert breaker.snapshot(30.0).limit == 11


def test_after_a_pause_a_probe_goes_first_and_what_is_in_flight_goes_on() -> None:
    breaker = CircuitBreaker()
    before = [admitted(breaker, 0.0) for _ in range(3)]
    breaker.ease_in()
    probe = admitted(breaker, 1.0)
    assert breaker.admit(1.0) is None
    breaker.record(probe, SUCCESS, 2.0)
    assert [breaker.admit(2.0) is not None for _ in range(3)] == [True, True, False]
    for ticket in before:
        breaker.record(ticket, IGNORED, 3.0)
    assert breaker.snapshot(3.0).limit == 5


def test_a_pause_that_is_over_before_anybody_started_leaves_no_trace() -> None:
    breaker = CircuitBreaker()
    breaker.ease_in()
    breaker.resume()
    admitted(breaker, 1.0)
    assert breaker.snapshot(1.0).limit == math.inf


def test_a_circuit_that_opens_has_no_use_for_the_slow_start_of_a_pause() -> None:
    breaker = opened()
    breaker.ease_in()
    assert breaker.admit(1.0) is None
    assert admitted(breaker, 30.0).probe
    assert breaker.admit(30.0) is None


def test_what_is_ignored_makes_room_and_raises_no_limit() -> None:
    breaker = recovering()
    for _ in range(100):
        breaker.record(admitted(breaker, 30.0), IGNORED, 30.0)
    admitted(breaker, 30.0)
    assert breaker.admit(30.0) is None


def test_calls_from_before_take_no_place_in_the_slow_start() -> None:
    breaker = CircuitBreaker(**BY_COUNT)
    for _ in range(20):
        admitted(breaker, 0.0)
    fail(breaker, 5)
    breaker.record(admitted(breaker, 30.0), SUCCESS, 30.0)
    admitted(breaker, 30.0)
    assert breaker.admit(30.0) is None


def test_a_snapshot_says_how_things_stand() -> None:
    breaker = CircuitBreaker(**BY_COUNT)
    fail(breaker, 2)
    admitted(breaker, 0.0)
    snapshot = breaker.snapshot(0.0)
    assert (snapshot.state, snapshot.failures) == (CircuitState.CLOSED, 2)
    assert (snapshot.in_flight, snapshot.limit) == (1, math.inf)
    fail(breaker, 3)
    assert breaker.snapshot(1.0).limit == 0
    assert breaker.snapshot(1.0).retry_at == 30.0
    admitted(breaker, 30.0)
    snapshot = breaker.snapshot(30.0)
    assert (snapshot.state, snapshot.generation) == (CircuitState.HALF_OPEN, 2)
    assert (snapshot.in_flight, snapshot.limit) == (1, 1)


@pytest.mark.parametrize("name", ["failures", "probes"])
def test_a_count_below_one_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be at least 1, and is 0"):
        CircuitBreaker(**{name: 0})


@pytest.mark.parametrize(
    "name", ["first_open_seconds", "open_seconds", "probe_seconds", "dead_seconds"]
)
@pytest.mark.parametrize("value", [0.0, math.inf, math.nan])
def test_a_time_that_is_none_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be finite and more than 0"):
        CircuitBreaker(**{name: value})  # type: ignore[arg-type]  # all are floats


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_a_time_of_failing_may_be_nothing_and_no_less(value: float) -> None:
    with pytest.raises(ValueError, match="'failing_seconds' must be finite and at"):
        CircuitBreaker(failing_seconds=value)


# Against a model: what a reader of the documentation would expect, written with lists
# of calls instead of counters.

CLOSED, OPEN, HALF_OPEN = CircuitState
LEGAL = {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN), (HALF_OPEN, CLOSED)}
OPEN_SECONDS, PROBE_SECONDS, DEAD_SECONDS = 30.0, 60.0, 300.0


class Model(RuleBasedStateMachine):
    """Two probes, three failures in two seconds or more."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker(
            failures=3,
            failing_seconds=2.0,
            first_open_seconds=OPEN_SECONDS / 4,
            open_seconds=OPEN_SECONDS,
            probes=2,
            probe_seconds=PROBE_SECONDS,
            dead_seconds=DEAD_SECONDS,
        )
        self.now = 0.0
        self.state = CLOSED
        self.until = 0.0
        self.row: list[float] = []  # when those were sent that failed, of the last
        self.answered = -math.inf  # when the newest was sent that was answered
        self.opens_for = OPEN_SECONDS / 4
        self.successes: int | None = None  # since it closed again
        self.calls: list[tuple[Ticket, float]] = []  # of this generation
        self.old: list[Ticket] = []

    def enter(self, state: CircuitState, until: float = 0.0) -> None:
        assert (self.state, state) in LEGAL
        self.state, self.until = state, until
        self.old += [ticket for ticket, _ in self.calls]
        self.calls = []
        self.row = []
        if state is CLOSED:
            self.successes = 0

    def places_taken(self) -> int:
        if self.state is HALF_OPEN:
            ends = [since + PROBE_SECONDS for _, since in self.calls]
            return sum(end > self.now for end in ends)
        return len(self.calls)

    def limit(self) -> float:
        if self.state is not CLOSED:
            return 2 if self.state is HALF_OPEN else 0
        return math.inf if self.successes is None else 2 + self.successes

    @rule(seconds=st.sampled_from([0, 1, 2, 7.5, 15, 29, 30, 31, 60, 300]))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        ticket = self.breaker.admit(self.now)
        if self.state is OPEN and self.now >= self.until:
            self.enter(HALF_OPEN)
        assert (ticket is not None) == (self.places_taken() < self.limit())
        if ticket is not None:
            assert ticket.probe == (self.state is HALF_OPEN)
            self.calls.append((ticket, self.now))

    @precondition(lambda self: self.calls)
    @rule(verdict=st.sampled_from(Verdict), data=st.data())
    def end(self, verdict: Verdict, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.calls) - 1))
        ticket, sent = self.calls.pop(index)
        self.breaker.record(ticket, verdict, self.now, sent)
        if verdict is SUCCESS:
            self.row = []
            self.answered = max(self.answered, sent)
            if self.state is HALF_OPEN:
                self.enter(CLOSED)
            elif self.successes is not None:
                self.successes += 1
                if self.successes == WELL_AGAIN:
                    self.successes = None
                    self.opens_for = OPEN_SECONDS / 4
        elif verdict is FAILURE:
            if sent >= self.answered:
                self.row.append(sent)
            lasted = self.now - min(self.row, default=math.inf)
            down = len(self.row) >= 3 and lasted >= 2.0
            if self.state is HALF_OPEN or down or len(self.row) >= 3 * CERTAIN:
                self.enter(OPEN, self.now + self.opens_for)
                self.opens_for = min(2 * self.opens_for, OPEN_SECONDS)
        elif verdict is DEAD:
            self.enter(OPEN, self.now + DEAD_SECONDS)

    @precondition(lambda self: self.old)
    @rule(verdict=st.sampled_from(Verdict))
    def end_an_old_one(self, verdict: Verdict) -> None:
        generation = self.breaker.generation
        self.breaker.record(self.old.pop(), verdict, self.now)
        assert self.breaker.generation == generation

    @invariant()
    def both_agree(self) -> None:
        due = self.state is OPEN and self.now >= self.until
        assert self.breaker.state(self.now) is (HALF_OPEN if due else self.state)

    @invariant()
    def whoever_asks_when_told_gets_a_probe(self) -> None:
        at = self.breaker.retry_at(self.now)
        assert at >= self.now
        if self.state is OPEN:
            assert at == max(self.now, self.until)
        elif self.state is HALF_OPEN:
            ends = sorted(since + PROBE_SECONDS for _, since in self.calls)
            free = self.places_taken() < 2
            assert at == self.now if free else at == ends[-2]
        else:
            assert at == self.now


TestAgainstTheModel = Model.TestCase
TestAgainstTheModel.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None
)


# A suspicion, which it takes two requests to believe.


def test_one_request_alone_never_opens_it() -> None:
    """The kind: one request that switches a provider off for everybody."""
    breaker = CircuitBreaker()
    for _ in range(100):
        breaker.record(admitted(breaker, 0.0), SUSPECTED, 0.0, request="a")
    assert breaker.state(0.0) is CircuitState.CLOSED
    breaker.record(admitted(breaker, 0.0), SUSPECTED, 0.0, request="b")
    assert breaker.retry_at(0.0) == 300.0


def test_a_success_takes_a_suspicion_back() -> None:
    breaker = CircuitBreaker()
    breaker.record(admitted(breaker, 0.0), SUSPECTED, 0.0, request="a")
    breaker.record(admitted(breaker, 0.0), SUCCESS, 0.0)
    breaker.record(admitted(breaker, 0.0), SUSPECTED, 0.0, request="b")
    assert breaker.state(0.0) is CircuitState.CLOSED
    # What says nothing of the account takes nothing back.
    for verdict in (IGNORED, FAILURE):
        breaker.record(admitted(breaker, 0.0), verdict, 0.0)
    breaker.record(admitted(breaker, 0.0), SUSPECTED, 0.0, request="a")
    assert breaker.state(0.0) is CircuitState.OPEN


def test_a_probe_that_another_request_confirms_opens_it_again() -> None:
    breaker = CircuitBreaker()
    for request in ("a", "b"):
        breaker.record(admitted(breaker, 0.0), SUSPECTED, 0.0, request=request)
    breaker.record(admitted(breaker, 300.0), SUSPECTED, 300.0, request="a")
    assert breaker.retry_at(300.0) == 300.0
    breaker.record(admitted(breaker, 300.0), SUSPECTED, 300.0, request="c")
    assert breaker.retry_at(300.0) == 600.0
