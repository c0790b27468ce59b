"""
HTTP/1.1 as a test server speaks it, one connection at a time.

Written by hand because a fake provider has to do what a web server will not:
answer with half a body, one byte at a time, with a reset, or never. It reads
what HTTP clients send (kept-alive connections, lengths, chunked bodies,
`Expect: 100-continue`) and refuses the rest: no pipelining beyond a buffer, no
upgrades, no HTTP/2.

Whoever waits here also listens: `Connection.wait` ends at once when the client
hangs up, so a cancelled call is noticed while it is being "thought about".
"""

import json
import math
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import anyio
from anyio.abc import AnyByteStream, SocketAttribute

__all__ = (
    "ClientGoneError",
    "Connection",
    "HTTPRequest",
    "HTTPResponse",
    "MalformedRequestError",
    "chunk",
    "json_response",
)

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)


class ClientGoneError(Exception):
    """
    The client closed or reset the connection.
    """


class MalformedRequestError(Exception):
    """
    The bytes that came are not an HTTP/1.1 request that this server reads.
    """


class Head:
    """
    The request line and the headers, looked at only where somebody asks.

    Few of the twenty headers that an SDK sends are ever asked for, so looking for
    one is cheaper than reading all.

    Args:
        raw: All lines, each with its line end.
    """

    __slots__ = ("_folded", "_raw", "method", "path", "version")

    def __init__(self, raw: bytes) -> None:
        parts = raw[: raw.index(b"\r\n")].decode("latin-1").split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise MalformedRequestError("the first line is not one of HTTP/1.1")
        self.method, target, self.version = parts
        self.path = target.partition("?")[0]
        self._raw = raw
        self._folded = raw.lower()

    def get(self, name: str) -> str:
        """
        Return the value of header *name* (in lower case), `""` without one.
        """
        start = self._folded.find(b"\r\n%b:" % name.encode())
        if start < 0:
            return ""
        start += len(name) + 3
        end = self._raw.index(b"\r\n", start)
        return self._raw[start:end].decode("latin-1").strip()

    @property
    def keep_alive(self) -> bool:
        """
        Whether the connection may serve another request after this one.
        """
        wishes = (each.strip() for each in self.get("connection").lower().split(","))
        return self.version == "HTTP/1.1" and "close" not in wishes


@dataclass(frozen=True, slots=True)
class HTTPRequest:
    """
    One request, read whole, its body without the wrapping of chunks.
    """

    head: Head
    body: bytes = field(repr=False)

    @property
    def method(self) -> str:
        """
        The method as sent, for example `"POST"`.
        """
        return self.head.method

    @property
    def path(self) -> str:
        """
        The target without its query.
        """
        return self.head.path


@dataclass(frozen=True, slots=True)
class HTTPResponse:
    """
    One answer, whole (`body`) or a stream (`frames`, each sent as one chunk).

    Args:
        status: The HTTP status.
        body: The bytes of a whole answer.
        content_type: The header of that name.
        headers: More headers.
        frames: The events of a stream; `None` for a whole answer.
        pause: Seconds between two frames.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    frames: Sequence[bytes] | None = None
    pause: float = 0.0

    def head(self, *, chunked: bool) -> bytes:
        """
        Return the status line and the headers, up to and with the empty line.
        """
        length = (
            "transfer-encoding: chunked"
            if chunked
            else f"content-length: {len(self.body)}"
        )
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return (
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Unknown')}\r\n"
            f"content-type: {self.content_type}\r\n{length}\r\n{more}\r\n"
        ).encode("latin-1", "replace")

    def closing(self) -> "HTTPResponse":
        """
        Return this answer with the word that the connection ends with it.
        """
        return replace(self, headers={**self.headers, "connection": "close"})

    def wire(self) -> bytes:
        """
        Return everything that goes over the wire, as if sent in one go.
        """
        if self.frames is None:
            return self.head(chunked=False) + self.body
        chunks = b"".join(chunk(frame) for frame in self.frames)
        return self.head(chunked=True) + chunks + chunk(b"")


def json_response(status: int, payload: Any, **headers: str) -> HTTPResponse:
    """
    Return *payload* as a JSON answer; `_` in header names stands for `-`.
    """
    return HTTPResponse(
        status,
        json.dumps(payload).encode(),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def chunk(data: bytes) -> bytes:
    """
    Return *data* as one chunk of a chunked body; an empty one ends the body.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection:
    """
    The server's end of one connection, over any byte stream.

    Args:
        stream: A socket, a TLS stream over one, or a stream in memory.
    """

    def __init__(self, stream: AnyByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        # Set by the fault that resets a kept-alive connection on its next use.
        self.poisoned = False

    async def read_request(self) -> HTTPRequest:
        """
        Wait for the next request and return it whole.

        Raises:
            ClientGoneError: If the client closed the connection.
            MalformedRequestError: If it is not HTTP/1.1 or too large.
        """
        head = Head(await self._take_until(b"\r\n\r\n", MAX_HEAD))
        if head.get("expect").lower() == "100-continue" and not self._buffer:
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return HTTPRequest(head, await self._read_body(head))

    async def send(self, data: bytes) -> None:
        """
        Send *data*.

        Raises:
            ClientGoneError: If the client closed the connection.
        """
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, OSError):
            raise ClientGoneError from None

    async def wait(self, seconds: float) -> None:
        """
        Wait *seconds*, for ever if infinite, listening for the client meanwhile.

        Raises:
            ClientGoneError: As soon as the client closes the connection.
        """
        if seconds > 0:
            with anyio.move_on_after(None if seconds == math.inf else seconds):
                while True:
                    await self._receive()

    def reset_on_close(self) -> None:
        """
        Have the closing of the connection seen as a reset by the client.

        A stream in memory knows no resets and is closed.
        """
        raw = self._stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610 - no SQL
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)

    async def aclose(self) -> None:
        """
        Close the connection without further words, also those of TLS.
        """
        await anyio.aclose_forcefully(self._stream)

    async def _read_body(self, head: Head) -> bytes:
        if "chunked" in head.get("transfer-encoding").lower():
            return await self._read_chunks()
        length = head.get("content-length")
        return await self._take(_size(length, 10)) if length else b""

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._take_until(b"\r\n", MAX_HEAD)
            size = _size(line.partition(b";")[0].decode("latin-1"), 16)
            if size == 0:
                break
            body += (await self._take(size + 2))[:-2]
            if len(body) > MAX_BODY:
                raise MalformedRequestError("the body is too large")
        # Trailers, if any, end with an empty line.
        while await self._take_until(b"\r\n", MAX_HEAD) != b"\r\n":
            pass
        return bytes(body)

    async def _take_until(self, mark: bytes, most: int) -> bytes:
        """
        Return the bytes up to *mark*, with the line end that *mark* begins with.
        """
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > most:
                raise MalformedRequestError("the head is too large")
            await self._receive()
        taken = bytes(self._buffer[: end + 2])
        del self._buffer[: end + len(mark)]
        return taken

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._receive()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _receive(self) -> None:
        try:
            self._buffer += await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
            raise ClientGoneError from None
        if len(self._buffer) > MAX_HEAD + MAX_BODY:
            raise MalformedRequestError("more was sent than is read")


def _size(text: str, base: int) -> int:
    try:
        size = int(text, base)
    except ValueError:
        raise MalformedRequestError("the length is not a number") from None
    if not 0 <= size <= MAX_BODY:
        raise MalformedRequestError(f"the length is not within 0 and {MAX_BODY}")
    return size
