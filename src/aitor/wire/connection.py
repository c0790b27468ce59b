"""
One connection: a socket, and the answers that are read from it one after the other.

It is the same under every pool of ours, so that what may be asked of a connection has
one answer: whether its last request went out whole, whether that one's answer has
ended, and whether anything has come since. Only then may another request follow.
"""

import ssl
from collections.abc import Awaitable, Callable
from socket import socket

import anyio
from anyio import CancelScope, wait_readable, wait_writable

from aitor.wire.http1 import AnswerReader

__all__ = ("CHUNK", "Connection")

CHUNK = 64 * 1024
"""Most bytes read at once; a record of TLS has no more than a quarter of it."""


class Connection:
    """
    A socket, and the answers that come over it.

    Args:
        connected: Open, and not blocking.
    """

    __slots__ = ("answer", "sent", "socket")

    def __init__(self, connected: socket) -> None:
        self.socket = connected
        self.answer = AnswerReader()
        self.sent = False
        """Whether the request went out whole."""

    def is_quiet(self) -> bool:
        """Return whether the server has said nothing since the last answer."""
        try:
            # Whatever it says unasked is its end, or belongs to nobody.
            self.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def is_good(self) -> bool:
        """Return whether another request may follow this one and its answer."""
        return self.sent and self.answer.reusable

    async def send(self, data: bytes) -> bytes:
        """
        Send *data*, or so much of it as the server wants before it answers.

        Returns:
            What it said meanwhile; it was read by `answer` already.

        Raises:
            OSError: The connection is lost.
            EOFError: It was closed.
        """
        heard = b""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                heard += await self._listen()
                answer = self.answer
                if answer.complete or answer.malformed or answer.status >= 300:
                    return heard
            except ssl.SSLWantReadError:
                await wait_readable(self.socket)
        self.sent = True
        return heard

    async def _listen(self) -> bytes:
        """Wait until more can be sent; return what was said before."""
        if self.answer.status:
            # One that has begun well is read when all is sent: it may be long.
            await wait_writable(self.socket)
            return b""
        async with anyio.create_task_group() as group:
            scope = group.cancel_scope
            group.start_soon(_leave_when, wait_readable, self.socket, scope)
            await _leave_when(wait_writable, self.socket, scope)
        try:
            data = self.socket.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        self.take_in(data)
        return data

    async def receive(self) -> None:
        """
        Let the next bytes go into the answer.

        Raises:
            OSError: The connection is lost.
            EOFError: It was closed.
            ValueError: What came is not HTTP.
        """
        if self.answer.malformed:
            raise ValueError
        self.take_in(await self.next_bytes())

    async def next_bytes(self) -> bytes:
        """Wait for what comes next; nothing is the end."""
        while True:
            # Before the first try: an answer takes its time, and this lets others
            # run where one server is faster than we are.
            await wait_readable(self.socket)
            try:
                return self.socket.recv(CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                pass
            except ssl.SSLWantWriteError:
                await wait_writable(self.socket)

    def take_in(self, data: bytes) -> None:
        """Read *data*, which came from the socket."""
        if data:
            self.answer.feed(data)
        elif not self.answer.feed_eof():
            raise EOFError

    def close(self) -> None:
        """Close the socket; closing twice does nothing."""
        self.socket.close()
        self.answer.close()


async def _leave_when(
    ready: Callable[[socket], Awaitable[None]], connected: socket, scope: CancelScope
) -> None:
    await ready(connected)
    scope.cancel()
