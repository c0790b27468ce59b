"""
How many calls may have a connection at once: as many as set, or as the system allows.

A process has a limit on its open files and sockets (`ulimit -n`): 256 on macOS, often
1,024 on Linux. Who runs into it has found no fault of the provider's. So the pool
shrinks to what it has, and a little below, because files and name look-ups need
descriptors, too; who found none stands in line again. After a while the pool tries what
it was set to: the want may have been somebody else's.
"""

import errno
import logging
import socket
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from math import inf
from typing import NamedTuple, Protocol, TypeVar

from anyio import CancelScope, Event, current_time, sleep
from anyio.lowlevel import checkpoint_if_cancelled

from aitor.errors import OutOfDescriptorsError

__all__ = ("Places", "is_want_of_descriptors", "out_of_descriptors")

WANT = frozenset({errno.EMFILE, errno.ENFILE})

NOTICED = 30.0
"""Seconds for which a pool stays shrunk."""

LONGEST_WAIT = 5.0
"""Seconds to wait for a connection at most before others are asked who is sooner."""

PAUSE = 0.1
"""Seconds between two tries where nobody of ours has a descriptor to give back."""


class Closable(Protocol):
    """What can be closed."""

    async def aclose(self) -> None:
        """Close it."""


ClosableT = TypeVar("ClosableT", bound=Closable)

_logger = logging.getLogger("aitor")


class Places:
    """
    Lets as many calls have a connection as there may be.

    Args:
        most: As many as the settings allow.
        longest_wait: Seconds to wait at most once the system allows fewer.
    """

    __slots__ = (
        "_found_at",
        "_longest_wait",
        "_most",
        "_taken",
        "_told",
        "_waiting",
        "limit",
    )

    def __init__(self, most: float, longest_wait: float) -> None:
        self._most = most
        self._longest_wait = min(longest_wait, LONGEST_WAIT)
        self._taken = 0
        self._waiting: deque[_Turn] = deque()
        self._found_at = -inf
        self._told = False
        self.limit = most
        """How many there may be now."""

    @property
    def crowded(self) -> bool:
        """Whether more calls have a connection than may, so that one is to close."""
        return self._taken > self.limit

    async def acquire(self) -> None:
        """
        Wait for a place, which is to be given back.

        It does not return where time is already up, so nothing goes out then.

        Raises:
            OutOfDescriptorsError: None came free for long, and the system is why.
        """
        await checkpoint_if_cancelled()
        if self._taken < self.limit and not self._waiting:
            self._taken += 1
            return
        turn = _Turn(Event(), CancelScope(deadline=self._latest()))
        self._waiting.append(turn)
        try:
            with turn.scope:
                await turn.came.wait()
                return
        except BaseException:
            self._leave(turn)
            raise
        self._leave(turn)
        raise out_of_descriptors()

    def release(self) -> None:
        """Give a place back."""
        self._taken -= 1
        if self.limit < self._most and current_time() - self._found_at > NOTICED:
            self.limit = self._most
        while self._waiting and self._taken < self.limit:
            self._taken += 1
            self._waiting.popleft().came.set()

    @asynccontextmanager
    async def sending(
        self, send: Callable[[], Awaitable[ClosableT]]
    ) -> AsyncGenerator[ClosableT, None]:
        """
        Have *send* called with a place, once there is a descriptor for it.

        Args:
            send: Sends a request; its response is closed before the place is given
                back. It sends nothing where it raises `OutOfDescriptorsError`.
        """
        since = None
        while True:
            await self.acquire()
            try:
                response = await send()
                break
            except OutOfDescriptorsError:
                pass
            except BaseException:
                self.release()
                raise
            since = await self.shrink(since)
        try:
            yield response
        finally:
            try:
                await response.aclose()
            finally:
                self.release()

    async def shrink(self, since: float | None) -> float:
        """
        Give a place back for want of a descriptor, so that another try makes sense.

        Args:
            since: What the last call returned, for the same request.

        Returns:
            When the want was first found.

        Raises:
            OutOfDescriptorsError: That is too long ago.
        """
        now = current_time()
        if self.limit == self._most:
            self._found_at = now
        # All but who found none; an eighth is for files and name look-ups.
        others = self._taken - 1
        self.limit = max(1, min(self.limit, others - others // 8))
        self._tell()
        for turn in self._waiting:
            turn.scope.deadline = min(turn.scope.deadline, self._latest())
        self.release()
        if since is not None and now - since >= self._longest_wait:
            raise out_of_descriptors()
        # Where nothing of ours is there to wait for, time is; and others run meanwhile.
        await sleep(0 if self._taken else PAUSE)
        return now if since is None else since

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            _logger.warning(
                "out_of_descriptors: the system allows no more open files and sockets, "
                "so calls wait for a connection (look at 'ulimit -n')"
            )

    def _latest(self) -> float:
        # Where the settings are what is short, the caller's own limits are enough.
        return current_time() + self._longest_wait if self.limit < self._most else inf

    def _leave(self, turn: "_Turn") -> None:
        if turn.came.is_set():
            self.release()
        else:
            self._waiting.remove(turn)


class _Turn(NamedTuple):
    came: Event
    scope: CancelScope


def is_want_of_descriptors(chain: Iterable[BaseException]) -> bool:
    """Return whether any of *chain* says that the system allows no more descriptors."""
    for link in chain:
        if isinstance(link, socket.gaierror):
            # A name look-up needs one, too, and says "try again" or "unknown" without.
            return _is_out_now()
        if isinstance(link, OSError) and not isinstance(link, ssl.SSLError):
            return link.errno in WANT
    return False


def _is_out_now() -> bool:
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno in WANT
    return False


def out_of_descriptors() -> OutOfDescriptorsError:
    """Return the error for a connection that the system allows no descriptor for."""
    return OutOfDescriptorsError(
        "no connection: the system allows this process no more open files and sockets "
        "(look at 'ulimit -n' and 'workers')"
    )
