"""`Broker.stop`: what waits is given up, and what is on the wire may finish."""

from functools import partial

import anyio
import pytest

from aitor import Broker
from aitor.errors import BrokerClosedError, LLMError, ServerError
from aitor.messages import Answer, Reply, Request, Usage
from aitor.testing.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio


async def test_stop_gives_up_what_waits_and_lets_the_wire_finish() -> None:
    """
    Stands for: an end that waits for what has not begun.

    One that waits for a worker, one between two tries, and one that comes later.
    """
    sent, go_on = anyio.Event(), anyio.Event()

    async def answer(request: Request) -> Answer:
        if request.messages[0]["content"] == "fails":
            raise ServerError("it fell over", retry_after=1_000)
        sent.set()
        await go_on.wait()
        return Answer("hi", "m", "stop", Usage(1, 1))

    outcomes: dict[str, Reply | LLMError] = {}

    async def ask(broker: Broker, prompt: str) -> None:
        try:
            outcomes[prompt] = await broker.submit(prompt, when_unavailable="wait")
        except LLMError as error:
            outcomes[prompt] = error

    provider = ScriptedProvider(lambda _: answer, workers=1)
    async with Broker({"p": provider}) as broker, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(ask, broker, "fails"))
        await anyio.sleep(0.1)
        tasks.start_soon(partial(ask, broker, "runs"))
        await sent.wait()
        tasks.start_soon(partial(ask, broker, "waits"))
        await anyio.sleep(0.1)
        broker.stop()
        await anyio.sleep(0.1)
        assert isinstance(outcomes["waits"], BrokerClosedError)
        assert isinstance(outcomes["fails"], BrokerClosedError)
        assert "runs" not in outcomes
        go_on.set()
        await anyio.sleep(0.1)
        assert isinstance(outcomes["runs"], Reply)
        with pytest.raises(BrokerClosedError):
            await broker.submit("later")
    assert len(provider.sent) == 2
