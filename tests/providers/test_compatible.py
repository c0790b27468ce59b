"""Any address that speaks OpenAI's language."""

from typing import Any

import pytest

from aitor.errors import ConfigurationError
from aitor.providers import CompatibleProvider

from .fake import FakeWire, ask, completion


def compatible(
    url: str | None = "http://localhost:8000", **settings: Any
) -> CompatibleProvider:
    return CompatibleProvider(**{"base_url": url, "model": "gpt-5", **settings})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1"),
        ("http://localhost:11434/", "http://localhost:11434/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"),
        ("https://x.example/v1/chat/completions", "https://x.example/v1"),
        ("https://acme.openai.azure.com", "https://acme.openai.azure.com/openai/v1"),
        (
            "https://acme.openai.azure.com/openai/v1/",
            "https://acme.openai.azure.com/openai/v1",
        ),
    ],
)
async def test_the_path_is_completed(wire: FakeWire, url: str, called: str) -> None:
    wire.answer(completion())
    await ask(compatible(url))
    assert wire.settings[0].base_url == called
    assert wire.sent[0].path == "/chat/completions"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, {}),
        ({"api_key": "k"}, {"authorization": "Bearer k"}),
        ({"api_key": "k", "key_header": "api-key"}, {"api-key": "k"}),
        ({"url": "https://acme.openai.azure.com", "api_key": "k"}, {"api-key": "k"}),
        (
            {
                "url": "https://acme.openai.azure.com",
                "api_key": "k",
                "key_header": "authorization",
            },
            {"authorization": "Bearer k"},
        ),
    ],
)
async def test_where_the_key_goes(
    wire: FakeWire, settings: dict[str, Any], sent: dict[str, str]
) -> None:
    wire.answer(completion())
    await ask(compatible(**settings))
    headers = wire.settings[0].headers
    names = ("authorization", "api-key")
    assert {name: headers[name] for name in names if name in headers} == sent


@pytest.mark.anyio
async def test_no_name_makes_a_rule_here(wire: FakeWire) -> None:
    wire.answer(completion())
    await ask(compatible(), temperature=0.5, max_tokens=5)
    assert wire.body["temperature"] == 0.5
    assert wire.body["max_tokens"] == 5


@pytest.mark.anyio
async def test_a_rule_can_be_given(wire: FakeWire) -> None:
    wire.answer(completion())
    rules = {"gpt-5": {"sampling": "never", "output_limit": "max_completion_tokens"}}
    await ask(compatible(rules=rules), temperature=0.5, max_tokens=5)
    assert "temperature" not in wire.body
    assert wire.body["max_completion_tokens"] == 5


@pytest.mark.anyio
async def test_a_key_of_the_environment_goes_only_to_the_address_beside_it(
    wire: FakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTOM_LLM_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    wire.answer(completion())
    await ask(compatible("http://elsewhere.example/v1"))
    assert "authorization" not in wire.settings[0].headers
    monkeypatch.setenv("CUSTOM_LLM_BASE_URL", "http://here.example")
    await ask(compatible(None))
    assert wire.settings[1].base_url == "http://here.example/v1"
    assert wire.settings[1].headers["authorization"] == "Bearer secret"


def test_an_address_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="CUSTOM_LLM_BASE_URL"):
        compatible(None)
