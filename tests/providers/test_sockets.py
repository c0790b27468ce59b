"""Providers against a real server on a real socket, which fails as vendors do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aitor import Broker
from aitor.errors import (
    AccountError,
    AnswerTooLargeError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConnectionFailedError,
    ContentFilterError,
    ContextLengthError,
    LLMError,
    MalformedAnswerError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    TruncatedAnswerError,
    UnsupportedParameterError,
)
from aitor.providers import (
    AnthropicProvider,
    CompatibleProvider,
    HTTPProvider,
    OpenAIProvider,
)
from aitor.testing import FakeProvider

from .fake import ask

pytestmark = pytest.mark.anyio

APIS = ("chat", "responses", "messages")
STREAM = {"idle_timeout": 5.0}


@asynccontextmanager
async def provider(url: str, api: str, **settings: Any) -> AsyncIterator[HTTPProvider]:
    made: HTTPProvider
    if api == "messages":
        made = AnthropicProvider(
            base_url=url, api_key="k", model="claude-new", **settings
        )
    else:
        made = OpenAIProvider(
            base_url=f"{url}/v1", api_key="k", model="new", api=api, **settings
        )
    try:
        yield made
    finally:
        await made.aclose()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("transport", ["sockets", "httpx2", "sdk"])
@pytest.mark.parametrize("more", [{}, STREAM], ids=["whole", "stream"])
async def test_every_api_over_every_transport(
    api: str, transport: str, more: dict[str, Any]
) -> None:
    server = FakeProvider(answer_tokens=50)
    async with (
        server.serve() as url,
        provider(url, api, transport=transport, **more) as asked,
    ):
        for _ in range(2):
            answer = await ask(asked, "Say hello to row-17", max_tokens=200)
            assert answer.text.startswith("Answer to row-17")
            assert answer.finish_reason == "stop"
            assert answer.usage.output_tokens == 50
            assert not answer.usage.estimated
            assert answer.request_id
    assert server.bill().requests == 2


async def test_a_compatible_server() -> None:
    async with FakeProvider().serve() as url:
        asked = CompatibleProvider(base_url=url, api_key="k", model="any")
        assert (await ask(asked, "row-17")).text == "Answer to row-17"
        await asked.aclose()


async def test_what_a_model_refuses_is_learned_from_the_vendor() -> None:
    async with (
        FakeProvider(reasoning_models=["new"]).serve() as url,
        provider(url, "chat") as asked,
    ):
        for name in ("max_tokens", "temperature"):
            with pytest.raises(UnsupportedParameterError) as caught:
                await ask(asked, temperature=0.5, max_tokens=100)
            assert caught.value.parameter == name
        assert (await ask(asked, temperature=0.5, max_tokens=100)).text


async def test_who_cannot_open_a_connection_leaves_the_request_to_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The text says why, and no more is needed than to mend it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    one = OpenAIProvider(base_url="https://127.0.0.1:9/v1", api_key="k", model="new")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE") as caught:
        await ask(one)
    assert caught.value.__context__ is None
    async with Broker([one]) as broker:
        with pytest.raises(ConfigurationError) as alone:
            await broker.submit("row-17")
    assert len(alone.value.attempts) == 1
    async with FakeProvider().serve() as url, provider(url, "chat") as two:
        async with Broker({"one": one, "two": two}) as broker:
            reply = await broker.submit("row-17")
        assert reply.provider == "two"
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ConnectionFailedError, match="refused"):
        await ask(one)


FAULTS: dict[str, type[LLMError]] = {
    "reset": ConnectionFailedError,
    "close": ConnectionFailedError,
    "not_http": ConnectionFailedError,
    "truncate": ConnectionFailedError,
    "truncate_reset": ConnectionFailedError,
    "cut_json": TruncatedAnswerError,
    "not_json": MalformedAnswerError,
    "no_finish": TruncatedAnswerError,
    "no_choices": MalformedAnswerError,
    "html": MalformedAnswerError,
    "empty": MalformedAnswerError,
    "huge size=50000": AnswerTooLargeError,
    "error_in_200": OverloadedError,
    "overloaded": OverloadedError,
    "authentication": AuthenticationError,
    "billing": QuotaError,
    "credit_balance": QuotaError,
    "insufficient_quota": QuotaError,
    "spend_limit": QuotaError,
    "permission": AccountError,
    "model_permission": ModelNotFoundError,
    "model_not_found": ModelNotFoundError,
    "context_length": ContextLengthError,
    "content_filter": ContentFilterError,
    "bad_request": BadRequestError,
    "unprocessable": BadRequestError,
    "rate_limit": RateLimitError,
    "slow_down": RateLimitError,
    "request_timeout": ServerError,
    "conflict": ServerError,
    "server_error": ServerError,
    "gateway_timeout": ServerError,
    "bad_gateway": ServerError,
    "envoy": ServerError,
    "cloudflare": ServerError,
}


# What a fault means does not depend on the backend, so one is enough.
@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("more", [{}, STREAM], ids=["whole", "stream"])
async def test_every_fault_ends_in_the_error_that_says_so(
    api: str, more: dict[str, Any]
) -> None:
    server = FakeProvider(answer_tokens=50)
    faults = dict(FAULTS)
    if api != "chat" and not more:
        # There an answer without content is an answer.
        del faults["no_choices"]
    if api != "responses" and not more:
        # A whole document with a text in it is an answer, though not a known one.
        del faults["no_finish"]
    seen = {}
    async with (
        server.serve() as url,
        provider(url, api, max_answer_bytes=20_000, **more) as asked,
    ):
        for fault in faults:
            server.faults = [f"kind={fault}"]
            with pytest.raises(LLMError) as caught:
                await ask(asked, "row-17", max_tokens=100)
            seen[fault] = type(caught.value)
        server.faults = []
        assert (await ask(asked, "row-17")).text.startswith("Answer to row-17")
    assert seen == faults
