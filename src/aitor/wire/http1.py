"""
HTTP/1.1 as a client speaks it: a request's bytes, and an answer out of bytes.

No socket is here and no waiting. What comes in is parsed by httptools, which is
llhttp, the parser of Node.js, under Python; what is added is a bound on what an
answer may bring besides its body, and a judgement on how it ended.
"""

import re
from collections.abc import Mapping

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from aitor.wire.address import FRAMING, NAME, TARGET, Address, no_url
from aitor.wire.failures import unsendable_header

__all__ = ("AnswerReader", "Composer")

MAX_OVERHEAD = 256 * 1024
"""Bytes that may come without one of the body among them: heads and trailers."""

LENGTH = re.compile(rb"\r\ncontent-length:([\t ,0-9]*)(?=\r\n)", re.IGNORECASE)

END = b"\r\n\r\n"

INFORMATIONAL = re.compile(rb"HTTP/1\.[01] 1\d\d")

VALUE = re.compile(rb"[^\x00\r\n]*")


class Composer:
    """
    Puts requests to one address into bytes.

    All that is the same for each is put together once.

    Args:
        base_url: Where paths are appended.
        headers: Sent with every request.

    Raises:
        ConfigurationError: The URL cannot be asked, or a header cannot be sent.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self.address = Address.of(base_url)
        self._headers = {"host": self.address.authority, **_lower(headers)}
        self._heads: dict[str, bytes] = {}
        self._head("/", self._headers)

    def compose(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """
        Return the request that posts *body* to *path*.

        Raises:
            ConfigurationError: A header cannot be sent.
        """
        if headers:
            head = self._head(path, {**self._headers, **_lower(headers)})
        else:
            head = self._heads.get(path) or self._heads.setdefault(
                path, self._head(path, self._headers)
            )
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)

    def _head(self, path: str, headers: Mapping[str, str]) -> bytes:
        target = self.address.prefix + path
        if not TARGET.fullmatch(target):
            raise no_url(target)
        lines = [f"POST {target} HTTP/1.1".encode("ascii")]
        for name, value in headers.items():
            lines.append(_line(name, value))
        return b"\r\n".join([*lines, b"content-length: "])


class AnswerReader:
    """
    Reads the answers that come over one connection, one after the other.

    A body's pieces are handed out as they come, so no more of it is held than one
    read from a socket can bring.
    """

    __slots__ = (
        "_again",
        "_head",
        "_overhead",
        "_parser",
        "_until_close",
        "begun",
        "complete",
        "headers",
        "malformed",
        "pieces",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self._parser = self._new_parser()
        self.begin()

    def begin(self) -> None:
        """Expect the next answer."""
        self._again = False
        self._head = b""
        self._overhead = 0
        self._until_close = False
        self.begun = False
        """Whether any byte of it has come."""
        self.status = 0
        """The HTTP status; 0 until the head is whole."""
        self.headers: dict[str, str] = {}
        """Names in lower case; of a repeated header the first value."""
        self.pieces: list[bytes] = []
        """What of the body has come and was not yet taken."""
        self.complete = False
        """Whether its end has come."""
        self.malformed = False
        """Whether it is not HTTP, or too much without a body."""
        self.reusable = False
        """Whether another request may follow on this connection."""

    def feed(self, data: bytes) -> None:
        """Read *data*; what is wrong with it is kept in `malformed`."""
        self.begun = True
        self._overhead += len(data)
        if not self.status:
            self._head += data
        try:
            if self._again:
                self._read_again()
            else:
                self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._failed()
        if self.flooded:
            self.malformed = True

    def _failed(self) -> None:
        if self.status or self.complete:
            # What follows the end of an answer is not its fault.
            self.reusable = False
            self.malformed = not self.complete
        elif not LENGTH.search(self._head + b"\r\n"):
            self.malformed = True
        else:
            # Some proxies add the length that is there already, of which the parser
            # makes an error. Equal ones are one (RFC 9110, 8.6).
            self._again = True
            self._read_again()

    def _read_again(self) -> None:
        begin = 0
        while INFORMATIONAL.match(self._head, begin):
            begin = self._head.find(END, begin) + len(END)
            if begin < len(END):
                return
        end = self._head.find(END, begin)
        if end < 0:
            return
        head = _with_one_length(self._head[begin : end + 2])
        if head is None:
            self.malformed = True
            return
        rest, self._head, self._again = self._head[end + 2 :], b"", False
        self._parser = self._new_parser()
        self.headers.clear()
        try:
            self._parser.feed_data(head + rest)
        except (HttpParserError, HttpParserUpgrade):
            self._failed()

    def _new_parser(self) -> HttpResponseParser:
        parser = HttpResponseParser(self)
        # Chunks count, and a length beside them means nothing (RFC 9112, 6.3).
        parser.set_dangerous_leniencies(lenient_chunked_length=True)
        return parser

    def feed_eof(self) -> bool:
        """Read the connection's end; return whether it is the answer's, too."""
        if self.status and self._until_close:
            self.complete = True
        return self.complete

    @property
    def flooded(self) -> bool:
        """Whether too much has come without a body."""
        return self._overhead > MAX_OVERHEAD

    def take_body(self) -> bytes:
        """Return what of the body has come and was not yet taken."""
        body = b"".join(self.pieces)
        self.pieces.clear()
        return body

    def close(self) -> None:
        """Read no more."""
        # The parser knows the reader too; only the collector could part them later.
        del self._parser

    # What the parser calls. An answer that nobody asked for, right behind the one
    # that was, is read over.

    def on_message_begin(self) -> None:
        """Begin; a second answer in one is a server that has lost count."""
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are of no use to anybody."""
        if not self.status:
            self.headers.setdefault(
                name.decode("latin-1").lower(), value.decode("latin-1")
            )

    def on_headers_complete(self) -> None:
        """Know the status; after an informational one the answer is yet to come."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 100:
            # Told to the parser, which then reads no further, and so to `feed`.
            raise ValueError
        if status < 200:
            self.headers.clear()
            return
        self.status = status
        self._until_close = not (
            "content-length" in self.headers or "transfer-encoding" in self.headers
        )

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if not self.complete:
            self._overhead = 0
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """Know that the body has ended."""
        if self.status and not self.complete:
            self.complete = True
            # Two lengths may be an attempt at hiding a second answer in the first.
            self.reusable = self._parser.should_keep_alive() and not (
                "content-length" in self.headers and "transfer-encoding" in self.headers
            )


def _with_one_length(head: bytes) -> bytes | None:
    """Return *head* with one of several equal lengths; None where they differ."""
    told = b",".join(LENGTH.findall(head))
    lengths = {length.strip() for length in told.split(b",")}
    if len(lengths) > 1:
        return None
    return b"%bcontent-length: %b\r\n" % (LENGTH.sub(b"", head), lengths.pop())


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _line(name: str, value: str) -> bytes:
    try:
        sent, content = name.encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        pass  # It holds the value, which may be the key.
    else:
        if NAME.fullmatch(sent) and VALUE.fullmatch(content) and name not in FRAMING:
            return b"%b: %b" % (sent, content)
    raise unsendable_header()
