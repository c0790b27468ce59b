"""One exchange over HTTP: progress, limits, pools, learning and errors."""

import pickle
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from aitor.errors import (
    BadRequestError,
    ConfigurationError,
    ConnectionFailedError,
    LLMError,
    ModelRetiredError,
    QuotaError,
    RateLimitError,
    UnsupportedParameterError,
)
from aitor.events import ParameterDropped, ParameterRaised
from aitor.messages import Request
from aitor.providers import AnthropicProvider, OpenAIProvider
from aitor.wire import WireSettings

from .fake import (
    EVENTS,
    JSON,
    FakeWire,
    Scripted,
    ask,
    chunk,
    claude_stream,
    completion,
    event,
    message,
)


def openai(**settings: Any) -> OpenAIProvider:
    return OpenAIProvider(**{"api_key": "sk-test", "model": "gpt-4.1", **settings})


def on(year: int, month: int, day: int) -> Callable[[], float]:
    moment = datetime(year, month, day, tzinfo=UTC).timestamp()
    return lambda: moment


class Endless(Scripted):
    """A body whose end never comes."""

    async def __anext__(self) -> bytes:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            await anyio.sleep_forever()
            raise


async def steps(
    provider: Any, wire: FakeWire, pieces: list[bytes], headers: Any
) -> int:
    """Return how often progress was told for *pieces*."""
    wire.answer(pieces, headers=headers)
    told = []
    await provider.complete(Request.of("Hi"), lambda: told.append(1))
    return len(told)


# Progress.


@pytest.mark.anyio
async def test_white_space_is_no_progress(wire: FakeWire) -> None:
    whole = b"".join(_bytes(completion()))
    pieces = [b" ", b"\n\n", whole[:50], b"", whole[50:], b"  "]
    assert await steps(openai(), wire, pieces, JSON) == 2


@pytest.mark.anyio
async def test_comments_pings_and_empty_chunks_are_no_progress(wire: FakeWire) -> None:
    pieces = [
        b": PROCESSING\n\n",
        event(chunk(delta={"role": "assistant", "content": ""})),
        event(chunk("Hi")),
        event(chunk(delta={"reasoning": "Hm."})),
        event(chunk(finish="stop")),
        event("[DONE]"),
    ]
    assert await steps(openai(), wire, pieces, EVENTS) == 2
    claude = AnthropicProvider(api_key="k", model="claude-opus-5-5")
    wire.scripts.clear()
    pieces = [event(each) for each in claude_stream("Hel", "lo")]
    assert (
        await steps(
            claude, wire, [*pieces[:3], event({"type": "ping"}), *pieces[3:]], EVENTS
        )
        == 2
    )


def _bytes(document: Any) -> list[bytes]:
    wire = FakeWire()
    wire.answer(document)
    script = wire.scripts[0]
    assert isinstance(script, Scripted)
    return [piece for piece in script.pieces if isinstance(piece, bytes)]


# Refusals.


@pytest.mark.anyio
async def test_a_refusal_is_read_up_to_a_limit(wire: FakeWire) -> None:
    read = []

    def pieces() -> Any:
        for number in range(1_000):
            read.append(number)
            yield b"x" * 1_024

    wire.answer(pieces(), status=500)
    with pytest.raises(LLMError):
        await ask(openai())
    assert len(read) == 64


@pytest.mark.anyio
async def test_a_refusal_that_breaks_off_still_counts(wire: FakeWire) -> None:
    pieces = [b'{"error": {"co', ConnectionFailedError("lost")]
    wire.answer(pieces, status=429, headers={"retry-after": "3"})
    with pytest.raises(RateLimitError) as caught:
        await ask(openai())
    assert caught.value.retry_after == 3.0


@pytest.mark.anyio
async def test_a_refusal_is_not_waited_for_longer_than_a_moment(
    wire: FakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aitor.providers.http.MAX_ERROR_SECONDS", 0.01)
    whole = b'{"error": {"code": "insufficient_quota"}}'
    # What has come until then is heard.
    kinds: dict[bytes, type[LLMError]] = {whole[:9]: RateLimitError, whole: QuotaError}
    for piece, kind in kinds.items():
        wire.scripts[:] = [Endless(429, {"retry-after": "3"}, [piece])]
        with anyio.fail_after(5), pytest.raises(kind):
            await ask(openai())


@pytest.mark.anyio
async def test_waits_are_cut_to_the_longest_allowed(wire: FakeWire) -> None:
    wire.answer(b"", status=429, headers={"retry-after": "99"})
    with pytest.raises(RateLimitError) as caught:
        await ask(openai(max_retry_after=10.0))
    assert caught.value.retry_after == 10.0


@pytest.mark.anyio
async def test_errors_of_the_wire_pass_as_they_are(wire: FakeWire) -> None:
    wire.scripts.append(ConnectionFailedError("refused", unused=True))
    with pytest.raises(ConnectionFailedError) as caught:
        await ask(openai())
    assert caught.value.unused


@pytest.mark.anyio
async def test_an_answer_that_breaks_off_is_lost(wire: FakeWire) -> None:
    wire.answer([b'{"id"', ConnectionFailedError("lost")])
    with pytest.raises(ConnectionFailedError):
        await ask(openai())


# What cannot be sent.


class Odd:
    def __repr__(self) -> str:
        return "SECRET"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "prompt", ["SECRET \ud800", [{"role": "user", "content": Odd()}]]
)
async def test_what_is_no_json_is_the_callers_fault(
    wire: FakeWire, prompt: Any
) -> None:
    with pytest.raises(BadRequestError, match="JSON") as caught:
        await ask(openai(), prompt)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert wire.sent == []


@pytest.mark.anyio
async def test_numbers_have_to_be_finite(wire: FakeWire) -> None:
    wire.answer(completion())
    with pytest.raises(BadRequestError, match="not finite"):
        await ask(openai(), temperature=float("nan"))
    with pytest.raises(BadRequestError, match="not finite"):
        await ask(openai(), temperature=float("-inf"))
    await ask(openai(), "NaN and Infinity are words")
    assert wire.body["messages"][0]["content"] == "NaN and Infinity are words"


@pytest.mark.anyio
async def test_a_model_has_to_be_named_somewhere(wire: FakeWire) -> None:
    provider = openai(model=None)
    with pytest.raises(BadRequestError, match="'model'"):
        await ask(provider)
    assert provider.check() == ["'model' is not set: every request has to name one"]
    wire.answer(completion())
    await ask(provider, model="gpt-4.1")
    assert wire.body["model"] == "gpt-4.1"


# Learning.

TEMPERATURE = {
    "error": {
        "message": "Unsupported value: 'temperature' does not support 0.5 with this "
        "model. Only the default (1) value is supported.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "unsupported_value",
    }
}
RENAMED = {
    "error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this "
        "model. Use 'max_completion_tokens' instead.",
        "param": "max_tokens",
        "code": "unsupported_parameter",
    }
}


@pytest.mark.anyio
async def test_a_refused_parameter_is_left_out_from_then_on(wire: FakeWire) -> None:
    wire.answer(TEMPERATURE, status=400)
    wire.answer(completion())
    provider = openai(model="new-model")
    dropped: list[ParameterDropped | ParameterRaised] = []
    provider.name = "mine"
    provider.on_drop = dropped.append
    with pytest.raises(UnsupportedParameterError):
        await ask(provider, temperature=0.5)
    for temperature in (0.5, 0.7):
        await ask(provider, temperature=temperature, top_p=0.9)
        assert "temperature" not in wire.body
        assert wire.body["top_p"] == 0.9
    assert dropped == [ParameterDropped("mine", "new-model", "temperature")]
    await ask(provider, temperature=0.5, model="another")
    assert wire.body["temperature"] == 0.5


@pytest.mark.anyio
async def test_a_refused_word_says_nothing_of_other_words(wire: FakeWire) -> None:
    refused = {"param": "reasoning_effort", "code": "unsupported_value"}
    wire.answer({"error": refused}, status=400)
    wire.answer(completion())
    provider = openai(model="new-model")
    with pytest.raises(UnsupportedParameterError):
        await ask(provider, reasoning_effort="none")
    await ask(provider, reasoning_effort="none")
    assert "reasoning_effort" not in wire.body
    await ask(provider, reasoning_effort="high")
    assert wire.body["reasoning_effort"] == "high"


@pytest.mark.anyio
async def test_the_output_limit_is_renamed_and_never_left_out(wire: FakeWire) -> None:
    wire.answer(RENAMED, status=400)
    wire.answer(completion())
    provider = openai(model="new-model")
    with pytest.raises(UnsupportedParameterError):
        await ask(provider, max_tokens=5)
    await ask(provider, max_tokens=5)
    assert wire.body["max_completion_tokens"] == 5
    assert "max_tokens" not in wire.body
    wire.scripts.clear()
    refused = {"param": "max_completion_tokens", "code": "unsupported_parameter"}
    wire.answer({"error": refused}, status=400)
    with pytest.raises(BadRequestError) as caught:
        await ask(provider, max_tokens=5)
    assert type(caught.value) is BadRequestError


@pytest.mark.anyio
async def test_the_most_a_model_writes_is_remembered(wire: FakeWire) -> None:
    said = (
        "max_tokens: 9000 > 4096, which is the maximum allowed number of output tokens"
    )
    error = {"type": "invalid_request_error", "message": said}
    wire.answer({"type": "error", "error": error}, status=400)
    wire.answer(message())
    provider = AnthropicProvider(api_key="k", model="claude-new")
    with pytest.raises(UnsupportedParameterError):
        await ask(provider, max_tokens=9_000)
    await ask(provider, max_tokens=9_000)
    assert wire.body["max_tokens"] == 4_096
    await ask(provider, max_tokens=10)
    assert wire.body["max_tokens"] == 10


@pytest.mark.anyio
async def test_a_parameter_cannot_stand_for_the_model(wire: FakeWire) -> None:
    """What is reserved and counted is for the model that the provider was asked for."""
    wire.answer(completion())
    await ask(openai(parameters={"model": "other", "messages": []}))
    assert wire.body["model"] == "gpt-4.1"
    assert wire.body["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.anyio
async def test_a_known_parameter_is_dropped_and_told_once(wire: FakeWire) -> None:
    wire.answer(completion())
    provider = openai(model="gpt-5.5", temperature=0.7)
    dropped: list[ParameterDropped | ParameterRaised] = []
    provider.on_drop = dropped.append
    for _ in range(3):
        await ask(provider, top_p=0.5)
    assert wire.body.keys() == {"model", "messages"}
    assert [each.parameter for each in dropped] == ["temperature", "top_p"]
    await ask(provider, reasoning_effort="none")
    assert wire.body["temperature"] == 0.7


@pytest.mark.anyio
async def test_a_known_parameter_can_be_an_error(wire: FakeWire) -> None:
    provider = openai(model="gpt-5.5", on_unsupported="error")
    with pytest.raises(UnsupportedParameterError, match="'temperature'") as caught:
        await ask(provider, temperature=0.7)
    assert caught.value.parameter == "temperature"
    assert wire.sent == []


@pytest.mark.anyio
async def test_a_parameter_can_be_passed_whatever_is_known(wire: FakeWire) -> None:
    wire.answer(TEMPERATURE, status=400)
    provider = openai(model="gpt-5.5", on_unsupported="pass")
    for _ in range(2):
        # Asking again would be refused again, so it is nothing to learn from.
        with pytest.raises(BadRequestError, match="temperature") as caught:
            await ask(provider, temperature=0.5)
        assert type(caught.value) is BadRequestError
        assert wire.body["temperature"] == 0.5


@pytest.mark.anyio
async def test_what_has_no_counterpart_is_dropped_too(wire: FakeWire) -> None:
    wire.answer(message())
    provider = AnthropicProvider(api_key="k", model="claude-new")
    dropped: list[ParameterDropped | ParameterRaised] = []
    provider.on_drop = dropped.append
    await ask(provider, seed=7, reasoning_effort="none", top_k=5)
    assert wire.body.keys() == {"model", "messages", "max_tokens", "top_k"}
    assert {each.parameter for each in dropped} == {"seed", "reasoning_effort"}


# Retired models.


@pytest.mark.anyio
async def test_a_retired_model_is_refused_with_what_replaces_it(wire: FakeWire) -> None:
    provider = openai(model="gpt-4")
    provider.wall_clock = on(2026, 10, 23)
    with pytest.raises(ModelRetiredError, match=r"2026-10-23.*'gpt-5\.6-sol'"):
        await ask(provider)
    assert wire.sent == []


@pytest.mark.anyio
async def test_a_model_is_asked_until_its_last_day(wire: FakeWire) -> None:
    wire.answer(completion())
    provider = openai(model="gpt-4")
    provider.wall_clock = on(2026, 10, 22)
    await ask(provider)
    assert len(wire.sent) == 1


@pytest.mark.anyio
async def test_dates_count_only_at_the_vendors_own_address(wire: FakeWire) -> None:
    wire.answer(completion())
    await ask(openai(model="gpt-4", base_url="http://localhost:8000/v1"))
    with pytest.raises(ModelRetiredError):
        await ask(openai(model="gpt-4", base_url="https://eu.api.openai.com/v1"))


@pytest.mark.anyio
async def test_a_date_can_be_taken_back(wire: FakeWire) -> None:
    wire.answer(completion())
    await ask(openai(model="gpt-4", rules={"gpt-4": {"retired": False}}))
    assert len(wire.sent) == 1


def test_trouble_is_seen_before_it_comes() -> None:
    provider = openai(model="gpt-5", temperature=0.7, max_tokens=500)
    provider.wall_clock = on(2026, 11, 24)
    assert provider.check() == [
        "'model' = 'gpt-5' retires on 2026-12-11; it names 'gpt-6.1-sol' in its place",
        "'gpt-5' does not take 'temperature': it is left out (see 'on_unsupported')",
        (
            "'gpt-5' reasons before it answers, and both count: the limit of 500 "
            "tokens may leave no text"
        ),
    ]
    assert "is gone since 2026-10-23" in openai(model="gpt-4").check()[0]
    assert openai().check()[0].startswith("'model' = 'gpt-4.1' retires on 2027-01-14")
    assert openai(model="gpt-9", temperature=0.7).check() == []
    claude = AnthropicProvider(
        api_key="k", model="claude-new", frequency_penalty=0.5, on_unsupported="pass"
    )
    assert claude.check() == [
        (
            "'claude-new' does not take 'frequency_penalty': it is sent all the same "
            "(see 'on_unsupported')"
        )
    ]


def test_the_window_is_told_where_it_is_known() -> None:
    assert openai().window(Request.of("Hi", model="gpt-6-astra")) == 1_050_000
    assert openai().window(Request.of("Hi")) is None


# Connection pools.


@pytest.mark.anyio
async def test_a_pool_is_opened_once_and_closed_once(wire: FakeWire) -> None:
    wire.answer(completion())
    provider = openai(
        connection_pool_size=3,
        connection_pool_maxsize=7,
        connect_timeout=2.0,
        keep_alive=False,
    )
    assert wire.settings == []
    await ask(provider)
    await ask(provider)
    assert len(wire.settings) == 1
    settings = wire.settings[0]
    assert isinstance(settings, WireSettings)
    assert (settings.max_idle, settings.max_connections) == (3, 7)
    assert (settings.connect_timeout, settings.keep_alive) == (2.0, False)
    await provider.aclose()
    await provider.aclose()
    assert wire.closed == 1


@pytest.mark.anyio
async def test_a_restart_opens_a_new_pool_and_closes_the_old_one_after_its_calls(
    wire: FakeWire,
) -> None:
    provider, go = openai(), anyio.Event()

    class Slow(Scripted):
        async def __anext__(self) -> bytes:
            await go.wait()
            return await super().__anext__()

    wire.scripts.append(Slow(pieces=_bytes(completion())))
    wire.answer(completion())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, provider)
        await anyio.wait_all_tasks_blocked()
        provider.restart()
        await ask(provider)
        assert (len(wire.settings), wire.closed) == (2, 0)
        go.set()
    assert wire.closed == 1
    await provider.aclose()
    assert wire.closed == 2


def test_a_provider_serves_one_run_of_the_loop_after_the_other(wire: FakeWire) -> None:
    wire.answer(completion())
    provider = openai()
    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(ask, provider, backend=backend)
    assert len(wire.settings) == 3


@pytest.mark.anyio
async def test_a_whole_stream_is_not_waited_for_longer_than_a_moment(
    wire: FakeWire,
) -> None:
    whole = event(chunk("Hello", finish="stop")) + event("[DONE]")
    wire.scripts.append(Endless(headers=EVENTS, pieces=[whole]))
    with anyio.fail_after(5):
        assert (await ask(openai())).text == "Hello"


# Keys.


def test_no_key_is_an_error_when_the_provider_is_made() -> None:
    with pytest.raises(ConfigurationError, match=r"'api_key'.*OPENAI_API_KEY"):
        OpenAIProvider(model="gpt-5.5")


def test_a_key_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-env")
    key = OpenAIProvider(model="gpt-5.5").settings.api_key
    assert key is not None
    assert key.get_secret_value() == "sk-from-env"


def test_a_provider_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(openai())


class Raising(Mapping[str, Any]):
    """A mapping of the caller's own whose methods raise what they like."""

    def __iter__(self) -> Any:
        raise RuntimeError("secret-prompt")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: str) -> Any:
        raise OSError("secret-prompt")

    def get(self, key: str, default: Any = None) -> Any:
        raise RecursionError("secret-prompt")


@pytest.mark.anyio
@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
async def test_a_mapping_that_raises_is_its_callers_mistake(
    wire: FakeWire, api: str
) -> None:
    """The kind: a caller's data that counts as a crash of the provider, for all."""
    wire.answer(completion())
    settings: dict[str, Any] = {"api_key": "k"}
    asked: Any = (
        AnthropicProvider(model="claude-opus-5-5", **settings)
        if api == "messages"
        else OpenAIProvider(model="gpt-4.1", api=api, **settings)
    )
    evil = Raising()
    for request in (
        Request((evil,)),
        Request(({"role": "user", "content": [evil]},)),
        Request(({"role": "user", "content": "x"},), None, Raising()),
    ):
        with pytest.raises(BadRequestError) as caught:
            await asked.complete(request, lambda: None)
        assert "secret-prompt" not in str(caught.value)
        assert caught.value.__context__ is None
    assert not wire.sent
