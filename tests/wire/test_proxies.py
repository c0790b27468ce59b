"""Proxies: found by the environment's word, checked, and named where they fail."""

from typing import Any

import anyio
import pytest
from tests.wire.server import Server, Then, answer, serve
from tests.wire.wires import CANARY, ask, connect, failure_of, pair

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
