"""Requests as bytes, and answers out of bytes, however those come cut up."""

import gc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.errors import ConfigurationError
from aitor.wire.http1 import AnswerReader, Composer

HEADERS = b"Content-Type: application/json\r\nX-One: 1\r\nX-ONE: 2\r\n"

pieces_of_bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def chunked(pieces: Iterable[bytes]) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\n\r\n"


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, int, bytes, bool]:
    """An answer's bytes, its status, its body, and whether its end is the close."""
    status = draw(st.sampled_from([200, 201, 400, 429, 500, 529]))
    head = b"HTTP/1.1 %d What\r\n%b" % (status, HEADERS)
    if draw(st.booleans()):
        head = b"HTTP/1.1 103 Early\r\nX-One: 0\r\n\r\n" + head
    pieces = draw(pieces_of_bodies)
    body = b"".join(pieces)
    match draw(st.sampled_from(["length", "chunks", "close"])):
        case "length":
            sent = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            return sent, status, body, False
        case "chunks":
            sent = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(pieces)
            return sent, status, body, False
        case _:
            return head + b"\r\n" + body, status, body, True


def read(reader: AnswerReader, data: bytes, cuts: Iterable[int]) -> bytes:
    """Feed *data* cut at *cuts*, and return the body."""
    body = b""
    for start, stop in pairwise([0, *sorted(cuts), len(data)]):
        reader.feed(data[start:stop])
        body += reader.take_body()
    return body


@given(st.data())
def test_an_answer_is_the_same_however_it_is_cut(data: st.DataObject) -> None:
    """A connection's second answer as well as its first."""
    reader = AnswerReader()
    for _ in range(2):
        sent, status, body, until_close = data.draw(answers())
        cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=8))
        assert read(reader, sent, cuts) == body
        assert reader.status == status
        assert reader.headers["content-type"] == "application/json"
        assert reader.headers["x-one"] == "1"
        assert not reader.malformed
        assert reader.complete is not until_close
        assert reader.reusable is not until_close
        if until_close:
            assert reader.feed_eof()
            return
        reader.begin()


@given(st.data())
def test_no_beginning_of_an_answer_passes_for_a_whole_one(data: st.DataObject) -> None:
    """Whatever byte it ends at, unless its end is the connection's own."""
    sent, _, _, until_close = data.draw(answers().filter(lambda answer: not answer[3]))
    stop = data.draw(st.integers(0, len(sent) - 1))
    reader = AnswerReader()
    reader.feed(sent[:stop])
    assert not reader.complete
    assert not reader.feed_eof()
    assert not reader.reusable
    assert not until_close


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_whatever_comes_ends_in_words(received: list[bytes]) -> None:
    """Never in an exception; and what is no HTTP is never an answer to build on."""
    reader = AnswerReader()
    for data in received:
        reader.feed(data)
        reader.take_body()
        if reader.malformed:
            assert not reader.complete
            assert not reader.reusable
            return


@pytest.mark.parametrize("stop", [0, 1, 12, 40])
def test_whether_anything_came_is_known(stop: int) -> None:
    """A request of which nothing came back may never have been read."""
    reader = AnswerReader()
    if stop:
        reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"[:stop])
    assert reader.begun is bool(stop)


def test_a_closed_reader_leaves_nothing_to_the_collector() -> None:
    """Reader and parser know each other, and a burst may close thousands of them."""

    def readers() -> int:
        return sum(isinstance(one, AnswerReader) for one in gc.get_objects())

    gc.disable()
    try:
        before = readers()
        reader = AnswerReader()
        assert readers() == before + 1
        reader.close()
        del reader
        assert readers() == before
    finally:
        gc.enable()


def test_a_status_of_nothing_is_no_http() -> None:
    """Or else its answer would be waited for until the time is up."""
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 000 Nothing\r\nContent-Length: 2\r\n\r\n{}")
    assert reader.malformed
    assert not reader.complete


def test_a_request_is_written_once_for_each_path() -> None:
    """And a header of one request replaces the pool's own."""
    composer = Composer("https://api.example.com/v1", {"x-a": "1", "x-b": "2"})
    address = composer.address
    assert (address.host, address.port, address.tls) == ("api.example.com", 443, True)
    expected = (
        b"POST /v1/chat HTTP/1.1\r\nhost: api.example.com\r\n"
        b"x-a: 1\r\nx-b: 2\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert composer.compose("/chat", b"{}") == expected
    assert composer.compose("/chat", b"{}") == expected
    changed = composer.compose("/chat", b"{}", {"X-B": "3"})
    assert changed == expected.replace(b"x-b: 2", b"x-b: 3")


@pytest.mark.parametrize(
    ("url", "host", "sent"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", b"host: 127.0.0.1:8080\r\n"),
        ("http://[::1]:8080/v1", "::1", b"host: [::1]:8080\r\n"),
        ("https://bücher.example", "xn--bcher-kva.example", b"host: xn--bcher-kva.e"),
    ],
)
def test_a_host_is_named_as_http_wants_it(url: str, host: str, sent: bytes) -> None:
    """With a port that is not the usual one; IPv6 addresses in brackets."""
    composer = Composer(url, {})
    assert composer.address.host == host
    assert sent in composer.compose("/", b"")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "http://",
        "http://x:99999",
        "x",
        "http://[bad",
        "http://x/a b",
        "http://a b/",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """The text names the setting and the value."""
    with pytest.raises(ConfigurationError, match="'base_url' = "):
        Composer(url, {})


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/ä"])
def test_a_path_cannot_bring_a_line_of_its_own(path: str) -> None:
    """Models and versions may become part of it."""
    with pytest.raises(ConfigurationError):
        Composer("http://x", {}).compose(path, b"")
