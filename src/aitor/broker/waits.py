"""
What waiting is called: seconds by cause, without a record of each wait.

Only the head of a mailbox waits for something in particular; whoever is behind it
waits for the head. So one clock for each cause runs while the head waits for it, and
a call's own waits are what the clocks have gained from its arrival to its start.
"""

import math
from enum import IntEnum
from typing import TypeAlias

from aitor.messages import Waits

__all__ = ("Cause", "Mark", "WaitClock")

Mark: TypeAlias = tuple[float, ...]
"""What the clocks showed at an instant."""


class Cause(IntEnum):
    """What the head of a mailbox waits for, in the order of `Waits`."""

    WORKER = 0
    RATE = 1
    PAUSE = 2
    CIRCUIT = 3


class WaitClock:
    """Adds up seconds by cause."""

    __slots__ = ("_cause", "_seconds", "_since")

    def __init__(self) -> None:
        self._seconds = [0.0] * len(Cause)
        self._cause = Cause.WORKER
        self._since = math.inf

    def wait_for(self, cause: Cause, now: float) -> None:
        """Let the clock of *cause* run from *now*, and no other."""
        self._add(now)
        self._cause = cause
        self._since = now

    def stop(self, now: float) -> None:
        """Let no clock run: nobody waits."""
        if self._since != math.inf:
            self._add(now)
            self._since = math.inf

    def mark(self, now: float) -> Mark:
        """Return what the clocks show."""
        if self._since < now:
            self._add(now)
            self._since = now
        return tuple(self._seconds)

    def since(
        self, mark: Mark, now: float, backoff: float = 0.0, paused: float = 0.0
    ) -> Waits:
        """
        Return what was waited for since *mark*; an empty one for nothing.

        Args:
            mark: What the clocks showed at the arrival.
            now: The time.
            backoff: Seconds that were waited before it between two tries.
            paused: Seconds that a server asked for before it.
        """
        if not mark:
            return Waits(pause=paused, backoff=backoff)
        worker, rate, pause, circuit = self.mark(now)
        return Waits(
            worker - mark[Cause.WORKER],
            rate - mark[Cause.RATE],
            pause - mark[Cause.PAUSE] + paused,
            circuit - mark[Cause.CIRCUIT],
            backoff,
        )

    def _add(self, now: float) -> None:
        if self._since < now:
            self._seconds[self._cause] += now - self._since
