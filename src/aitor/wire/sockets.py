"""
The default wire: HTTP/1.1 on sockets, the same on asyncio and on trio.

A call is one task, one socket and no thread: it writes, waits, reads. So it can be
cancelled at any moment, with the socket closed before the cancellation has
travelled on, and whether a connection was used before is known, not guessed.

HTTP/1.1 only: one connection for each call in flight is what the settings of the
pool mean, what the vendors' own SDKs do, and what lets a lost connection fail one
call instead of all. Over HTTP/2 a server's limit on streams would hold calls back
unseen. No compression is asked for: answers are short, and streams come without a
compressor's delay. No proxies: `httpx2` serves those who have one.
"""

import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from socket import socket
from time import monotonic
from types import TracebackType

import anyio
from anyio import CancelScope, wait_readable, wait_writable

from aitor.errors import AttemptTimeoutError, LLMError
from aitor.wire import failures
from aitor.wire.base import Response, WireSettings
from aitor.wire.coding import decoded
from aitor.wire.dial import Dialler
from aitor.wire.failures import Fault, errno_of, explain_connect
from aitor.wire.http1 import AnswerReader, Composer

__all__ = ("SocketWire",)

CHUNK = 64 * 1024
"""Most bytes read at once; a record of TLS has no more than a quarter of it."""


class SocketWire:
    """
    A pool of connections to one host.

    Certificates are those that the vendors' SDKs trust: the system's, or what
    `SSL_CERT_FILE` or `SSL_CERT_DIR` name. The connection used last is used next,
    so that those which a burst has left behind grow old and are closed.

    Args:
        settings: What the pool needs to know.

    Raises:
        ConfigurationError: A header or the URL cannot be sent.
    """

    stale = False
    """Never: it closes by itself what is; see `Wire`."""

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._composer = Composer(settings.base_url, settings.headers)
        address = self._composer.address
        self._dialler = Dialler(
            address.host, address.port, _certificates() if address.tls else None
        )
        self._places = anyio.Semaphore(settings.max_connections, fast_acquire=True)
        self._idle: deque[_Connection] = deque()
        self._most_idle = settings.max_idle if settings.keep_alive else 0
        self._closed = False

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """Send *body* to *path* once, and hand out the response; see `Wire`."""
        return _Exchange(self, self._composer.compose(path, body, headers))

    async def aclose(self) -> None:
        """Close every unused connection; calls in flight keep theirs to their end."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    async def take(self) -> "_Connection":
        """Return a connection, kept or new, which is to be given back."""
        # This does not return where time is already up, so nothing goes out then.
        await self._places.acquire()
        try:
            return self._kept(monotonic()) or await self._open()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: "_Connection") -> None:
        """Keep *connection* for another call if it is good for one."""
        self._places.release()
        if self._closed or not self._most_idle or not connection.is_good():
            connection.close()
            return
        now = connection.since = monotonic()
        self._idle.append(connection)
        oldest = now - self._settings.idle_seconds
        while len(self._idle) > self._most_idle or self._idle[0].since < oldest:
            self._idle.popleft().close()

    def distrust(self, moment: float) -> None:
        """
        Close what has been unused since before *moment*, when one was taken and lost.

        A router or a balancer that forgot that one has forgotten these, too: the
        younger is taken first. The second try would be lost on the next of them.
        """
        while self._idle and self._idle[0].since <= moment:
            self._idle.popleft().close()

    def _kept(self, now: float) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            age = now - connection.since
            if age <= self._settings.idle_seconds and connection.is_quiet():
                connection.begin(now)
                return connection
            connection.close()
        return None

    async def _open(self) -> "_Connection":
        if self._closed:
            raise Fault.CLOSED.error()
        timeout = self._settings.connect_timeout
        try:
            return _Connection(await self._dialler.dial(timeout))
        except OSError as error:
            failure: LLMError = explain_connect(error)
            # The system's own has a number, and comes after its own time.
            if isinstance(error, TimeoutError) and error.errno is None:
                failure = AttemptTimeoutError(
                    f"no connection within {timeout:g} s (look at 'connect_timeout')"
                )
        # Outside the handler, so that the original is not its context.
        raise failure


class _Connection:
    """
    A socket, and the answers that come over it.

    Args:
        connected: Open, and not blocking.
    """

    __slots__ = ("answer", "sent", "since", "socket")

    def __init__(self, connected: socket) -> None:
        self.socket = connected
        self.answer = AnswerReader()
        self.sent = False
        """Whether the request went out whole."""
        self.since = -inf
        """When it was kept, or taken again; a new one never was."""

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

    def begin(self, now: float) -> None:
        """Expect the answer to another request."""
        self.answer.begin()
        self.sent = False
        self.since = now

    def is_good(self) -> bool:
        """Return whether another request may follow this one and its answer."""
        return self.sent and self.answer.reusable

    def is_unread(self) -> bool:
        """Return whether a request that was lost is taken for unread; see `Call`."""
        return monotonic() - self.since < failures.RACE and not self.answer.begun

    async def send(self, data: bytes) -> None:
        """
        Send *data*, or so much of it as the server wants before it answers.

        Raises:
            OSError: The connection is lost.
            EOFError: It was closed.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                if await self._is_answered():
                    return
            except ssl.SSLWantReadError:
                await wait_readable(self.socket)
        self.sent = True

    async def _is_answered(self) -> bool:
        """Wait until more can be sent; return whether an answer forestalled it."""
        answer = self.answer
        if answer.status:
            # One that has begun well is read when all is sent: it may be long.
            await wait_writable(self.socket)
            return False
        async with anyio.create_task_group() as group:
            scope = group.cancel_scope
            group.start_soon(_leave_when, wait_readable, self.socket, scope)
            await _leave_when(wait_writable, self.socket, scope)
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._take_in(self.socket.recv(CHUNK))
        return answer.complete or answer.malformed or answer.status >= 300

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
        while True:
            # Before the first try: an answer takes its time, and this lets others
            # run where one server is faster than we are.
            await wait_readable(self.socket)
            try:
                data = self.socket.recv(CHUNK)
                break
            except (BlockingIOError, ssl.SSLWantReadError):
                pass
            except ssl.SSLWantWriteError:
                await wait_writable(self.socket)
        self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        if data:
            self.answer.feed(data)
        elif not self.answer.feed_eof():
            raise EOFError

    def close(self) -> None:
        self.socket.close()
        self.answer.close()


class _Exchange:
    """One call: context manager, response and body in one, since each costs time."""

    __slots__ = ("_connection", "_request", "_wire", "headers", "status")

    def __init__(self, wire: SocketWire, request: bytes) -> None:
        self._wire = wire
        self._request = request
        self._connection: _Connection | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Response:
        connection = self._connection = await self._wire.take()
        answer = connection.answer
        try:
            with suppress(ConnectionError):
                # Who refuses a request may do so, and hang up, before its end;
                # who reads no more and does not hang up is heard by `send`.
                await connection.send(self._request)
            while not answer.status:
                await connection.receive()
        except ValueError:
            failure = Fault.PROTOCOL.error()
        except (OSError, EOFError) as error:
            unused = connection.is_unread()
            if unused:
                self._wire.distrust(connection.since)
            failure = Fault.LOST.error(errno_of(error), unused=unused)
        except BaseException:
            self._leave(connection)
            raise
        else:
            self.status = answer.status
            self.headers = answer.headers
            return decoded(self) if "content-encoding" in self.headers else self
        self._leave(connection)
        # Outside the handler, so that the original is not its context.
        raise failure

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._leave(self._connection)

    def _leave(self, connection: _Connection) -> None:
        # Whoever reads on now must not get what belongs to another call.
        self._connection = None
        self._wire.give_back(connection)

    def __aiter__(self) -> "_Exchange":
        return self

    async def __anext__(self) -> bytes:
        if (connection := self._connection) is None:
            raise Fault.CUT.error("it was left")
        answer = connection.answer
        try:
            while not (answer.pieces or answer.complete):
                await connection.receive()
        except (OSError, EOFError, ValueError) as error:
            failure = Fault.CUT.error(errno_of(error))
        else:
            if not answer.pieces:
                raise StopAsyncIteration
            return answer.take_body()
        # Outside the handler, so that the original is not its context.
        raise failure


async def _leave_when(
    ready: Callable[[socket], Awaitable[None]], connected: socket, scope: CancelScope
) -> None:
    await ready(connected)
    scope.cancel()


def _certificates() -> ssl.SSLContext:
    # Imported here: it costs a tenth of a second, and plain HTTP needs none of it.
    from httpcore2 import default_ssl_context

    context = default_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
