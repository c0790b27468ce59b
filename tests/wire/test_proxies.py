"""Proxies: found by the environment's word, checked, and named where they fail."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.wire.certificates import server_context
from tests.wire.server import Server, Then, answer, serve
from tests.wire.wires import CANARY, ask, connect, failure_of, pair

from aitor import Broker
from aitor.errors import ConfigurationError, ConnectionFailedError
from aitor.providers import CompatibleProvider
from aitor.wire import find_proxy, proxies
from aitor.wire.httpx2 import Httpx2Wire
from aitor.wire.proxies import proxy_for

pytestmark = pytest.mark.anyio

URL = "http://provider.invalid/v1"


@pytest.fixture(autouse=True)
def _without_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "find_spec", lambda _: None)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("address", "told"),
    [
        (f"http://me:{CANARY}@127.0.0.1:99999", "host and port"),
        (f"me:{CANARY}@127.0.0.1:port", "host and port"),
        (f"http://me:{CANARY}@[::1", "host and port"),
        (f"http://me:{CANARY}@", "host and port"),
        (f"http://me:{CANARY}@a|b:80", "host and port"),
        (f"http://me:{CANARY}@127.0.0.1:9 ", "host and port"),
        (f"socks4://me:{CANARY}@127.0.0.1:9", "must begin with http, https"),
        (f"socks5://me:{CANARY}@127.0.0.1:9", "the package 'socksio'"),
        (f"socks5h://me:{CANARY}@127.0.0.1:9", "the package 'socksio'"),
    ],
)
@pytest.mark.parametrize("transport", ["auto", "httpx2", "sdk"])
def test_a_proxy_that_cannot_be_asked_is_told_before_anything_is_sent(
    transport: Any,
    address: str,
    told: str,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the name of its variable: the address may have a password in it."""
    monkeypatch.setenv(variable, address)
    with pytest.raises(ConfigurationError) as caught:
        CompatibleProvider(base_url=URL, model="m", transport=transport)
    error = caught.value
    assert error.message.startswith(f"'{variable}' names ")
    assert told in error.message
    assert CANARY not in error.message
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_can_be_asked_with_its_package(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "find_spec", lambda _: object())
    monkeypatch.setenv("all_proxy", f"{scheme}://127.0.0.1:9")
    assert find_proxy("auto", URL) is not None


def test_sockets_and_a_proxy_do_not_go_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="'HTTP_PROXY' is set"):
        CompatibleProvider(base_url=URL, model="m", transport="sockets")


@pytest.mark.parametrize("url", ["http://[::1]:8080/v1", "http://[::1]/v1"])
def test_an_ipv6_address_is_known_by_its_name(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert proxy_for(url) is not None
    monkeypatch.setenv("no_proxy", "localhost,::1")
    assert proxy_for(url) is None


DIRECT = [
    ("10.1.2.3", "10.0.0.0/8"),
    ("127.0.0.1", "localhost,127.0.0.0/8,::1"),
    ("127.0.0.1", "127.0.0.1/32"),
    ("127.1", "127.0.0.0/8"),
    ("[fd00::1]", "fd00::/8"),
    ("[fd00::1]", "[fd00::]/8"),
    ("[::1]", "[::1]"),
    ("[::1]:8080", "[::1]:8080"),
    ("[::ffff:10.0.0.1]", "10.0.0.0/8"),
    ("host.example", "host.example"),
    ("HOST.example", "Host.Example"),
    ("a.host.example", "host.example"),
    ("a.host.example", ".host.example"),
    ("a.host.example", "*.host.example"),
    ("host.example", "*.host.example"),
    ("host.example", "host.example."),
    ("host.example:8080", "host.example:8080"),
    ("host.example", "host.example:80"),
    ("10.0.0.1:8080", "10.0.0.1:8080"),
    ("host.example", "other.example host.example"),
    ("stra\N{LATIN SMALL LETTER SHARP S}e.example", "xn--strae-oqa.example"),
    ("xn--strae-oqa.example", "stra\N{LATIN SMALL LETTER SHARP S}e.example"),
    ("host.example", "*"),
    ("host.example", "a.example, *"),
]

PROXIED = [
    ("11.1.2.3", "10.0.0.0/8"),
    ("[fe80::1]", "fd00::/8"),
    ("10.0.0.1", "fd00::/8"),
    ("10.0.0.1.example", "10.0.0.0/8"),
    ("host.example:8081", "host.example:8080"),
    ("10.0.0.1:8081", "10.0.0.1:8080"),
    ("[::1]:8081", "[::1]:8080"),
    ("nothost.example", "host.example"),
    ("host.example.other", "host.example"),
    ("host.example", "10.0.0.0/99, , .,:,[,/"),
    ("10.0.0.1", "0.1"),
]


@pytest.mark.parametrize(("host", "exceptions"), DIRECT)
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_is_named_in_no_proxy_is_asked_directly(
    host: str,
    exceptions: str,
    variable: str,
    scheme: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The kind: an exception that is written as others write it, and ignored.

    Networks, ports, dots, asterisks and other letters: a key and a prompt would go to
    the proxy.
    """
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(variable, exceptions)
    if scheme == "https" and exceptions.endswith(":80"):
        exceptions = exceptions.replace(":80", ":443")
        monkeypatch.setenv(variable, exceptions)
    assert proxy_for(f"{scheme}://{host}/v1") is None


@pytest.mark.parametrize(("host", "exceptions"), PROXIED)
def test_who_is_not_named_in_no_proxy_is_asked_by_the_proxy(
    host: str, exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nonsense names nobody."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", exceptions)
    assert proxy_for(f"http://{host}/v1") is not None


@pytest.mark.parametrize("transport", ["auto", "sockets", "httpx2", "sdk"])
async def test_no_key_goes_to_a_proxy_past_a_network_in_no_proxy(
    transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every transport."""
    body = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
    server = Server([answer(body, headers=["Content-Type: application/json"])])
    proxy = Server()
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    with anyio.fail_after(10):
        async with serve(server), serve(proxy):
            monkeypatch.setenv("http_proxy", proxy.url)
            provider = CompatibleProvider(
                base_url=server.url, model="m", api_key=CANARY, transport=transport
            )
            async with Broker({"one": provider}) as broker:
                assert (await broker.submit("x", timeout=5)).text == "hi"
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


async def test_surplus_bytes_of_a_proxy_are_nobodys_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plain, it is read along with; nothing of it reaches the next call."""
    stolen = answer(b"stolen")
    proxy = Server([answer() + stolen], [answer(b"mine")])
    with anyio.fail_after(10):
        async with serve(proxy):
            monkeypatch.setenv("http_proxy", proxy.url)
            async with connect("auto", "http://provider.invalid") as wire:
                assert (await ask(wire))[2] == b"{}"
                assert (await ask(wire))[2] == b"mine"
                assert (await ask(wire))[2] == b"mine"
    assert proxy.connections == 2


async def test_a_proxy_spoken_to_in_tls_has_each_call_on_its_own_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its streams hold cannot be asked for."""
    proxy = Server([answer() + answer(b"stolen")], tls=server_context(tmp_path))
    with anyio.fail_after(10):
        async with serve(proxy):
            monkeypatch.setenv("http_proxy", proxy.url)
            async with connect("auto", "http://provider.invalid") as wire:
                for _ in range(3):
                    assert (await ask(wire))[2] == b"{}"
    assert proxy.connections == 3


async def test_a_proxy_for_others_is_no_matter_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One for another scheme, or for a host that is asked directly."""
    monkeypatch.setenv("https_proxy", "socks4://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:99999")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for kind in ("auto", "sockets", "httpx2"):
        async with pair(kind, Server()) as wire:
            assert (await ask(wire))[0] == 200


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("http://127.0.0.1:9", "ECONNREFUSED"),
        ("http://no-such-host.invalid:80", "its name was not found"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_cannot_be_reached_is_told_as_such(
    scheme: str, proxy: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    async with connect("auto", f"{scheme}://provider.invalid") as wire:
        assert type(wire) is Httpx2Wire
        error = await failure_of(wire)
    assert error.message == f"no connection to the proxy: {why} (look at 'ALL_PROXY')"


async def test_a_proxy_that_refuses_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the status it gave, and none of its words."""
    server = Server([answer(b"", f"407 {CANARY}"), Then.CLOSE])
    with anyio.fail_after(10):
        async with serve(server):
            monkeypatch.setenv("https_proxy", server.url)
            async with connect("auto", "https://provider.invalid") as wire:
                error = await failure_of(wire)
    assert isinstance(error, ConnectionFailedError)
    assert error.message == (
        "the proxy refused to connect to the provider: 407 (look at 'https_proxy')"
    )


async def test_a_proxy_without_the_tls_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A common mistake: the address of a plain proxy that begins with https."""
    server = Server([answer(b"", "400 Bad Request"), Then.CLOSE])
    with anyio.fail_after(10):
        async with serve(server):
            proxy = server.url.replace("http:", "https:")
            monkeypatch.setenv("https_proxy", proxy)
            async with connect("auto", "https://provider.invalid") as wire:
                error = await failure_of(wire)
    assert error.message.endswith("or of 'https_proxy'")
