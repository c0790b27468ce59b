"""What every wire promises about answers, failures and kept connections."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.wire.certificates import server_context
from tests.wire.server import CHUNKED, HEAD, Server, Step, Then, answer, serve
from tests.wire.wires import ask, connect, every_wire, failure_of, our_wires, pair

from aitor.errors import AttemptTimeoutError, ConnectionFailedError
from aitor.wire import failures
from aitor.wire.failures import Fault

pytestmark = pytest.mark.anyio

WHOLE_CHUNKED = CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"

# Answers.


@every_wire
async def test_an_answer_comes_with_status_headers_and_body(kind: str) -> None:
    """
    What was sent arrives whole; header names come in lower case, first values only.
    """
    headers = ["X-Request-ID: req_1", "Retry-After: 7", "Retry-After: 8"]
    server = Server([answer(b'{"b": 2}', headers=headers)])
    async with pair(kind, server) as wire:
        status, got, body = await ask(wire, b'{"a":1}', x_extra="yes")
    assert (status, body) == (200, b'{"b": 2}')
    assert got["x-request-id"] == "req_1"
    assert got.get("retry-after") == "7"
    assert got.get("missing") is None
    assert "x-request-id" in got
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/echo HTTP/1.1\r\n")
    assert b"authorization: bearer sk-canary" in head.lower()
    assert b"x-extra: yes" in head.lower()
    assert sent == b'{"a":1}'


@every_wire
@pytest.mark.parametrize(
    "status",
    ["302 Found", "400 Bad Request", "404 Not Found", "429 Slow", "500 Oops", "529 X"],
)
async def test_every_status_is_an_answer_and_none_is_tried_again(
    kind: str, status: str
) -> None:
    """Refusals and redirects come as they are, after one request."""
    server = Server([answer(b"no", status, ["Location: /other", "Retry-After: 0"])])
    async with pair(kind, server) as wire:
        code, headers, body = await ask(wire)
    assert (code, body) == (int(status[:3]), b"no")
    assert headers["retry-after"] == "0"
    assert len(server.requests) == 1


@every_wire
@pytest.mark.parametrize(
    ("script", "body"),
    [
        ([CHUNKED, b"5\r\nhello\r\n", b"3\r\n, w\r\n0\r\n\r\n"], b"hello, w"),
        ([b"HTTP/1.1 200 OK\r\n\r\nuntil", b" the end", Then.CLOSE], b"until the end"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([answer(b"yes", headers=["content-length: 3"])], b"yes"),
        ([answer(b"yes").replace(b": 3", b": 3, 3")], b"yes"),
        ([answer(b"")], b""),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", answer(b"yes")], b"yes"),
        ([answer(b"x" * 1_000_000)], b"x" * 1_000_000),
    ],
    ids=[
        "chunked",
        "until the close",
        "no content",
        "length twice",
        "length told as a list",
        "empty",
        "hints",
        "large",
    ],
)
async def test_a_body_ends_as_http_allows(
    kind: str, script: Sequence[Step], body: bytes
) -> None:
    """Every way in which HTTP/1.1 marks the end of a body is understood."""
    async with pair(kind, Server(script)) as wire:
        assert (await ask(wire))[2] == body


@our_wires
async def test_no_cookie_is_kept(kind: str) -> None:
    """What one answer sets is not sent with the next request."""
    server = Server([answer(headers=["Set-Cookie: who=me; Path=/"])])
    async with pair(kind, server) as wire:
        await ask(wire)
        await ask(wire)
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("kind", ["auto", "httpx2"])
async def test_a_proxy_named_by_the_environment_is_used(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`http_proxy` holds, as for most programs."""
    server = Server()
    with anyio.fail_after(10):
        async with serve(server):
            monkeypatch.setenv("http_proxy", server.url)
            async with connect(kind, "http://provider.invalid") as wire:
                assert (await ask(wire))[0] == 200
    assert server.requests[0].startswith(b"POST http://provider.invalid/v1/echo ")


# Failures.


@every_wire
@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ([Then.RESET], Fault.LOST),
        ([Then.CLOSE], Fault.LOST),
        ([b"HTTP/1.1 200 OK\r\nConte", Then.CLOSE], Fault.LOST),
        ([b"HTTP/1.1 200 OK\r\nConte", Then.RESET], Fault.LOST),
        ([b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Then.CLOSE], Fault.PROTOCOL),
        ([b"HTTP/1.1 9999 No\r\n\r\n", Then.CLOSE], Fault.PROTOCOL),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000, Then.CLOSE], Fault.PROTOCOL),
        ([HEAD + b"abc", Then.RESET], Fault.CUT),
        ([HEAD + b"abc", Then.CLOSE], Fault.CUT),
        ([CHUNKED + b"5\r\nhello\r\n", Then.CLOSE], Fault.CUT),
        ([CHUNKED + b"5\r\nhe", Then.CLOSE], Fault.CUT),
        ([CHUNKED + b"zz\r\nhe", Then.CLOSE], Fault.CUT),
        ([b"HTTP/1.1 200 OK\r\n\r\nabc", Then.RESET], Fault.CUT),
        ([b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\na", Then.CLOSE], Fault.CUT),
    ],
    ids=[
        "reset before the head",
        "closed before the head",
        "closed in the head",
        "reset in the head",
        "not HTTP",
        "odd status",
        "head too large",
        "reset in the body",
        "body shorter than its length",
        "closed between chunks",
        "closed in a chunk",
        "chunk without a size",
        "reset in a body until the close",
        "refusal shorter than its length",
    ],
)
async def test_a_broken_exchange_is_told_as_what_it_was(
    kind: str, script: Sequence[Step], fault: Fault
) -> None:
    """Nothing broken ends quietly, and a new connection's loss is never `unused`."""
    server = Server(script)
    async with pair(kind, server) as wire:
        error = await failure_of(wire)
    assert isinstance(error, ConnectionFailedError)
    assert error.message.startswith(fault.value)
    assert not error.unused
    assert len(server.requests) == 1


@every_wire
async def test_a_refused_connection(kind: str) -> None:
    """Nobody listens there."""
    async with pair(kind, Server()):
        pass
    async with connect(kind, "http://127.0.0.1:9") as wire:
        error = await failure_of(wire)
    assert error.message == "the connection was refused (look at 'base_url')"


@every_wire
async def test_an_unknown_host(kind: str) -> None:
    """A name that resolves to nothing."""
    async with connect(kind, "http://no-such-host.invalid") as wire:
        error = await failure_of(wire)
    assert error.message == "the host's name was not found (look at 'base_url')"


@every_wire
async def test_no_connection_in_time(kind: str) -> None:
    """A server that accepts and then says nothing while TLS waits for it."""
    server = Server(deaf=True)
    async with pair(kind, server, scheme="https", connect_timeout=0.05) as wire:
        error = await failure_of(wire)
        assert isinstance(error, AttemptTimeoutError)
        assert "connect_timeout" in error.message
        await server.left.wait()


@every_wire
async def test_a_server_without_tls(kind: str) -> None:
    """An https address whose port speaks plain HTTP."""
    server = Server([answer(b"", "400 Bad Request"), Then.CLOSE])
    async with pair(kind, server, scheme="https") as wire:
        error = await failure_of(wire)
    assert error.message == Fault.TLS.value


@our_wires
async def test_a_certificate_that_is_trusted(kind: str, tmp_path: Path) -> None:
    """`SSL_CERT_FILE` names the authority."""
    server = Server(tls=server_context(tmp_path))
    async with pair(kind, server, scheme="https") as wire:
        assert (await ask(wire))[0] == 200


@our_wires
async def test_a_certificate_that_is_not_trusted(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TLS library's reason is told, in its own words."""
    monkeypatch.delenv("SSL_CERT_FILE")
    server = Server(tls=server_context(tmp_path))
    async with pair(kind, server, scheme="https") as wire:
        error = await failure_of(wire)
    told, _, reason = error.message.partition(": ")
    assert told == "the server's certificate is not trusted"
    assert "issuer" in reason.lower()


@our_wires
async def test_a_certificate_for_another_host(kind: str, tmp_path: Path) -> None:
    """It is valid for 127.0.0.1 and not for the name that was asked for."""
    server = Server(tls=server_context(tmp_path))
    with anyio.fail_after(10):
        async with serve(server):
            url = f"https://localhost:{server.port}"
            async with connect(kind, url) as wire:
                error = await failure_of(wire)
    assert error.message.startswith(Fault.CERTIFICATE.value)


# Kept connections.


@our_wires
async def test_connections_are_used_again(kind: str) -> None:
    """Ten calls one after the other need one connection."""
    server = Server([WHOLE_CHUNKED], [answer()])
    async with pair(kind, server) as wire:
        for _ in range(10):
            await ask(wire)
    assert len(server.requests) == 10
    assert server.connections == 1


@our_wires
async def test_connections_can_be_used_once(kind: str) -> None:
    """Without `keep_alive` each call has its own, closed when the call ends."""
    server = Server()
    async with pair(kind, server, keep_alive=False) as wire:
        for _ in range(3):
            await ask(wire)
        await server.left.wait()
    assert server.connections == 3


@our_wires
async def test_connections_are_bounded(kind: str) -> None:
    """More calls than connections wait for one; none fails."""
    both, now = anyio.Event(), anyio.Event()
    server = Server([answer()], [now, answer()], [both, now, answer()])
    async with pair(kind, server, max_connections=2) as wire:
        await ask(wire)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask, wire)
            await server.requests_reach(3)
            both.set()
            now.set()
    assert len(server.requests) == 11
    assert server.most_open == 2


@every_wire
@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
async def test_a_connection_closed_while_idle_is_replaced(
    kind: str, then: Then
) -> None:
    """The pool notices by itself, or else the loss is `unused` and may be repeated."""
    now = anyio.Event()
    server = Server([answer(), now, then], [answer(b"two")])
    async with pair(kind, server) as wire:
        await ask(wire)
        now.set()
        await server.closed.wait()
        try:
            _, _, body = await ask(wire)
        except ConnectionFailedError as error:
            # The news had not yet come to the pool.
            if not error.unused:
                raise
            _, _, body = await ask(wire)
    assert body == b"two"
    assert (server.connections, len(server.requests)) == (2, 2)


@our_wires
@pytest.mark.parametrize(
    ("script", "unused"),
    [
        ([Then.RESET], True),
        ([Then.CLOSE], True),
        ([b"nonsense\r\n\r\n", Then.CLOSE], False),
        ([HEAD, Then.CLOSE], False),
    ],
    ids=["reset", "closed", "not HTTP", "after the head"],
)
async def test_a_kept_connection_lost_before_the_answer_is_unused(
    kind: str, script: Sequence[Step], *, unused: bool
) -> None:
    """Then sending again is no second try; once something came back it is."""
    for first in (answer(), WHOLE_CHUNKED):
        server = Server([first], script)
        async with pair(kind, server) as wire:
            await ask(wire)
            error = await failure_of(wire)
        assert isinstance(error, ConnectionFailedError)
        assert error.unused is unused
        assert len(server.requests) == 2


@every_wire
@pytest.mark.parametrize(
    "first",
    [
        [answer(headers=["Connection: close"]), Then.CLOSE],
        [answer(headers=["Connection: Close"], status="429 Slow"), Then.CLOSE],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", Then.CLOSE],
        [b"HTTP/1.1 200 OK\r\n\r\n{}", Then.CLOSE],
    ],
    ids=["told", "told with a refusal", "HTTP/1.0", "body until the close"],
)
async def test_a_connection_that_was_not_kept_excuses_no_loss_of_the_next(
    kind: str, first: Sequence[Step]
) -> None:
    """The next is new, so a request that is lost there may have been read."""
    server = Server(first, [Then.RESET])
    async with pair(kind, server) as wire:
        await ask(wire)
        error = await failure_of(wire)
    assert isinstance(error, ConnectionFailedError)
    assert not error.unused
    assert server.connections == 2


@every_wire
async def test_a_request_lost_late_may_have_been_read(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that dies while it works on a request has read it."""
    monkeypatch.setattr(failures, "RACE", 0.0)
    async with pair(kind, Server([answer()], [Then.RESET])) as wire:
        await ask(wire)
        error = await failure_of(wire)
    assert isinstance(error, ConnectionFailedError)
    assert not error.unused


@our_wires
@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        answer(b""),
        CHUNKED + b"0\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" + answer(b""),
        answer(b"", "429 Slow"),
    ],
    ids=["204", "304", "304 with a length", "205", "empty", "no chunk", "102", "429"],
)
async def test_after_an_answer_without_a_body_the_connection_is_as_good(
    kind: str, first: bytes
) -> None:
    """
    The kind: an answer that ends with its head.

    The next call has its connection, and a loss there is known to be unread.
    """
    server = Server([first], [answer(b"two")], [first], [Then.RESET])
    async with pair(kind, server) as wire:
        assert (await ask(wire))[2] == b""
        assert (await ask(wire))[2] == b"two"
        await ask(wire)
        error = await failure_of(wire)
    assert isinstance(error, ConnectionFailedError)
    assert error.unused
    assert server.connections == 1


@every_wire
async def test_two_lengths_that_differ_are_no_answer(kind: str) -> None:
    """Whichever was taken, somebody between here and there took the other."""
    server = Server([answer(b"yes", headers=["Content-Length: 2"]), Then.CLOSE])
    async with pair(kind, server) as wire:
        assert (await failure_of(wire)).message == Fault.PROTOCOL.value


# What a wrong scheme or port looks like.


@every_wire
@pytest.mark.parametrize(
    "script",
    [
        [Then.CLOSE],
        [Then.RESET],
        [b"\x15\x03\x01\x00\x02\x02\x46", Then.CLOSE],
        [b"\x15\x03\x03\x00\x02\x02\x0a", Then.RESET],
        [b"220 mail.example ESMTP\r\n", Then.CLOSE],
    ],
    ids=["closed", "reset", "alert of TLS", "newer alert", "a mail server"],
)
async def test_who_has_never_had_an_answer_is_told_to_look_at_the_scheme(
    kind: str, script: Sequence[Step]
) -> None:
    """
    The kind: HTTP spoken to what speaks something else.

    Where answers came before it is a loss like any other.
    """
    hint = "look at scheme and port of 'base_url'"
    async with pair(kind, Server(script)) as wire:
        assert hint in (await failure_of(wire)).message
    server = Server([answer(headers=["Connection: close"]), Then.CLOSE], [Then.CLOSE])
    async with pair(kind, server) as wire:
        await ask(wire)
        assert hint not in (await failure_of(wire)).message


@every_wire
async def test_http_to_a_port_of_tls(kind: str, tmp_path: Path) -> None:
    """A real one, by OpenSSL."""
    server = Server(tls=server_context(tmp_path))
    async with pair(kind, server) as wire:
        message = (await failure_of(wire)).message
    assert "look at scheme and port of 'base_url'" in message


# One URL, one meaning.


@our_wires
@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("stra\N{LATIN SMALL LETTER SHARP S}e.example", "xn--strae-oqa.example"),
        (
            "B\N{LATIN CAPITAL LETTER U WITH DIAERESIS}CHER.example",
            "xn--bcher-kva.example",
        ),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}b.example", "ab.example"),
        ("a\N{IDEOGRAPHIC FULL STOP}example", "a.example"),
        ("UPPER.example", "upper.example"),
        ("xn--strae-oqa.example", "xn--strae-oqa.example"),
    ],
)
async def test_a_name_in_other_letters_is_one_host(
    kind: str, host: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The kind: a URL that two transports read as two.

    By the rules of browsers (UTS 46): capital, wide and Eastern letters and dots too.
    """
    seen = []
    async with serve(Server()) as server:

        async def look_up(name: Any, *_: object, **__: object) -> list[object]:
            seen.append(name.decode() if isinstance(name, bytes) else name)
            address = ("127.0.0.1", server.port)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

        monkeypatch.setattr(anyio, "getaddrinfo", look_up)
        async with connect(kind, f"http://{host}") as wire:
            assert (await ask(wire))[0] == 200
    assert seen == [asked]
    assert f"\r\nhost: {asked}\r\n".encode() in server.requests[0].lower()


@our_wires
@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]"]
)
async def test_an_address_in_odd_figures_is_one_host(kind: str, host: str) -> None:
    """As the system reads it, and directly."""
    with anyio.fail_after(10):
        async with (
            serve(Server()) as server,
            connect(kind, f"http://{host}:{server.port}") as wire,
        ):
            assert (await ask(wire))[0] == 200
