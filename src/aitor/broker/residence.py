"""
Where a broker is used: in one event loop at a time, and in one process.

Nothing in a broker needs a lock, because all of it runs in one thread. So what comes
from elsewhere has to be told that before it changes anything: from another thread's
loop, from a loop after the one in which the broker was opened, or from a process that
was forked off. A broker that is not open moves to whichever loop asks it, once no
request of the loop before it is left.
"""

import os
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import anyio

from aitor.broker.host import Host
from aitor.broker.native import (
    UNKNOWN_RUN,
    clock_of_its_own,
    current_loop,
    has_ended,
)
from aitor.errors import WrongEventLoopError

__all__ = ("Residence",)


class Residence:
    """
    Knows where a broker is used, and counts the requests that are there.

    Args:
        move: Called when the clock is another one than before, with what tells it
            apart (see `clock_of_its_own`) and whether there was one before.
    """

    __slots__ = (
        "__weakref__",
        "_callers",
        "_empty",
        "_forked",
        "_lock",
        "_loop",
        "_move",
        "_thread",
        "host",
        "run",
    )

    def __init__(self, move: Callable[[object | None, bool], None]) -> None:
        self.host: Host | None = None
        """The tasks of the broker, while it is open."""
        self.run: object | None = UNKNOWN_RUN
        self._move = move
        self._loop: Any = None  # where the broker is open, or else has callers
        self._thread = 0  # that of the loop, while the broker is open
        self._callers = 0
        self._empty: anyio.Event | None = None
        self._forked = False
        self._lock = threading.Lock()
        _everywhere.add(self)

    def enter(self) -> Any:
        """
        Count a request in, and return the loop that it comes from, for `leave`.

        Raises:
            WrongEventLoopError: The broker is used elsewhere.
        """
        if self.host is not None:
            self.check()
            self._callers += 1
            return self._loop
        with self._lock:
            self._arrive()
            self._callers += 1
            return self._loop

    def leave(self, loop: Any) -> None:
        """Count out a request that came from *loop*."""
        if self.host is not None:
            self._leave(loop)
        else:
            with self._lock:
                self._leave(loop)

    def check(self) -> None:
        """
        Check that this is where the broker is open, or else has requests.

        Raises:
            WrongEventLoopError: The broker is used elsewhere.
        """
        host = self.host
        if host is None:
            if self._callers and self._loop is not current_loop():
                self._refuse_a_second_loop()
        elif self._forked:
            self.check_process()
        elif threading.get_ident() != self._thread:
            raise WrongEventLoopError(
                "the broker is open in the event loop of another thread: from here, "
                "call its 'submit_from_thread' in a thread that runs no event loop"
            )
        elif host.lost and self._loop is not current_loop():
            raise WrongEventLoopError(
                "the event loop in which the broker was opened has ended: open a "
                "broker in each event loop, within 'async with broker:'"
            )

    def check_process(self) -> None:
        """
        Check that the broker was not opened before the process was forked.

        Raises:
            WrongEventLoopError: It was.
        """
        if self._forked:
            raise WrongEventLoopError(
                "the broker was opened before this process was forked off, and its "
                "event loop is in the parent: open a broker in each process, after "
                "the fork"
            )

    @property
    def forked(self) -> bool:
        """Whether the broker is open in the process that this one was forked from."""
        return self._forked

    def open(self) -> Host:
        """
        Make the running event loop the only one, and return the host of its tasks.

        Raises:
            WrongEventLoopError: Requests of another loop are there.
        """
        with self._lock:
            self._arrive()
            self._thread = threading.get_ident()
            self.host = Host()
            return self.host

    def close(self) -> None:
        """Let go of the loop in which the broker was open."""
        self.host = None

    async def empty(self) -> None:
        """Wait until no request is left."""
        while self._callers:
            self._empty = self._empty or anyio.Event()
            await self._empty.wait()

    def _arrive(self) -> None:
        loop = current_loop()
        if self._loop is not loop:
            if self._callers and not has_ended(self._loop):
                self._refuse_a_second_loop()
            self._callers, self._loop = 0, loop
        # What was learned by another clock means nothing by this one: who waits
        # would wait for days.
        run = clock_of_its_own()
        if self.run is not run:
            is_first, self.run = self.run is UNKNOWN_RUN, run
            self._move(run, is_first)

    def _leave(self, loop: Any) -> None:
        # What is left of a loop that has ended may come here when it is collected.
        if loop is not self._loop:
            return
        self._callers -= 1
        if not self._callers:
            if self.host is None:
                self._loop = None
            if self._empty is not None:
                self._empty.set()
                self._empty = None

    @staticmethod
    def _refuse_a_second_loop() -> None:
        raise WrongEventLoopError(
            "another event loop has requests at this broker, which serves one loop at "
            "a time: for several threads use one 'BlockingBroker', or a broker or "
            "manager for each thread"
        )

    def _fork(self) -> None:
        """Be in a process that was forked off, whose only thread runs this."""
        self._lock = threading.Lock()
        if self.host is not None:
            self._forked = True
        else:
            self._callers, self._loop, self._empty = 0, None, None


_everywhere: WeakSet[Residence] = WeakSet()


def _tell_all() -> None:
    for one in list(_everywhere):
        one._fork()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_tell_all)
