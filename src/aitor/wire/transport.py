"""
What httpx2 and the SDKs' clients send with, where we make it: their pool, our sockets.

The pool of httpcore2 knows proxies, and when a connection is taken and given back. What
it cannot tell is whether a connection is clean: bytes that a server sent behind an
answer wait in a parser, in the TLS library or in the event loop, and become the answer
to whoever is next. Here each connection is read along with by our own parser, and one
that has anything left, or of which that cannot be told, is not used again. Names are
looked up, sockets opened and TLS is begun as by the default wire, so one URL means one
server.
"""

import ssl
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2
from anyio import fail_after

from aitor.wire.address import Address
from aitor.wire.base import WireSettings
from aitor.wire.connection import Connection
from aitor.wire.dial import Dialler, certificates, shake_hands
from aitor.wire.failures import Call
from aitor.wire.http1 import AnswerReader
from aitor.wire.places import Places
from aitor.wire.proxies import Proxy

__all__ = ("Sockets", "Transport", "calling")

_call: ContextVar[Call | None] = ContextVar("aitor.wire.call", default=None)


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Let *call* know whether it gets a new connection."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)


class Transport(httpx2.AsyncBaseTransport):
    """
    A pool of connections for an `httpx2.AsyncClient`.

    Args:
        settings: What the pool needs to know.
        proxy: What it goes through.
        places: Who knows when there are more connections than the system allows.
    """

    def __init__(
        self, settings: WireSettings, proxy: Proxy | None, places: Places
    ) -> None:
        # TLS within TLS is beyond a socket, and Windows waits for few of them, so
        # httpcore2 has its own streams there. What they hold cannot be asked for.
        secure = proxy is not None and proxy.url.startswith("https:")
        self._opaque = secure or sys.platform == "win32"
        tls = secure or Address.of(settings.base_url).tls
        context = certificates() if tls else None
        max_idle = settings.max_idle if settings.keep_alive else 0
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            proxy=None if proxy is None else _proxy(proxy, context),
            max_connections=settings.max_connections,
            max_keepalive_connections=0 if self._opaque else max_idle,
            keepalive_expiry=settings.idle_seconds,
            network_backend=None if self._opaque else Sockets(places),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send *request*, and return the answer when its head is here."""
        if (call := _call.get()) is not None:
            # Unless a connection is made for it.
            call.kept = not self._opaque
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(
                    scheme=url.raw_scheme,
                    host=url.raw_host,
                    port=url.port,
                    target=url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """
    A body as httpx2 wants one.

    Args:
        stream: The same, of the pool.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # It ends with this one, whoever leaves: the garbage collector cannot await.
        async with aclosing(aiter(self._stream)) as pieces:
            async for piece in pieces:
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class Sockets(httpcore2.AsyncNetworkBackend):
    """
    Opens connections for httpcore2.

    Args:
        places: Who knows when there are more connections than the system allows.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._diallers: dict[tuple[str, int], Dialler] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return a new connection; the last two arguments have no meaning here."""
        if (call := _call.get()) is not None:
            call.kept = False
        return await self.dial(host, port, timeout)

    async def dial(
        self, host: str, port: int, timeout: float | None
    ) -> httpcore2.AsyncNetworkStream:
        """Return a new connection to *port* of *host*."""
        dialler = self._diallers.get((host, port))
        if dialler is None:
            dialler = self._diallers[host, port] = Dialler(host, port, None)
        with _told_as(httpcore2.ConnectTimeout, httpcore2.ConnectError):
            connection = Connection(await dialler.dial(timeout))
        return _Stream(connection, self._places)


class _Stream(httpcore2.AsyncNetworkStream):
    """
    A connection as httpcore2 wants one, read along with.

    Args:
        connection: Open.
        places: Who knows when there are more connections than the system allows.
    """

    def __init__(self, connection: Connection, places: Places) -> None:
        self._connection = connection
        self._places = places
        self._heard = b""
        """What was read while sending, and by nobody else yet."""
        self._closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what comes next; nothing is the end."""
        data = self._heard
        if not data:
            with (
                _told_as(httpcore2.ReadTimeout, httpcore2.ReadError),
                fail_after(timeout),
            ):
                data = await self._connection.next_bytes()
            if data:
                self._read_along(data)
        self._heard = data[max_bytes:]
        return data[:max_bytes]

    def _read_along(self, data: bytes) -> None:
        answer = self._connection.answer
        answer.feed(data)
        if answer.flooded:
            raise httpcore2.RemoteProtocolError("too much without a body")
        if (call := _call.get()) is not None:
            # Somebody has read the request, so its loss is one.
            call.kept = False

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """
        Send *buffer*, or so much of it as the server wants before it answers.

        In the second case it raises, and httpcore2 then reads the answer.
        """
        connection = self._connection
        if connection.answer.complete or connection.answer.malformed:
            # Another request; or what went before was no HTTP, as with SOCKS.
            connection.answer = AnswerReader()
        connection.sent = False
        with (
            _told_as(httpcore2.WriteTimeout, httpcore2.WriteError),
            fail_after(timeout),
        ):
            self._heard += await connection.send(buffer)
        if not connection.sent:
            raise httpcore2.WriteError("answered before all was sent")

    async def aclose(self) -> None:
        """Close the connection; closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._connection.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "_Stream":
        """Return this connection in TLS."""
        # It is the other one's now, and closed by whoever fails.
        self._closed = True
        plain, host = self._connection.socket, server_hostname or ""
        with (
            _told_as(httpcore2.ConnectTimeout, httpcore2.ConnectError),
            fail_after(timeout),
        ):
            secure = await shake_hands(plain, ssl_context, host)
        return _Stream(Connection(secure), self._places)

    def get_extra_info(self, info: str) -> Any:
        """Return what is asked for, where it is known."""
        connected = self._connection.socket
        if info == "is_readable":
            # So the pool asks whether an unused connection is of no use any more.
            return self._closed or self._places.crowded or not self._is_clean()
        if info == "ssl_object":
            return connected if isinstance(connected, ssl.SSLSocket) else None
        return connected if info == "socket" else None

    def _is_clean(self) -> bool:
        return self._connection.is_good() and self._connection.is_quiet()


@contextmanager
def _told_as(late: type[Exception], lost: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        # The system's own has a number, and comes after its own time.
        raise (lost if error.errno else late)(str(error)) from error
    except (OSError, EOFError) as error:
        raise lost(str(error)) from error


def _proxy(proxy: Proxy, context: ssl.SSLContext | None) -> httpcore2.Proxy:
    # httpx2 takes user and password out of the address.
    known = httpx2.Proxy(proxy.url)
    return httpcore2.Proxy(
        url=httpcore2.URL(
            scheme=known.url.raw_scheme,
            host=known.url.raw_host,
            port=known.url.port,
            target=known.url.raw_path,
        ),
        auth=known.raw_auth,
        ssl_context=context if proxy.url.startswith("https:") else None,
    )
