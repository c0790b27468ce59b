"""Arguments that no type checker has seen: an error for whoever gave them, at once."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest

from aitor import BlockingBroker, ReactAgent
from aitor.broker.broker import Broker
from aitor.errors import BadRequestError, ConfigurationError
from aitor.messages import Request
from aitor.testing.scripted import ScriptedProvider, Slow

MESSAGES: Any = ({"role": "user", "content": "x"},)

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("'priority' must be a whole number", {"priority": None}),
    ("'priority' must be a whole number", {"priority": "1"}),
    ("'priority' must be a whole number", {"priority": 0.5}),
    ("'priority' must be a whole number", {"priority": 10**400}),
    ("'tenant' must be a name", {"tenant": ["a"]}),
    ("'timeout' must be a number of seconds", {"timeout": "5"}),
    ("'timeout' must be a number of seconds", {"timeout": float("nan")}),
    ("'timeout' must be a number of seconds", {"timeout": 10**400}),
    ("'model' must be a name, or names by provider", {"model": 5}),
    ("'model' names models by provider", {"model": {"scripted": ["m"]}}),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("told", "wrong"), WRONG)
async def test_a_wrong_argument_is_its_giver_s_alone(
    told: str, wrong: dict[str, Any]
) -> None:
    """Whoever waits in the same mailbox knows nothing of it."""
    provider = ScriptedProvider(Slow(1.0, "ok"), workers=1, queue_size=1)
    async with Broker([provider]) as broker, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(broker.submit, "innocent")
        await anyio.sleep(0.1)
        with pytest.raises((ValueError, BadRequestError), match=told):
            await broker.submit("x", **wrong)
        with pytest.raises((ValueError, BadRequestError), match=told):
            broker.submit_nowait("x", **wrong)
        with pytest.raises((ValueError, BadRequestError), match=told):
            async for result in broker.map(["x"], **wrong):
                raise result.error or AssertionError
    assert len(provider.sent) == 3


@pytest.mark.anyio
@pytest.mark.parametrize(
    "request_",
    [Request(MESSAGES, ["m"], {}), Request(MESSAGES, None, None)],  # type: ignore[arg-type]
)
async def test_a_wrong_request_in_a_stream_is_a_failed_row(request_: Request) -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        results = [result async for result in broker.map(["a", request_, "b"])]
    errors = {result.index: result.error for result in results}
    assert isinstance(errors.pop(1), BadRequestError)
    assert errors == {0: None, 2: None}


@pytest.mark.anyio
@pytest.mark.parametrize("prompts", ["hello", b"hello", {"role": "user"}])
async def test_one_prompt_is_no_stream_of_prompts(prompts: Any) -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        with pytest.raises(TypeError, match="a stream of prompts"):
            broker.map(prompts)
        with pytest.raises(TypeError, match="when_unavailable"):
            broker.map(["x"], when_unavailable="fail")
        with pytest.raises(ValueError, match="max_in_flight"):
            broker.map(["x"], max_in_flight="many")  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_cancellation_of_the_source_s_own_ends_its_stream(
    anyio_backend_name: str,
) -> None:
    """Or else the rows behind it would be lost without a word."""
    if anyio_backend_name != "asyncio":
        pytest.skip("only asyncio lets anybody raise it")

    async def source() -> AsyncIterator[str]:
        yield "a"
        raise anyio.get_cancelled_exc_class()

    async with Broker([ScriptedProvider("ok")]) as broker:
        results = broker.map(source())
        assert (await anext(results)).reply
        with pytest.raises(RuntimeError, match="was cancelled"):
            await anext(results)
        assert (await broker.submit("x")).text == "ok"


@pytest.mark.parametrize(
    "wrong",
    [
        {"providers": {"a": ScriptedProvider}},
        {"providers": [ScriptedProvider, "mock"]},
        {"drain_timeout": "x"},
        {"drain_timeout": float("nan")},
        {"drain_timeout": -1.0},
    ],
)
def test_a_broker_is_not_made_of_what_is_wrong(wrong: dict[str, Any]) -> None:
    providers = wrong.pop("providers", [ScriptedProvider()])
    with pytest.raises(ConfigurationError):
        Broker(providers, **wrong)


def test_a_thread_is_told_at_once_too() -> None:
    with BlockingBroker(Broker([ScriptedProvider("ok")])) as broker:
        with pytest.raises(ValueError, match="'timeout'"):
            list(broker.map(["x"], timeout="5"))
        assert broker.submit("x").text == "ok"


ROADS: list[dict[str, Any]] = [
    {"stream": True},
    {"stream": 1.0},
    {"background": True},
    {"messages": [{"role": "user", "content": "unheard"}]},
]


@pytest.mark.anyio
@pytest.mark.parametrize("road", ROADS)
async def test_a_parameter_that_asks_for_another_kind_of_answer_is_refused(
    road: dict[str, Any],
) -> None:
    """
    Of the kind: something asked for that is accepted, and not done.

    Siblings: a job in the background, whose answer nobody would fetch; a second
    prompt, which the first one hides; in every verb, in a request, at the manager.
    """
    (name,) = road
    told = f"'{name}' is no parameter of a request"
    provider = ScriptedProvider("ok")
    async with Broker([provider]) as broker:
        with pytest.raises(BadRequestError, match=told):
            await broker.submit("x", **road)
        with pytest.raises(BadRequestError, match=told):
            await broker.submit(Request(MESSAGES, None, road))
        with pytest.raises(BadRequestError, match=told):
            broker.submit_nowait("x", **road)
        with pytest.raises(BadRequestError, match=told):
            await anyio.to_thread.run_sync(
                partial(broker.submit_from_thread, "x", **road)
            )
        (result,) = [one async for one in broker.map(["x"], **road)]
        assert told in str(result.error)
        agent = ReactAgent("a", broker=broker, **road)
        with pytest.raises(BadRequestError, match=told):
            await agent.solve("x")
        with pytest.raises(BadRequestError, match=told):
            Request.of("x", parameters=road)
        assert not provider.sent
        unset: dict[str, Any] = dict.fromkeys(road, False) | {"stream_options": None}
        assert (await broker.submit("x", **unset)).text == "ok"
