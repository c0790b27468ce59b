"""
The tasks of an open broker, each on the event loop itself.

A task group would belong to the task that opened the broker: only that task could
close it, only in the reverse order of opening, and what goes wrong in the group would
cancel it. These tasks belong to nobody but the loop. So a broker is closed from any
task of its loop, in any order, and a fault in one of them is logged and ends that one.
"""

import itertools
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import Any, TypeVar

import anyio

from aitor.broker.native import call_soon, current_loop, spawn
from aitor.errors import BrokerClosedError
from aitor.logs import report_broken_task

__all__ = ("Host",)

_T = TypeVar("_T")


class Host:
    """Runs tasks in the event loop in which it was made, until it is stopped."""

    def __init__(self) -> None:
        self.loop = current_loop()
        self.lost = False
        """True once the loop ends, and with it these tasks, though nobody closed."""
        self._thread = threading.get_ident()
        self._numbers = itertools.count()
        # asyncio itself knows its tasks but weakly.
        self._tasks: dict[int, object] = {}
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._calls: set[Future[Any]] = set()
        self._idle: anyio.Event | None = None
        self._stopped = False

    @property
    def is_this_thread(self) -> bool:
        """Whether the running thread is that of the loop."""
        return threading.get_ident() == self._thread

    def start_soon(
        self, function: Callable[..., Awaitable[object]], *arguments: Any
    ) -> None:
        """Run *function* in a task of its own; what it raises is logged."""
        self._start(function, arguments, copy_context())

    def call(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """
        Run *function* from another thread, and wait for what it returns or raises.

        Raises:
            BrokerClosedError: The broker closed first.
        """
        if self.lost:
            raise BrokerClosedError(
                "the event loop in which the broker was opened has ended"
            )
        if self.is_this_thread:
            raise RuntimeError(
                "this is the broker's own event loop thread, which would wait for "
                "itself: await 'submit' here"
            )
        future: Future[_T] = Future()
        self._calls.add(future)
        start = (_settle, (future, function), copy_context())
        try:
            call_soon(self.loop, lambda: self._start(*start))
        except RuntimeError:
            self.lost = True
        if self._stopped or self.lost:
            _fail(future)
        try:
            return future.result()
        finally:
            self._calls.discard(future)

    async def join(self, seconds: float) -> bool:
        """Wait until all tasks have ended, and return whether they have in time."""
        # Shielded, so that who is cancelled meanwhile leaves nothing half done.
        with anyio.move_on_after(seconds, shield=True):
            while self._tasks:
                self._idle = self._idle or anyio.Event()
                await self._idle.wait()
        return not self._tasks

    async def stop(self, seconds: float) -> None:
        """
        Cancel all tasks, and wait at most *seconds* for them.

        Whoever ignores a cancellation is left to the loop.
        """
        self._stopped = True
        for scope in list(self._scopes.values()):
            scope.cancel()
        await self.join(seconds)
        self._fail_calls()

    def _start(
        self,
        function: Callable[..., Awaitable[object]],
        arguments: tuple[Any, ...],
        context: Context,
    ) -> None:
        number = next(self._numbers)

        async def run() -> None:
            await self._run(number, function, arguments)

        self._tasks[number] = None
        task = spawn(self.loop, run, context)
        if number in self._tasks:
            self._tasks[number] = task

    async def _run(
        self,
        number: int,
        function: Callable[..., Awaitable[object]],
        arguments: tuple[Any, ...],
    ) -> None:
        try:
            with anyio.CancelScope() as scope:
                self._scopes[number] = scope
                if self._stopped:
                    scope.cancel()
                await function(*arguments)
        except anyio.get_cancelled_exc_class():
            # Not by us: the loop cancels all that is left in it when it ends.
            self.lost = not self._stopped
            self._fail_calls()
            raise
        except BaseException as error:
            # Nobody awaits this task, and one of trio's must raise nothing at all.
            if isinstance(error, KeyboardInterrupt):
                raise
            report_broken_task(error)
        finally:
            self._scopes.pop(number, None)
            del self._tasks[number]
            if self._idle is not None and not self._tasks:
                self._idle.set()
                self._idle = None

    def _fail_calls(self) -> None:
        for future in list(self._calls):
            _fail(future)


async def _settle(future: "Future[_T]", function: Callable[[], Awaitable[_T]]) -> None:
    """Run *function* and let *future* know what came of it."""
    try:
        result = await function()
    except anyio.get_cancelled_exc_class():
        _fail(future)
        raise
    except BaseException as error:  # noqa: BLE001  # for whoever waits for it
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)


def _fail(future: "Future[Any]") -> None:
    if not future.done():
        future.set_exception(BrokerClosedError("the broker closed meanwhile"))
