"""
An actor's mailbox: bounded, ordered, and aware of what waits in it.

Those who are in it have a place in the order of `FairQueue`. Those who came when
it was full wait at the door, first come first served, and take a place as it
comes free: backpressure on their own callers, who hold nothing here. A call that
leaves, for whatever reason, frees its place before anything else can happen.
"""

from collections.abc import Hashable, Mapping

from aitor.broker.envelope import Call
from aitor.laws.bucket import NO_COST, Cost
from aitor.laws.order import FairQueue

__all__ = ("Mailbox",)


class Mailbox:
    """
    Holds at most *size* calls.

    Args:
        size: Places.
        weights: Shares of the tenants that differ from 1.
    """

    def __init__(self, size: int, weights: Mapping[str, float]) -> None:
        self.size = size
        self._queue: FairQueue[Call] = FairQueue(
            weights=dict[Hashable, float](weights.items())
        )
        self._door: dict[Call, None] = {}
        self.cost: Cost = NO_COST

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether the next one has to wait at the door."""
        return len(self._queue) >= self.size or bool(self._door)

    @property
    def at_the_door(self) -> int:
        """How many wait for a place."""
        return len(self._door)

    def put(self, call: Call) -> None:
        """Give *call* a place, or let it wait at the door."""
        if self.full:
            self._door[call] = None
        else:
            self._seat(call)

    def head(self) -> Call | None:
        """Return the call that goes next; it stays where it is."""
        entry = self._queue.peek()
        return entry.item if entry is not None else None

    def take(self, call: Call) -> None:
        """Take *call* out because it starts: its tenant had a turn."""
        if call.entry is not None:
            self._queue.take(call.entry)
        self.remove(call)

    def remove(self, call: Call) -> None:
        """Let *call* leave, wherever it waits, and seat the next from the door."""
        if call.entry is not None:
            self._queue.remove(call.entry)
            call.entry = None
            self.cost -= call.cost
            if not self._queue:
                self.cost = NO_COST  # so that rounding never adds up
        else:
            self._door.pop(call, None)
        while self._door and len(self._queue) < self.size:
            first = next(iter(self._door))
            del self._door[first]
            self._seat(first)

    def waiting(self) -> list[Call]:
        """Return everybody who waits, those at the door last."""
        return [*(entry.item for entry in self._queue), *self._door]

    def _seat(self, call: Call) -> None:
        envelope = call.envelope
        call.entry = self._queue.push(
            call,
            priority=envelope.priority,
            tenant=envelope.tenant,
            tokens=call.cost.input_tokens + call.cost.output_tokens,
            arrived=envelope.arrived,
            sequence=envelope.sequence,
        )
        self.cost += call.cost
