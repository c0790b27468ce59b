"""
The wire on httpx2, the client that the vendors' SDKs use.

It costs ten times what the default does. In return it knows proxies, and its
transport can be replaced: by one in memory, on which a whole broker runs in virtual
time.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
from anyio import CancelScope, current_time

from aitor.errors import ConnectionFailedError
from aitor.wire.address import FRAMING, Address
from aitor.wire.base import Response, WireSettings
from aitor.wire.failures import (
    Call,
    Fault,
    Heard,
    KeptConnections,
    explain,
    unsendable_header,
)
from aitor.wire.places import Places
from aitor.wire.proxies import Proxy
from aitor.wire.transport import Transport, calling

__all__ = ("Httpx2Wire", "StreamedResponse", "first_values", "no_cookies")


class Httpx2Wire:
    """
    A connection pool of httpx2.

    Certificates are the system's, or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name.

    Args:
        settings: What the pool needs to know.
        transport: What to send with instead of a pool of its own.
        proxy: What its own pool goes through; no other is looked for.

    Raises:
        ConfigurationError: A header cannot be sent.
    """

    def __init__(
        self,
        settings: WireSettings,
        transport: httpx2.AsyncBaseTransport | None = None,
        *,
        proxy: Proxy | None = None,
    ) -> None:
        self._kept = KeptConnections(settings.max_idle if settings.keep_alive else 0)
        self._base_url = Address.of(settings.base_url).url
        self.stale = False
        """Whether a kept connection was lost unread; see `Wire`."""
        self._proxy = proxy
        self._heard = Heard()
        self._places = Places(settings.max_connections, settings.connect_timeout)
        if transport is None:
            transport = Transport(settings, proxy, self._places)
        try:
            self._client = httpx2.AsyncClient(
                # Answers are short, streams come without a compressor's delay.
                headers={"accept-encoding": "identity", **settings.headers},
                # All other limits are the actor's, which cancels the call.
                timeout=httpx2.Timeout(None, connect=settings.connect_timeout),
                cookies=no_cookies(),
                follow_redirects=False,
                transport=transport,
            )
        except UnicodeEncodeError:
            # It quotes the value, which may be the key.
            pass
        else:
            return
        raise unsendable_header()

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Response]:
        """Send *body* to *path* once, and hand out the response; see `Wire`."""
        async with self._places.sending(
            partial(self._send, path, body, headers)
        ) as got:
            yield got

    async def _send(
        self, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> "StreamedResponse":
        if self._client.is_closed:
            raise Fault.CLOSED.error()
        call = Call(self._kept.take(), current_time(), self._heard)
        try:
            request = self._client.build_request(
                "POST", self._base_url + path, content=body, headers=headers
            )
            with calling(call):
                answer = await self._client.send(request, stream=True)
        except Exception as error:  # noqa: BLE001  # all are told in our words
            failure = explain(error, call, self._proxy)
            self.stale |= isinstance(failure, ConnectionFailedError) and failure.unused
        else:
            self._heard.anything = True
            return StreamedResponse(answer, self._kept)
        # Outside the handler, so that the original is not its context.
        raise failure

    async def aclose(self) -> None:
        """Close every connection; closing twice does nothing."""
        await self._client.aclose()


def no_cookies() -> CookieJar:
    """Return where nothing is kept of what one answer sets for the next request."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


class StreamedResponse:
    """
    An answer of httpx2 as a `Response`, its body decoded if it came compressed.

    Args:
        answer: The answer, with its body not yet read.
        connections: Where its connection counts once the body was read, if anywhere.
    """

    def __init__(
        self, answer: httpx2.Response, connections: KeptConnections | None = None
    ) -> None:
        self.status = answer.status_code
        self.headers = first_values(answer.headers)
        self._connections = connections if _stays_open(answer) else None
        self._pieces: AsyncGenerator[bytes, None] = answer.aiter_bytes()
        self._left = False

    def __aiter__(self) -> "StreamedResponse":
        return self

    async def __anext__(self) -> bytes:
        if self._left:
            raise Fault.CUT.error("it was left")
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            if self._connections is not None:
                self._connections.give_back()
            raise
        except Exception as error:  # noqa: BLE001  # all are told in our words
            failure = explain(error, None)
        # Outside the handler, so that the original is not its context.
        raise failure

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end."""
        self._left = True
        # Reading on in a cancelled scope closes the connection and ends every
        # generator within httpx2. Closed in the ordinary way, httpx2 leaves one of
        # them to the garbage collector, which cannot await.
        with CancelScope() as scope, suppress(Exception):
            scope.cancel()
            async for _ in self._pieces:
                pass


def _stays_open(answer: httpx2.Response) -> bool:
    """Return whether the connection of *answer* may be used again after its body."""
    if answer.http_version != "HTTP/1.1":
        return answer.http_version == "HTTP/2"
    if answer.headers.get("connection", "").lower() == "close":
        return False
    # These have no body, whatever their headers say.
    return answer.status_code in (204, 304) or bool(answer.headers.keys() & {*FRAMING})


def first_values(headers: httpx2.Headers) -> dict[str, str]:
    """Return *headers* as a dictionary, which httpx2's own joins values in."""
    values: dict[str, str] = {}
    for name, value in headers.multi_items():
        values.setdefault(name, value)
    return values
