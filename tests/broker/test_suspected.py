"""One request alone switches no provider off for the others."""

from collections.abc import Callable

import pytest

from aitor import Broker
from aitor.errors import (
    AccountError,
    AuthenticationError,
    CircuitOpenError,
    DeclinedError,
    LLMError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedSchemaError,
    UnsupportedToolsError,
)
from aitor.messages import Answer, Request, Usage
from aitor.testing.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio


def suspected(kind: type[LLMError]) -> LLMError:
    error = kind("no", status=403)
    error.suspected = True
    return error


def bad_only(make: Callable[[], LLMError]) -> ScriptedProvider:
    """A provider that answers all but what begins with BAD."""

    async def answer(request: Request) -> Answer:
        if str(request.messages[0]["content"]).startswith("BAD"):
            raise make()
        return Answer("ok", "m", "stop", Usage(1, 1))

    return ScriptedProvider([answer])


@pytest.mark.parametrize("kind", [AccountError, AuthenticationError, QuotaError])
async def test_a_suspicion_of_one_request_is_its_own(kind: type[LLMError]) -> None:
    """The kind: one tenant's odd request costs all others the provider."""
    provider = bad_only(lambda: suspected(kind))
    async with Broker([provider]) as broker:
        for _ in range(20):
            with pytest.raises(kind):
                await broker.submit("BAD")
        assert (await broker.submit("good")).text == "ok"
        # Others in between say that the account is well.
        for number in range(5):
            with pytest.raises(kind):
                await broker.submit(f"BAD {number}")
            assert (await broker.submit("good")).text == "ok"


async def test_two_different_requests_are_believed() -> None:
    provider = bad_only(lambda: suspected(AccountError))
    async with Broker([provider]) as broker:
        for prompt in ("BAD one", "BAD two"):
            with pytest.raises(AccountError):
                await broker.submit(prompt)
        with pytest.raises(CircuitOpenError):
            await broker.submit("good")


async def test_its_own_words_are_believed_at_once() -> None:
    provider = bad_only(lambda: AuthenticationError("no", status=401))
    async with Broker([provider]) as broker:
        with pytest.raises(AuthenticationError):
            await broker.submit("BAD")
        with pytest.raises(CircuitOpenError):
            await broker.submit("good")


@pytest.mark.parametrize(
    "kind", [DeclinedError, UnsupportedSchemaError, UnsupportedToolsError]
)
async def test_what_one_provider_does_not_take_another_may(
    kind: type[LLMError],
) -> None:
    first = ScriptedProvider(kind("no", status=400))
    second = ScriptedProvider("ok")
    async with Broker({"one": first, "two": second}) as broker:
        for _ in range(30):
            assert (await broker.submit("Hi")).provider == "two"
        assert broker.statistics().providers["one"].circuit == "closed"
    assert len(first.sent) == 30
    async with Broker([ScriptedProvider(kind("no", status=400))]) as broker:
        with pytest.raises(kind) as caught:
            await broker.submit("Hi")
    assert len(caught.value.attempts) == 1


@pytest.mark.parametrize(
    "kind", [lambda: RateLimitError("later"), lambda: ServerError("no")]
)
async def test_who_says_that_trying_again_is_of_no_use_is_not_asked_again(
    kind: Callable[[], LLMError],
) -> None:
    def final() -> LLMError:
        error = kind()
        error.final = True
        return error

    first = ScriptedProvider([final(), "ok"])
    async with Broker({"one": first}) as broker:
        with pytest.raises(type(final())) as caught:
            await broker.submit("Hi", timeout=60)
    assert len(caught.value.attempts) == 1
    first = ScriptedProvider([final(), "ok"])
    async with Broker({"one": first, "two": ScriptedProvider("ok")}) as broker:
        assert (await broker.submit("Hi", timeout=60)).provider == "two"
