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

from collections import deque
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from socket import socket
from time import monotonic
from types import TracebackType

from aitor.errors import AttemptTimeoutError, LLMError, OutOfDescriptorsError
from aitor.wire import failures
from aitor.wire.base import Response, WireSettings
from aitor.wire.coding import decoded
from aitor.wire.connection import Connection
from aitor.wire.dial import Dialler, certificates
from aitor.wire.failures import Fault, Heard, errno_of, explain_connect
from aitor.wire.http1 import Composer
from aitor.wire.places import Places, is_want_of_descriptors, out_of_descriptors

__all__ = ("SocketWire",)


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
            address.host, address.port, certificates() if address.tls else None
        )
        self._places = Places(settings.max_connections, settings.connect_timeout)
        self._idle: deque[_Connection] = deque()
        self._most_idle = settings.max_idle if settings.keep_alive else 0
        self._closed = False
        self.heard = Heard()

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
        since = None
        while True:
            await self._places.acquire()
            try:
                return self._kept(monotonic()) or await self._open()
            except OutOfDescriptorsError:
                pass
            except BaseException:
                self._places.release()
                raise
            # Another try makes sense when somebody has given a connection back.
            since = await self._places.shrink(since)

    def give_back(self, connection: "_Connection") -> None:
        """Keep *connection* for another call if it is good for one."""
        wanted = self._most_idle and not self._closed and not self._places.crowded
        self._places.release()
        if not wanted or not connection.is_good():
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
            if is_want_of_descriptors([error]):
                failure = out_of_descriptors()
            # The system's own has a number, and comes after its own time.
            if isinstance(error, TimeoutError) and error.errno is None:
                failure = AttemptTimeoutError(
                    f"no connection within {timeout:g} s (look at 'connect_timeout')"
                )
        # Outside the handler, so that the original is not its context.
        raise failure


class _Connection(Connection):
    """
    A connection, and when it was used.

    Args:
        connected: Open, and not blocking.
    """

    __slots__ = ("since",)

    def __init__(self, connected: socket) -> None:
        super().__init__(connected)
        self.since = -inf
        """When it was kept, or taken again; a new one never was."""

    def begin(self, now: float) -> None:
        """Expect the answer to another request."""
        self.answer.begin()
        self.sent = False
        self.since = now

    def is_unread(self) -> bool:
        """Return whether a request that was lost is taken for unread; see `Call`."""
        return monotonic() - self.since < failures.RACE and not self.answer.begun


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
            failure = self._wire.heard.lost(errno_of(error), unused=unused)
        except BaseException:
            self._leave(connection)
            raise
        else:
            self._wire.heard.anything = True
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
