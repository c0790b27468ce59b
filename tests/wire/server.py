"""
A TCP server that plays a script, for what no HTTP server would ever send.

It reads whole requests, so that it knows when one has come, and answers each with
the next list of steps: bytes to send, an event to wait for, or an end. Whatever
goes wrong on a real network (a reset, a close in the middle, silence) is written
down in a test as the bytes before and the step after it.
"""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum
from socket import SO_LINGER, SOL_SOCKET
from threading import Event, Thread
from typing import Self, TypeAlias

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream

__all__ = (
    "CHUNKED",
    "HEAD",
    "HastyServer",
    "Server",
    "Step",
    "Then",
    "answer",
    "serve",
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
"""The head of an answer of ten bytes."""

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
"""The head of an answer in chunks."""


class Then(Enum):
    """What a script may do besides sending and waiting for an event."""

    CLOSE = "close the connection in good order"
    RESET = "send a reset"
    HANG = "do nothing until the client is gone"


Step: TypeAlias = bytes | anyio.Event | Then


def answer(
    body: bytes = b"{}", status: str = "200 OK", headers: Sequence[str] = ()
) -> bytes:
    """Return a whole response, with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server:
    """
    What the server has seen, and what it will do.

    Args:
        scripts: One list of steps for each request, over all connections; the
            last one serves for all that follow.
        tls: Speak TLS with this context.
        deaf: Accept connections and read nothing.
    """

    def __init__(
        self,
        *scripts: Sequence[Step],
        tls: ssl.SSLContext | None = None,
        deaf: bool = False,
    ) -> None:
        self.scripts = scripts or ([answer()],)
        self.tls = tls
        self.deaf = deaf
        self.port = 0
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self._news = anyio.Event()
        self.connected = anyio.Event()
        """Set when the first connection is there."""
        self.asked = anyio.Event()
        """Set when the first request has come whole."""
        self.left = anyio.Event()
        """Set when a client was seen to close its connection."""
        self.closed = anyio.Event()
        """Set when the first connection has ended."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def requests_reach(self, number: int) -> None:
        """Wait until that many requests have come."""
        while len(self.requests) < number:
            self._news = anyio.Event()
            await self._news.wait()

    async def handle(self, stream: SocketStream) -> None:
        """Serve one connection until either side ends it."""
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.connected.set()
        try:
            async with stream:
                await self._converse(stream)
        except anyio.BrokenResourceError:
            self.left.set()
        finally:
            self.open -= 1
            self.closed.set()

    async def _converse(self, raw: SocketStream) -> None:
        stream: ByteStream = raw
        if self.deaf:
            await self._wait_until_left(stream)
            return
        if self.tls:
            try:
                stream = await TLSStream.wrap(
                    raw, ssl_context=self.tls, standard_compatible=False
                )
            except (ssl.SSLError, anyio.EndOfStream):
                return
        while await self._read_request(stream):
            script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
            for step in script:
                if not await self._play(step, raw, stream):
                    return

    async def _read_request(self, stream: ByteStream) -> bool:
        data = b""
        while not _is_whole(data):
            try:
                data += await stream.receive()
            except anyio.EndOfStream:
                self.left.set()
                return False
        self.requests.append(data)
        self.asked.set()
        self._news.set()
        return True

    async def _play(self, step: Step, raw: SocketStream, stream: ByteStream) -> bool:
        """Return whether the connection lives on."""
        if isinstance(step, bytes):
            await stream.send(step)
        elif isinstance(step, anyio.Event):
            return await self._wait_for(step, stream)
        elif step is Then.HANG:
            await self._wait_until_left(stream)
        elif step is Then.RESET:
            # Closing a socket that lingers for no time makes the kernel send a
            # reset instead of a FIN.
            linger = struct.pack("ii", 1, 0)
            raw.extra(SocketAttribute.raw_socket).setsockopt(
                SOL_SOCKET, SO_LINGER, linger
            )
        return not isinstance(step, Then)

    async def _wait_for(self, event: anyio.Event, stream: ByteStream) -> bool:
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await self._wait_until_left(stream)
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await event.wait()
            group.cancel_scope.cancel()
        return not self.left.is_set()

    async def _wait_until_left(self, stream: ByteStream) -> None:
        try:
            while True:
                await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self.left.set()


class HastyServer:
    """
    A server that speaks when a request has begun, and then reads on or does not.

    It has a thread and plain sockets: those of an event loop read on by themselves.

    Args:
        tls: Speak TLS with this context.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.says = b""
        """What it answers to the first bytes of a request."""
        self.then: bytes | None = None
        """What it says after the request's end; None reads no more."""
        self.connections = 0
        self.begun = Event()
        """Set when the first request has begun to come."""
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while data := connection.recv(1_000):
                    self.begun.set()
                    connection.sendall(self.says)
                    if self.then is None:
                        self._over.wait()
                        return
                    head, _, body = data.partition(b"\r\n\r\n")
                    rest = int(head.rpartition(b":")[2]) - len(body)
                    while rest and (more := connection.recv(min(rest, 1_000_000))):
                        rest -= len(more)
                    connection.sendall(self.then)


def _is_whole(data: bytes) -> bool:
    if data.startswith(b"\x16\x03"):
        return True  # The first message of TLS, come to a server that has none.
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return True


@asynccontextmanager
async def serve(server: Server) -> AsyncIterator[Server]:
    """Run *server* on a free port of this machine until the block ends."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as group:
        server.port = listener.extra(SocketAttribute.local_port)
        group.start_soon(listener.serve, server.handle)
        yield server
        group.cancel_scope.cancel()
