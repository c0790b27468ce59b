"""
Checkers of limits and pauses: every window of a minute, every wait that was asked for.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aitor.outcomes import Outcome
from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.history import (
    Admitted,
    Ended,
    History,
    Paused,
    Settled,
    Taken,
)

__all__ = ("limits_hold_in_every_window", "pauses_hold", "reservations_are_settled")

WINDOW = 60.0
ROUNDING = 1e-6


class _Charge(NamedTuple):
    """What a call took at first, and what it used in the end."""

    time: float
    taken: tuple[float, float, float, float]
    used: tuple[float, float, float, float]
    settled: float


def limits_hold_in_every_window(history: History) -> Iterator[Violation]:
    """
    Rules 16 and 17: what starts in any 60 s, ends included, is within the limit.

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


def _by_dimension(line: Taken | Settled) -> tuple[float, float, float, float]:
    inputs, outputs = line.input_tokens, line.output_tokens
    return line.requests, inputs + outputs, inputs, outputs


def reservations_are_settled(history: History) -> Iterator[Violation]:
    """Rule 22: what was taken is settled once, and not before it was taken."""
    open_: dict[tuple[str, int], float] = {}
    for line in history.lines:
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


def pauses_hold(history: History) -> Iterator[Violation]:
    """Rule 19: nothing leaves before the latest of the waits that were asked for."""
    until: dict[str, float] = defaultdict(lambda: -math.inf)
    for line in history.lines:
        if isinstance(line, Ended):
            wait = line.retry_after
            if line.outcome is Outcome.RATE_LIMITED and wait is not None and wait > 0.0:
                most = history.providers[line.provider].max_retry_after
                limit = history.limit_of[line.provider]
                until[limit] = max(until[limit], line.time + min(wait, most))
        elif isinstance(line, Paused):
            limit = history.limit_of[line.provider]
            if line.seconds == line.seconds:  # a number
                until[limit] = max(until[limit], line.time + line.seconds)
        elif isinstance(line, Admitted):
            left = until[history.limit_of[line.provider]] - line.time
            if left > 0.0:
                yield Violation(
                    19, line.time, f"{line.provider} was to pause {left} s longer"
                )
