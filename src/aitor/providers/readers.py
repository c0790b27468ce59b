"""
Readers: an answer's bytes as they come in, to pieces and to the answer.

Status 200 proves nothing. A reader gives an answer only for a body that has the shape
of one and its own terminal mark; for all else it raises an error that says what came
instead. It holds no more than the answer itself, and that up to a limit.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

from aitor.errors import TruncatedAnswerError
from aitor.messages import Answer
from aitor.providers.dialect import Dialect, Exchange, Growth, Piece
from aitor.providers.documents import read_json
from aitor.wire.coding import CODINGS
from aitor.wire.sse import Event, EventReader

__all__ = ("AnswerReader", "EventsReader", "WholeReader")

CAME = (Piece("", "other"),)

CODING = re.compile(r"[a-z][a-z0-9-]{0,19}")
"""A word for a compression, which is safe to repeat."""


EVENT = re.compile(rb":|(?:data|event|id|retry)[ \t]*:")
"""How an event stream begins."""

MAY_BECOME_EVENT = (b"data:", b"event:", b"id:", b"retry:")
DOCUMENT = b'{["<-0123456789tfn'
"""How a document begins, of JSON or HTML."""

BLANK = b" \t\r\n\xef\xbb\xbf"


class Reader(Protocol):
    """Reads one answer."""

    @property
    def done(self) -> bool:
        """Whether the answer is whole, though the body may not have ended."""
        ...

    def feed(self, data: bytes) -> Sequence[Piece]:
        """
        Take the body's next bytes and return the pieces of the answer in them.

        What only keeps a connection alive (white space, comments, pings) brings none.

        Raises:
            LLMError: Saying what came that is no answer.
        """
        ...

    def close(self) -> Answer:
        """
        Return the answer, at the body's end.

        Raises:
            LLMError: Saying what came that is no answer.
        """
        ...


class AnswerReader:
    """
    Reads an answer as what it is: one document, or a stream of events.

    The first bytes tell. Neither the `content-type` nor what was asked for is believed:
    servers and gateways send both under any name, and the answer is paid for.

    Args:
        dialect: How the API writes.
        exchange: What it is the answer to.
        stream: Whether a stream was asked for: what it is taken for where it is empty
            or begins like neither.
    """

    __slots__ = ("_begun", "_dialect", "_exchange", "_reader", "_stream")

    def __init__(self, dialect: Dialect, exchange: Exchange, *, stream: bool) -> None:
        kind = exchange.headers.get("content-type", "").strip().lower()
        self._dialect = dialect
        self._exchange = exchange
        self._stream = stream or kind.startswith("text/event-stream")
        self._reader: Reader | None = None
        self._begun = b""

    @property
    def done(self) -> bool:
        """Whether the answer is whole, though the body may not have ended."""
        return self._reader is not None and self._reader.done

    def feed(self, data: bytes) -> Sequence[Piece]:
        """Take the body's next bytes; see `Reader`."""
        if self._reader is not None:
            return self._reader.feed(data)
        # What keeps a connection alive before an answer is not worth keeping.
        self._begun = (self._begun + data).lstrip(BLANK)
        if not self._begun or _may_become_event(self._begun):
            return ()
        return self._choose().feed(self._begun)

    def close(self) -> Answer:
        """Return the answer; see `Reader`."""
        if self._reader is None:
            self._choose().feed(self._begun)
        return self._choose().close()

    def _choose(self) -> Reader:
        if self._reader is None:
            begun, streams = self._begun, self._stream
            if begun:
                streams = bool(EVENT.match(begun)) or (
                    streams and begun[0] not in DOCUMENT
                )
            reader = EventsReader if streams else WholeReader
            self._reader = reader(self._dialect, self._exchange)
        return self._reader


def _may_become_event(begun: bytes) -> bool:
    return any(len(begun) < len(e) and e.startswith(begun) for e in MAY_BECOME_EVENT)


class WholeReader:
    """
    Reads an answer that comes as one document.

    Args:
        dialect: How the API writes.
        exchange: What it is the answer to.
    """

    __slots__ = ("_data", "_dialect", "_exchange", "_growth")

    def __init__(self, dialect: Dialect, exchange: Exchange) -> None:
        self._dialect = dialect
        self._exchange = exchange
        self._growth = Growth(exchange.max_bytes)
        self._data: list[bytes] = []

    @property
    def done(self) -> bool:
        """Always false: only the body's end makes such an answer whole."""
        return False

    def feed(self, data: bytes) -> Sequence[Piece]:
        """Take the body's next bytes; see `Reader`."""
        self._growth.add(len(data))
        self._data.append(data)
        return () if not data or data.isspace() else CAME

    def close(self) -> Answer:
        """Return the answer; see `Reader`."""
        document = _parse(b"".join(self._data), self._exchange)
        if _tells_an_error(document):
            raise self._exchange.refuse(document)
        if not isinstance(document, dict):
            raise self._exchange.malformed("the answer is JSON, but not an object")
        return self._dialect.decode(document, self._exchange)


class EventsReader:
    """
    Reads an answer that comes as a stream of events.

    Args:
        dialect: How the API writes.
        exchange: What it is the answer to.
    """

    __slots__ = ("_assembler", "_dialect", "_events", "_exchange", "_started")

    def __init__(self, dialect: Dialect, exchange: Exchange) -> None:
        self._dialect = dialect
        self._exchange = exchange
        self._assembler = dialect.assemble(exchange)
        self._events = EventReader(exchange.max_bytes)
        self._started = False

    @property
    def done(self) -> bool:
        """Whether the stream has said that it is at its end."""
        return self._assembler.done

    def feed(self, data: bytes) -> Sequence[Piece]:
        """Take the body's next bytes; see `Reader`."""
        pieces = []
        for event in self._events.feed(data):
            if self._assembler.done:
                break
            if piece := self._take(event):
                pieces.append(piece)
        return pieces

    def _take(self, event: Event) -> Piece | None:
        if event.name == b"error":
            raise self._exchange.refuse(event.data)
        data = event.data.strip()
        if not data:
            # Some gateways keep a connection alive with events that say nothing.
            return None
        self._started = True
        if data == b"[DONE]":
            self._assembler.done = True
            return None
        document = _parse(event.data, self._exchange)
        if _tells_an_error(document):
            raise self._exchange.refuse(document)
        if not isinstance(document, dict):
            raise self._exchange.malformed("an event of the answer is not an object")
        return self._assembler.take(document)

    def close(self) -> Answer:
        """Return the answer; see `Reader`."""
        if not self._started:
            _refuse_compressed(self._exchange)
            raise self._exchange.malformed("a stream was promised, and no event came")
        return self._dialect.decode(self._assembler.whole(), self._exchange)


def _parse(data: bytes, exchange: Exchange) -> Any:
    try:
        return read_json(data)
    except ValueError as error:
        cut = "EOF" in str(error)
    # Outside the handler: the exception's text is not ours to pass on.
    head = data[:100].lstrip()
    if not data.strip():
        raise exchange.malformed("the answer is empty")
    if head.startswith(b"<"):
        raise exchange.malformed("a web page came instead of an answer: see 'base_url'")
    if cut and head.startswith((b"{", b"[")):
        raise exchange.malformed(
            f"the answer's JSON is cut off after {len(data)} bytes",
            TruncatedAnswerError,
        )
    _refuse_compressed(exchange)
    raise exchange.malformed(f"the answer's {len(data)} bytes are not JSON")


def _refuse_compressed(exchange: Exchange) -> None:
    """Say of what cannot be read that it is coded in a way that nobody asked for."""
    coding = exchange.headers.get("content-encoding", "").strip().lower()
    if CODING.fullmatch(coding) and coding not in (*CODINGS, "identity"):
        raise exchange.malformed(
            f"the answer is compressed ({coding}), although that was not asked for"
        )


def _tells_an_error(document: Any) -> bool:
    if isinstance(document, list):
        return bool(document) and _tells_an_error(document[0])
    return isinstance(document, dict) and (
        bool(document.get("error"))
        or document.get("type") == "error"
        or document.get("object") == "error"
    )
