"""Usage, cost and logs: S92 to S96, with ours and with the pasted manager."""

import json
import logging
from contextlib import suppress
from typing import Any

import anyio
import pytest
from tests.llm.pasted import pasted
from tests.providers.fake import FakeWire, completion

from aitor.errors import ConfigurationError, ServerError
from aitor.llm import Cache, LLMManager, LLMProvider, MonitoredLLMManager
from aitor.testing.scripted import Hang, ScriptedProvider

real = pytest.mark.anyio

ASKED = [{"role": "user", "content": "a canary in a prompt"}]


def manager_with(*steps: Any, kind: type[LLMManager] = LLMManager) -> LLMManager:
    manager = kind()
    provider = ScriptedProvider(list(steps) or "hello", max_retries=0)
    manager.add_provider("one", provider)
    return manager


def test_s93_a_manager_that_did_nothing_reports_nothing() -> None:
    report = LLMManager().get_usage_report()
    assert report["total_requests"] == report["total_errors"] == 0
    assert report["success_rate"] == 1.0
    assert report["estimated_tokens"] == 0
    assert report["by_provider"] == {}
    assert report["cost"] == 0
    assert f"{report['success_rate']:.2%}" == "100.00%"
    assert json.loads(json.dumps(report)) == report


@real
async def test_s93_requests_are_answers_and_errors_together() -> None:
    manager = manager_with("hello", ServerError("no"), ServerError("no"), "hello")
    for _ in range(4):
        with suppress(ServerError):
            await manager.generate_response("one", ASKED)
    report = manager.get_usage_report()
    assert (report["total_requests"], report["total_errors"]) == (4, 2)
    assert report["success_rate"] == 0.5
    assert report["estimated_tokens"] == 30
    assert (report["input_tokens"], report["output_tokens"]) == (20, 10)
    assert not report["tokens_are_estimates"]
    assert report["by_provider"]["one"]["requests"] == 4
    assert report["by_provider"]["one"]["errors"] == 2


@real
async def test_s93_a_failover_is_one_request_and_two_calls() -> None:
    manager = manager_with(ServerError("no"))
    manager.add_provider("two", ScriptedProvider("hello"))
    manager.set_failover_sequence(["one", "two"])
    await manager.generate_response(messages=ASKED)
    report = manager.get_usage_report()
    assert (report["total_requests"], report["total_errors"]) == (1, 0)
    calls = {name: (p["requests"], p["errors"]) for name, p in _by(report).items()}
    assert calls == {"one": (1, 1), "two": (1, 0)}


def _by(report: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = report["by_provider"]
    return found


@real
async def test_s93_a_guess_is_called_a_guess() -> None:
    class Own(LLMProvider):
        async def generate_response(self, messages: Any, **kwargs: Any) -> str:
            return "hello"

    manager = LLMManager()
    manager.add_provider("own", Own())
    await manager.generate_response("own", [{"role": "user", "content": [{"a": "b"}]}])
    report = manager.get_usage_report()
    assert report["tokens_are_estimates"]
    assert report["estimated_tokens"] > 0
    assert isinstance(report["estimated_tokens"], int)


@real
async def test_s92_what_was_cancelled_is_neither_answer_nor_error() -> None:
    manager = manager_with(Hang())
    with anyio.move_on_after(0.01):
        await manager.generate_response("one", ASKED)
    report = manager.get_usage_report()
    assert (report["total_requests"], report["total_errors"]) == (0, 0)


@real
async def test_s92_an_error_before_any_call_counts_for_whom_it_was_for() -> None:
    manager = manager_with()
    with pytest.raises(ConfigurationError):
        await manager.generate_response("nobody", ASKED)
    assert _by(manager.get_usage_report())["nobody"]["errors"] == 1


@real
async def test_s89_what_came_from_the_cache_costs_nothing() -> None:
    manager = LLMManager(cache=Cache())
    manager.add_provider("one", ScriptedProvider("hello"))
    for _ in range(3):
        await manager.generate_response("one", ASKED)
    report = manager.get_usage_report()
    assert (report["total_requests"], report["cached_requests"]) == (3, 2)
    assert _by(report)["one"]["requests"] == 1
    assert report["estimated_tokens"] == 15


@real
async def test_s96_the_cost_is_told_where_the_model_is_known(wire: FakeWire) -> None:
    pytest.importorskip("genai_prices")
    manager = LLMManager()
    manager.add_provider("openai", "openai", {"api_key": "k", "model": "gpt-4.1"})
    wire.answer(completion(model="gpt-4.1"))
    for _ in range(2):
        await manager.generate_response("openai", ASKED)
    cost = manager.get_usage_report()["cost"]
    assert isinstance(cost, float)
    assert 0 < cost < 1
    manager.add_provider("mock", "mock")
    await manager.generate_response("mock", ASKED)
    report = manager.get_usage_report()
    assert report["cost"] == "unknown"
    assert _by(report)["openai"]["cost"] == cost
    assert _by(report)["mock"]["cost"] == "unknown"
    assert json.loads(json.dumps(report)) == report


@real
async def test_s96_an_answer_from_the_cache_costs_nothing(wire: FakeWire) -> None:
    pytest.importorskip("genai_prices")
    manager = LLMManager(cache=Cache())
    manager.add_provider("openai", "openai", {"api_key": "k", "model": "gpt-4.1"})
    wire.answer(completion(model="gpt-4.1"))
    costs = []
    for _ in range(2):
        await manager.generate_response("openai", ASKED)
        costs.append(manager.get_usage_report()["cost"])
    assert costs[0] == costs[1] > 0


# Logs.


@real
async def test_s94_a_monitored_manager_writes_a_line_for_each_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manager = manager_with("canary", ServerError("no"), kind=MonitoredLLMManager)
    assert isinstance(manager, MonitoredLLMManager)
    caplog.set_level(logging.INFO, "aitor.llm")
    await manager.generate_response("one", ASKED)
    with pytest.raises(ServerError):
        await manager.generate_response(messages=ASKED)
    first, second = (each for each in caplog.records if each.name == "aitor.llm")
    assert first.levelname == "INFO"
    assert first.getMessage().startswith("LLM request to one completed in 0.")
    assert second.levelname == "ERROR"
    assert second.getMessage() == "LLM request to one failed: one: no"
    assert "canary" not in caplog.text
    assert manager.usage_stats["requests"] == 2
    assert manager.usage_stats["errors"] == 1
    assert manager.usage_stats["tokens_used"] == 15


@real
async def test_s94_a_plain_manager_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await manager_with().generate_response("one", ASKED)
    assert not [each for each in caplog.records if each.name.startswith("aitor")]


@real
async def test_s92_the_pasted_manager_counts_and_logs_as_it_says(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    found = pasted("monitored")
    assert "Success rate: 0.00%" in capsys.readouterr().out
    manager = manager_with(
        "hello", ServerError("no"), kind=found["MonitoredLLMManager"]
    )
    caplog.set_level(logging.INFO, "pasted")
    assert await manager.generate_response("one", ASKED) == "hello"
    with pytest.raises(ServerError):
        await manager.generate_response("one", ASKED)
    report = manager.get_usage_report()
    assert report["total_requests"] == report["total_errors"] == 1
    assert report["by_provider"] == {"one": {"requests": 1, "errors": 1}}
    lines = [each.getMessage() for each in caplog.records if each.name == "pasted"]
    assert lines[0].startswith("LLM request to one completed in ")
    assert lines[1] == "LLM request to one failed: one: no"
    assert LLMManager.get_usage_report(manager)["total_requests"] == 2
