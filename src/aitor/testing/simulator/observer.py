"""
An observer: looks into the broker from outside and writes down what stands out.

The history tells what happened, and this what did not: who waits though nothing is
missing, and how many calls are held. It is the one module here that knows how an
actor is made.
"""

from collections.abc import Callable, Sequence

import anyio

from aitor.broker.actor import Actor
from aitor.events import CircuitChanged, Event, ProviderPaused
from aitor.testing.simulator.history import Circuit, Depth, Line, Paused, Startable

__all__ = ("Observer",)


class Observer:
    """
    Watches actors.

    Args:
        tell: Takes lines of history.
    """

    def __init__(self, tell: Callable[[Line], object]) -> None:
        self._tell = tell
        self._actors: Sequence[Actor] = ()
        self._deepest: dict[str, int] = {}

    def watch(self, actors: Sequence[Actor]) -> None:
        """Watch *actors* from now on."""
        self._actors = actors
        self._deepest = {actor.name: 0 for actor in actors}

    def look_around(self, now: float) -> int:
        """Write down what stands out, and return how many calls are held."""
        held = 0
        for actor in self._actors:
            mailbox = actor._mailbox
            held += len(actor._running)
            if queued := len(mailbox):
                held += queued + mailbox.at_the_door
                if queued > self._deepest[actor.name]:
                    self._deepest[actor.name] = queued
                    self._tell(Depth(now, actor.name, queued))
                if actor._free:
                    self._look_at_head(actor, now)
        return held

    def _look_at_head(self, actor: Actor, now: float) -> None:
        """Tell if the first in *actor*'s mailbox lacks nothing but to be let go."""
        head = actor._mailbox.head()
        if head is None or actor.limit.bucket.ready_at(head.cost, now) > now:
            return
        seen = actor.breaker.snapshot(now)
        # Of those who share a limit one has its turn, if it has use for it.
        turn = next(iter(actor.limit._line), actor)
        idle = not isinstance(turn, Actor) or not turn._mailbox
        if (turn is actor or idle) and seen.in_flight < seen.limit:
            self._tell(Startable(now, actor.name, head.envelope.sequence))

    def listen(self, event: Event) -> None:
        """Write down what the broker tells of circuits and pauses."""
        if isinstance(event, CircuitChanged):
            now = anyio.current_time()
            self._tell(Circuit(now, event.provider, event.old, event.new))
        elif isinstance(event, ProviderPaused):
            self._tell(Paused(anyio.current_time(), event.provider, event.seconds))

    def reserved(self) -> float:
        """Return what is taken of limits and workers, added up."""
        return sum(
            sum(actor.limit.bucket.reserved) + actor.settings.workers - actor._free
            for actor in self._actors
        )
