"""The provider that answers by itself."""

from typing import Any

import anyio
import pytest

from aitor.errors import ConfigurationError, RateLimitError
from aitor.messages import Request, Usage
from aitor.providers import MockProvider
from aitor.testing.virtual import virtual_backend

from .fake import ask

GUIDE = {
    "responses": {
        "calculator": "ACT: calculator(expression='2+2')",
        "search": "ACT: google_web_search(query='test search')",
        "default": "THINK: I need to analyze this problem step by step.",
    },
    "default_response": "I understand. Let me help you with that.",
}


async def said(provider: MockProvider, prompt: Any = "Hi") -> str:
    return (await ask(provider, prompt)).text


@pytest.mark.anyio
async def test_the_guides_mock() -> None:
    provider = MockProvider(**GUIDE)
    assert (
        await said(provider, "Use the Calculator!")
        == "ACT: calculator(expression='2+2')"
    )
    assert await said(provider, "hello") == GUIDE["responses"]["default"]  # type: ignore[index]
    assert provider.calls == 2
    assert provider.requests == []


@pytest.mark.anyio
async def test_what_is_used_is_a_guess_or_what_is_said() -> None:
    guessed = (await ask(MockProvider(), "four" * 100)).usage
    assert 100 <= guessed.input_tokens <= 110
    usage = {"input_tokens": 1_000, "output_tokens": 500, "cached_tokens": 100}
    provider = MockProvider(usage=usage)
    for prompt in ("short", "long" * 100):
        assert (await ask(provider, prompt)).usage == Usage(1_000, 500, 100)
    with pytest.raises(ConfigurationError, match="usage"):
        MockProvider(usage={"tokens": 7})


@pytest.mark.anyio
async def test_the_longest_pattern_counts_and_only_the_last_user_message() -> None:
    provider = MockProvider(responses={"web": "a", "web search": "b"})
    assert await said(provider, "a WEB search") == "b"
    asked = [
        {"role": "user", "content": "web"},
        {"role": "user", "content": [{"type": "text", "text": "other"}]},
        {"role": "assistant", "content": "web"},
    ]
    assert await said(provider, asked) == "I understand."


@pytest.mark.anyio
async def test_answers_may_come_in_turn_or_from_a_function() -> None:
    provider = MockProvider(
        responses={
            "turn": ["one", "two"],
            "call": lambda request: request.messages[0]["content"].upper(),
        },
        default_response="else",
    )
    assert [await said(provider, "turn") for _ in range(3)] == ["one", "two", "two"]
    assert await said(provider, "call me") == "CALL ME"
    assert await said(provider, "x") == "else"


@pytest.mark.anyio
async def test_a_script_comes_first_and_a_failure_last() -> None:
    failure = RateLimitError("slow down", retry_after=3.0, code="slow_down")
    provider = MockProvider(script=["one", failure], fail=ValueError("broken"))
    assert await said(provider) == "one"
    with pytest.raises(RateLimitError) as caught:
        await said(provider)
    assert (caught.value.retry_after, caught.value.code) == (3.0, "slow_down")
    assert caught.value is not failure
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await said(provider)


@pytest.mark.anyio
async def test_an_answer_is_like_any_other() -> None:
    provider, progress = MockProvider(record=True), []
    request = Request.of("x" * 40, model="m")
    answer = await provider.complete(request, lambda: progress.append(1))
    assert (answer.model, answer.finish_reason) == ("m", "stop")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (14, 4)
    assert answer.message == {"role": "assistant", "content": "I understand."}
    assert progress == [1]
    assert provider.requests == [request]


def test_the_delay_is_kept() -> None:
    async def timed() -> float:
        start = anyio.current_time()
        await said(MockProvider(delay=10.0))
        return anyio.current_time() - start

    name, options = virtual_backend("trio")
    assert anyio.run(timed, backend=name, backend_options=options) == 10.0


def test_an_answer_that_is_none_is_refused() -> None:
    for reply in (5, [], ["a", 5], None):
        with pytest.raises(ConfigurationError, match="'pattern'"):
            MockProvider(responses={"pattern": reply})
