"""
Connecting: from a host's name to a socket that is ready to be written to.

Sockets here are the system's own and do not block; who waits for one does so with
`anyio.wait_readable`, the same on asyncio and on trio. Between a request and its
answer then stand one system call to send, one to wait and one to receive.
"""

import errno
import os
import socket
import ssl
from collections.abc import Sequence
from itertools import chain, zip_longest
from math import inf
from time import monotonic
from typing import Any, TypeAlias

import anyio
from anyio import wait_readable, wait_writable

from aitor.errors import ConfigurationError
from aitor.wire.places import is_want_of_descriptors, out_of_descriptors

__all__ = ("Dialler", "certificates", "shake_hands")

FRESH = 10.0
"""Seconds for which a host's addresses hold, so that a burst of calls asks once."""

HEAD_START = 0.25
"""Seconds an address has before the next is tried beside it (RFC 8305)."""

PENDING = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)
CONNECTED = (0, errno.EISCONN)

OPTIONS = tuple(
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        # A model may think for minutes without a byte, longer than many firewalls
        # remember a connection. The figures are those of the vendors' SDKs, in seconds.
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 5),
    )
    # Not every system has all of them.
    if hasattr(socket, name)
)

Address: TypeAlias = tuple[int, Any]
"""Its family, and what `socket.connect` takes."""


class Dialler:
    """
    Opens connections to one host.

    Args:
        host: A name or an address.
        port: The TCP port.
        context: What to speak TLS with; None for plain HTTP.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._lock = anyio.Lock()
        self._known = _in_figures(host, port)
        self._failure: OSError | None = None
        # Addresses in figures hold for ever.
        self._looked_up = inf if self._known else -inf

    async def dial(self, timeout: float | None) -> socket.socket:
        """
        Return a new connection, its TLS handshake done.

        Args:
            timeout: Seconds that waiting for it may take, if there is a limit.

        Raises:
            OSError: As the system or the TLS library tells it.
            TimeoutError: It was too late; without an `errno`, unlike the system's.
        """
        if len(self._known) == 1 and self._context is None and self._is_fresh():
            connection, code = _begin(*self._known[0])
            if code in PENDING:
                with anyio.fail_after(timeout):
                    code = await _outcome(connection)
            return _connected(connection, code)
        with anyio.fail_after(timeout):
            connection = await _race(await self._addresses())
            if self._context is None:
                return connection
            return await shake_hands(connection, self._context, self._host)

    def _is_fresh(self) -> bool:
        return monotonic() - self._looked_up <= FRESH

    async def _addresses(self) -> list[Address]:
        """Return the host's addresses; who asks meanwhile shares the answer."""
        if self._known and self._is_fresh():
            return self._known
        asked = monotonic()
        async with self._lock:
            if not self._is_fresh() or (self._failure and self._looked_up < asked):
                await self._look_up()
            if self._failure:
                raise type(self._failure)(*self._failure.args)
            return self._known

    async def _look_up(self) -> None:
        try:
            found = await anyio.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM
            )
            self._known = _alternate([(entry[0], entry[4]) for entry in found])
            self._failure = None
        except OSError as error:
            # Addresses that were good may be so still.
            self._failure = None if self._known else error
        self._looked_up = monotonic()


def _in_figures(host: str, port: int) -> list[Address]:
    """Return the address that *host* is, if it is one and not a name."""
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except OSError:
        return []
    return [(entry[0], entry[4]) for entry in found]


def _alternate(addresses: Sequence[Address]) -> list[Address]:
    """Let the families take turns, the one that the system prefers first."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    turns = chain.from_iterable(zip_longest(first, others))
    return [address for address in turns if address is not None]


async def _race(addresses: Sequence[Address]) -> socket.socket:
    """Connect to the first that answers; a late one gets company."""
    if len(addresses) == 1:
        return await _connect(*addresses[0])
    won: list[socket.socket] = []
    failures: list[OSError] = []

    async def attempt(address: Address, over: anyio.Event) -> None:
        try:
            connection = await _connect(*address)
        except OSError as error:
            failures.append(error)
        else:
            won.append(connection)
            group.cancel_scope.cancel()
        over.set()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                over = anyio.Event()
                group.start_soon(attempt, address, over)
                with anyio.move_on_after(HEAD_START):
                    await over.wait()
    except BaseException:
        for connection in won:
            connection.close()
        raise
    for late in won[1:]:
        late.close()
    if won:
        return won[0]
    raise failures[-1]


async def _connect(family: int, address: Any) -> socket.socket:
    connection, code = _begin(family, address)
    if code in PENDING:
        code = await _outcome(connection)
    return _connected(connection, code)


def _begin(family: int, address: Any) -> tuple[socket.socket, int]:
    """Begin to connect; return the socket, and how far it is as an `errno`."""
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(0)
        for option in OPTIONS:
            try:
                connection.setsockopt(*option)
            except OSError:
                # Not every system lets everybody set all of them.
                continue
        code = connection.connect_ex(address)
        if code in PENDING:
            # On the same machine the handshake is over by now.
            code = connection.connect_ex(address)
    except BaseException:
        connection.close()
        raise
    return connection, code


async def _outcome(connection: socket.socket) -> int:
    """Wait until connecting is over; return how it ended as an `errno`."""
    try:
        await wait_writable(connection)
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except BaseException:
        connection.close()
        raise


def _connected(connection: socket.socket, code: int) -> socket.socket:
    if code in CONNECTED:
        return connection
    connection.close()
    raise OSError(code, os.strerror(code))


def certificates() -> ssl.SSLContext:
    """
    Return what to speak TLS with: certificates are those that the SDKs trust.

    Raises:
        ConfigurationError: The certificates cannot be read.
        OutOfDescriptorsError: There is none to read them with.
    """
    # Imported here: it costs a tenth of a second, and plain HTTP needs none of it.
    from httpcore2 import default_ssl_context

    try:
        context = default_ssl_context()
    except OSError as error:
        if is_want_of_descriptors([error]):
            raise out_of_descriptors() from None
        raise ConfigurationError(
            f"the certificates to trust cannot be read ({error.strerror}): look at "
            f"the variables SSL_CERT_FILE and SSL_CERT_DIR"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context


async def shake_hands(
    connection: socket.socket, context: ssl.SSLContext, host: str
) -> ssl.SSLSocket:
    """
    Return *connection* in TLS; it is closed if that fails.

    Raises:
        OSError: As the system or the TLS library tells it.
    """
    try:
        secure = context.wrap_socket(
            connection,
            server_hostname=host,
            do_handshake_on_connect=False,
            # An end that the server did not declare may be an attacker's.
            suppress_ragged_eofs=False,
        )
    except BaseException:
        connection.close()
        raise
    try:
        while True:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                await wait_readable(secure)
            except ssl.SSLWantWriteError:
                await wait_writable(secure)
            else:
                return secure
    except BaseException:
        secure.close()
        raise
