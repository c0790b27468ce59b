"""
A network in memory: the bytes of real clients and servers, in virtual time.

A server is a function that is given one end of each connection. It may answer, stall,
trickle, hang up after any byte or reset, and what is awaited in between costs no real
time on the clock of `aitor.testing.virtual`. A client is whatever opens connections
through `Network.connect`, or through httpcore2, which is under httpx2 and under both
vendors' SDKs: inside of `Network.installed` their own pools are at work, byte for byte.

There is no latency and no TLS here: addresses begin with `http://`. What a server does
with its end (`aitor.testing.streams`), and when, is all there is.

    async with Network() as network:
        network.listen("api.test", 80, FakeProvider().serve_connection)
        with network.installed():
            async with AsyncOpenAI(base_url="http://api.test/v1", …) as client:
                …

An SDK's client asks a thread for the name of the platform at its first call. Virtual
time does not wait for threads, so make that call before anything is timed.
"""

import errno
import math
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from unittest.mock import patch

import anyio
import httpcore2
from anyio.lowlevel import checkpoint

# Where a pool that was given no backend finds one; there is no public way to say so.
from httpcore2._async import http11
from httpcore2._backends.auto import AutoBackend

from aitor.testing.http import ClientGoneError
from aitor.testing.streams import Stream, connected
from aitor.wire.transport import Sockets

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ("Network", "Server")

Server = Callable[[Stream], Awaitable[None]]
"""Serves one connection, which is closed when it returns."""


class _Listener(NamedTuple):
    serve: Server
    connect_seconds: float


class Network:
    """
    Hosts and ports in memory.

    Servers run within `async with`, and end with it. A name that nobody ever listened
    on is not found; a port that nobody listens on refuses.
    """

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, int], _Listener | None] = {}
        self._clients: list[Stream] = []
        self._tasks: TaskGroup | None = None
        self.connected = 0
        """Connections made until now."""

    @property
    def open(self) -> int:
        """Connections that their clients have not closed."""
        self._clients = [stream for stream in self._clients if not stream.closed]
        return len(self._clients)

    def listen(
        self, host: str, port: int, serve: Server, *, connect_seconds: float = 0.0
    ) -> None:
        """
        Have *serve* called with each new connection to *port* of *host*.

        Whoever listened there before keeps the connections that are open.

        Args:
            host: Any name.
            port: Any number; 80 for addresses that name none.
            serve: An async function. What is raised because the client hung up ends
                the connection; anything else ends the network.
            connect_seconds: How long connecting takes; infinity for ever.
        """
        self._listeners[host, port] = _Listener(serve, connect_seconds)

    def refuse(self, host: str, port: int) -> None:
        """Refuse connections from now on; those that are open stay."""
        self._listeners[host, port] = None

    async def connect(self, host: str, port: int) -> Stream:
        """
        Open a connection and return the client's end.

        Raises:
            OSError: As a system raises it: `socket.gaierror` for an unknown name,
                `ConnectionRefusedError` where nobody listens.
        """
        await checkpoint()
        if not any(known == host for known, _ in self._listeners):
            raise socket.gaierror(socket.EAI_NONAME, "name or service not known")
        if listener := self._listeners.get((host, port)):
            if listener.connect_seconds == math.inf:
                await anyio.sleep_forever()
            await anyio.sleep(listener.connect_seconds)
        if listener is None or self._tasks is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
        client, server = connected()
        self._clients = [stream for stream in self._clients if not stream.closed]
        self._clients.append(client)
        self.connected += 1
        self._tasks.start_soon(_serve, listener.serve, server)
        return client

    @contextmanager
    def installed(self) -> Iterator[None]:
        """
        Have every connection that httpcore2 opens meanwhile go through this network.

        So do those that aitor opens for it. Its pools then count the age of unused
        connections by the loop's clock too.
        """
        backend = _Backend(self)

        async def connect_tcp(_: AutoBackend, *args: Any, **named: Any) -> _HTTPStream:
            return await backend.connect_tcp(*args, **named)

        async def dial(_: Sockets, *args: Any) -> _HTTPStream:
            return await backend.connect_tcp(*args)

        clock = SimpleNamespace(monotonic=anyio.current_time)
        with (
            patch.object(AutoBackend, "connect_tcp", connect_tcp),
            patch.object(Sockets, "dial", dial),
            patch.object(http11, "time", clock),
        ):
            yield

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks, self._tasks = self._tasks, None
        assert tasks is not None  # noqa: S101  # it was entered
        tasks.cancel_scope.cancel()
        if isinstance(error, Exception):
            # It leaves as it came, and not as a member of a group.
            kind = error = traceback = None
        await tasks.__aexit__(kind, error, traceback)


async def _serve(serve: Server, stream: Stream) -> None:
    async with stream:
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream, ClientGoneError):
            await serve(stream)


class _Backend(httpcore2.AsyncNetworkBackend):
    """The network as httpcore2 wants one."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> "_HTTPStream":
        try:
            with anyio.fail_after(timeout):
                return _HTTPStream(await self._network.connect(host, port))
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error


class _HTTPStream(httpcore2.AsyncNetworkStream):
    """A client's end as httpcore2 wants one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with anyio.fail_after(timeout):
                return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as error:
            raise httpcore2.ReadTimeout(str(error)) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            with anyio.fail_after(timeout):
                await self._stream.send(buffer)
        except TimeoutError as error:
            raise httpcore2.WriteTimeout(str(error)) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore2.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.readable if info == "is_readable" else None
