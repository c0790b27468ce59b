"""
An event stream: bytes in pieces of any size to whole events.

It knows lines and fields and nothing of what an event means. It neither waits nor
decodes text: data is handed on as bytes, because the JSON reader checks them anyway.
Comments and the fields `id` and `retry` are read past; an event that the body's end
cuts off is never handed out, as the standard says, so half an event cannot be taken
for a whole one. A line or an event without end stops at a limit, which the readers
of both vendors' SDKs lack.
"""

from typing import NamedTuple

from aitor.errors import AnswerTooLargeError

__all__ = ("Event", "EventReader")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """
    One event.

    Args:
        name: Its `event` field; empty when it had none.
        data: Its `data` fields, joined by line feeds.
    """

    name: bytes
    data: bytes


class EventReader:
    """
    Cuts a body into events, with memory for one event and no more.

    Args:
        limit: Most bytes of a line and of an event's data.
    """

    __slots__ = ("_data", "_limit", "_line", "_name", "_pending", "_returned", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # The line that has not ended yet, in the pieces it came in: joining them
        # once keeps a long line that comes in small pieces linear.
        self._line: list[bytes] = []
        self._pending = 0
        self._name: bytes | None = None
        self._data: list[bytes] = []
        self._size = 0
        self._returned = False

    def feed(self, data: bytes) -> list[Event]:
        """
        Take the body's next bytes and return the events that they complete.

        Raises:
            AnswerTooLargeError: If a line or an event's data passes the limit.
        """
        # A line may end in CR LF, and the pair may come in two pieces.
        if self._returned and data:
            self._returned = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        self._returned = data.endswith(b"\r")
        lines = data.splitlines()
        rest = b"" if data.endswith((b"\n", b"\r")) else lines.pop()
        events = self._take(lines) if lines else []
        if rest:
            self._line.append(rest)
            self._pending += len(rest)
            self._check()
        return events

    def _take(self, lines: list[bytes]) -> list[Event]:
        self._line.append(lines[0])
        lines[0] = b"".join(self._line)
        self._line.clear()
        self._pending = 0
        events = []
        for line in lines:
            if line:
                self._field(line)
            elif event := self._dispatch():
                events.append(event)
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        # The mark may stand before the body's first field, and nowhere else does a
        # name begin with it.
        name = name.removeprefix(BYTE_ORDER_MARK)
        if name == b"data":
            # The line break that will join it to the one before counts, too.
            self._size += len(value) + bool(self._data)
            self._data.append(value)
            self._check()
        elif name == b"event":
            self._name = value

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data, self._size = None, [], 0
        return Event(name or b"", b"\n".join(data)) if data else None

    def _check(self) -> None:
        if self._size + self._pending > self._limit:
            raise AnswerTooLargeError(
                f"an event of the answer passed {self._limit} bytes and was dropped: "
                f"see 'max_answer_bytes'"
            )
