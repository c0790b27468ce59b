"""
A simulated server: what it does depends on how much it has to do.

Most faults strike one call, whatever others do. A server that is full, or that counts
requests, treats a call by the others that it has.
"""

from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio

from aitor.errors import OverloadedError, RateLimitError
from aitor.testing.simulator.script import Phase

__all__ = ("Server",)

SECONDS_TO_REJECT = 0.005


class Server:
    """One provider's server."""

    def __init__(self) -> None:
        self._places: dict[Phase, anyio.Semaphore] = {}
        self._accepted: dict[Phase, deque[float]] = {}
        self._calls: Counter[Phase] = Counter()

    def in_a_run(self, phase: Phase) -> bool:
        """Whether the next call falls into a run of failures."""
        count = self._calls[phase]
        self._calls[phase] += 1
        return count % phase.amount < round(phase.chance * phase.amount)

    def rate_limit(self, phase: Phase, now: float, random: Random) -> None:
        """
        Count a call.

        Raises:
            RateLimitError: There were too many in the last second.
        """
        accepted = self._accepted.setdefault(phase, deque())
        while accepted and accepted[0] <= now - 1.0:
            accepted.popleft()
        if len(accepted) >= phase.amount:
            wait = random.choice((None, None, 1.0))
            raise RateLimitError("too many requests", retry_after=wait, status=429)
        accepted.append(now)

    @asynccontextmanager
    async def place(self, phase: Phase) -> AsyncIterator[None]:
        """
        Take one of the server's places.

        Raises:
            OverloadedError: There is none, or there was none while the call waited.
        """
        places = self._places.get(phase)
        if places is None:
            places = self._places[phase] = anyio.Semaphore(phase.amount)
        if phase.kind == "busy_queue":
            with anyio.move_on_after(phase.seconds) as waiting:
                await places.acquire()
            full = waiting.cancelled_caught
        else:
            full = not places.value
            if not full:
                places.acquire_nowait()
        if full:
            await anyio.sleep(SECONDS_TO_REJECT)
            raise OverloadedError("the server is full", status=503)
        try:
            yield
        finally:
            places.release()
