"""
An observer: looks into the broker from outside and writes down what stands out.

The history tells what happened, and this what did not: who waits though nothing is
missing, and how many calls are held. It is the one module here that knows how an
actor is made.
"""

from collections.abc import Callable

import anyio

from aitor.broker.actor import Actor
from aitor.broker.envelope import Call
from aitor.events import CircuitChanged, Event, ProviderPaused
from aitor.laws.breaker import CircuitState
from aitor.testing.simulator.history import (
    Circuit,
    Depth,
    Idle,
    Line,
    Paused,
    Rest,
    Startable,
)

__all__ = ("Observer",)


class Observer:
    """
    Watches actors.

    Args:
        tell: Takes lines of history.
    """

    def __init__(self, tell: Callable[[Line], object]) -> None:
        self._tell = tell
        self._actors: dict[Actor, str] = {}
        self._deepest: dict[str, int] = {}
        self._speaks = ""

    def watch(self, actor: Actor, label: str) -> None:
        """Watch *actor* from now on, which is called *label* in the history."""
        self._actors[actor] = label
        self._deepest[label] = 0
        emit = actor._emit

        # Events know the name only, which others may have had before.
        def emit_as(event: Event) -> None:
            self._speaks = label
            emit(event)

        actor._emit = emit_as

    def look_around(self, now: float) -> int:
        """Write down what stands out, and return how many calls are held."""
        held = 0
        for actor, label in self._actors.items():
            mailbox = actor._mailbox
            held += len(actor._running)
            if queued := len(mailbox):
                held += queued + mailbox.at_the_door
                if queued > self._deepest[label]:
                    self._deepest[label] = queued
                    self._tell(Depth(now, label, queued))
                if actor._room > 0:
                    self._look_at_head(actor, label, now)
                self._look_for_idle(actor, label, now)
        return held

    def _look_at_head(self, actor: Actor, label: str, now: float) -> None:
        """Tell if the first in *actor*'s mailbox lacks nothing but to be let go."""
        head = actor._mailbox.head()
        if head is None or actor.limit.bucket.ready_at(head.cost, now) > now:
            return
        if actor._throttle.pace.ready_at(now) > now:
            return
        seen = actor.breaker.snapshot(now)
        # Of those who share a limit one has its turn, if it has use for it.
        turn = next(iter(actor.limit._line), actor)
        idle = not isinstance(turn, Actor) or not turn._mailbox
        if (turn is actor or idle) and seen.in_flight < seen.limit:
            self._tell(Startable(now, label, head.envelope.sequence))

    def _look_for_idle(self, actor: Actor, label: str, now: float) -> None:
        """Tell if another one could start one of those who wait at *actor*."""
        # Of those that were replaced nobody knows who waits there.
        if actor._peers.get(actor.name) is not actor:
            return
        for other, name in self._actors.items():
            replaced = actor._peers.get(other.name) is not other
            if other is actor or replaced or other._mailbox or not _is_free(other, now):
                continue
            for call in actor._mailbox.waiting()[:MOST_LOOKED_AT]:
                if _would_take(other, call, now):
                    self._tell(Idle(now, name, call.envelope.sequence, label))
                    return

    def listen(self, event: Event) -> None:
        """Write down what the broker tells of circuits and pauses."""
        if isinstance(event, CircuitChanged):
            now = anyio.current_time()
            self._tell(Circuit(now, self._speaks, event.old, event.new))
        elif isinstance(event, ProviderPaused):
            self._tell(Paused(anyio.current_time(), self._speaks, event.seconds))

    def look_at_rest(self, now: float) -> None:
        """Write down what is held; nothing, one hopes."""
        actors = self._actors
        self._tell(
            Rest(
                now,
                waiting=sum(
                    len(one._mailbox) + one._mailbox.at_the_door for one in actors
                ),
                running=sum(len(one._running) for one in actors),
                reserved=self.reserved(),
                in_line=sum(one in one.limit._line for one in actors),
                probing=sum(len(one.breaker._probing) for one in actors),
            )
        )

    def reserved(self) -> float:
        """Return what is taken of limits and workers, added up."""
        return sum(
            sum(actor.limit.bucket.reserved) + actor.settings.workers - actor._free
            for actor in self._actors
        )


MOST_LOOKED_AT = 64
"""Of many that wait."""


def _is_free(actor: Actor, now: float) -> bool:
    """Whether *actor* has room, and no reason to keep anybody waiting."""
    if actor._aborted or actor._room <= 0:
        return False
    if actor.failure_rate.degraded or actor.breaker.failing:
        return False
    circuit = actor.breaker.snapshot(now)
    return (
        circuit.state is CircuitState.CLOSED
        and circuit.in_flight < circuit.limit
        and actor.limit.bucket.held_until <= now
        and actor._throttle.pace.ready_at(now) <= now
        and not actor.limit._line
    )


def _would_take(other: Actor, call: Call, now: float) -> bool:
    """Whether *call* could be asked of *other*, at once and without a loss."""
    if call.actor.settings.max_queue_wait > 0.0 or not call.route.may_ask(other):
        return False
    known = next((one for one in call.route._candidates if one.actor is other), None)
    if known is None or known.failures:
        # What it would cost is not known, or it failed there.
        return False
    return other.limit.bucket.ready_at(known.cost, now) <= now
