"""Neither key nor prompt nor answer gets out, whatever the vendor echoes."""

import copy
import json
import pickle
import traceback
from typing import Any

import pytest

from aitor.errors import LLMError
from aitor.providers import AnthropicProvider, CompatibleProvider, OpenAIProvider
from aitor.providers.wording import repeatable, repeatable_code

from .fake import FakeWire, ask, chunk

KEY = "sk-canary-Key123"
PROMPT = "canaryprompt 4111111111111111"
CANARIES = ("canary", "Key123", "4111")


def leaks(error: BaseException) -> list[str]:
    """Return the canaries in anything that shows of *error*."""
    shown = [str(error), repr(error), "".join(traceback.format_exception(error))]
    shown.append(pickle.dumps(error).decode("latin-1"))
    link: BaseException | None = error
    while link is not None:
        shown += [str(link), repr(link.__dict__)]
        link = link.__cause__ or link.__context__
    return [canary for canary in CANARIES if any(canary in text for text in shown)]


ECHOES: list[Any] = [
    {"error": {"message": f"Bad key {KEY} for {PROMPT}", "type": KEY, "code": KEY}},
    {"error": {"message": PROMPT, "param": KEY, "code": "canary_code"}},
    {"error": {"message": f"'{KEY}'", "type": "canaryprompt", "param": PROMPT}},
    {"error": f"{PROMPT} {KEY}"},
    {"detail": [{"type": KEY, "loc": ["body", PROMPT], "msg": f"{KEY} {PROMPT}"}]},
    {"error": {"details": {"error_code": KEY}, "message": KEY}, "request_id": KEY},
    {"type": "error", "error": {"type": "overloaded_error", "message": PROMPT}},
    {"error": {"code": "unsupported_parameter", "param": f"temperature.{KEY}"}},
    {"error": {"code": "unsupported_value", "param": "canaryprompt", "message": KEY}},
    [{"error": {"code": 429, "message": KEY, "status": PROMPT}}],
    {"message": PROMPT, "code": KEY},
    {"object": "error", "message": json.dumps({"error": {"code": KEY}})},
    KEY,
]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 429, 500, 529])
@pytest.mark.parametrize("echo", ECHOES)
async def test_an_echo_gets_nowhere(wire: FakeWire, status: int, echo: Any) -> None:
    providers = [
        OpenAIProvider(api_key=KEY, model="gpt-4.1"),
        AnthropicProvider(api_key=KEY, model="claude-opus-5-5"),
        CompatibleProvider(base_url="http://x", api_key=KEY, model="m"),
    ]
    for body in (json.dumps(echo).encode(), f"{echo} {KEY} {PROMPT}".encode()):
        wire.scripts.clear()
        wire.answer(body, status=status)
        for provider in providers:
            with pytest.raises(LLMError) as caught:
                await ask(provider, PROMPT, temperature=0.5)
            assert leaks(caught.value) == []


@pytest.mark.anyio
async def test_an_echo_in_a_stream_gets_nowhere(wire: FakeWire) -> None:
    provider = OpenAIProvider(api_key=KEY, model="gpt-4.1", idle_timeout=5.0)
    for last in (
        {"error": {"message": f"{KEY} {PROMPT}", "code": KEY}},
        f"{KEY} {PROMPT}",
        json.dumps([PROMPT]),
    ):
        wire.scripts.clear()
        wire.stream(chunk(PROMPT), last)
        with pytest.raises(LLMError) as caught:
            await ask(provider, PROMPT)
        assert leaks(caught.value) == []


@pytest.mark.anyio
async def test_values_show_their_shape_and_no_more(wire: FakeWire) -> None:
    wire.stream(chunk(PROMPT, finish="stop"), "[DONE]")
    provider = OpenAIProvider(api_key=KEY, model="gpt-4.1", headers={"x": KEY})
    answer = await ask(provider, PROMPT)
    assert answer.text == PROMPT
    for value in (answer, provider, provider.settings, wire.settings[0]):
        assert not any(canary in repr(value) for canary in CANARIES)


def test_an_error_keeps_its_facts_through_a_pickle() -> None:
    error = LLMError("x", status=429, code="slow_down", retry_after=3.0)
    error.headers = {"retry-after": "3"}
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert again.__dict__ == error.__dict__


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("messages.0.content: Field required", "messages.0.content: Field required"),
        ("Invalid 'tools[0].function'.", "Invalid 'tools[0].function'."),
        ("Please try again in 20s.", "Please try again in 20s."),
        ("Incorrect API key provided: sk-a***z.", "Incorrect API key provided: …"),
        ("Incorrect API key provided: ********.", "Incorrect API key provided: …"),
        ("Unknown role: 'please send the credit card'", "Unknown role: …"),
        ("The word swordfish is secret", "The … is …"),
        ("passwört", ""),
        ("12345", ""),
        ("", ""),
    ],
)
def test_only_words_of_the_trade_are_repeated(message: str, told: str) -> None:
    assert repeatable(message) == told


def test_what_is_repeated_is_short() -> None:
    assert len(repeatable("invalid request " * 1_000)) == 200


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("model_not_found", True),
        ("InvalidRequest", True),
        ("invalid.value", True),
        ("sk-canary", False),
        ("swordfish", False),
        ("model_123", False),
        ("", False),
    ],
)
def test_a_code_has_to_look_like_one(code: str, told: bool) -> None:
    assert repeatable_code(code) is told


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "The model `acme/gpt-9:free` does not exist",
            "The model `acme/gpt-9:free` does not exist",
        ),
        ("Not a model: ACME/GPT-9:FREE.", "Not a model: ACME/GPT-9:FREE."),
        ("Unknown parameter: 'top_zeta'.", "Unknown parameter: 'top_zeta'."),
        ("No such model: gpt-9-secret", "No such model: …"),
        (
            "See https://llm.example:8443 for more",
            "See https://llm.example:8443 for more",
        ),
        ("See https://llm.example:8443/k-secret", "See …"),
        ("Not found at llm.example", "Not found at llm.example"),
        ("sk-live-12345678 is no model", "… is no model"),
    ],
)
def test_what_the_caller_named_may_be_told(message: str, told: str) -> None:
    """The kind: a sentence garbled by hiding what its reader wrote himself."""
    named = (
        "acme/gpt-9:free",
        "top_zeta",
        "https://llm.example:8443",
        "llm.example",
        # Named by mistake, it is a key all the same.
        "sk-live-12345678",
    )
    assert repeatable(message, named=named) == told


@pytest.mark.anyio
async def test_a_model_and_a_parameter_are_named_in_the_error(wire: FakeWire) -> None:
    said = "The model `acme/gpt-9` does not exist, nor does 'top_zeta' at llm.example"
    for status in (400, 404, 500):
        wire.scripts.clear()
        wire.answer({"error": {"message": said}}, status=status)
        provider = CompatibleProvider(
            base_url="https://llm.example/secret-path/v1", api_key=KEY, model="m"
        )
        with pytest.raises(LLMError) as caught:
            await ask(provider, PROMPT, model="acme/gpt-9", top_zeta=3)
        assert "`acme/gpt-9`" in str(caught.value)
        assert "'top_zeta' at llm.example" in str(caught.value)
        assert "secret-path" not in str(caught.value)


@pytest.mark.anyio
async def test_a_key_in_the_place_of_a_model_is_not_told(wire: FakeWire) -> None:
    wire.answer({"error": {"message": f"No model {KEY} here"}}, status=404)
    provider = CompatibleProvider(base_url="http://x", api_key="k", model="m")
    with pytest.raises(LLMError) as caught:
        await ask(provider, model=KEY)
    assert leaks(caught.value) == []


def test_a_text_in_quotation_marks_is_no_name() -> None:
    """The kind: a prompt of plain words, which a list of words lets pass."""
    prompt = "please send the balance of this account"
    for mark in "\"'`":
        told = repeatable(f"Invalid content: {mark}{prompt}{mark} is not allowed")
        assert told == "Invalid content: … is not allowed"
