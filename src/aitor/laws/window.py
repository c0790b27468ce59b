"""
A window: what was started in the last minute, and what that leaves of a limit.

A vendor that allows N a minute may look at any 60 seconds, not only at those that
begin when ours do. Keeping N is therefore no matter of rates alone. What came within
the last minute is written down, with the amounts as far as they are known by now, and
another start fits as long as the sum does. So no window ever holds more than N,
whatever the sizes are, and yet nothing of N is lost to large ones.
"""

import math
from collections import deque

__all__ = ("MINUTE", "Amounts", "Slot", "Window")

Amounts = tuple[float, float, float, float]
"""Requests, tokens of both kinds, input tokens, output tokens."""

MINUTE = 60.001
"""
Seconds in a minute, and a hair: 60 seconds with both their ends are longer than any
time between these, and sums of times are off by a little.
"""

SLOT = MINUTE / 1_000
"""
Starts within so many seconds share a slot, as if all had come with the last of them.
That keeps a window small, whatever the traffic, and costs at most 0.1 % of it.
"""


class Slot:
    """Starts that came together, and their amounts as far as they are known."""

    __slots__ = ("amounts", "last", "opened")

    def __init__(self, amounts: Amounts, now: float) -> None:
        self.amounts = amounts
        self.opened = now
        self.last = now


class Window:
    """
    The amounts that started in a minute, and their sums in the dimensions watched.
    """

    __slots__ = ("_slots", "_watched", "totals")

    totals: list[float]
    """What counts, by dimension; what has lapsed counts until `lapse` is told."""

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque()
        self._watched: tuple[int, ...] = ()
        self.totals = [0.0, 0.0, 0.0, 0.0]

    def watch(self, dimension: int) -> None:
        """Keep the sum of *dimension* from now on."""
        if dimension not in self._watched:
            self._watched = (*self._watched, dimension)
        self.totals[dimension] = sum(slot.amounts[dimension] for slot in self._slots)

    def add(self, amounts: Amounts, now: float) -> Slot:
        """Count *amounts* from *now* on, and return where: `change` needs it."""
        slots, totals = self._slots, self.totals
        for dimension in self._watched:
            totals[dimension] += amounts[dimension]
        # A clock that stepped back joins the newest slot, which lapses in its time.
        if slots and now - slots[-1].opened < SLOT:
            slot = slots[-1]
            slot.amounts = _sums(slot.amounts, amounts)
            slot.last = max(slot.last, now)
        else:
            slot = Slot(amounts, now)
            slots.append(slot)
        return slot

    def change(self, slot: Slot, differences: Amounts) -> None:
        """Add *differences* to *slot*: what was started has turned out different."""
        slots, totals = self._slots, self.totals
        if slots and slots[0].last <= slot.last:
            slot.amounts = _sums(slot.amounts, differences)
            for dimension in self._watched:
                totals[dimension] += differences[dimension]

    def lapse(self, now: float) -> None:
        """Forget what started a minute ago or earlier."""
        slots, totals = self._slots, self.totals
        while slots and slots[0].last + MINUTE <= now:
            amounts = slots.popleft().amounts
            for dimension in self._watched:
                # With nothing left the sum is nothing: rounding must not add up.
                totals[dimension] -= amounts[dimension] if slots else totals[dimension]

    def room_at(self, dimension: int, excess: float) -> float:
        """Return when *excess* of what counts has lapsed, or all there is."""
        at = -math.inf
        for slot in self._slots:
            at = slot.last + MINUTE
            excess -= slot.amounts[dimension]
            if excess <= 0.0:
                break
        return at


def _sums(a: Amounts, b: Amounts) -> Amounts:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]
