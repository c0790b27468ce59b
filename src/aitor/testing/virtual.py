"""
Virtual time for both backends: waiting costs nothing and changes nothing.

When every task waits for a time to come, the clock jumps there. An hour of traffic
with its outages and pauses runs in seconds, in the same order each time. Only what
waits through anyio takes part: the clock does not see threads, and jumps past work
on real sockets.

This is the one place in the library that names the backends' own modules.
"""

import asyncio  # noqa: TID251  # the virtual clock is the exception to the rule
import selectors
from typing import Any

import trio.testing  # noqa: TID251

__all__ = ("VirtualTimeLoop", "virtual_backend")


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
        return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}
    raise ValueError(f"the backend is 'asyncio' or 'trio', not {name!r}")
