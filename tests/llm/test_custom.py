"""Providers of one's own: pasted as they stand, mended, and broken in every way."""

import json
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest
from tests.llm.pasted import pasted

from aitor.errors import (
    AttemptTimeoutError,
    AuthenticationError,
    CircuitOpenError,
    ConfigurationError,
    ConnectionFailedError,
    LLMError,
    MalformedAnswerError,
    ProviderCrashError,
    QueueFullError,
    RateLimitError,
    ServerError,
)
from aitor.llm import LLMManager, LLMProvider, Response
from aitor.llm.adapter import CustomProvider
from aitor.messages import Answer, Request, Usage
from aitor.testing import FakeProvider

pytestmark = pytest.mark.anyio

ASKED = [{"role": "user", "content": "Hi"}]


def pasted_class() -> Any:
    """The example as it stands; its last lines register it in a manager."""
    return pasted("custom", llm_manager=LLMManager())["CustomLLMProvider"]


class Mended(LLMProvider):
    """The same, with the pooled client of the base class."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.url = f"{config['base_url']}/v1/chat/completions"

    async def generate_response(self, messages: list[Any], **kwargs: Any) -> str:
        response = await self.http.post(
            self.url,
            headers={"authorization": f"Bearer {self.config['api_key']}"},
            json={"model": self.config["model"], "messages": messages, **kwargs},
        )
        response.raise_for_status()
        text: str = response.json()["choices"][0]["message"]["content"]
        return text


class Scripted(LLMProvider):
    """Does what it is told, and remembers what it was asked."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.asked: list[tuple[list[Any], dict[str, Any]]] = []

    async def generate_response(self, messages: list[Any], **kwargs: Any) -> Any:
        self.asked.append((messages, kwargs))
        await anyio.lowlevel.checkpoint()
        outcome = self.config["outcome"]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome(messages) if callable(outcome) else outcome


def manager_of(
    found: type[LLMProvider], config: dict[str, Any], **more: Any
) -> LLMManager:
    manager = LLMManager()
    manager.register_provider_class("custom", found)
    manager.add_provider("mine", "custom", {"api_key": "k", **config, **more})
    return manager


def scripted(outcome: Any, **more: Any) -> LLMManager:
    return manager_of(Scripted, {"outcome": outcome, "max_retries": 0}, **more)


def behind(manager: LLMManager, name: str = "mine") -> Any:
    return manager._providers[name].provider  # type: ignore[attr-defined]  # the class


def test_s13_s63_the_pasted_example_registers_itself() -> None:
    manager = LLMManager()
    pasted("custom", llm_manager=manager)
    assert manager.get_available_providers() == ["my-custom"]


@pytest.mark.parametrize("mended", [False, True])
async def test_s56_s57_s58_s60_it_answers_over_http(mended: bool) -> None:
    fake = FakeProvider(answer="Hello {model}")
    async with fake.serve() as url:
        found = Mended if mended else pasted_class()
        async with manager_of(found, {"base_url": url, "model": "m-1"}) as manager:
            answer = await manager.generate_response("mine", ASKED)
            assert answer == "Hello m-1"
            assert isinstance(answer, Response)
            assert answer.reply.usage.estimated
            await manager.generate_response("mine", ASKED, model="m-2", max_tokens=5)
    assert [seen.model for seen in fake.log] == ["m-1", "m-2"]
    assert fake.bill().requests == 2


async def test_s56_the_client_of_the_base_class_keeps_its_connections() -> None:
    fake = FakeProvider()
    async with fake.serve() as url:
        config = {"base_url": url, "model": "m", "workers": 7}
        async with manager_of(Mended, config) as manager:
            for _ in range(5):
                await manager.generate_response("mine", ASKED)
            client = behind(manager).http
            assert fake.statistics().connections == 1
            assert behind(manager).connections >= 7
        assert client.is_closed


async def test_s17_s61_the_callers_messages_are_left_as_they_are() -> None:
    def spoil(messages: list[Any]) -> str:
        messages[-1]["content"] += " spoilt"
        messages[0]["parts"][0]["text"] = "spoilt"
        messages.append("spoilt")
        return "ok"

    parts = [{"type": "text", "text": "a"}]
    asked = [{"role": "user", "content": "Hi", "parts": parts}]
    before = json.dumps(asked)
    manager = scripted(spoil)
    await manager.generate_response("mine", asked)
    assert json.dumps(asked) == before


async def test_s14_the_class_gets_the_configuration_and_the_broker_its_keys() -> None:
    manager = scripted("ok", workers=3, timeout=5.0, requests_per_minute=60, own="x")
    provider = behind(manager)
    assert provider.config["own"] == "x"
    settings = manager._providers["mine"].settings
    assert (settings.workers, settings.timeout) == (3, 5.0)
    with pytest.raises(ConfigurationError, match=r"'mine': 'workers' = 0"):
        scripted("ok", workers=0)


def test_s14_a_dataclass_is_a_configuration_too() -> None:
    @dataclass
    class Config:
        outcome: str = "ok"
        workers: int = 4

    manager = LLMManager()
    manager.register_provider_class("custom", Scripted)
    manager.add_provider("mine", "custom", Config())
    assert behind(manager).config == {"outcome": "ok", "workers": 4}
    assert manager._providers["mine"].settings.workers == 4


async def test_s18_parameters_of_the_request_reach_the_class() -> None:
    manager = scripted("ok")
    await manager.generate_response("mine", ASKED, temperature=0.1, timeout=9)
    assert behind(manager).asked == [(ASKED, {"temperature": 0.1})]


def test_s20_a_reference_to_the_environment_is_resolved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINE", "sk-canary")
    manager = scripted("ok", api_key="env:MINE")
    assert behind(manager).config["api_key"] == "sk-canary"
    with pytest.raises(ConfigurationError, match="NOT_SET is not set"):
        scripted("ok", api_key="env:NOT_SET")


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("openai", Scripted, "the kind 'openai' is taken"),
        ("x", dict, "must be a subclass of aitor.llm.LLMProvider"),
        ("x", LLMProvider, "has no generate_response"),
    ],
)
def test_s10_what_is_no_class_for_a_provider_is_refused(
    kind: str, given: Any, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        LLMManager().register_provider_class(kind, given)


def test_s10_a_constructor_that_fails_is_told_without_its_text() -> None:
    class Bad(Scripted):
        def __init__(self, config: dict[str, Any]) -> None:
            raise RuntimeError(config["api_key"])

    with pytest.raises(
        ConfigurationError, match=r"Bad.* raised RuntimeError"
    ) as caught:
        manager_of(Bad, {"api_key": "sk-canary"})
    assert "sk-canary" not in str(caught.value)
    assert caught.value.__context__ is None
    with pytest.raises(ConfigurationError, match="Mended wants the key 'base_url'"):
        manager_of(Mended, {})


# What it raises.


@pytest.mark.parametrize(
    ("raised", "kind", "status"),
    [
        (Exception("Custom LLM API error: 429"), RateLimitError, 429),
        (Exception("Custom LLM API error: 401"), AuthenticationError, 401),
        (Exception("Custom LLM API error: 503"), ServerError, 503),
        (Exception("sk-canary"), ServerError, None),
        (Exception("gave up after 500 ms"), ServerError, None),
        (httpx.ReadTimeout("sk-canary"), AttemptTimeoutError, None),
        (httpx.ConnectError("sk-canary"), ConnectionFailedError, None),
        (ConnectionResetError("sk-canary"), ConnectionFailedError, None),
        (TimeoutError("sk-canary"), AttemptTimeoutError, None),
        (json.JSONDecodeError("sk-canary", "", 0), MalformedAnswerError, None),
        (KeyError("sk-canary"), ProviderCrashError, None),
        (RateLimitError("slowly", retry_after=0.01), RateLimitError, None),
    ],
    ids=repr,
)
async def test_s59_what_it_raises_gets_a_class_and_no_text(
    raised: Exception, kind: type[LLMError], status: int | None
) -> None:
    manager = scripted(raised)
    with pytest.raises(kind) as caught:
        await manager.generate_response("mine", ASKED, timeout=0.05)
    error = caught.value
    assert type(error) is kind
    assert error.status == status
    assert len(error.attempts) >= 1
    assert "sk-canary" not in f"{error} {error!r} {error.__context__!r}"


async def test_s59_a_response_of_httpx_tells_wait_and_code() -> None:
    fake = FakeProvider(faults=["status=429 retry_after=7"])
    async with fake.serve() as url:
        config = {"base_url": url, "model": "m", "max_retries": 0}
        async with manager_of(Mended, config) as manager:
            with pytest.raises(RateLimitError) as caught:
                await manager.generate_response("mine", ASKED, timeout=2)
    assert caught.value.retry_after == 7


async def test_its_answer_counts_as_content_that_came_in() -> None:
    came: list[None] = []
    provider = CustomProvider(Scripted({"outcome": "ok"}))
    await provider.complete(Request.of("Hi"), lambda: came.append(None))
    assert len(came) == 1


@pytest.mark.parametrize("returned", [None, 3, {"content": "x"}])
async def test_s60_what_is_no_text_is_no_answer(returned: Any) -> None:
    with pytest.raises(MalformedAnswerError, match=r"returned .*, not a text"):
        await scripted(returned).generate_response("mine", ASKED)


async def test_s15_an_answer_with_its_usage_may_be_returned() -> None:
    answer = Answer("Hello", "m", "stop", Usage(7, 3))
    said = await scripted(answer).generate_response("mine", ASKED)
    assert isinstance(said, Response)
    assert said.reply.usage == Usage(7, 3)


# It is a provider like any other.


async def test_s102_s103_s105_it_has_queue_breaker_failover_and_usage() -> None:
    manager = scripted(
        Exception("API error: 500"), breaker={"failures": 2, "failing_seconds": 0.0}
    )
    manager.add_provider("spare", "mock", {"default_response": "spare"})
    for _ in range(2):
        with pytest.raises(ServerError):
            await manager.generate_response("mine", ASKED)
    with pytest.raises(CircuitOpenError):
        await manager.generate_response("mine", ASKED)
    manager.set_failover_sequence(["mine", "spare"])
    assert await manager.generate_response("mine", ASKED) == "spare"
    report = manager.get_usage_report()["by_provider"]
    assert report["mine"]["errors"] == 3
    assert report["mine"]["requests"] == 2


async def test_s102_its_workers_and_its_queue_are_bounded() -> None:
    busy, most = 0, 0

    class Slow(Scripted):
        async def generate_response(self, messages: list[Any], **kwargs: Any) -> str:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await anyio.sleep(0.001)
            busy -= 1
            return "ok"

    manager = manager_of(Slow, {"workers": 2, "queue_size": 3})
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(manager.generate_response, "mine", ASKED)
    assert most == 2
    async with manager.broker as broker:
        with pytest.raises(QueueFullError):
            for _ in range(6):
                broker.submit_nowait("Hi")


async def test_s56_its_call_is_cancelled_at_its_timeout() -> None:
    class Silent(Scripted):
        async def generate_response(self, messages: list[Any], **kwargs: Any) -> str:
            await anyio.sleep_forever()
            return ""

    manager = manager_of(Silent, {"timeout": 0.01, "max_retries": 0})
    with pytest.raises(AttemptTimeoutError, match="'timeout'"):
        await manager.generate_response("mine", ASKED)
