"""
How a request is delivered: the envelope around it, and each try to answer it.

The request itself is pure content. Everything that belongs to its delivery is
here: when it must be there, how urgent it is, on whose behalf, and what has been
tried so far.
"""

import math
from enum import Enum
from typing import TYPE_CHECKING

from aitor.laws.bucket import ONE_CALL, Reservation
from aitor.messages import Attempt, Request, Waits

if TYPE_CHECKING:
    import anyio

    from aitor.broker.native import Wakeup
    from aitor.broker.route import Candidate, Route
    from aitor.errors import LLMError
    from aitor.laws.breaker import Ticket
    from aitor.laws.order import Entry

__all__ = ("NO_WAITS", "Call", "Envelope", "State")

NO_WAITS = Waits()


class Envelope:
    """
    A request on its way.

    Args:
        request: What is asked.
        arrived: When it was submitted.
        deadline: When its caller stops caring; infinity for never.
        priority: Higher goes first.
        tenant: On whose behalf; tenants share a provider fairly.
        persistent: True waits for circuits to close, for pauses to end and for the
            retry budget as long as the deadline allows; False would rather know
            at once.
        sequence: Counts the broker's requests; breaks ties by arrival.
    """

    __slots__ = (
        "arrived",
        "attempts",
        "backoff",
        "deadline",
        "last",
        "paused",
        "persistent",
        "priority",
        "request",
        "sequence",
        "tenant",
    )

    def __init__(
        self,
        request: Request,
        *,
        arrived: float,
        deadline: float,
        priority: int,
        tenant: str | None,
        persistent: bool,
        sequence: int,
    ) -> None:
        self.request = request
        self.arrived = arrived
        self.deadline = deadline
        self.priority = priority
        self.tenant = tenant
        self.persistent = persistent
        self.sequence = sequence
        self.attempts: tuple[Attempt, ...] = ()
        self.last: LLMError | None = None  # the last error that was no refusal
        self.backoff = 0.0  # seconds waited between two tries, since the last start
        self.paused = 0.0  # those of them that a server asked for


class State(Enum):
    """Where a call stands at its actor."""

    WAITING = "waiting"
    RUNNING = "running"
    REFUSED = "refused"
    ENDED = "ended"


class Call:
    """
    One try of one envelope at one actor, from the mailbox to its end.

    The actor owns it and decides about it; the caller's task carries it out. The two
    meet in `wake`: the caller waits for it, the actor sets it.

    Args:
        candidate: Who is asked, and what.
        envelope: What is delivered.
        route: Who else could take the request.
    """

    __slots__ = (
        "aborted",
        "actor",
        "alarm",
        "candidate",
        "cost",
        "entry",
        "envelope",
        "first_byte",
        "limit",
        "mark",
        "refusal",
        "request",
        "reservation",
        "route",
        "scope",
        "started",
        "state",
        "ticket",
        "untimed",
        "waits",
        "wake",
    )

    reservation: Reservation
    ticket: "Ticket"

    def __init__(
        self,
        candidate: "Candidate",
        envelope: Envelope,
        route: "Route",
    ) -> None:
        self.candidate = candidate
        self.actor = candidate.actor
        self.envelope = envelope
        self.request = candidate.request
        self.route = route
        self.state = State.WAITING
        self.refusal: LLMError | None = None
        self.waits = NO_WAITS
        self.started = math.inf
        self.first_byte: float | None = None  # when the first content came in
        self.aborted = False  # True once the broker closed
        self.limit = math.inf  # when it is cut off, once it runs
        # Set while waiting:
        self.cost = ONE_CALL  # what it is expected to take
        self.entry: Entry[Call] | None = None
        self.mark: tuple[float, ...] = ()
        self.alarm = math.inf
        self.wake: Wakeup | None = None
        self.scope: anyio.CancelScope | None = None
        self.untimed = False  # True while it waits without a scope

    @property
    def movable(self) -> bool:
        """Whether another provider could take the request instead."""
        return len(self.route) > 1

    def refuse(self, error: "LLMError") -> None:
        """End the wait with *error*."""
        self.state = State.REFUSED
        self.refusal = error
        self.wake_up()

    def wake_up(self) -> None:
        """Let the caller, if it waits, look at the state again."""
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)

    def abort(self) -> None:
        """End the exchange, or do not begin it."""
        self.aborted = True
        if self.scope is not None:
            self.scope.cancel()

    def ring_at(self, when: float) -> None:
        """
        Make the waiting caller look again at *when*.

        An actor has no task of its own: whoever waits at the head of its mailbox
        keeps its clock, by the deadline of the scope it waits in.
        """
        self.alarm = when
        if self.scope is not None:
            self.scope.deadline = min(when, self.envelope.deadline)
        elif self.untimed and when != math.inf:
            # There was nothing to time until now.
            self.wake_up()
