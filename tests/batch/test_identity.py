"""What of a configuration can change an answer, and what cannot."""

from typing import Any

from aitor.batch.identity import identity
from aitor.providers import AnthropicProvider, MockProvider, OpenAIProvider, Provider


def test_what_can_change_an_answer_is_part_of_it() -> None:
    providers: dict[str, Provider] = {
        "gpt": OpenAIProvider(
            api_key="secret",
            model="gpt-5.5",
            temperature=0.5,
            api="chat",
            organization="acme",
        ),
        "claude": AnthropicProvider(api_key="secret", model="claude-opus-5"),
        "unused": OpenAIProvider(api_key="secret"),
    }
    assert identity(providers, ["claude", "gpt"]) == {
        "failover": ["claude", "gpt"],
        "claude.kind": "anthropic",
        "claude.base_url": providers["claude"].settings.model_dump()["base_url"],
        "claude.model": "claude-opus-5",
        "gpt.kind": "openai",
        "gpt.base_url": "https://api.openai.com/v1",
        "gpt.model": "gpt-5.5",
        "gpt.temperature": 0.5,
        "gpt.api": "chat",
        "gpt.organization": "acme",
    }


def test_how_requests_travel_is_not() -> None:
    """
    A batch may go on with another key, more workers and other limits.
    """
    plain = OpenAIProvider(api_key="one", model="m")
    other = OpenAIProvider(
        api_key="two",
        model="m",
        workers=1,
        queue_size=7,
        timeout=9.0,
        requests_per_minute=60,
        limits=None,
        max_retries=0,
        headers={"x-trace": "1"},
        transport="httpx2",
        connect_timeout=1.0,
        keep_alive=False,
        max_answer_bytes=1_000,
        breaker={"failures": 1},
    )
    assert identity({"a": plain}, ["a"]) == identity({"a": other}, ["a"])


def test_parameters_and_rules_are() -> None:
    """A seed, an effort, or what is left out of a request makes another answer."""

    def told(**settings: Any) -> dict[str, Any]:
        provider = OpenAIProvider(api_key="k", model="m", **settings)
        return identity({"a": provider}, ["a"])

    assert told(parameters={"seed": 1}) != told()
    assert told(parameters={"seed": 1}) != told(parameters={"seed": 2})
    assert told(rules={"m": {"sampling": "never"}}) != told()


def test_what_json_has_no_word_for_is_told_by_its_kind() -> None:
    """A provider's own settings may hold anything, and a batch goes on all the same."""
    provider = MockProvider(script=[ValueError("boom"), "yes"])
    assert provider.identity["script"] == ["ValueError", "yes"]
