"""What is particular to a caller's own SDK client."""

import json
from typing import Any

import anthropic
import anyio
import httpx
import openai
import pytest
from tests.wire.server import Server, Then, answer, serve
from tests.wire.wires import CANARY, ask, failure_of, pair

from aitor.errors import (
    AttemptTimeoutError,
    BadRequestError,
    ConfigurationError,
    ConnectionFailedError,
)
from aitor.wire.failures import Fault
from aitor.wire.sdk import SDKWire

pytestmark = pytest.mark.anyio

BODY = json.dumps({"model": "gpt-x", "messages": []}).encode()


async def test_azure_finds_its_deployment_in_the_body() -> None:
    """The SDK puts the model into the path, and its own key into a header."""
    async with serve(Server()) as server:
        client = openai.AsyncAzureOpenAI(
            api_key=CANARY, azure_endpoint=server.url, api_version="2026-01-01"
        )
        async with (
            client,
            SDKWire(client).post("/chat/completions", BODY) as response,
        ):
            assert response.status == 200
    line, head = server.requests[0].split(b"\r\n", 1)
    assert line == (
        b"POST /openai/deployments/gpt-x/chat/completions"
        b"?api-version=2026-01-01 HTTP/1.1"
    )
    assert b"api-key: " + CANARY.encode() in head.lower()


async def test_a_client_on_the_old_httpx_works() -> None:
    """OpenAI's SDK still takes one, and its exceptions have the same names."""
    server = Server([answer(b"yes")], [Then.RESET])
    async with serve(server), httpx.AsyncClient(timeout=None) as http:
        client = openai.AsyncOpenAI(
            api_key=CANARY,
            base_url=server.url,
            http_client=http,  # type: ignore[arg-type]  # taken, but not declared
        )
        wire = SDKWire(client)
        assert (await ask(wire))[2] == b"yes"
        with pytest.raises(ConnectionFailedError) as caught:
            await ask(wire)
    assert caught.value.message == f"{Fault.LOST.value}: ECONNRESET"


async def test_middleware_of_the_client_is_used() -> None:
    """Whatever the client has been taught, it does."""
    seen = []

    async def watch(
        request: anthropic.APIRequest, call_next: anthropic.AsyncCallNext
    ) -> anthropic.AsyncAPIResponse[Any]:
        seen.append(request)
        return await call_next(request)

    async with (
        serve(Server([answer(b"no", "400 Bad Request")])) as server,
        anthropic.AsyncAnthropic(
            api_key=CANARY, base_url=server.url, middleware=[watch]
        ) as client,
    ):
        status, _, body = await ask(SDKWire(client))
    assert (status, body, len(seen)) == (400, b"no", 1)


@pytest.mark.parametrize("body", [b"", b"no"])
async def test_a_refusal_keeps_its_connection(body: bytes) -> None:
    """The SDK has read it whole, so the next call may find that connection lost."""
    server = Server([answer(body, "400 Bad Request")], [Then.RESET])
    async with pair("sdk", server) as wire:
        assert (await ask(wire))[0] == 400
        error = await failure_of(wire)
    assert isinstance(error, ConnectionFailedError)
    assert error.unused
    assert server.connections == 1


@pytest.mark.parametrize("client", [openai.AsyncOpenAI, anthropic.AsyncAnthropic])
async def test_each_call_of_somebodys_own_client_has_its_own_connection(
    client: type[openai.AsyncOpenAI | anthropic.AsyncAnthropic],
) -> None:
    """
    The kind: a pool that cannot be asked whether a connection is clean.

    So the connection is not used again, after refusals and hints neither.
    """
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    surplus = answer(b"stolen")
    server = Server(
        [answer() + surplus],
        [answer(b"no", "400 Bad Request") + surplus],
        [hints + answer() + surplus],
        [answer(b"mine")],
    )
    async with serve(server), client(api_key=CANARY, base_url=server.url) as sdk:
        wire = SDKWire(sdk)
        for _ in range(3):
            await ask(wire)
        assert (await ask(wire))[2] == b"mine"
    assert server.connections == 4


async def test_a_client_serves_one_event_loop_at_a_time(anyio_backend: str) -> None:
    """
    The kind: what belongs to one loop and is used by two at once.

    Its pool would wake callers of one loop from the other's thread.
    """
    asked = anyio.Event()
    server = Server([asked, answer()], [answer()])
    async with (
        serve(server),
        openai.AsyncOpenAI(api_key=CANARY, base_url=server.url) as client,
    ):
        wire = SDKWire(client)

        def elsewhere() -> None:
            anyio.run(ask, wire, backend=anyio_backend)

        async with anyio.create_task_group() as group:
            group.start_soon(ask, wire)
            await server.requests_reach(1)
            with pytest.raises(ConfigurationError, match="another event loop"):
                await anyio.to_thread.run_sync(elsewhere)
            asked.set()
        # One after the other they may.
        await anyio.to_thread.run_sync(elsewhere)
    assert len(server.requests) == 2


async def test_a_refusal_can_be_left_unread() -> None:
    """Nothing is left behind, on trio either."""
    async with (
        serve(Server([answer(b"no", "400 Bad Request")])) as server,
        openai.AsyncOpenAI(api_key=CANARY, base_url=server.url) as client,
        SDKWire(client).post("/echo", b"{}") as response,
    ):
        async for piece in response:
            assert piece == b"no"
            break


async def test_the_clients_own_timeout_is_told_as_one() -> None:
    """It is shorter than ours only if its owner set it so."""
    async with (
        serve(Server([Then.HANG])) as server,
        openai.AsyncOpenAI(api_key=CANARY, base_url=server.url, timeout=0.05) as client,
    ):
        with pytest.raises(AttemptTimeoutError, match="own read timeout"):
            await ask(SDKWire(client))
    assert len(server.requests) == 1


async def test_the_client_stays_open() -> None:
    """It is its owner's to close."""
    async with serve(Server()) as server:
        client = openai.AsyncOpenAI(api_key=CANARY, base_url=server.url)
        wire = SDKWire(client)
        await ask(wire)
        await wire.aclose()
        assert not client.is_closed()
        assert (await ask(wire))[0] == 200
        await client.close()


@pytest.mark.parametrize("client", [openai.AsyncOpenAI, anthropic.AsyncAnthropic])
async def test_half_a_surrogate_pair_is_the_requests_fault(
    client: type[openai.AsyncOpenAI | anthropic.AsyncAnthropic],
) -> None:
    """No UTF-8 has it, so it cannot be sent anywhere."""
    async with client(api_key=CANARY, base_url="http://127.0.0.1:9") as sdk:
        with pytest.raises(BadRequestError, match="surrogate"):
            await ask(SDKWire(sdk), rb'{"text": "\ud800"}')


@pytest.mark.parametrize("client", [openai.AsyncOpenAI, anthropic.AsyncAnthropic])
async def test_a_key_with_a_line_break_is_refused_unseen(
    client: type[openai.AsyncOpenAI | anthropic.AsyncAnthropic],
) -> None:
    """The SDK would call it a lost connection, and quote it."""
    async with (
        serve(Server()) as server,
        client(api_key=f"{CANARY}\n", base_url=server.url) as sdk,
    ):
        with pytest.raises(ConfigurationError) as caught:
            await ask(SDKWire(sdk))
    assert CANARY not in repr(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("client", ["sk-key", openai.OpenAI(api_key="x"), None])
def test_what_is_no_asynchronous_client_is_refused(client: object) -> None:
    """At once, and by its type."""
    with pytest.raises(
        ConfigurationError, match=f"'client' is a {type(client).__name__}"
    ):
        SDKWire(client)
