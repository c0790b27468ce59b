"""Providers against a real server on a real socket, which fails as vendors do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from aitor.errors import (
    AccountError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
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
async def provider(
    url: str, api: str, **settings: Any
) -> AsyncIterator[HTTPProvider]:
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
@pytest.mark.parametrize("transport", ["pyqwest", "httpx2", "sdk"])
@pytest.mark.parametrize("more", [{}, STREAM], ids=["whole", "stream"])
async def test_every_api_over_every_transport(
    api: str, transport: str, more: dict[str, Any]
) -> None:
    server = FakeProvider(answer_tokens=50)
    async with server.serve() as url:
        async with provider(url, api, transport=transport, **more) as asked:
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
        asked = CompatibleProvider(base_url=url, model="any")
        assert (await ask(asked, "row-17")).text == "Answer to row-17"
        await asked.aclose()


FAULTS: list[tuple[str, type[LLMError]]] = [
    ("reset", ConnectionFailedError),
    ("close", ConnectionFailedError),
    ("not_http", ConnectionFailedError),
    ("truncate", LLMError),
    ("truncate_reset", ConnectionFailedError),
    ("cut_json", MalformedAnswerError),
    ("not_json", MalformedAnswerError),
    ("no_finish", MalformedAnswerError),
    ("no_choices", MalformedAnswerError),
    ("error_in_200", OverloadedError),
    ("html", MalformedAnswerError),
    ("empty", MalformedAnswerError),
    ("huge size=2000000", MalformedAnswerError),
    ("status=500", ServerError),
    ("status=502", ServerError),
    ("status=503", ServerError),
    ("status=408", AttemptTimeoutError),
    ("status=409", ServerError),
    ("overloaded", OverloadedError),
    ("insufficient_quota", QuotaError),
    ("context_length", ContextLengthError),
]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("more", [{}, STREAM], ids=["whole", "stream"])
async def test_every_fault_ends_in_the_error_that_says_so(
    api: str, more: dict[str, Any]
) -> None:
    server = FakeProvider(answer_tokens=50)
    wrong = []
    async with server.serve() as url:
        async with provider(url, api, max_answer_bytes=500_000, **more) as asked:
            for fault, kind in FAULTS:
                server.faults = [f"kind={fault}" if "=" not in fault[:7] else f"kind=status {fault}"]
                try:
                    with anyio.fail_after(10):
                        await ask(asked, "row-17")
                except kind:
                    pass
                except LLMError as error:
                    wrong.append((fault, type(error).__name__, str(error)))
                else:
                    wrong.append((fault, "an answer", ""))
            server.faults = []
            assert (await ask(asked, "row-17")).text.startswith("Answer to row-17")
    assert not wrong
