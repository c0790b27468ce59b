"""
The default wire: pyqwest, which is reqwest and hyper under Python.

The same code serves asyncio and trio, and TLS is done outside the interpreter
lock. What costs time is each crossing between Python and Rust's threads, far more
than anything on this page. So a call makes as few as it can: one for the head, one
for each piece of the body, and none to learn that a body of known length is at its
end.

HTTP/1.1 only: one connection for each call in flight is what the settings of the
pool mean, what the vendors' own SDKs do, and what lets a lost connection fail one
call instead of all. Over HTTP/2 a server's limit on streams would hold calls back
unseen. No compression either: answers are short, streams come without a
compressor's delay, and the length in the head stays true.
"""

import errno
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import cast

from anyio.lowlevel import checkpoint_if_cancelled
from pyqwest import (
    ConnectTimeout,
    Headers,
    HTTPTransport,
    HTTPVersion,
    RemoteProtocolError,
    Request,
    WriteError,
)

from aitor.errors import AttemptTimeoutError, ConfigurationError, LLMError
from aitor.wire.base import Response, WireSettings
from aitor.wire.failures import Call, Fault, KeptConnections, unsendable_header

__all__ = ("PyqwestWire",)


class PyqwestWire:
    """
    A connection pool of pyqwest.

    Certificates are the system's, or those that `SSL_CERT_FILE` names; proxies come
    from the usual environment variables, both read once. `max_connections` holds
    for each address that the host resolves to, and a first burst of calls may pass
    it; what bounds connections is that each call in flight has one.

    Args:
        settings: What the pool needs to know.

    Raises:
        ConfigurationError: A header or the URL cannot be sent.
    """

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = _headers(settings.headers)
        _request(settings.base_url, self._headers, b"")
        max_idle = settings.max_idle if settings.keep_alive else 0
        self.kept = KeptConnections(max_idle)
        self._closed = False
        self.transport = HTTPTransport(
            # Reading the system's certificates takes some 50 ms.
            tls_include_system_certs=settings.base_url.startswith("https:"),
            http_version=HTTPVersion.HTTP1,
            connect_timeout=settings.connect_timeout,
            pool_idle_timeout=settings.idle_seconds,
            pool_max_idle_per_host=max_idle,
            max_connections_per_address=settings.max_connections,
            enable_gzip=False,
            enable_brotli=False,
            enable_zstd=False,
            # The resolver that every other program on the machine uses.
            use_system_dns=True,
            follow_redirects=False,
            enable_otel=False,
        )

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """Send *body* to *path* once, and hand out the response; see `Wire`."""
        sent = self._headers
        if headers:
            sent = _headers({**self._settings.headers, **headers})
        return _Exchange(self, _request(self._settings.base_url + path, sent, body))

    async def aclose(self) -> None:
        """Close every unused connection; calls in flight keep theirs to their end."""
        self._closed = True
        await self.transport.aclose()

    def explain(self, error: Exception, call: Call) -> LLMError:
        """Put an exception that came before the head of an answer into our words."""
        text = str(error)
        match error:
            case ConnectTimeout():
                return AttemptTimeoutError(
                    f"no connection within {self._settings.connect_timeout:g} s "
                    "(look at 'connect_timeout')"
                )
            case ConnectionError():
                return _explain_connect(text)
            case RemoteProtocolError() if "connection closed" not in text:
                return Fault.PROTOCOL.error()
            case RemoteProtocolError() | WriteError():
                return Fault.LOST.error(_errno(text), unused=call.unused)
            case _ if self._closed:
                return Fault.CLOSED.error()
            case _:
                return Fault.OTHER.error(type(error).__name__)


class _Exchange:
    """One call: context manager, response and body in one, since each costs time."""

    __slots__ = ("_answer", "_content", "_missing", "_request", "_wire")

    def __init__(self, wire: PyqwestWire, request: Request) -> None:
        self._wire = wire
        self._request = request

    async def __aenter__(self) -> Response:
        # Otherwise a call whose time is already up would go out all the same:
        # pyqwest starts before it is awaited.
        await checkpoint_if_cancelled()
        call = Call(self._wire.kept)
        try:
            self._answer = await self._wire.transport.execute(self._request)
        except Exception as error:  # noqa: BLE001  # all are told in our words
            failure = self._wire.explain(error, call)
        else:
            self._content = self._answer.content
            self._missing = _length(self._answer.headers)
            return self
        # Outside the handler, so that the original is not its context.
        raise failure

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._missing:
            await self._answer.aclose()
        else:
            self._wire.kept.give_back()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case; of a repeated header the first value."""
        # Rust's own, which does all that a mapping does. A dictionary would cost
        # twenty times the two or three look-ups that are made.
        return cast("Mapping[str, str]", self._answer.headers)

    def __aiter__(self) -> "_Exchange":
        return self

    async def __anext__(self) -> bytes:
        if not self._missing:
            raise StopAsyncIteration
        try:
            piece = await self._content.__anext__()
        except StopAsyncIteration:
            self._missing = 0
            raise
        except Exception as error:  # noqa: BLE001  # all are told in our words
            failure = Fault.CUT.error(_errno(str(error)))
        else:
            self._missing -= len(piece)
            return bytes(piece)
        # Outside the handler, so that the original is not its context.
        raise failure


def _length(headers: Headers) -> float:
    """Return how long a body will be, infinite if its head does not tell."""
    length = headers.get("content-length")
    if length and length.isdigit() and "transfer-encoding" not in headers:
        return int(length)
    return inf


def _headers(headers: Mapping[str, str]) -> Headers:
    try:
        return Headers(headers.items())
    except ValueError:
        # It quotes the value, which may be the key.
        pass
    raise unsendable_header()


def _request(url: str, headers: Headers, body: bytes) -> Request:
    try:
        return Request("POST", url, headers, body)
    except ValueError:
        pass
    raise ConfigurationError(f"'base_url' = {url!r}: is no URL that can be asked")


def _explain_connect(text: str) -> LLMError:
    if "dns error" in text:
        return Fault.NAME.error()
    # What follows are words of the TLS library about names and dates.
    if certificate := text.partition("invalid peer certificate: ")[2]:
        return Fault.CERTIFICATE.error(certificate)
    if "corrupt message" in text:
        return Fault.TLS.error()
    code = _errno(text)
    if code == "ECONNREFUSED":
        return Fault.REFUSED.error()
    return Fault.UNREACHABLE.error(code)


def _errno(text: str) -> str:
    code = re.search(r"\(os error (\d+)\)", text)
    return errno.errorcode.get(int(code[1]), "") if code else ""
