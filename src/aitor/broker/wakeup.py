"""
What a call waits on: the one thing that its actor sets when it should look again.

An event serves many waiters, and has to have room for them: on asyncio it takes 900
bytes and two coroutines to wait for. A call waits alone, so there it waits on a bare
future of the running loop; elsewhere an event behaves like one.
"""

from collections.abc import Generator
from typing import Any, Protocol, cast

import anyio
from anyio.lowlevel import current_token

__all__ = ("Wakeup", "wakeup")


class Wakeup(Protocol):
    """As much of `asyncio.Future` as is needed."""

    def done(self) -> bool:
        """Whether nobody needs to wait any more, or whoever waited was cancelled."""

    def set_result(self, result: None, /) -> None:
        """Let the waiting caller go on; allowed once, and only while not `done`."""

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is set."""


def wakeup() -> Wakeup:
    """Return a new one for the running event loop."""
    loop = current_token().native_token
    if hasattr(loop, "create_future"):
        return cast("Wakeup", loop.create_future())
    return _Event()


class _Event:
    """An event in the shape of a future."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, _: None, /) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, None, None]:
        return self._event.wait().__await__()
