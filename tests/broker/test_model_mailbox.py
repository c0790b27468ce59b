"""A mailbox against plain lists: seats in the documented order, and a door."""

import math
from types import SimpleNamespace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.laws.test_order import Naive

from aitor.broker.envelope import Call, Envelope
from aitor.broker.mailbox import Mailbox
from aitor.laws.bucket import NO_COST, Cost
from aitor.laws.order import Entry
from aitor.messages import Request

PLACES, AGING = 3, 30.0

REQUEST = Request.of("x")
NOBODY: Any = None
ROUTE: Any = (None,)
"""A mailbox asks nothing of the actor and the route of a call that it keeps."""


def in_group(entry: Entry[int], group: tuple[int, str | None]) -> bool:
    return (entry.priority, entry.tenant) == group


class Model(RuleBasedStateMachine):
    """Three places; tenants of equal weight."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox(PLACES, {})
        self.seats: Naive[int] = Naive(AGING)
        self.door: list[Entry[int]] = []
        self.calls: dict[int, Call] = {}
        self.now = 0.0
        self.count = 0

    def take_seats(self) -> None:
        while self.door and len(self.seats.waiting) < PLACES:
            self.seats.push(self.door.pop(0))

    @rule(seconds=st.sampled_from([0.5, 10.0, 40.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        priority=st.sampled_from([0, 0, 1, -1]),
        tenant=st.sampled_from([None, "red", "green"]),
        tokens=st.sampled_from([0, 1, 5, 20]),
        waited=st.sampled_from([0.0, 0.0, 25.0]),
    )
    def put(
        self, priority: int, tenant: str | None, tokens: int, waited: float
    ) -> None:
        number = self.count = self.count + 1
        envelope = Envelope(
            REQUEST,
            # One that was tried elsewhere before comes with its old arrival.
            arrived=self.now - waited,
            deadline=float("inf"),
            priority=priority,
            tenant=tenant,
            persistent=False,
            sequence=number,
        )
        candidate: Any = SimpleNamespace(
            actor=NOBODY, request=REQUEST, cost=Cost(1, tokens, 0)
        )
        call = Call(candidate, envelope, ROUTE)
        self.calls[number] = call
        full = len(self.seats.waiting) >= PLACES or bool(self.door)
        assert self.mailbox.full == full
        self.mailbox.put(call, Cost(1, tokens, 0))
        entry = Entry(number, priority, tenant, float(tokens), envelope.arrived, number)
        self.door.append(entry)
        self.take_seats()

    @precondition(lambda self: self.seats.waiting)
    @rule()
    def start_the_first(self) -> None:
        entry = self.seats.next()
        assert entry is not None
        self.mailbox.take(self.calls.pop(entry.item))
        self.seats.take(entry)
        self.take_seats()

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.calls)))
        call = self.calls.pop(number)
        self.mailbox.remove(call)
        self.mailbox.remove(call)  # twice is once
        self.seats.waiting = [one for one in self.seats.waiting if one.item != number]
        self.door = [one for one in self.door if one.item != number]
        self.take_seats()

    @invariant()
    def both_agree(self) -> None:
        first = self.seats.next()
        assert self.mailbox.head() is (first and self.calls[first.item])
        assert len(self.mailbox) == len(self.seats.waiting) <= PLACES
        assert self.mailbox.at_the_door == len(self.door)
        waiting = self.mailbox.waiting()
        assert set(waiting) == set(self.calls.values())
        at_the_door = [self.calls[one.item] for one in self.door]
        assert waiting[len(self.seats.waiting) :] == at_the_door

    @invariant()
    def it_knows_what_waits_in_it(self) -> None:
        for newcomer in self.calls.values():
            envelope = newcomer.envelope
            own, urgent, alike = NO_COST, NO_COST, NO_COST
            for one in self.seats.waiting:
                cost = self.calls[one.item].cost
                if one.priority > envelope.priority:
                    urgent += cost
                elif in_group(one, (envelope.priority, envelope.tenant)):
                    own += cost
                elif one.priority == envelope.priority:
                    alike += cost
            ahead = self.mailbox.ahead_of(envelope)
            for amount, least, most in zip(
                ahead, own + urgent, own + urgent + alike, strict=True
            ):
                assert least <= amount + 1e-6 <= most + 2e-6


def test_among_very_many_only_one_s_own_are_counted() -> None:
    """Looking at each for every newcomer would take longer than all the rest."""
    mailbox = Mailbox(1_000, {})
    calls = []
    for number in range(200):
        envelope = Envelope(
            REQUEST,
            arrived=0.0,
            deadline=math.inf,
            priority=0,
            tenant=f"tenant {number % 100}",
            persistent=False,
            sequence=number,
        )
        candidate: Any = SimpleNamespace(actor=NOBODY, request=REQUEST)
        calls.append(Call(candidate, envelope, ROUTE))
        mailbox.put(calls[-1], Cost(1, 5, 0))
    assert mailbox.ahead_of(calls[0].envelope) == Cost(2, 10, 0)


TestAgainstTheModel = Model.TestCase
TestAgainstTheModel.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None
)
