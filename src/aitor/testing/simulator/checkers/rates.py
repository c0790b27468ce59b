"""
Checkers of limits: every window of a minute, and of any other length.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.history import (
    History,
    Settled,
    Taken,
)

__all__ = (
    "limits_hold_in_every_window",
    "paces_hold_in_every_window",
    "reservations_are_settled",
)

WINDOW = 60.0
ROUNDING = 1e-6


_Amounts: TypeAlias = tuple[float, float, float, float]
"""By dimension."""

NOTHING: _Amounts = (0.0, 0.0, 0.0, 0.0)


class _Charge(NamedTuple):
    """What a call took at first, and what it used in the end."""

    time: float
    taken: _Amounts
    used: _Amounts
    settled: float


def limits_hold_in_every_window(history: History) -> Iterator[Violation]:
    """
    Rule 16: what starts in any 60 s, ends included, is within the limit.

    A start counts with what it used in the end, but not with more than it took: more
    is charged when it is known. A call larger than the whole limit counts as that.
    """
    charges = _charges(history)
    for name, settings in history.limits.items():
        for index, dimension in enumerate(DIMENSIONS):
            limit = getattr(settings, f"{dimension}_per_minute")
            if limit is not None:
                yield from _windows(name, dimension, index, limit, charges[name])


DIMENSIONS = ("requests", "tokens", "input_tokens", "output_tokens")


def _windows(
    name: str, dimension: str, index: int, limit: float, charges: list[_Charge]
) -> Iterator[Violation]:
    amounts = [
        (one.time, min(one.taken[index], one.used[index], limit)) for one in charges
    ]
    begin, total = 0, 0.0
    for time, amount in amounts:
        total += amount
        while amounts[begin][0] < time - WINDOW:
            total -= amounts[begin][1]
            begin += 1
        if total > limit * (1.0 + ROUNDING) + ROUNDING:
            yield Violation(
                16, time, f"{total} {dimension} in a minute at {name}, of {limit}"
            )


def _charges(history: History) -> Mapping[str, list[_Charge]]:
    settled = {(line.limit, line.number): line for line in history.of(Settled)}
    charges: dict[str, list[_Charge]] = defaultdict(list)
    for line in history.of(Taken):
        taken = _by_dimension(line)
        end = settled.get((line.limit, line.number))
        used = taken if end is None else _by_dimension(end)
        time = math.inf if end is None else end.time
        charges[line.limit].append(_Charge(line.time, taken, used, time))
    return charges


def _by_dimension(line: Taken | Settled) -> _Amounts:
    inputs, outputs = line.input_tokens, line.output_tokens
    return line.requests, inputs + outputs, inputs, outputs


class _Pace:
    """
    What could still be taken, at least, over all windows that end now.

    A window allows burst + rate * seconds and has taken a sum; the least of the
    differences is that of the window which began when the burst was last whole. So
    one number that grows to the burst and no further stands for all windows.
    """

    def __init__(self, limit: float, share: float) -> None:
        self._limit = max(limit, 1.0)
        self._rate = limit / WINDOW
        self._burst = max(limit * share, 1.0)
        self._left = self._burst
        self._returned = 0.0
        self._since = -math.inf

    def took(self, amount: float, now: float) -> float:
        """Take account of a start, and return how much too much it was."""
        amount = min(amount, self._limit)
        came = self._rate * (now - self._since)
        # One larger than the burst is saved up for while it waits.
        most = max(self._burst, amount, self._left)
        self._left = min(self._left + came, most) + self._returned - amount
        self._returned = 0.0
        self._since = now
        return -self._left

    def settled(self, taken: float, used: float) -> None:
        """Take account of what was not used; it is kept whatever the burst is."""
        # What is larger than the limit took no more than that.
        self._returned += max(min(taken, self._limit) - used, 0.0)


def paces_hold_in_every_window(history: History) -> Iterator[Violation]:
    """
    Rule 17: in a window of any length starts take at most burst and rate times it.

    What a call gave back may be taken a second time. A call larger than the burst
    takes its own size in the burst's place.
    """
    paces = {
        (name, index): _Pace(limit, settings.burst)
        for name, settings in history.limits.items()
        for index, dimension in enumerate(DIMENSIONS)
        if (limit := getattr(settings, f"{dimension}_per_minute")) is not None
    }
    taken: dict[tuple[str, int], _Amounts] = {}
    for line in history.among(Taken, Settled):
        if isinstance(line, Taken):
            amounts = taken[line.limit, line.number] = _by_dimension(line)
            for index, amount in enumerate(amounts):
                pace = paces.get((line.limit, index))
                if pace is None:
                    continue
                excess = pace.took(amount, line.time)
                if excess > ROUNDING * max(amount, 1.0):
                    what = (
                        f"{excess} {DIMENSIONS[index]} above the pace of {line.limit}"
                    )
                    yield Violation(17, line.time, what)
        elif isinstance(line, Settled):
            amounts = taken.pop((line.limit, line.number), NOTHING)
            for index, used in enumerate(_by_dimension(line)):
                pace = paces.get((line.limit, index))
                if pace is not None:
                    pace.settled(amounts[index], used)


def reservations_are_settled(history: History) -> Iterator[Violation]:
    """Rule 22: what was taken is settled once, and not before it was taken."""
    open_: dict[tuple[str, int], float] = {}
    for line in history.among(Taken, Settled):
        if isinstance(line, Taken):
            open_[line.limit, line.number] = line.time
        elif isinstance(line, Settled):
            if open_.pop((line.limit, line.number), None) is None:
                yield Violation(
                    22, line.time, f"{line.limit}: {line.number} is settled too often"
                )
            if min(line[3:]) < 0.0:
                yield Violation(22, line.time, f"{line.limit}: less than nothing used")
    for (limit, number), time in open_.items():
        yield Violation(22, time, f"{limit}: {number} was never settled")
