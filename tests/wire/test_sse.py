"""The event-stream reader: whole events from bytes in any pieces, bounded."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.errors import AnswerTooLargeError
from aitor.wire.sse import Event, EventReader


def read(*pieces: bytes, limit: int = 10_000) -> list[Event]:
    reader = EventReader(limit)
    return [event for piece in pieces for event in reader.feed(piece)]


def test_an_event_ends_at_its_blank_line() -> None:
    reader = EventReader(100)
    assert reader.feed(b"event: ping\ndata: 1\n") == []
    assert reader.feed(b"\n") == [Event(b"ping", b"1")]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [Event(b"", b"a"), Event(b"", b"b")]),
        (b"data:a\n\n", [Event(b"", b"a")]),
        (b"data:  two spaces\n\n", [Event(b"", b" two spaces")]),
        (b"data: a\ndata: b\n\n", [Event(b"", b"a\nb")]),
        (b"data\n\n", [Event(b"", b"")]),
        (b": a comment\n\ndata: a\n\n", [Event(b"", b"a")]),
        (b"id: 7\nretry: 10\ndata: a\n\n", [Event(b"", b"a")]),
        (b"event: named\n\ndata: a\n\n", [Event(b"", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"", b"a")]),
        (b"data: a\r\n\r\ndata: b\r\r", [Event(b"", b"a"), Event(b"", b"b")]),
        (b"<html>\n\n<body>\n\n", []),
        (b"data: a: b\n\n", [Event(b"", b"a: b")]),
        (b"data: \xff\n\n", [Event(b"", b"\xff")]),
        (b"data: cut off\n", []),
        (b"", []),
    ],
)
def test_fields_lines_and_comments(stream: bytes, events: list[Event]) -> None:
    assert read(stream) == events


def test_a_line_end_may_come_in_two_pieces() -> None:
    assert read(b"data: a\r", b"\n\r", b"\ndata: b\n\n") == [
        Event(b"", b"a"),
        Event(b"", b"b"),
    ]


LINES = st.sampled_from(
    [b"data: x", b"data:", b"event: e", b": hi", b"", b"id: 1", "data: é".encode()]
)


@given(
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))),
    st.lists(st.integers(0, 200)),
)
def test_events_do_not_depend_on_how_the_bytes_are_cut(
    lines: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(line + end for line, end in lines)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert read(*pieces) == read(stream)


@given(st.lists(st.binary(max_size=30)))
def test_no_bytes_break_the_reader(pieces: list[bytes]) -> None:
    for event in read(*pieces):
        assert b"\r" not in event.data


def test_an_endless_line_stops_at_the_limit() -> None:
    with pytest.raises(AnswerTooLargeError, match="max_answer_bytes"):
        read(*[b"data: xxxxx"] * 20, limit=100)


def test_an_endless_event_stops_at_the_limit() -> None:
    with pytest.raises(AnswerTooLargeError, match="100 bytes"):
        read(*[b"data: xxxxxxxxxx\n"] * 20, limit=100)


def test_many_small_events_pass_any_limit() -> None:
    reader = EventReader(20)
    assert sum(len(reader.feed(b"data: x\n\n")) for _ in range(1_000)) == 1_000


def test_a_long_line_in_small_pieces_is_read_whole() -> None:
    pieces = [b"data: ", *[b"x" * 10] * 500, b"\n\n"]
    assert read(*pieces, limit=6_000) == [Event(b"", b"x" * 5_000)]


def test_empty_lines_of_data_count() -> None:
    """Each of them is a line break in the event, and a stream of them is a flood."""
    reader = EventReader(100)
    assert reader.feed(b"data:\n" * 101 + b"\n") == [Event(b"", b"\n" * 100)]
    with pytest.raises(AnswerTooLargeError):
        reader.feed(b"data:\n" * 102)
