"""The wires under test, opened alike."""

import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import anyio
import httpx2
import openai
import pytest
from tests.wire.server import Server, serve

from aitor.errors import LLMError
from aitor.wire import Wire, WireSettings, open_wire
from aitor.wire.address import Address
from aitor.wire.sdk import OwnSDKWire, SDKWire

__all__ = (
    "CANARY",
    "OURS",
    "Answer",
    "ask",
    "connect",
    "every_wire",
    "failure_of",
    "open_own",
    "our_wires",
    "pair",
)

OURS = ("sockets", "httpx2", "sdk")
"""Wires with a pool of our making; the last under a client of OpenAI's."""

WIRES = (*OURS, "openai", "anthropic")
"""
All of them.

The last two are clients as their owners make them, with their usual two retries, to be
declined, and a pool that cannot be asked anything: each call has its own connection.
"""

every_wire = pytest.mark.parametrize("kind", WIRES)
our_wires = pytest.mark.parametrize("kind", OURS)

CANARY = "sk-canary-7e57"
"""The key, which nobody may ever see in a text of ours."""

Answer = tuple[int, Mapping[str, str], bytes]


def open_own(kind: str, settings: WireSettings) -> Wire:
    """Open a pool of our making."""
    if kind != "sdk":
        return open_wire(kind, settings)

    def client_with(http_client: httpx2.AsyncClient) -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(
            api_key=CANARY,
            base_url=Address.of(settings.base_url).url,
            default_headers=settings.headers,
            http_client=http_client,
        )
        # It would ask a thread for it, once.
        client._platform = "Linux"
        return client

    return OwnSDKWire(client_with, settings)


@asynccontextmanager
async def connect(kind: str, url: str, **settings: Any) -> AsyncIterator[Wire]:
    """Open a wire of *kind* to *url*, and close it at the end."""
    if kind in (*OURS, "auto"):
        headers = {"authorization": f"Bearer {CANARY}"}
        wire = open_own(kind, WireSettings(url + "/v1", headers, **settings))
        try:
            yield wire
        finally:
            await wire.aclose()
        return
    connect_timeout = settings.get("connect_timeout", 10.0)
    timeout = httpx2.Timeout(None, connect=connect_timeout)
    client = {"openai": openai.AsyncOpenAI, "anthropic": anthropic.AsyncAnthropic}[kind]
    async with client(api_key=CANARY, base_url=url + "/v1", timeout=timeout) as sdk:
        yield SDKWire(sdk)


async def ask(wire: Wire, body: bytes = b'{"a": 1}', **headers: str) -> Answer:
    """Post once, and read the answer to its end."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with wire.post("/echo", body, sent or None) as response:
        pieces = [piece async for piece in response]
        return response.status, response.headers, b"".join(pieces)


@asynccontextmanager
async def pair(
    kind: str, server: Server, scheme: str = "http", **settings: Any
) -> AsyncIterator[Wire]:
    """Run *server* and a wire to it; ten seconds are a watchdog and no more."""
    with anyio.fail_after(10):
        async with serve(server):
            url = f"{scheme}://127.0.0.1:{server.port}"
            async with connect(kind, url, **settings) as wire:
                yield wire


async def failure_of(wire: Wire, body: bytes = b"{}") -> LLMError:
    """Post once, and return the error that must come, checked for the key."""
    with pytest.raises(LLMError) as caught:
        await ask(wire, body)
    error = caught.value
    told = [*traceback.format_exception(error), repr(error), repr(vars(error))]
    assert CANARY not in "".join(told)
    assert error.__cause__ is None
    assert error.__context__ is None
    return error
