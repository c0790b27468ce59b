"""What is particular to the default wire, and the door that opens wires."""

import errno
import random
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.wire.certificates import server_context
from tests.wire.server import (
    CHUNKED,
    HEAD,
    HastyServer,
    Server,
    Step,
    Then,
    answer,
    serve,
)
from tests.wire.wires import (
    CANARY,
    OURS,
    ask,
    connect,
    failure_of,
    open_own,
    our_wires,
    pair,
)

from aitor.errors import (
    AttemptTimeoutError,
    ConfigurationError,
    ConnectionFailedError,
)
from aitor.wire import WireSettings, dial, open_wire
from aitor.wire.failures import Fault
from aitor.wire.httpx2 import Httpx2Wire
from aitor.wire.sockets import SocketWire

pytestmark = pytest.mark.anyio


async def test_wires_are_opened_by_name() -> None:
    """`auto` is the faster one."""
    kinds = {"auto": SocketWire, "sockets": SocketWire, "httpx2": Httpx2Wire}
    for name, kind in kinds.items():
        wire = open_wire(name, WireSettings("http://127.0.0.1:9"))
        assert type(wire) is kind
        await wire.aclose()


def test_an_unknown_wire_is_refused_by_name() -> None:
    """The text names the setting, the value and what there is."""
    with pytest.raises(ConfigurationError, match=r"'transport' = 'carrier-pigeon'"):
        open_wire("carrier-pigeon", WireSettings("http://127.0.0.1:9"))


@our_wires
@pytest.mark.parametrize("end", ["\n", "\r\nX: y"])
async def test_a_key_with_a_line_break_is_refused_unseen(kind: str, end: str) -> None:
    """At once or at the first call, and never with its value."""
    headers = {"authorization": f"Bearer {CANARY}{end}"}
    async with serve(Server()) as server:
        with pytest.raises(ConfigurationError) as caught:
            await ask(open_own(kind, WireSettings(server.url, headers)))
    error = caught.value
    assert error.message == "a header cannot be sent (look at 'api_key' and 'headers')"
    assert error.__cause__ is error.__context__ is None
    assert not server.requests


@our_wires
async def test_headers_of_one_request_are_checked_too(kind: str) -> None:
    """And they come before the pool's own."""
    async with serve(Server()) as server:
        settings = WireSettings(server.url, {"x-who": "pool", "x-what": "pool"})
        wire = open_own(kind, settings)
        await ask(wire, x_who="request")
        with pytest.raises(ConfigurationError, match="a header cannot be sent"):
            await ask(wire, x_who=f"{CANARY}\n")
        await wire.aclose()
    head = server.requests[0].lower()
    assert b"x-who: request\r\n" in head
    assert b"x-what: pool\r\n" in head
    assert b"x-who: pool" not in head


@our_wires
@pytest.mark.parametrize("url", ["http://[bad", "http://h:0/v1", "http://h:99999"])
def test_a_url_that_cannot_be_asked_is_refused(kind: str, url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match="is no URL that can be asked"):
        open_own(kind, WireSettings(url))


async def test_nobody_sees_the_key_in_a_repr() -> None:
    """Neither of the settings nor of the wires."""
    settings = WireSettings("http://127.0.0.1:9", {"authorization": CANARY})
    for kind in OURS:
        wire = open_own(kind, settings)
        assert CANARY not in repr(wire) + repr(settings)
        await wire.aclose()


def test_a_url_with_a_password_is_refused_unseen() -> None:
    """It would be sent nowhere, and may be quoted nowhere."""
    with pytest.raises(ConfigurationError) as caught:
        open_wire("sockets", WireSettings(f"http://me:{CANARY}@127.0.0.1:9"))
    assert CANARY not in str(caught.value)


async def test_the_named_wire_refuses_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which variable it found; a host in `no_proxy` is asked directly."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="'https_proxy' is set"):
        open_wire("sockets", WireSettings("https://provider.invalid"))
    monkeypatch.setenv("no_proxy", "provider.invalid")
    wire = open_wire("auto", WireSettings("https://provider.invalid"))
    assert type(wire) is SocketWire
    await wire.aclose()


# What is sent.


async def test_the_request_is_one_piece_with_its_length() -> None:
    """Nothing is asked for that the provider did not ask for."""
    async with serve(Server()) as server:
        wire = open_wire("sockets", WireSettings(server.url + "/v1", {"x-a": "b"}))
        await ask(wire, b"{}")
        await wire.aclose()
    assert server.requests == [
        b"POST /v1/echo HTTP/1.1\r\n"
        b"host: 127.0.0.1:%d\r\n"
        b"x-a: b\r\n"
        b"content-length: 2\r\n\r\n"
        b"{}" % server.port
    ]


@our_wires
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_request_larger_than_any_buffer_is_sent_whole(
    kind: str, scheme: str, tmp_path: Path
) -> None:
    """A picture of megabytes goes out in as many pieces as the socket takes."""
    body = b'{"a":"%b"}' % random.Random(7).randbytes(4_000_000).hex().encode()
    server = Server(tls=server_context(tmp_path) if scheme == "https" else None)
    async with pair(kind, server, scheme=scheme) as wire:
        assert (await ask(wire, body))[0] == 200
    assert server.requests[0].endswith(body)


@our_wires
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_answer_larger_than_any_buffer_comes_whole(
    kind: str, scheme: str, tmp_path: Path
) -> None:
    """In pieces, none larger than one read."""
    body = random.Random(7).randbytes(8_000_000)
    tls = server_context(tmp_path) if scheme == "https" else None
    async with (
        pair(kind, Server([answer(body)], tls=tls), scheme=scheme) as wire,
        wire.post("/echo", b"{}") as response,
    ):
        pieces = [piece async for piece in response]
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= 65_536


# Who is answered before all is sent.

LARGE = b'{"a":"%b"}' % (b"x" * 8_000_000)
"""More than the buffers between two sockets take."""

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


@pytest.fixture(params=["http", "https"])
def hasty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HastyServer]:
    tls = server_context(tmp_path) if request.param == "https" else None
    with HastyServer(tls) as server:
        yield server


@our_wires
@pytest.mark.parametrize(
    ("early", "status", "body"),
    [
        (answer(b"too large", "413 Too Large"), 413, b"too large"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"no", "401 No"), 401, b"no"),
        (answer(b"read enough"), 200, b"read enough"),
        (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", 200, b"{}"),
    ],
    ids=["refused", "after a hint", "answered", "in chunks"],
)
async def test_an_early_answer_is_heard_although_nobody_reads_on(
    kind: str, hasty: HastyServer, early: bytes, status: int, body: bytes
) -> None:
    """Nothing follows on its connection, where the rest of the request belongs."""
    hasty.says = early
    with anyio.fail_after(10):
        async with connect(kind, hasty.url) as wire:
            for _ in range(2):
                got = await ask(wire, LARGE)
                assert (got[0], got[2]) == (status, body)
    assert hasty.connections == 2


@pytest.mark.parametrize("kind", ["sockets", "httpx2"])
async def test_a_refusal_is_heard_before_its_body_has_come(
    kind: str, hasty: HastyServer
) -> None:
    """
    It ends the sending by its status, and what it says may come later.

    An SDK reads what a refusal says before it hands out its status.
    """
    hasty.says = HEAD.replace(b"200 OK", b"413 Too Large")
    with anyio.fail_after(10):
        async with (
            connect(kind, hasty.url) as wire,
            wire.post("/echo", LARGE) as response,
        ):
            assert response.status == 413


@our_wires
async def test_an_early_nonsense_is_no_answer(kind: str, hasty: HastyServer) -> None:
    hasty.says = b"nonsense\r\n\r\n"
    with anyio.fail_after(10):
        async with connect(kind, hasty.url) as wire:
            assert (await failure_of(wire, LARGE)).message == Fault.PROTOCOL.value


@our_wires
async def test_who_begins_to_answer_and_reads_on_is_sent_everything(
    kind: str,
    hasty: HastyServer,
) -> None:
    """An answer that has begun well is no reason to stop."""
    hasty.says, hasty.then = BEGUN[:-2], BEGUN[-2:]
    with anyio.fail_after(10):
        async with connect(kind, hasty.url) as wire:
            for _ in range(2):
                assert (await ask(wire, LARGE))[2] == b"yes"
    assert hasty.connections == 1


@our_wires
async def test_who_is_cancelled_while_sending_leaves_no_hole_in_the_pool(
    kind: str,
    hasty: HastyServer,
) -> None:
    with anyio.fail_after(10):
        async with connect(kind, hasty.url, max_connections=1) as wire:
            for _ in range(2):
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, wire, LARGE)
                    begun = hasty.begun.wait
                    await anyio.to_thread.run_sync(begun, abandon_on_cancel=True)
                    await anyio.wait_all_tasks_blocked()
                    group.cancel_scope.cancel()
            hasty.says = answer()
            assert (await ask(wire))[0] == 200


# Whose answer it is.


SURPLUS = {
    "an answer": answer(b"stolen"),
    "half an answer": answer(b"stolen")[:30],
    "no HTTP": b"nonsense\r\n\r\n",
    "a body too long": b"{}",
    "a hint": b"HTTP/1.1 103 Early Hints\r\n\r\n",
}


@our_wires
@pytest.mark.parametrize("surplus", SURPLUS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("first", [answer(), answer(b"{}", "429 Slow")])
@pytest.mark.parametrize("together", ["as one piece", "as two", "later"])
async def test_what_nobody_asked_for_is_given_to_nobody(
    kind: str, surplus: str, scheme: str, first: bytes, together: str, tmp_path: Path
) -> None:
    """
    The kind: what is promised of one transport and holds for one.

    Bytes behind an answer end the connection, before or after it was put back, in
    whatever layer they wait: the socket, TLS, or a parser.
    """
    now = anyio.Event()
    extra = SURPLUS[surplus]
    scripts: dict[str, list[Step]] = {
        "as one piece": [first + extra],
        "as two": [first, extra],
        "later": [first, now, extra],
    }
    tls = server_context(tmp_path) if scheme == "https" else None
    mine = answer(b"mine")
    server = Server([*scripts[together], Then.HANG], [mine], tls=tls)
    async with pair(kind, server, scheme) as wire:
        assert (await ask(wire))[2] == b"{}"
        now.set()
        await anyio.wait_all_tasks_blocked()
        assert (await ask(wire))[2] == b"mine"
    if together != "as two":
        # Where two pieces come apart, the second may not be there yet.
        assert server.connections == 2


@our_wires
async def test_a_response_that_was_left_gives_nothing_more(kind: str) -> None:
    """Its connection may be another call's by now."""
    server = Server([CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"])
    async with pair(kind, server) as wire:
        async with wire.post("/echo", b"{}") as first:
            assert await anext(aiter(first)) == b"{}"
        async with wire.post("/echo", b"{}"):
            with pytest.raises(ConnectionFailedError):
                await anext(aiter(first))


# When a connection is good for another call.


@our_wires
@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
async def test_a_closed_connection_is_never_used_again(kind: str, then: Then) -> None:
    """The news is looked for before a request is sent, so none is lost."""
    now = anyio.Event()
    server = Server([answer(), now, then], [answer(b"two")])
    async with pair(kind, server) as wire:
        await ask(wire)
        now.set()
        await server.closed.wait()
        assert (await ask(wire))[2] == b"two"
    assert (server.connections, len(server.requests)) == (2, 2)


@our_wires
@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        answer(headers=["Connection: close"]),
    ],
    ids=["HTTP/1.0", "asked to close"],
)
async def test_a_connection_that_the_server_will_close_is_closed(
    kind: str, first: bytes
) -> None:
    """Without waiting for it."""
    server = Server([first], [answer()])
    async with pair(kind, server) as wire:
        await ask(wire)
        await server.left.wait()
        await ask(wire)
    assert server.connections == 2


@our_wires
async def test_an_idle_connection_is_closed_when_its_time_is_over(kind: str) -> None:
    """At the next call at the latest."""
    server = Server()
    async with pair(kind, server, idle_seconds=0.0) as wire:
        for _ in range(3):
            await ask(wire)
            await anyio.sleep(0.001)
        assert server.connections == 3


@our_wires
async def test_no_more_idle_connections_are_kept_than_allowed(kind: str) -> None:
    """The oldest go first."""
    now = anyio.Event()
    first: list[Step] = [now, answer()]
    server = Server(*[first] * 5, [answer()])
    async with pair(kind, server, max_idle=2) as wire:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask, wire)
            await server.requests_reach(5)
            now.set()
        while server.open > 2:
            await anyio.wait_all_tasks_blocked()
        await ask(wire)
        assert (server.connections, server.open) == (5, 2)


@our_wires
async def test_one_stale_connection_speaks_for_all_that_are_older(kind: str) -> None:
    """What cut it while nobody looked cut them too; the second try has a new one."""
    now = anyio.Event()
    together: list[Step] = [now, answer()]
    server = Server(*[together] * 5, [Then.RESET], [answer(b"new")])
    async with pair(kind, server) as wire:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask, wire)
            await server.requests_reach(5)
            now.set()
        error = await failure_of(wire)
        assert isinstance(error, ConnectionFailedError)
        assert error.unused
        if wire.stale:
            # Those beside it cannot be closed, so another pool is opened.
            return
        assert (await ask(wire))[2] == b"new"
    assert server.connections == 6


@our_wires
async def test_a_stale_connection_says_nothing_of_one_that_was_just_used(
    kind: str,
) -> None:
    """Who was answered after it was taken has a good one, which is kept."""
    now, lost = anyio.Event(), anyio.Event()
    together: list[Step] = [now, answer()]
    server = Server(together, together, [lost, Then.RESET], [answer(b"good")])
    async with pair(kind, server) as wire:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(ask, wire)
            await server.requests_reach(2)
            now.set()
        async with anyio.create_task_group() as group:
            group.start_soon(failure_of, wire)
            await server.requests_reach(3)
            assert (await ask(wire))[2] == b"good"
            lost.set()
        assert (await ask(wire))[2] == b"good"
    assert server.connections == 2


@our_wires
@pytest.mark.parametrize("bytes_first", [b"H", b"HTTP/1.1 200 OK\r\nConte"])
async def test_half_a_head_is_the_sign_of_a_request_that_was_read(
    kind: str,
    bytes_first: bytes,
) -> None:
    """So that a kept connection lost there is no reason to send again for free."""
    server = Server([answer()], [bytes_first, Then.CLOSE])
    async with pair(kind, server) as wire:
        await ask(wire)
        error = await failure_of(wire)
    assert isinstance(error, ConnectionFailedError)
    assert not error.unused


# What is too much.


@our_wires
async def test_informational_answers_without_end_are_no_http(kind: str) -> None:
    """They may not keep a call for ever, or fill the memory."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 10_000
    async with pair(kind, Server([hints, Then.HANG])) as wire:
        assert (await failure_of(wire)).message == Fault.PROTOCOL.value


@our_wires
async def test_trailers_without_end_cut_the_answer(kind: str) -> None:
    """They come after the body, where nobody would look."""
    flood = CHUNKED + b"2\r\n{}\r\n0\r\n" + b"X-Trailer: yes\r\n" * 30_000
    async with pair(kind, Server([flood, Then.HANG])) as wire:
        assert (await failure_of(wire)).message == Fault.CUT.value


@our_wires
async def test_many_small_chunks_are_no_flood(kind: str) -> None:
    """A long stream has more around its pieces than in them."""
    chunks = b"1\r\nx\r\n" * 100_000
    server = Server([CHUNKED, chunks, b"0\r\nX-Trailer: yes\r\n\r\n"])
    async with pair(kind, server) as wire:
        _, headers, body = await ask(wire)
    assert body == b"x" * 100_000
    assert "x-trailer" not in headers


@our_wires
async def test_a_refusal_whose_body_is_broken_still_has_its_status(kind: str) -> None:
    """The head was good, and says what matters."""
    head = b"HTTP/1.1 429 Slow\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with (
        pair(kind, Server([head + b"zz\r\n"])) as wire,
        wire.post("/echo", b"{}") as response,
    ):
        assert response.status == 429
        with pytest.raises(ConnectionFailedError, match="in the middle"):
            await anext(aiter(response))


# Several addresses.


async def test_an_address_that_does_not_answer_does_not_hold_up_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener whose queue is full drops what comes, as a dead route does."""
    monkeypatch.setattr(dial, "HEAD_START", 0.001)
    with socket.socket() as full, ExitStack() as fillers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        async with serve(Server()) as server:

            async def both(*_: object, **__: object) -> list[object]:
                good = ("127.0.0.1", server.port)
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
                    for address in (full.getsockname(), good)
                ]

            monkeypatch.setattr(anyio, "getaddrinfo", both)
            wire = open_wire("sockets", WireSettings("http://two.invalid"))
            with anyio.fail_after(10):
                assert (await ask(wire))[0] == 200
            await wire.aclose()


async def test_a_burst_asks_for_the_addresses_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of calls at once need one answer of the name server."""
    asked = []
    async with serve(Server()) as server:

        async def look_up(host: str, *_: object, **__: object) -> list[object]:
            asked.append(host)
            await anyio.wait_all_tasks_blocked()
            address = ("127.0.0.1", server.port)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

        monkeypatch.setattr(anyio, "getaddrinfo", look_up)
        wire = open_wire("sockets", WireSettings("http://many.invalid"))
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask, wire)
        await wire.aclose()
    assert asked == ["many.invalid"]


async def test_a_failed_look_up_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked meanwhile is told at once; who asks later asks again."""
    asked = []

    async def look_up(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        await anyio.wait_all_tasks_blocked()
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(anyio, "getaddrinfo", look_up)
    wire = open_wire("sockets", WireSettings("http://many.invalid"))
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(failure_of, wire)
    assert len(asked) == 1
    assert (await failure_of(wire)).message == Fault.NAME.value
    assert len(asked) == 2


async def test_addresses_that_were_good_outlive_a_failed_look_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name server's bad moment is no outage of the provider."""
    monkeypatch.setattr(dial, "FRESH", -1.0)
    answers = [True, False]
    async with serve(Server()) as server:

        async def once(*_: object, **__: object) -> list[object]:
            if answers.pop(0):
                address = ("127.0.0.1", server.port)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]
            raise socket.gaierror(socket.EAI_AGAIN, "try again")

        monkeypatch.setattr(anyio, "getaddrinfo", once)
        settings = WireSettings("http://one.invalid", keep_alive=False)
        wire = open_wire("sockets", settings)
        assert (await ask(wire))[0] == 200
        assert (await ask(wire))[0] == 200
        await wire.aclose()
    assert not answers


@our_wires
async def test_an_address_in_figures_is_not_looked_up(
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No name server, and no thread that asks one, stands before it."""

    async def look_up(*_: object, **__: object) -> list[object]:
        raise AssertionError

    monkeypatch.setattr(anyio, "getaddrinfo", look_up)
    async with pair(kind, Server()) as wire:
        assert (await ask(wire))[0] == 200


@our_wires
@pytest.mark.skipif(sys.platform != "linux", reason="others tell a little later")
async def test_a_server_on_the_same_machine_is_not_waited_for(
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is connected as soon as it is asked, which saves a turn of the event loop."""
    monkeypatch.delattr(dial, "wait_writable")
    async with pair(kind, Server()) as wire:
        assert (await ask(wire))[0] == 200


@pytest.fixture
def never_connected(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The sockets that were made; the server behind them is far and says nothing."""
    made: list[socket.socket] = []
    begin = dial._begin

    def pending(family: int, address: Any) -> tuple[socket.socket, int]:
        connection, _ = begin(family, address)
        made.append(connection)
        return connection, errno.EINPROGRESS

    async def wait(_: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(dial, "_begin", pending)
    monkeypatch.setattr(dial, "wait_writable", wait)
    return made


@our_wires
async def test_a_known_address_that_does_not_answer_has_a_time_limit(
    kind: str,
    never_connected: list[socket.socket],
) -> None:
    """A limit is only opened where something has to be waited for, but there it is."""
    async with pair(kind, Server(), connect_timeout=0.01) as wire:
        with anyio.fail_after(10):
            failure = await failure_of(wire)
    assert type(failure) is AttemptTimeoutError
    assert [connection.fileno() for connection in never_connected] == [-1]


@our_wires
async def test_who_is_cancelled_while_connecting_leaves_no_socket(
    kind: str,
    never_connected: list[socket.socket],
) -> None:
    async with pair(kind, Server()) as wire, anyio.create_task_group() as group:
        group.start_soon(ask, wire)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert [connection.fileno() for connection in never_connected] == [-1]


async def test_the_systems_own_time_limit_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes after a time that no setting of ours has named."""

    def begin(*_: object) -> tuple[socket.socket, int]:
        return socket.socket(), errno.ETIMEDOUT

    monkeypatch.setattr(dial, "_begin", begin)
    wire = open_wire("sockets", WireSettings("http://127.0.0.1:9"))
    told = (await failure_of(wire)).message
    assert told.endswith("ETIMEDOUT")
    assert "connect_timeout" not in told


@our_wires
async def test_an_option_that_may_not_be_set_is_left(
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a sandbox, for example: it is a nicety, and no reason to fail."""
    monkeypatch.setattr(dial, "OPTIONS", ((socket.IPPROTO_TCP, 9_999, 1),))
    async with pair(kind, Server()) as wire:
        assert (await ask(wire))[0] == 200


@our_wires
async def test_certificates_that_are_missing_are_named(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the variable to look at."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        open_own(kind, WireSettings("https://provider.invalid"))


@our_wires
async def test_an_upgrade_that_nobody_asked_for_is_no_answer(kind: str) -> None:
    """What follows it would not be HTTP."""
    head = b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with pair(kind, Server([head, Then.HANG])) as wire:
        assert (await failure_of(wire)).message == Fault.PROTOCOL.value


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
async def test_where_a_body_ends_is_not_for_settings_to_say(name: str) -> None:
    """Two lengths in one request would let a part of it pass for another."""
    with pytest.raises(ConfigurationError, match="a header cannot be sent"):
        open_wire("sockets", WireSettings("http://127.0.0.1:9", {name: "1"}))


@our_wires
async def test_a_body_with_two_lengths_is_read_to_its_real_end(kind: str) -> None:
    """A length beside chunks means nothing, and the connection is not trusted."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = Server([head, b"2\r\n{}\r\n", b"1\r\n!\r\n0\r\n\r\n"], [answer()])
    async with pair(kind, server) as wire:
        assert (await ask(wire))[2] == b"{}!"
        assert (await ask(wire))[2] == b"{}"
    assert server.connections == 2


async def test_no_compression_is_asked_for() -> None:
    """So that lengths stay true and streams are not held back."""
    async with serve(Server([answer()])) as server:
        wire = open_wire("sockets", WireSettings(server.url))
        await ask(wire)
        await wire.aclose()
    assert b"accept-encoding" not in server.requests[0].lower()
