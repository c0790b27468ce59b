"""
Does the simulation find anything? Guards of the broker are broken on purpose.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aitor.broker.actor import Actor
from aitor.broker.envelope import Call, State
from aitor.broker.mailbox import Mailbox
from aitor.laws.breaker import CircuitBreaker
from aitor.laws.budget import RetryBudget
from aitor.laws.meter import Meter
from aitor.testing.simulator import Phase, Plan, Script, check, run

FAULTS = (
    Phase("throttle", 0.0, 8.0, "a", 0.3),
    Phase("errors", 4.0, 12.0, "b", 0.9),
    Phase("cancel_storm", 6.0, 12.0),
)

SCRIPT = Script(
    seed=3,
    providers={
        "a": {"latency": 0.3, "limits": "a", "workers": 2, "queue_size": 3},
        "b": {"latency": 0.3, "limits": "b", "workers": 2, "queue_size": 3},
    },
    limits={"a": {"requests_per_minute": 120}, "b": {}},
    plans=tuple(
        Plan(
            number,
            0.05 * number,
            patient=number % 2 == 0,
            only=("a", "b", None)[number % 3],
            cancel_after=0.2 if number % 7 == 0 else None,
        )
        for number in range(300)
    ),
    phases=FAULTS,
    calm=16.0,
)


def nobody_waits_at_the_door(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Mailbox, "full", False)


def pauses_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Actor, "_pause", lambda *_: None)


def limits_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Meter, "wait", lambda *_: 0.0)


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


def who_moves_in_from_the_door_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    def waiting(mailbox: Mailbox) -> Iterator[Call]:
        yield from [entry.item for entry in mailbox._queue]
        yield from list(mailbox._door)

    patch.setattr(Mailbox, "waiting", waiting)


def nobody_has_a_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Call, "ring_at", lambda *_: None)


Mutation = Callable[[pytest.MonkeyPatch], Any]

MUTATIONS: dict[Mutation, set[int]] = {
    nobody_waits_at_the_door: {9},
    pauses_are_forgotten: {19},
    limits_are_forgotten: {16},
    circuits_let_probes_through_at_once: {24, 29},
    nobody_looks_again: {21},
    retries_are_free: {33},
    the_last_to_come_goes_first: {12},
    who_leaves_keeps_the_place: {13},
    nobody_has_a_deadline: {21},
}


def test_a_broker_that_is_whole_breaks_nothing() -> None:
    assert not check(run(SCRIPT))


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_broken_guard_is_noticed(
    mutate: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    broken = {violation.rule for violation in check(run(SCRIPT))}
    assert MUTATIONS[mutate] <= broken
