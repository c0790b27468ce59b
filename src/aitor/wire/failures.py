"""
What goes wrong below HTTP, in our words.

No text of a foreign exception is ever copied, and none is kept as a cause: those
of HTTP clients may quote a header, and with it the key, or hold the whole
request. What is said instead comes from this page, and from the few details that
cannot hold a secret: the name of an `errno`, and what a TLS library has against a
certificate.
"""

import errno
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from enum import Enum
from math import inf

from anyio import current_time

from aitor.errors import (
    AttemptTimeoutError,
    BadRequestError,
    ConfigurationError,
    ConnectionFailedError,
    LLMError,
)
from aitor.wire.coding import broken_compression
from aitor.wire.places import is_want_of_descriptors, out_of_descriptors
from aitor.wire.proxies import Proxy

__all__ = (
    "Call",
    "Fault",
    "Heard",
    "KeptConnections",
    "errno_of",
    "explain",
    "explain_connect",
    "unsendable_header",
)

STATUS = re.compile(r"\d{3}\b")

RACE = 1.0
"""Seconds within which a lost request counts as never read; see `Call`."""


class Fault(Enum):
    """The ways a call can fail before HTTP has a status to tell."""

    NAME = "the host's name was not found (look at 'base_url')"
    REFUSED = "the connection was refused (look at 'base_url')"
    CERTIFICATE = "the server's certificate is not trusted"
    TLS = "no TLS with this server (look at scheme and port of 'base_url')"
    UNREACHABLE = "no connection (look at 'base_url' and the proxy variables)"
    PROXY = "no connection to the proxy"
    TUNNEL = "the proxy refused to connect to the provider"
    LOST = "the connection was lost before an answer came"
    PROTOCOL = "what came back is not HTTP (look at scheme and port of 'base_url')"
    CUT = "the connection was lost in the middle of the answer"
    CLOSED = "the connection pool is closed"
    OTHER = "the call failed"

    def error(self, detail: str = "", *, unused: bool = False) -> ConnectionFailedError:
        """Return the error that tells of it."""
        text = f"{self.value}: {detail}" if detail else self.value
        error = ConnectionFailedError(text, unused=unused)
        error.refused = self is Fault.REFUSED
        return error


class Heard:
    """
    Says of a lost request what the loss may mean.

    Who asks a port that speaks TLS without it, or another service altogether, is often
    told nothing at all. Once something came from there, a loss is a loss.
    """

    __slots__ = ("anything",)

    def __init__(self) -> None:
        self.anything = False
        """Whether an answer has ever come."""

    def lost(self, detail: str, *, unused: bool) -> ConnectionFailedError:
        """Return the error for a connection that was lost before an answer."""
        if not self.anything:
            hint = "none ever came: look at scheme and port of 'base_url'"
            detail = f"{detail} ({hint})" if detail else hint
        return Fault.LOST.error(detail, unused=unused)


class KeptConnections:
    """
    Counts the connections that earlier calls have left open.

    A transport that is not ours does not tell whether a call got a used connection or
    a new one, but all of them prefer a used one, so counting comes close. Connections
    that a server closed while nobody looked are counted on.

    Args:
        most: Most connections that the pool keeps open while unused, if known.
    """

    __slots__ = ("_count", "_most")

    def __init__(self, most: float = inf) -> None:
        self._count = 0
        self._most = most

    def take(self) -> bool:
        """Return whether the next call gets a connection that was used before."""
        if not self._count:
            return False
        self._count -= 1
        return True

    def give_back(self) -> None:
        """Count a connection whose answer was read to its end."""
        if self._count < self._most:
            self._count += 1


class Call:
    """
    Tells whether a lost request can have been read.

    A server that closes a kept connection just as a request is on its way answers
    with a reset, one round trip later. So a request that was lost on a kept
    connection within a second of its start was most likely never read; one that
    was lost later was, and may have been worked on and billed.

    Args:
        kept: Whether it has a connection that was used before.
        started: When, by the event loop's clock.
        heard: What was heard from where it goes.
    """

    __slots__ = ("_started", "heard", "kept")

    def __init__(self, kept: bool, started: float, heard: Heard) -> None:
        self.kept = kept
        self.heard = heard
        self._started = started

    @property
    def unused(self) -> bool:
        """Whether a request that was just lost is taken for unread."""
        return self.kept and current_time() - self._started < RACE


def unsendable_header() -> ConfigurationError:
    """Return the error for a header that HTTP does not allow, without its value."""
    return ConfigurationError(
        "a header cannot be sent (look at 'api_key' and 'headers')"
    )


def explain(
    error: Exception, call: Call | None, proxy: Proxy | None = None
) -> LLMError:
    """
    Put an exception of an HTTP client in Python into our words.

    Both families of httpx name their exceptions alike, and neither need be
    imported to know them by name.

    Args:
        error: As the client raised it.
        call: How the call began; None once its answer has begun.
        proxy: What it went through, where that is known.
    """
    chain = list(_chain(error))
    names = {kind.__name__ for kind in type(error).__mro__}
    if "TimeoutException" in names:
        return AttemptTimeoutError(_TIMEOUTS.get(type(error).__name__, "too late"))
    if (own := _explain_own(error, names, chain)) is not None:
        return own
    if "DecodingError" in names:
        return broken_compression()
    # An SDK reads the body of a refusal before it hands out the head.
    if call is None or "complete message body" in str(error):
        return Fault.CUT.error(_first_errno(chain))
    if proxy is not None and names & {"ConnectError", "ProxyError"}:
        return _explain_proxy(proxy, "ProxyError" in names, chain)
    if names & {"ConnectError", "ProxyError", "UnsupportedProtocol"}:
        return explain_connect(*chain)
    if "RemoteProtocolError" in names and "disconnected" not in str(error):
        return Fault.PROTOCOL.error()
    if names & {"NetworkError", "RemoteProtocolError"}:
        return call.heard.lost(_first_errno(chain), unused=call.unused)
    return Fault.OTHER.error(type(error).__name__)


def _explain_own(
    error: Exception, names: set[str], chain: list[BaseException]
) -> LLMError | None:
    """Say what kept the request from being sent here, if anything did."""
    if is_want_of_descriptors(chain):
        return out_of_descriptors()
    if isinstance(error, UnicodeEncodeError) and error.encoding == "utf-8":
        return BadRequestError("the text has half a surrogate pair, which no UTF-8 has")
    if names & {"LocalProtocolError", "UnicodeEncodeError"}:
        return unsendable_header()
    return None


_TIMEOUTS = {
    "ConnectTimeout": "no connection in time (look at 'connect_timeout')",
    "PoolTimeout": "no connection of the pool came free in time",
    "ReadTimeout": "nothing came within the client's own read timeout",
    "WriteTimeout": "nothing could be sent within the client's own write timeout",
}


def explain_connect(*chain: BaseException) -> ConnectionFailedError:
    """Put what kept a connection from being made into our words."""
    for link in chain:
        match link:
            case socket.gaierror():
                return Fault.NAME.error()
            case ssl.SSLCertVerificationError():
                return Fault.CERTIFICATE.error(link.verify_message)
            case ssl.SSLError():
                return Fault.TLS.error()
            case ConnectionRefusedError():
                return Fault.REFUSED.error()
    return Fault.UNREACHABLE.error(_first_errno(chain))


def _explain_proxy(
    proxy: Proxy, answered: bool, chain: list[BaseException]
) -> ConnectionFailedError:
    look = f"look at '{proxy.variable}'"
    if answered:
        # It says so with a status of HTTP, or in the words of SOCKS.
        status = STATUS.match(str(chain[0]))
        return Fault.TUNNEL.error(f"{status[0]} ({look})" if status else look)
    if any(isinstance(link, ssl.SSLError) for link in chain):
        # It may have been spoken with either.
        failure = explain_connect(*chain)
        if failure.message == Fault.TLS.value and proxy.url.startswith("https:"):
            failure = Fault.TLS.error(f"or of '{proxy.variable}'")
        return failure
    nameless = any(isinstance(link, socket.gaierror) for link in chain)
    reason = "its name was not found" if nameless else _first_errno(chain)
    return Fault.PROXY.error(f"{reason} ({look})" if reason else look)


def errno_of(error: BaseException) -> str:
    """Return the name that the system has for *error*, empty if it has none."""
    # The TLS library counts its own errors from 1, too.
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return errno.errorcode.get(error.errno or 0, "")
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Iterate over an exception and all that led to it, groups included."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _chain(member)
        error = error.__cause__ or error.__context__


def _first_errno(chain: Iterable[BaseException]) -> str:
    return next(filter(None, map(errno_of, chain)), "")
