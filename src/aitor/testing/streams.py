"""
Connections in memory: two ends that send and receive as sockets do.

There are no packets and no latency: what one end sends, the other may read in the
same instant. What is kept of a real connection is what clients trip over: a buffer
that fills up, halves that close one after the other, and resets.
"""

import errno
import socket
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint

__all__ = ("WINDOW", "Stream", "connected", "send_in_pieces")

WINDOW = 64 * 1024
"""Bytes that may be on the way in one direction before the sender has to wait."""


class _Pipe:
    """Bytes on their way in one direction."""

    __slots__ = ("broken", "changed", "data", "deaf", "ended")

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False  # nothing more will be sent
        self.deaf = False  # nobody will read any more
        self.broken = False  # it was reset
        self.changed = anyio.Event()

    def tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class Stream(ByteStream):
    """
    One end of a connection, as a socket would be.

    Sending waits while the other end does not read. To send to one that has closed
    seems to succeed and is answered with a reset, as over TCP. What arrived before
    a reset can still be read.
    """

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._lingers = True
        self.closed = False
        """Whether this end was closed, here and not by the other."""

    @property
    def readable(self) -> bool:
        """Whether `receive` would return or raise at once."""
        pipe = self._incoming
        return bool(pipe.data) or pipe.ended or pipe.broken

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """A socket that knows one option: not to linger, and so to close by reset."""
        raw = SimpleNamespace(setsockopt=self._set_option)
        return {SocketAttribute.raw_socket: lambda: raw}

    def _set_option(self, _level: int, option: int, _value: bytes) -> None:
        if option == socket.SO_LINGER:
            self._lingers = False

    async def receive(self, max_bytes: int = WINDOW) -> bytes:
        """
        Wait for bytes and return at most *max_bytes* of them.

        Raises:
            EndOfStream: The other end sends no more.
            BrokenResourceError: The other end reset the connection.
            ClosedResourceError: This end is closed.
        """
        await checkpoint()
        pipe = self._incoming
        while not self.closed:
            if pipe.data:
                taken = bytes(pipe.data[:max_bytes])
                del pipe.data[:max_bytes]
                pipe.tell()
                return taken
            if pipe.broken:
                raise anyio.BrokenResourceError from _reset()
            if pipe.ended:
                raise anyio.EndOfStream
            await pipe.changed.wait()
        raise anyio.ClosedResourceError

    async def send(self, item: bytes) -> None:
        """
        Send *item*, waiting for room as long as it takes.

        Raises:
            BrokenResourceError: The connection was reset.
            ClosedResourceError: This end is closed.
        """
        await checkpoint()
        pipe = self._outgoing
        rest = memoryview(item)
        while rest:
            if self.closed or pipe.ended:
                raise anyio.ClosedResourceError
            if pipe.broken:
                raise anyio.BrokenResourceError from _reset()
            if pipe.deaf:
                self._break()
                return
            room = WINDOW - len(pipe.data)
            if room:
                pipe.data += rest[:room]
                rest = rest[room:]
                pipe.tell()
            else:
                await pipe.changed.wait()

    async def drained(self) -> None:
        """Wait until the other end has read, or will not read, what was sent."""
        pipe = self._outgoing
        while pipe.data and not pipe.deaf and not pipe.broken:
            await pipe.changed.wait()

    async def send_eof(self) -> None:
        """Close the direction of sending; what comes can still be read."""
        self._outgoing.ended = True
        self._outgoing.tell()

    async def aclose(self) -> None:
        """Close this end; closing twice does nothing."""
        if not self.closed:
            self.closed = True
            self._incoming.deaf = True
            self._outgoing.ended = True
            if not self._lingers:
                self._break()
            self._incoming.tell()
            self._outgoing.tell()

    async def reset(self) -> None:
        """Close this end by a reset."""
        self._lingers = False
        await self.aclose()

    def _break(self) -> None:
        for pipe in (self._incoming, self._outgoing):
            pipe.broken = True
            pipe.tell()


def connected() -> tuple[Stream, Stream]:
    """Return both ends of a new connection."""
    there, back = _Pipe(), _Pipe()
    return Stream(back, there), Stream(there, back)


async def send_in_pieces(
    stream: Stream, data: bytes, cuts: Iterable[int], pause: float = 0.0
) -> None:
    """
    Send *data* so that it is read in pieces.

    Args:
        stream: Where to.
        data: All of it.
        cuts: Where it is cut, in order; `range(1, len(data))` is a byte at a time.
        pause: Seconds between two pieces.
    """
    start = 0
    for end in (*cuts, len(data)):
        await stream.send(data[start:end])
        await stream.drained()
        if end < len(data):
            await anyio.sleep(pause)
        start = end


def _reset() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
