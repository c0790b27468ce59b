"""
What carries bytes: a request's path and body out, status, headers and body back.

A wire is one provider's connection pool and nothing else. It knows addresses,
certificates, proxies and sockets; it knows no vendor, no retry, no redirect and no
cookie, and it sends each request exactly once. Behind the protocol stand `sockets`
(the default), `httpx2` (for who has a proxy, and what runs in virtual time), and a
caller's own SDK client.

Every wire raises the same errors for what goes wrong below HTTP:
`ConnectionFailedError`, for the time to connect `AttemptTimeoutError`, and
`OutOfDescriptorsError` for what is this process's own. All other time limits are the
actor's: it cancels the call, and a cancelled call closes its connection.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from aitor.wire.address import shown_url

__all__ = ("Response", "WholeResponse", "Wire", "WireSettings")


@dataclass(frozen=True, slots=True, repr=False)
class WireSettings:
    """
    What a connection pool needs to know.

    Args:
        base_url: Where paths are appended; no slash at the end.
        headers: Sent with every request; they hold the key, so no `repr` shows
            them.
        connect_timeout: Seconds to get a connection, TLS included.
        max_connections: Most connections at once; no fewer than calls in flight, or
            else calls would wait for one unseen.
        max_idle: Most connections kept open while unused.
        idle_seconds: How long an unused one is kept.
        keep_alive: False closes the connection after each request.
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float = 10.0
    max_connections: int = 64
    max_idle: int = 64
    idle_seconds: float = 60.0
    keep_alive: bool = True

    def __repr__(self) -> str:
        return f"WireSettings(base_url={shown_url(self.base_url)!r})"


class Response(Protocol):
    """
    An answer's head, and its body as it comes.

    The body is iterated at most once. Leaving the context manager that gave the
    response before the body's end closes the connection.
    """

    @property
    def status(self) -> int:
        """The HTTP status; 404 is as good an answer as 200."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case; of a repeated header the first value."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the body's bytes in pieces of any size."""
        ...


class WholeResponse:
    """
    A response whose body is here already, for who has one to hand out.

    Args:
        status: The HTTP status.
        headers: Names in lower case.
        body: All of it; handed out in one piece.
    """

    __slots__ = ("_body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body: bytes | None = body

    def __aiter__(self) -> "WholeResponse":
        return self

    async def __anext__(self) -> bytes:
        if self._body is None:
            raise StopAsyncIteration
        body, self._body = self._body, None
        return body

    async def aclose(self) -> None:
        """Do nothing: it holds no connection."""


class Wire(Protocol):
    """One provider's connection pool."""

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """
        Send *body* to *path* once, and hand out the response when its head is here.

        Args:
            path: Appended to the base URL; begins with a slash.
            body: JSON.
            headers: Added to the pool's own for this request.

        Leaving the block before the body's end closes the connection, and so does
        a cancellation, whatever it interrupts.

        Raises:
            ConnectionFailedError: No connection, or it broke; so may the iteration
                over the body. `unused` is true when a kept-alive connection turned
                out closed.
            AttemptTimeoutError: No connection within `connect_timeout`.
            OutOfDescriptorsError: The system allowed none for some seconds, in which
                the pool has grown smaller and this call has waited its turn.
            ConfigurationError: A header cannot be sent.
        """
        ...

    @property
    def stale(self) -> bool:
        """
        Whether another pool should take the next calls.

        So it is where a kept connection was lost, and those that were kept beside
        it are most likely lost, too, but cannot be closed.
        """
        ...

    async def aclose(self) -> None:
        """
        Close the pool; closing twice does nothing.

        Calls in flight are not ended: cancel them first.
        """
        ...
