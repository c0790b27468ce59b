"""
The order in which a mailbox is emptied: urgent first, fair between tenants.

Three rules, from the outside in:

1.  The higher priority goes first, and waiting makes up for priority: whoever waits
    *aging* seconds longer goes before one that is a level higher. What is compared
    is the time of arrival less *aging* for each level. That never changes while an
    entry waits, so time alone never reorders anything, and nothing starves.
2.  Within a priority the tenants share by tokens, not by requests: a tenant with
    large requests gets fewer of them through.
3.  Within a tenant, first come, first served.

The second rule may keep one back that by the first would go before whoever is next at
another priority. Such a one has every other turn. So neither does the fair order hold
back for ever who has waited long enough, nor do a flooding tenant's old entries do away
with the fair order.

The second rule is self-clocked fair queueing (Golestani, 1994): a tenant's next entry
is tagged with the tokens that the tenant will have had after it, and the smallest tag
goes first. A tenant that comes new or comes back begins at the tag that was served
last. So it neither gets credit for having been away nor has to be remembered when
nothing of it waits. Tags of the *start* of each entry, the more common choice, would
let an endless stream of newcomers stop a tenant's second request for ever.

A queue does not know how full it may be or what waiting means; its owner does.
"""

import heapq
import math
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

__all__ = ("Entry", "FairQueue")

T = TypeVar("T")

MOST_BELIEVED = 1e9
"""No request is larger than so many tokens, whatever its size says."""

FEW_DEAD = 16
"""So many entries that have left are kept until there is a reason to tidy up."""


class Entry(Generic[T]):
    """
    A place in the queue.

    Args:
        item: What waits.
        priority: Higher goes first.
        tenant: On whose behalf.
        tokens: Its size.
        arrived: Since when it waits.
        sequence: Breaks ties of arrival.
    """

    __slots__ = ("_flow", "arrived", "item", "priority", "sequence", "tenant", "tokens")

    _flow: "_Flow[T] | None"
    """Where it waits, None once it has left."""

    def __init__(
        self,
        item: T,
        priority: int,
        tenant: Hashable,
        tokens: float,
        arrived: float,
        sequence: int,
    ) -> None:
        self.item = item
        self.priority = priority
        self.tenant = tenant
        self.tokens = tokens
        self.arrived = arrived
        self.sequence = sequence

    def __lt__(self, other: "Entry[T]") -> bool:
        if self.arrived != other.arrived:
            return self.arrived < other.arrived
        return self.sequence < other.sequence


class FairQueue(Generic[T]):
    """
    Orders what waits, however much it is.

    The time of an operation grows with the logarithm of the number of tenants that
    wait, and with the number of different priorities among them: a handful is meant.

    Args:
        aging: Seconds of waiting that are worth one level of priority.
        weights: Shares of those tenants that differ from 1.

    Raises:
        ValueError: If a setting is not in its range.
    """

    __slots__ = ("_aged", "_aging", "_lanes", "_length", "_sequence", "_weights")

    def __init__(
        self, aging: float = 30.0, weights: Mapping[Hashable, float] | None = None
    ) -> None:
        if not 0.0 < aging < math.inf:
            raise ValueError(f"'aging' must be finite and more than 0, and is {aging}")
        self._weights = dict(weights or {})
        for tenant, weight in self._weights.items():
            if not 0.0 < weight < math.inf:
                raise ValueError(
                    f"the weight of tenant {tenant!r} must be finite and more than 0, "
                    f"and is {weight}"
                )
        self._aging = aging
        # Whether the last to be served went for its age, before its fair turn.
        self._aged = False
        self._lanes: dict[int, _Lane[T]] = {}
        self._length = 0
        self._sequence = 0

    def push(
        self,
        item: T,
        *,
        priority: int = 0,
        tenant: Hashable = None,
        tokens: float = 0.0,
        arrived: float,
        sequence: int | None = None,
    ) -> Entry[T]:
        """
        Give *item* a place and return it.

        What comes back with its old *arrived* and *sequence* gets its old place among
        its tenant's entries. Without a *sequence* it comes after all that have none.
        """
        if sequence is None:
            self._sequence = sequence = self._sequence + 1
        entry = Entry(item, priority, tenant, tokens, arrived, sequence)
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = _Lane()
        flow = lane.flows.get(tenant)
        if flow is None:
            # It enters itself into the lane.
            _Flow(lane, self._weights.get(tenant, 1.0), entry)
        else:
            flow.add(entry)
        self._length += 1
        return entry

    def peek(self) -> Entry[T] | None:
        """Return the entry that goes next, None if there is none."""
        lanes = self._lanes
        if len(lanes) == 1:
            return next(iter(lanes.values())).front()
        if not lanes:
            return None
        due = self._due
        fair = min((lane.front() for lane in lanes.values()), key=due)
        if self._aged:
            return fair
        priority = fair.priority
        # Where a tenant is alone, nobody is kept back by fairness.
        kept_back = [
            lane.oldest()
            for level, lane in lanes.items()
            if level != priority and len(lane.flows) > 1
        ]
        return min([fair, *kept_back], key=due) if kept_back else fair

    def pop(self) -> Entry[T]:
        """
        Take the entry that goes next out and return it.

        Raises:
            IndexError: If the queue is empty.
        """
        entry = self.peek()
        if entry is None:
            raise IndexError("pop from an empty queue")
        self.take(entry)
        return entry

    def take(self, entry: Entry[T]) -> None:
        """Take *entry* out because it is served: its tenant had a turn."""
        self._aged = not self._remove(entry, turn=True)

    def remove(self, entry: Entry[T]) -> None:
        """
        Let *entry* leave without being served, wherever it is.

        It costs its tenant nothing; nothing happens if it has left before.
        """
        self._remove(entry, turn=False)

    def _remove(self, entry: Entry[T], *, turn: bool) -> bool:
        flow = entry._flow
        if flow is None:
            return True
        fair = flow.remove(entry, turn=turn)
        self._length -= 1
        if not flow.lane.flows:
            del self._lanes[entry.priority]
        return fair

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Entry[T]]:
        """Iterate over all entries, in no order that means anything."""
        for lane in self._lanes.values():
            for flow in lane.flows.values():
                yield from flow

    def _due(self, entry: Entry[T]) -> tuple[float, Entry[T]]:
        return entry.arrived - entry.priority * self._aging, entry


class _Lane(Generic[T]):
    """The tenants that wait at one priority."""

    __slots__ = ("ages", "clock", "flows", "heads")

    def __init__(self) -> None:
        self.flows: dict[Hashable, _Flow[T]] = {}
        # The first entry of each tenant by its tag, among others that are outdated.
        self.heads: list[tuple[float, Entry[T]]] = []
        # The same by arrival; None until another lane is there to be compared with.
        self.ages: list[tuple[float, Entry[T]]] | None = None
        # The largest tag that had its turn.
        self.clock = 0.0

    def front(self) -> Entry[T]:
        """Return the entry that goes next; there is one."""
        if len(self.flows) == 1:
            return next(iter(self.flows.values())).head
        heads = self.heads
        while True:
            tag, entry = heads[0]
            flow = entry._flow
            if flow is not None and flow.head is entry and flow.tag == tag:
                return entry
            heapq.heappop(heads)

    def oldest(self) -> Entry[T]:
        """Return the entry that came first; there is one."""
        if len(self.flows) == 1:
            return next(iter(self.flows.values())).head
        ages = self.ages
        if not ages:
            ages = self.ages = [
                (flow.head.arrived, flow.head) for flow in self.flows.values()
            ]
            heapq.heapify(ages)
        while True:
            _, entry = ages[0]
            flow = entry._flow
            if flow is not None and flow.head is entry:
                return entry
            heapq.heappop(ages)

    def rank(self, tag: float, head: Entry[T]) -> None:
        """Enter *head*; what was entered for its tenant before is outdated."""
        heads, ages, tenants = self.heads, self.ages, len(self.flows)
        if tenants == 1:
            # Who is alone needs no order.
            heads.clear()
            self.ages = None
            return
        most = 2 * tenants + FEW_DEAD
        if heads and len(heads) < most:
            heapq.heappush(heads, (tag, head))
        else:
            heads[:] = [(flow.tag, flow.head) for flow in self.flows.values()]
            heapq.heapify(heads)
        if ages is not None:
            if len(ages) < most:
                heapq.heappush(ages, (head.arrived, head))
            else:
                self.ages = None


class _Flow(Generic[T]):
    """
    What waits of one tenant at one priority: never empty.
    """

    __slots__ = ("_back", "_dead", "_line", "_start", "_weight", "head", "lane", "tag")

    def __init__(self, lane: _Lane[T], weight: float, head: Entry[T]) -> None:
        self.lane = lane
        self._weight = weight
        self._start = lane.clock
        # Behind the head: the line, in order as it came, and those who came back and
        # belong further ahead. Some have left; they are skipped.
        self._line: deque[Entry[T]] = deque()
        self._back: list[Entry[T]] = []
        self._dead = 0
        lane.flows[head.tenant] = self
        self._set_head(head)

    def add(self, entry: Entry[T]) -> None:
        """Add *entry* where it belongs."""
        entry._flow = self
        line = self._line
        if entry < (line[-1] if line else self.head):
            if entry < self.head:
                first, entry = entry, self.head
                self._set_head(first)
            heapq.heappush(self._back, entry)
        else:
            line.append(entry)

    def remove(self, entry: Entry[T], *, turn: bool) -> bool:
        """
        Let *entry* leave; with a *turn* its tenant pays for it.

        Returns:
            Whether it was its turn in the fair order, if it had one.
        """
        if entry is not self.head:
            entry._flow = None
            self._dead += 1
            if self._dead > FEW_DEAD + (len(self._line) + len(self._back)) // 2:
                self._tidy_up()
            return True
        lane, fair = self.lane, True
        if turn:
            self._start = self.tag
            # Who goes for its age leaves the others where they are in the fair order.
            fair = lane.front() is entry
            if fair:
                lane.clock = max(lane.clock, self.tag)
        entry._flow = None
        head = self._next()
        if head is None:
            del lane.flows[entry.tenant]
        else:
            self._set_head(head)
        return fair

    def __iter__(self) -> Iterator[Entry[T]]:
        yield self.head
        for waiting in (self._back, self._line):
            for entry in waiting:
                if entry._flow is not None:
                    yield entry

    def _set_head(self, head: Entry[T]) -> None:
        head._flow = self
        self.head = head
        # At least one token each, or a tenant with empty requests would never end. In
        # this order a NaN is one.
        size = min(max(1.0, head.tokens), MOST_BELIEVED)
        self.tag = self._start + size / self._weight
        self.lane.rank(self.tag, head)

    def _next(self) -> Entry[T] | None:
        line, back = self._line, self._back
        while line or back:
            if not back or (line and line[0] < back[0]):
                entry = line.popleft()
            else:
                entry = heapq.heappop(back)
            if entry._flow is not None:
                return entry
            self._dead -= 1
        return None

    def _tidy_up(self) -> None:
        self._line = deque(entry for entry in self._line if entry._flow is not None)
        self._back = [entry for entry in self._back if entry._flow is not None]
        heapq.heapify(self._back)
        self._dead = 0
