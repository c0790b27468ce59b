"""
What a faulty upstream does to each call: a script, without a clock or a socket.

`benchmarks.server` plays it. The same seed gives the same fate to the first call, the
second and so on, whoever asks, so that two clients are compared on the same luck.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from typing import Literal, NamedTuple

__all__ = ("Fate", "Faults", "Script")


@dataclass(frozen=True)
class Faults:
    """
    Which calls fail, and how.

    Args:
        share: The share of the calls that fail, at random.
        every: Every so many-th call fails.
        first: The first so many calls fail.
        how: A call that fails is answered with `status`, or its connection is closed,
            or it hangs until the client goes away.
        status: Of such an answer.
        headers: It has these besides.
        html: It is a page, as proxies send, and not a document.
        slots: So many calls are worked on at once and the others wait; 0 is all.
        longest_wait: A call that would wait longer for a slot, in seconds, fails by
            then.
        seed: Of chance.
    """

    share: float = 0.0
    every: int = 0
    first: int = 0
    how: Literal["answer", "close", "hang"] = "answer"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    html: bool = False
    slots: int = 0
    longest_wait: float = float("inf")
    seed: int = 1


class Fate(NamedTuple):
    """
    What becomes of one call.

    Args:
        fails: Whether it gets the fault.
        after: Seconds from its arrival until it gets that, or its answer.
    """

    fails: bool
    after: float


class Script:
    """
    The fates of calls in the order of their arrival.

    Args:
        faults: Which fail.
        delay: Seconds of work on each.
    """

    def __init__(self, faults: Faults, delay: float) -> None:
        self.faults = faults
        self._delay = delay
        self._chance = random.Random(faults.seed)
        self._arrived = 0
        self._free = [0.0] * faults.slots
        heapify(self._free)

    def arrive(self, now: float) -> Fate:
        """Return what becomes of a call that arrives *now*, in seconds."""
        faults = self.faults
        self._arrived += 1
        unlucky = self._chance.random() < faults.share
        if (
            unlucky
            or self._arrived <= faults.first
            or (faults.every and self._arrived % faults.every == 0)
        ):
            return Fate(fails=True, after=self._delay)
        if not self._free:
            return Fate(fails=False, after=self._delay)
        start = max(now, self._free[0])
        if start - now > faults.longest_wait:
            return Fate(fails=True, after=faults.longest_wait)
        heapreplace(self._free, start + self._delay)
        return Fate(fails=False, after=start + self._delay - now)
