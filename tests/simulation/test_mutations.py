"""
Does the simulation find anything? Guards of the broker are broken on purpose.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aitor.broker.actor import Actor
from aitor.broker.envelope import Call, State
from aitor.broker.limit import Limit
from aitor.broker.mailbox import Mailbox
from aitor.laws.adaptive_concurrency import AdaptiveConcurrency
from aitor.laws.breaker import CircuitBreaker
from aitor.laws.bucket import TokenBucket
from aitor.laws.budget import RetryBudget
from aitor.laws.failure_rate import FailureRate
from aitor.laws.pace import Pace
from aitor.testing.simulator import Phase, Plan, Script, check, run, shrink
from aitor.testing.simulator.__main__ import main

FAULTS = (
    Phase("throttle", 0.0, 8.0, "a", 0.3),
    Phase("errors", 4.0, 12.0, "b", 0.9),
    Phase("cancel_storm", 6.0, 12.0),
)

SCRIPT = Script(
    seed=3,
    providers={
        "a": {"latency": 0.3, "limits": "a", "workers": 2, "queue_size": 3},
        "b": {
            "latency": 0.3,
            "limits": "b",
            "workers": 2,
            "queue_size": 3,
            "breaker": {"failures": 3, "failing_seconds": 0.5},
        },
    },
    limits={"a": {"requests_per_minute": 120}, "b": {}},
    plans=tuple(
        Plan(
            number,
            0.05 * number,
            when_unavailable="wait" if number % 2 == 0 else "fail",
            only=("a", "b", None)[number % 3],
            cancel_after=0.2 if number % 7 == 0 else None,
        )
        for number in range(300)
    ),
    phases=FAULTS,
    calm=16.0,
)

OUTAGE = Script(
    seed=3,
    providers={
        "a": {
            "latency": 0.3,
            "limits": "a",
            "retry_delay": 0.1,
            "breaker": {"failures": 10_000},
        },
    },
    limits={"a": {}},
    plans=tuple(Plan(number, 0.05 * number) for number in range(200)),
    phases=(Phase("all_dead", 0.0, 20.0),),
    calm=20.0,
)


PARTIAL = Script(
    seed=3,
    providers={"a": {"latency": 0.1, "limits": "a"}},
    limits={"a": {}},
    plans=tuple(Plan(number, 0.05 * number, timeout=30.0) for number in range(2_600)),
    phases=(
        Phase("flaky", 10.0, 40.0, "a", 0.5),
        Phase("slow_under_load", 40.0, 60.0, "a", amount=10),
        Phase("all_dead", 70.0, 80.0),
    ),
    calm=130.0,
    compared=True,
)
"""A provider fails a part of its calls, gets slower under load, and is dead."""

FLAKY = replace(PARTIAL, phases=(Phase("flaky", 0.0, 100.0, "a", 0.7),))
"""A provider fails most of its calls, for long."""

BUSY = Script(
    seed=3,
    providers={
        "a": {"latency": 0.5, "limits": "a", "workers": 4},
        "b": {"latency": 0.5, "limits": "b", "workers": 4},
    },
    limits={"a": {}, "b": {}},
    plans=tuple(Plan(number, 0.05 * number) for number in range(600)),
    calm=30.0,
)
"""Both of two providers have too much to do, and then less."""


def nobody_waits_at_the_door(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Mailbox, "full", False)


def pauses_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Actor, "_pause", lambda *_: None)


def limits_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TokenBucket, "_schedule", lambda *_: -1e9)


def all_of_a_limit_may_go_at_once(patch: pytest.MonkeyPatch) -> None:
    set_limit = Pace.set_limit

    def set_limit_and_burst(pace: Pace, limit: float) -> None:
        set_limit(pace, limit)
        pace.burst = limit

    patch.setattr(Pace, "set_limit", set_limit_and_burst)


def circuits_let_probes_through_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CircuitBreaker, "retry_at", lambda _, now: now)


def nobody_looks_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Actor, "look_again", lambda *_: None)


def retries_are_free(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RetryBudget, "withdraw", lambda *_: True)


def the_last_to_come_goes_first(patch: pytest.MonkeyPatch) -> None:
    seat = Mailbox._seat

    def seat_in_front(mailbox: Mailbox, call: Call) -> None:
        envelope = call.envelope
        arrived, sequence = envelope.arrived, envelope.sequence
        envelope.arrived, envelope.sequence = -arrived, -sequence
        seat(mailbox, call)
        envelope.arrived, envelope.sequence = arrived, sequence

    patch.setattr(Mailbox, "_seat", seat_in_front)


def who_leaves_keeps_the_place(patch: pytest.MonkeyPatch) -> None:
    withdraw = Actor._withdraw

    def withdraw_nothing(actor: Actor, call: Call) -> None:
        if call.state is State.WAITING:
            call.state = State.ENDED
        else:
            withdraw(actor, call)

    patch.setattr(Actor, "_withdraw", withdraw_nothing)


def nobody_has_a_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Call, "ring_at", lambda *_: None)


def nobody_leaves_the_line(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Limit, "leave_line", lambda *_: None)


def nobody_moves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Actor, "_take_from", lambda *_: False)


def the_first_failure_is_the_requests_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FailureRate, "is_its_own_fault", lambda *_: True)


def a_server_bears_one_call(patch: pytest.MonkeyPatch) -> None:
    changed = AdaptiveConcurrency.changed

    def shrink_instead(law: AdaptiveConcurrency, in_flight: int, now: float) -> None:
        changed(law, in_flight, now)
        law.limit = 1

    patch.setattr(AdaptiveConcurrency, "changed", shrink_instead)


def nothing_is_paid_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RetryBudget, "answered", lambda *_: None)


def circuits_open_for_long(patch: pytest.MonkeyPatch) -> None:
    open_ = CircuitBreaker._open

    def open_for_long(breaker: CircuitBreaker, now: float, _: float) -> None:
        open_(breaker, now, 60.0)

    patch.setattr(CircuitBreaker, "_open", open_for_long)


Mutation = Callable[[pytest.MonkeyPatch], Any]

MUTATIONS: dict[Mutation, set[int]] = {
    nobody_waits_at_the_door: {9},
    pauses_are_forgotten: {19},
    limits_are_forgotten: {16, 17},
    all_of_a_limit_may_go_at_once: {17},
    circuits_let_probes_through_at_once: {24, 29},
    nobody_looks_again: {21},
    retries_are_free: {33},
    the_last_to_come_goes_first: {12},
    who_leaves_keeps_the_place: {13},
    nobody_has_a_deadline: {21},
    nobody_leaves_the_line: {5},
    nobody_moves: {52},
    the_first_failure_is_the_requests_own: {51},
    a_server_bears_one_call: {53},
    nothing_is_paid_back: {53},
    circuits_open_for_long: {54},
}

ELSEWHERE: dict[Mutation, Script] = {
    retries_are_free: OUTAGE,
    nobody_moves: BUSY,
    the_first_failure_is_the_requests_own: PARTIAL,
    a_server_bears_one_call: PARTIAL,
    nothing_is_paid_back: FLAKY,
    circuits_open_for_long: PARTIAL,
}
"""Those that are noticed in another script than the first."""


@pytest.mark.parametrize(
    "script",
    [SCRIPT, OUTAGE, PARTIAL, FLAKY, BUSY],
    ids=["script", "outage", "partial", "flaky", "busy"],
)
def test_a_broker_that_is_whole_breaks_nothing(script: Script) -> None:
    assert not check(run(script))


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_broken_guard_is_noticed(
    mutate: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    script = ELSEWHERE.get(mutate, SCRIPT)
    broken = {violation.rule for violation in check(run(script))}
    assert MUTATIONS[mutate] <= broken


def test_a_script_that_breaks_a_rule_is_made_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nobody_waits_at_the_door(monkeypatch)
    smaller = shrink(SCRIPT, 9, runs=150)
    assert 9 in {violation.rule for violation in check(run(smaller))}
    assert len(smaller.plans) < 10
    assert not smaller.phases


def test_the_command_reports_seed_script_and_history(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--seeds", "0:1", "--requests", "100", "--shrink", "30"]
    assert main(asked) == 0
    assert "0 seeds broke a rule" in capsys.readouterr().out
    limits_are_forgotten(monkeypatch)
    pauses_are_forgotten(monkeypatch)
    nobody_waits_at_the_door(monkeypatch)
    assert main(["--seeds", "0:3", *asked[2:]]) == 1
    said = capsys.readouterr().out
    assert "broke rules" in said
    assert "the smallest script" in said
    assert "Final" in said
