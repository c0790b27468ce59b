"""
What only one kind of event loop has, behind functions that every kind can be asked.

asyncio has two things that matter here and that anyio does not pass on. A bare future
is all that one caller needs to wait on: an event has room for many, and takes 900
bytes and two coroutines to wait for. And a cancellation there is an exception that
anybody may raise; only the task itself knows whether somebody meant it.

Both have tasks that belong to the loop and to nobody else, where anyio has those of a
task group alone, which belongs to a task.
"""

import math
import sys
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, Protocol, cast

import anyio
from anyio.lowlevel import current_token

__all__ = (
    "UNKNOWN_RUN",
    "Wakeup",
    "call_soon",
    "clock_of_its_own",
    "current_loop",
    "has_ended",
    "is_stray",
    "spawn",
    "wakeup",
)

UNKNOWN_RUN: Final = object()
"""The run of an event loop before there was any; see `clock_of_its_own`."""


class Wakeup(Protocol):
    """As much of asyncio's `Future` as a caller needs who waits alone."""

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


def is_stray(error: BaseException) -> bool:
    """
    Whether *error* is a cancellation, and nobody has cancelled the running task.

    On asyncio, whoever awaits a task that somebody else has cancelled gets the same
    exception as if it were cancelled itself.
    """
    if not isinstance(error, anyio.get_cancelled_exc_class()):
        return False
    if not hasattr(current_token().native_token, "create_future"):
        return False  # Trio's cannot be raised but by a scope that was cancelled.
    if anyio.current_effective_deadline() == -math.inf:
        return False  # A scope was, of which a thread may have told before its task.
    task = sys.modules["asyncio"].current_task()
    return task is not None and task.cancelling() == 0


def clock_of_its_own() -> object | None:
    """
    Return what tells this run of the event loop from others that have another clock.

    None where all runs go by one clock, as on asyncio. Trio's begins anew in each run,
    at a random time.
    """
    token = current_token().native_token
    return None if hasattr(token, "create_future") else token


def current_loop() -> Any:
    """Return the running event loop: asyncio's loop, or what trio knows a run by."""
    return current_token().native_token


def has_ended(loop: Any) -> bool:
    """Whether *loop*, from `current_loop`, runs nothing any more."""
    if hasattr(loop, "is_closed"):
        return bool(loop.is_closed())
    try:
        loop.run_sync_soon(_nothing)
    except RuntimeError:
        return True
    return False


def _nothing() -> None:
    """Do nothing, in a loop that may have ended."""


def call_soon(loop: Any, function: Callable[[], object]) -> None:
    """
    Call *function* in *loop*, from whatever thread.

    Raises:
        RuntimeError: The loop has ended.
    """
    if hasattr(loop, "call_soon_threadsafe"):
        loop.call_soon_threadsafe(function)
    else:
        loop.run_sync_soon(function)


def spawn(
    loop: Any, function: Callable[[], Coroutine[Any, Any, None]], context: Context
) -> object:
    """
    Run *function* in a task that belongs to *loop*, which runs, and to no other task.

    It must raise nothing but its cancellation, which comes when the loop ends.

    Returns:
        The task, to be kept for as long as it runs.
    """
    if hasattr(loop, "create_future"):
        return cast("object", loop.create_task(function(), context=context))
    lowlevel = sys.modules["trio"].lowlevel
    return cast("object", lowlevel.spawn_system_task(function, context=context))
