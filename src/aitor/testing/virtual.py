"""
Virtual time for both backends: waiting costs nothing and changes nothing.

When every task waits for a time to come, the clock jumps there. An hour of traffic
with its outages and pauses runs in seconds, in the same order each time. Only what
waits through anyio takes part: the clock does not see threads, and jumps past work
on real sockets.

This is the one place in the library that names the backends' own modules.
"""

import asyncio  # noqa: TID251  # the virtual clock is the exception to the rule
import heapq
import importlib
import math
import selectors
from typing import Any, TypeAlias

import anyio
import trio  # noqa: TID251

__all__ = (
    "VirtualClock",
    "VirtualTimeLoop",
    "leap",
    "make_trio_deterministic",
    "set_at",
    "sleep_until",
    "virtual_backend",
)


class _JumpingSelector(selectors.DefaultSelector):
    """Finds out what is ready now, and lets time jump where a loop would sleep."""

    jumped = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # Nothing is timed: only something from outside can go on.
            return super().select(None)
        self.jumped += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose time is virtual and begins at zero."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.jumped

    def leap(self, seconds: float) -> None:
        """Let *seconds* pass in which nothing runs."""
        self._jumping.jumped += seconds


_Alarm: TypeAlias = tuple[float, int, anyio.Event]


class VirtualClock(trio.abc.Clock):
    """
    A clock for trio that begins at zero.

    It jumps when trio asks how long to sleep. `trio.testing.MockClock` jumps one
    turn of the loop later, after a look at sockets, and costs a fifth more.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._alarms: list[_Alarm] = []
        self._count = 0

    def start_clock(self) -> None:
        """Do nothing: time begins with the first jump."""

    def current_time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to *deadline* or to the next alarm; trio asks when it has no work."""
        if self._alarms and self._alarms[0][0] <= deadline:
            time, _, event = heapq.heappop(self._alarms)
            self._now = max(self._now, time)
            event.set()
            return 0.0
        if deadline == math.inf:
            return deadline
        self._now = max(self._now, deadline)
        return 0.0

    def leap(self, seconds: float) -> None:
        """Let *seconds* pass in which nothing runs."""
        self._now += seconds

    def set_at(self, time: float, event: anyio.Event) -> None:
        """Set *event* when *time* has come."""
        self._count += 1
        heapq.heappush(self._alarms, (time, self._count, event))


def _clock() -> VirtualClock | VirtualTimeLoop:
    in_trio = trio.lowlevel.in_trio_run()
    clock = trio.lowlevel.current_clock() if in_trio else asyncio.get_running_loop()
    if not isinstance(clock, VirtualClock | VirtualTimeLoop):
        raise TypeError(f"needs a run in virtual time, not {clock!r}")
    return clock


def set_at(time: float, event: anyio.Event) -> None:
    """
    Set *event* when virtual time has come to *time*.

    Raises:
        TypeError: If the time is real.
    """
    clock = _clock()
    if isinstance(clock, VirtualClock):
        clock.set_at(time, event)
    else:
        clock.call_at(time, event.set)


async def sleep_until(time: float) -> None:
    """
    Wait as `anyio.sleep_until` does, in virtual time only, at a third of its cost.

    Raises:
        TypeError: If the time is real.
    """
    event = anyio.Event()
    set_at(time, event)
    await event.wait()


def leap(seconds: float) -> None:
    """
    Let virtual time pass and nothing run, as when a computer sleeps.

    Raises:
        TypeError: If the time is real.
    """
    _clock().leap(seconds)


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:
    """
    Return anyio's backend *name* with a virtual clock.

    Use it as `anyio.run(main, backend=…, backend_options=…)`, or as what anyio's
    pytest fixture `anyio_backend` returns.

    Raises:
        ValueError: If there is no such backend.
    """
    if name == "asyncio":
        return name, {"loop_factory": VirtualTimeLoop}
    if name == "trio":
        return name, {"clock": VirtualClock()}
    raise ValueError(f"the backend is 'asyncio' or 'trio', not {name!r}")


def make_trio_deterministic(seed: int) -> None:
    """
    Make trio run its tasks in the same order each time.

    Trio shuffles tasks that are ready, so that nobody comes to rely on an order, and
    has a switch for tests, which Hypothesis turns on. Both names are private. Where a
    version of trio lacks them, runs are as good but cannot be repeated.
    """
    scheduler: Any = importlib.import_module("trio._core._run")
    if hasattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING"):
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    if hasattr(scheduler, "_r"):
        scheduler._r.seed(seed)
