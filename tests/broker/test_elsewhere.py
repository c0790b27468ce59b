"""
A broker asked from where it is not: another loop, another thread, another process.

The kind: misuse that can be seen and is not. Whoever asks from elsewhere is served as
he should be or told at once, in one sentence, what to do; he never waits for what
cannot come, and whoever asks from the right place notices nothing.

Threads and processes know no virtual time, so here it is the real one; nothing depends
on how long it takes.
"""

import contextlib
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aitor.broker.blocking import BlockingBroker
from aitor.broker.broker import Broker
from aitor.broker.cache import Cache
from aitor.errors import LLMError, WrongEventLoopError
from aitor.llm import LLMManager
from aitor.messages import Answer, Request, Usage
from aitor.testing.scripted import ScriptedProvider

BACKENDS = ("asyncio", "trio")
SECONDS = 30.0
"""How long a test waits for what should have come long ago."""


class Gate(ScriptedProvider):
    """Answers once it is let, from whichever loop it is asked."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(lambda _: self._answer, **settings)
        self.asked = threading.Event()
        self.may_answer = threading.Event()

    async def _answer(self, _: Request) -> Answer:
        self.asked.set()
        while not self.may_answer.is_set():  # noqa: ASYNC110  # by another thread
            await anyio.sleep(0.001)
        return Answer("ok", "gate", "stop", Usage(1, 1))


def in_a_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start *function*; return what waits for its result, or for its LLMError."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function())
        except LLMError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(SECONDS)
        assert outcome, "still waiting"
        return outcome[0]

    return wait


def manager_of(provider: Gate) -> LLMManager:
    manager = LLMManager()
    manager.add_provider("g", provider)
    return manager


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=BACKENDS)
def other(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# Two loops at once.


def test_a_second_loop_is_told_and_the_first_one_served(
    backend: str, other: str
) -> None:
    gate = Gate(workers=1)
    broker = Broker([gate])
    first = in_a_thread(lambda: anyio.run(broker.submit, "x", backend=backend))
    assert gate.asked.wait(SECONDS)
    second = in_a_thread(lambda: anyio.run(broker.submit, "x", backend=other))()
    assert isinstance(second, WrongEventLoopError)
    assert "BlockingBroker" in str(second)
    gate.may_answer.set()
    assert first().text == "ok"
    # Once the first has ended, it serves whoever comes.
    assert anyio.run(broker.submit, "x", backend=other).text == "ok"
    assert broker.ledger.total().answered == 2


def test_a_manager_s_second_loop_too(backend: str) -> None:
    gate = Gate()
    manager = manager_of(gate)
    ask = manager.generate_response
    first = in_a_thread(lambda: anyio.run(ask, "g", "x", backend=backend))
    assert gate.asked.wait(SECONDS)
    assert isinstance(
        in_a_thread(lambda: anyio.run(ask, "g", "x", backend=backend))(),
        WrongEventLoopError,
    )
    closing = in_a_thread(lambda: anyio.run(manager.aclose, backend=backend))()
    assert isinstance(closing, WrongEventLoopError)
    gate.may_answer.set()
    assert first() == "ok"


def test_one_that_is_opened_by_a_second_loop_too(backend: str) -> None:
    gate = Gate()
    broker = Broker([gate])
    first = in_a_thread(lambda: anyio.run(broker.submit, "x", backend=backend))
    assert gate.asked.wait(SECONDS)

    async def open_it() -> None:
        async with broker:
            raise AssertionError

    opened = in_a_thread(lambda: anyio.run(open_it, backend=backend))()
    assert isinstance(opened, WrongEventLoopError)
    gate.may_answer.set()
    assert first().text == "ok"


def test_many_threads_are_each_served_or_told(backend: str) -> None:
    """As in a web server whose views each run a loop: none of them hangs."""
    broker = Broker([ScriptedProvider("ok", workers=2)])

    def view() -> list[Any]:
        seen: list[Any] = []
        for _ in range(20):
            try:
                seen.append(anyio.run(broker.submit, "x", backend=backend).text)
            except WrongEventLoopError as error:
                seen.append(type(error))
        return seen

    views = [in_a_thread(view) for _ in range(6)]
    seen = [one for wait in views for one in wait()]
    assert len(seen) == 120
    assert set(seen) <= {"ok", WrongEventLoopError}
    assert seen.count("ok") == broker.ledger.total().answered > 0
    assert anyio.run(broker.submit, "x", backend=backend).text == "ok"


def test_two_brokers_with_one_cache_serve_a_loop_each(backend: str) -> None:
    """The advice that the error gives, followed by somebody with one cache."""
    cache, gate = Cache(), Gate()
    first = Broker([gate], cache=cache)
    second = Broker({"scripted": ScriptedProvider("ok")}, cache=cache)
    waiting = in_a_thread(lambda: anyio.run(first.submit, "x", backend=backend))
    assert gate.asked.wait(SECONDS)
    asked = in_a_thread(lambda: anyio.run(second.submit, "x", backend=backend))
    assert asked().text == "ok"
    gate.may_answer.set()
    assert waiting().text == "ok"


def test_a_loop_that_died_with_requests_keeps_nobody_out() -> None:
    """asyncio alone lets a loop end with tasks in it."""
    import asyncio  # noqa: TID251  # a loop of its own is the point

    gate = Gate()
    broker = Broker([gate])
    loop = asyncio.new_event_loop()
    task = loop.create_task(broker.submit("x"))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert gate.in_flight == 1
    loop.close()
    gate.may_answer.set()
    assert anyio.run(broker.submit, "x").text == "ok"
    # What is left of it is collected some day, outside of any loop.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    with contextlib.suppress(anyio.NoEventLoopError):
        task.get_coro().close()
    assert anyio.run(broker.submit, "x").text == "ok"


# An open broker, asked from elsewhere.


def test_another_thread_s_loop_is_told_what_to_use(backend: str, other: str) -> None:
    async def main() -> None:
        async with Broker([ScriptedProvider("ok")]) as broker:

            async def submit_nowait() -> None:
                broker.submit_nowait("x")

            async def map_() -> None:
                broker.map(["x"])

            for ask in (
                lambda: anyio.run(broker.submit, "x", backend=other),
                lambda: anyio.run(submit_nowait, backend=other),
                lambda: anyio.run(map_, backend=other),
                lambda: anyio.run(broker.aclose, backend=other),
            ):
                told = await anyio.to_thread.run_sync(in_a_thread(ask))
                assert isinstance(told, WrongEventLoopError)
                assert "submit_from_thread" in str(told)
            reply = await anyio.to_thread.run_sync(broker.submit_from_thread, "x")
            assert reply.text == "ok"
            assert (await broker.submit("x")).text == "ok"

    anyio.run(main, backend=backend)


def test_a_loop_after_the_one_it_was_opened_in_is_told_so(
    backend: str, other: str
) -> None:
    broker = Broker([ScriptedProvider("ok")])
    anyio.run(broker.__aenter__, backend=backend)
    with pytest.raises(WrongEventLoopError, match="has ended"):
        anyio.run(broker.submit, "x", backend=other)
    with pytest.raises(LLMError):
        broker.submit_from_thread("x")


def test_statistics_are_told_to_any_thread(backend: str) -> None:
    async def main() -> None:
        async with Broker([ScriptedProvider("ok")]) as broker:
            await broker.submit("x")
            seen = await anyio.to_thread.run_sync(in_a_thread(broker.statistics))
            assert seen.answered == 1
        unopened = Broker([ScriptedProvider("ok")])
        await unopened.submit("x")
        assert (await anyio.to_thread.run_sync(unopened.statistics)).answered == 1

    anyio.run(main, backend=backend)


# Another process.

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")


def in_a_child(function: Callable[[], Any]) -> Any:
    """Fork, and return what *function* returns or raises in the child."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            told: Any = function()
        except LLMError as error:
            told = type(error).__name__, str(error)
        except BaseException as error:  # noqa: BLE001  # the parent shall see it
            told = repr(error)
        os.write(write, pickle.dumps(told))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        # A child that hangs is ended by the alarm that ends this test.
        told = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    return told


@needs_fork
@pytest.mark.parametrize("verb", ["submit", "map", "statistics"])
def test_a_child_of_the_process_that_opened_it_is_told_at_once(
    backend: str, verb: str
) -> None:
    verbs: dict[str, Callable[[BlockingBroker], Any]] = {
        "submit": lambda broker: broker.submit("x").text,
        "map": lambda broker: len(list(broker.map(["x"]))),
        "statistics": lambda broker: broker.statistics().answered,
    }
    with BlockingBroker(Broker([ScriptedProvider("ok")]), backend=backend) as broker:
        kind, told = in_a_child(lambda: verbs[verb](broker))
        assert kind == "WrongEventLoopError"
        assert "after the fork" in told
        assert broker.submit("x").text == "ok"


@needs_fork
def test_a_child_may_leave_the_block_that_it_was_forked_in(backend: str) -> None:
    """As a worker does that ends by `sys.exit`: it closes nothing of the parent's."""
    provider = ScriptedProvider("ok")
    with BlockingBroker(Broker([provider]), backend=backend) as broker:

        def leave() -> bool:
            broker.__exit__(SystemExit, SystemExit(), None)
            return provider.closed

        assert in_a_child(leave) is False
        assert broker.submit("x").text == "ok"


@needs_fork
def test_a_child_of_an_asynchronous_program_is_told_too(backend: str) -> None:
    async def main() -> None:
        async with Broker([ScriptedProvider("ok")]) as broker:

            def ask() -> Any:
                return broker.submit_from_thread("x")

            def ask_in_a_loop() -> Any:
                return in_a_thread(lambda: anyio.run(broker.submit, "x"))()

            kind, told = in_a_child(ask)
            assert kind == "WrongEventLoopError"
            assert "fork" in told
            assert "fork" in str(in_a_child(lambda: str(ask_in_a_loop())))
            assert (await broker.submit("x")).text == "ok"

    anyio.run(main, backend=backend)


@needs_fork
def test_one_that_is_not_open_serves_parent_and_child(backend: str) -> None:
    """Also where the parent forks while another thread asks."""
    gate = Gate()
    broker = Broker([gate])
    first = in_a_thread(lambda: anyio.run(broker.submit, "x", backend=backend))
    assert gate.asked.wait(SECONDS)

    def ask() -> str:
        gate.may_answer.set()
        text: str = anyio.run(broker.submit, "x", backend=backend).text
        return text

    assert in_a_child(ask) == "ok"
    gate.may_answer.set()
    assert first().text == "ok"
