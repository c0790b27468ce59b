"""What is particular to the default wire, and the door that opens wires."""

import pytest
from tests.wire.server import Server, answer, serve
from tests.wire.wires import CANARY, OURS, ask

from aitor.errors import ConfigurationError
from aitor.wire import WireSettings, open_wire
from aitor.wire.httpx2 import Httpx2Wire
from aitor.wire.pyqwest import PyqwestWire

pytestmark = pytest.mark.anyio


async def test_wires_are_opened_by_name() -> None:
    """`auto` is the faster one."""
    kinds = {"auto": PyqwestWire, "pyqwest": PyqwestWire, "httpx2": Httpx2Wire}
    for name, kind in kinds.items():
        wire = open_wire(name, WireSettings("http://127.0.0.1:9"))
        assert type(wire) is kind
        await wire.aclose()


def test_an_unknown_wire_is_refused_by_name() -> None:
    """The text names the setting, the value and what there is."""
    with pytest.raises(ConfigurationError, match=r"'transport' = 'carrier-pigeon'"):
        open_wire("carrier-pigeon", WireSettings("http://127.0.0.1:9"))


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("end", ["\n", "\r\nX: y"])
async def test_a_key_with_a_line_break_is_refused_unseen(kind: str, end: str) -> None:
    """At once or at the first call, and never with its value."""
    headers = {"authorization": f"Bearer {CANARY}{end}"}
    async with serve(Server()) as server:
        with pytest.raises(ConfigurationError) as caught:
            await ask(open_wire(kind, WireSettings(server.url, headers)))
    error = caught.value
    assert error.message == "a header cannot be sent (look at 'api_key' and 'headers')"
    assert error.__cause__ is error.__context__ is None
    assert not server.requests


@pytest.mark.parametrize("kind", OURS)
async def test_headers_of_one_request_are_checked_too(kind: str) -> None:
    """And they come before the pool's own."""
    async with serve(Server()) as server:
        settings = WireSettings(server.url, {"x-who": "pool", "x-what": "pool"})
        wire = open_wire(kind, settings)
        await ask(wire, x_who="request")
        with pytest.raises(ConfigurationError, match="a header cannot be sent"):
            await ask(wire, x_who=f"{CANARY}\n")
        await wire.aclose()
    head = server.requests[0].lower()
    assert b"x-who: request\r\n" in head
    assert b"x-what: pool\r\n" in head
    assert b"x-who: pool" not in head


def test_a_url_that_cannot_be_asked_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match=r"'base_url' = 'http://\[bad'"):
        open_wire("pyqwest", WireSettings("http://[bad"))


async def test_nobody_sees_the_key_in_a_repr() -> None:
    """Neither of the settings nor of the wires."""
    settings = WireSettings("http://127.0.0.1:9", {"authorization": CANARY})
    for kind in OURS:
        wire = open_wire(kind, settings)
        assert CANARY not in repr(wire) + repr(settings)
        await wire.aclose()


async def test_a_body_with_two_lengths_is_read_to_its_real_end() -> None:
    """A length beside chunks means nothing, whatever it says."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = Server([head, b"2\r\n{}\r\n", b"1\r\n!\r\n0\r\n\r\n"])
    async with serve(server):
        wire = open_wire("pyqwest", WireSettings(server.url))
        assert (await ask(wire))[2] == b"{}!"
        await wire.aclose()


async def test_the_fastest_way_asks_for_no_compression() -> None:
    """So that lengths stay true and streams are not held back."""
    async with serve(Server([answer()])) as server:
        wire = open_wire("pyqwest", WireSettings(server.url))
        await ask(wire)
        await wire.aclose()
    assert b"accept-encoding" not in server.requests[0].lower()
