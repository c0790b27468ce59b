"""
An actor's mailbox: bounded, ordered, and aware of what waits in it.

Those who are in it have a place in the order of `FairQueue`. Those who came when
it was full wait at the door, first come first served, and take a place as it
comes free: backpressure on their own callers, who hold nothing here. A call that
leaves, for whatever reason, frees its place before anything else can happen.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import chain, islice

from aitor.broker.envelope import Call, Envelope
from aitor.laws.bucket import Cost
from aitor.laws.order import FairQueue

__all__ = ("Mailbox",)

NOBODY: Sequence[float] = (0.0, 0.0, 0.0)

MANY = 64
"""So many tenants and priorities that looking at each would cost more than it tells."""


class Mailbox:
    """
    Holds at most *size* calls.

    Args:
        size: Places.
        weights: Shares of the tenants that differ from 1.
    """

    def __init__(self, size: int, weights: Mapping[str, float]) -> None:
        self.size = size
        self._weights = dict[Hashable, float](weights.items())
        self._queue: FairQueue[Call] = FairQueue(weights=self._weights)
        self._door: dict[Call, None] = {}
        # What waits, by priority and tenant: those who go in their order of arrival.
        self._groups: dict[tuple[int, str | None], list[float]] = {}

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

    def ahead_of(self, envelope: Envelope) -> Cost:
        """
        Return what those are expected to take who certainly go before *envelope*.

        Those are the earlier ones of its tenant, as much of each other tenant as
        fairness gives them meanwhile, and all that is more urgent. Who comes later may
        go before it as well, which nobody can know. Among very many only its own count.
        """
        priority, tenant = envelope.priority, envelope.tenant
        own = self._groups.get((priority, tenant), NOBODY)
        if len(self._groups) > MANY:
            return Cost(*own)
        weight = self._weights.get(tenant, 1.0)
        ahead = [0.0, 0.0, 0.0]
        for (level, other), waiting in self._groups.items():
            if level < priority:
                continue
            part = 1.0
            if level == priority:
                share = self._weights.get(other, 1.0) / weight
                part = min(1.0, share * _size(own) / _size(waiting))
            for dimension, amount in enumerate(waiting):
                ahead[dimension] += part * amount
        return Cost(*ahead)

    def put(self, call: Call, cost: Cost) -> None:
        """Give *call* a place, or let it wait at the door; it is to take *cost*."""
        call.cost = cost
        if self.full:
            self._door[call] = None
        else:
            self._seat(call)

    def head(self) -> Call | None:
        """Return the call that goes next; it stays where it is."""
        entry = self._queue.peek()
        return entry.item if entry is not None else None

    def first(self, count: int) -> Iterator[Call]:
        """Iterate over *count* of those who wait, in no certain order."""
        seated = (entry.item for entry in self._queue)
        return islice(chain(seated, self._door), count)

    def take(self, call: Call) -> None:
        """Take *call*, which has a place, out because it starts."""
        if call.entry is not None:
            # Its tenant had a turn.
            self._queue.take(call.entry)
            self._left(call)

    def remove(self, call: Call) -> None:
        """Let *call* leave, wherever it waits."""
        if call.entry is not None:
            self._queue.remove(call.entry)
            self._left(call)
        else:
            self._door.pop(call, None)

    def waiting(self) -> list[Call]:
        """Return everybody who waits, those at the door last."""
        return [*(entry.item for entry in self._queue), *self._door]

    def _left(self, call: Call) -> None:
        """Seat the next from the door in the place of *call*."""
        call.entry = None
        key = (call.envelope.priority, call.envelope.tenant)
        _, inputs, outputs = call.cost
        group = self._groups[key]
        group[0] -= 1
        group[1] -= inputs
        group[2] -= outputs
        if not group[0]:
            # With the last of them goes what rounding has added up.
            del self._groups[key]
        if self._door:
            first = next(iter(self._door))
            del self._door[first]
            self._seat(first)

    def _seat(self, call: Call) -> None:
        envelope = call.envelope
        _, inputs, outputs = call.cost
        call.entry = self._queue.push(
            call,
            priority=envelope.priority,
            tenant=envelope.tenant,
            tokens=inputs + outputs,
            arrived=envelope.arrived,
            sequence=envelope.sequence,
        )
        group = self._groups.setdefault((envelope.priority, envelope.tenant), [0, 0, 0])
        group[0] += 1
        group[1] += inputs
        group[2] += outputs


def _size(group: Sequence[float]) -> float:
    """Return how large *group* is for fairness, which counts tokens."""
    requests, inputs, outputs = group
    return max(requests, inputs + outputs)
