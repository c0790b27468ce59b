"""A limit of the output that an API does not take because it is too small."""

from typing import Any

import pytest

from aitor.errors import UnsupportedParameterError
from aitor.events import ParameterDropped, ParameterRaised
from aitor.providers import AnthropicProvider, OpenAIProvider

from .fake import FakeWire, ask, completion, message, response

pytestmark = pytest.mark.anyio

LIMITS = ["max_tokens", "max_completion_tokens", "max_output_tokens"]


def provider(**settings: Any) -> OpenAIProvider:
    given = {"api": "responses", "model": "gpt-5.5", **settings}
    return OpenAIProvider(api_key="k", **given)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(("asked", "sent"), [(1, 16), (15, 16), (16, 16), (17, 17)])
async def test_it_is_raised_to_the_least_and_told_once(
    wire: FakeWire, name: str, asked: int, sent: int
) -> None:
    """The kind: a setting of one API's meaning loses the answer at another's."""
    wire.answer(response())
    told: list[ParameterDropped | ParameterRaised] = []
    openai = provider()
    openai.name, openai.on_drop = "mine", told.append
    for _ in range(2):
        await ask(openai, **{name: asked})
        assert wire.body["max_output_tokens"] == sent
    raised = ParameterRaised("mine", "gpt-5.5", "max_output_tokens", asked, 16)
    assert told == ([raised] if asked < 16 else [])


async def test_a_default_is_raised_like_a_request(wire: FakeWire) -> None:
    wire.answer(response())
    await ask(provider(max_tokens=5))
    assert wire.body["max_output_tokens"] == 16


async def test_other_apis_take_any(wire: FakeWire) -> None:
    wire.answer(completion())
    wire.answer(message())
    await ask(provider(api="chat", model="gpt-4.1"), max_tokens=1)
    assert wire.body["max_tokens"] == 1
    await ask(AnthropicProvider(api_key="k", model="claude-opus-5-5"), max_tokens=1)
    assert wire.body["max_tokens"] == 1


async def test_it_is_as_the_setting_says(wire: FakeWire) -> None:
    wire.answer(response())
    with pytest.raises(UnsupportedParameterError, match="at least 16, not 5"):
        await ask(provider(on_unsupported="error"), max_tokens=5)
    await ask(provider(on_unsupported="pass"), max_tokens=5)
    assert wire.body["max_output_tokens"] == 5


@pytest.mark.parametrize("limit", [0, -1, True, "5"])
async def test_what_is_no_limit_anywhere_is_left_to_the_vendor(
    wire: FakeWire, limit: Any
) -> None:
    wire.answer(response())
    await ask(provider(), max_tokens=limit)
    assert wire.body["max_output_tokens"] == limit
