"""
Waiting for the cache's file knows deadlines, cancellation and closing.

The kind: a thread's work that is awaited without them. A disk may hang and another
process may hold the file for as long as it likes; nobody here waits longer than he
would for a provider.

Threads know no virtual time, so here it is the real one. What a test waits for does
not come before the test lets it, so nothing depends on how long anything takes.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from aitor.broker import cache_store
from aitor.broker.broker import Broker
from aitor.broker.cache import Cache
from aitor.broker.cache_store import MOST_THREADS, Disk
from aitor.errors import BrokerClosedError, DeadlineExceededError
from aitor.llm import CachedLLMProvider, LLMManager
from aitor.testing.scripted import Hang, ScriptedProvider

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Name the backend, with its own clock."""
    name: str = request.param
    return name


class Disks:
    """Accesses to the file that hang until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._go = threading.Event()
        self.hanging = 0

    def hang(self, verb: str) -> None:
        original: Callable[..., Any] = getattr(Disk, verb)

        def hanging(*arguments: Any) -> Any:
            self.hanging += 1
            self._go.wait(30.0)
            return original(*arguments)

        self._patch.setattr(Disk, verb, hanging)

    def let_go(self) -> None:
        self._go.set()

    async def until_it_hangs(self) -> None:
        with anyio.fail_after(30.0):
            while not self.hanging:  # noqa: ASYNC110  # a thread counts
                await anyio.sleep(0.001)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disks]:
    made = Disks(monkeypatch)
    yield made
    made.let_go()


def make(path: Path, script: Any = "ok") -> tuple[Broker, ScriptedProvider]:
    provider = ScriptedProvider(script)
    return Broker([provider], cache=Cache(path=path / "c.db"), drain_timeout=0.05), (
        provider
    )


async def test_a_look_up_that_hangs_costs_a_part_of_the_time(
    tmp_path: Path, disks: Disks
) -> None:
    disks.hang("_get")
    broker, provider = make(tmp_path)
    async with broker:
        assert (await broker.submit("x", timeout=0.4)).text == "ok"
    assert len(provider.sent) == 1


async def test_an_answer_is_there_though_its_writing_hangs(
    tmp_path: Path, disks: Disks
) -> None:
    disks.hang("_put")
    broker, _ = make(tmp_path)
    async with broker:
        reply = await broker.submit("x", timeout=0.2)
    assert (reply.text, reply.cached) == ("ok", False)


@pytest.mark.parametrize("verb", ["_get", "_put"])
async def test_its_caller_leaves_at_once(
    tmp_path: Path, disks: Disks, verb: str
) -> None:
    disks.hang(verb)
    broker, _ = make(tmp_path)
    async with broker, anyio.create_task_group() as tasks:
        tasks.start_soon(broker.submit, "x")
        await disks.until_it_hangs()
        tasks.cancel_scope.cancel()
    assert disks.hanging == 1


@pytest.mark.parametrize("opened", [True, False])
async def test_whoever_looks_it_up_is_told_of_the_closing_before_it_ends(
    tmp_path: Path, disks: Disks, *, opened: bool
) -> None:
    disks.hang("_get")
    broker, provider = make(tmp_path)
    outcomes: list[Any] = []

    async def ask() -> None:
        try:
            outcomes.append(await broker.submit("x"))
        except BrokerClosedError as error:
            outcomes.append(error)

    if opened:
        await broker.__aenter__()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(ask)  # who waits for the answer to the first
        await disks.until_it_hangs()
        await broker.aclose()
        assert [type(one) for one in outcomes] == [BrokerClosedError] * 2
    assert provider.sent == []


async def test_whoever_has_his_answer_keeps_it_when_the_broker_closes(
    tmp_path: Path, disks: Disks
) -> None:
    disks.hang("_put")
    broker, _ = make(tmp_path)
    outcomes: list[str] = []

    async def ask() -> None:
        outcomes.append((await broker.submit("x")).text)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await disks.until_it_hangs()
        await broker.aclose()
        assert outcomes == ["ok"]


async def test_whoever_waits_for_another_s_answer_knows_his_own_deadline(
    tmp_path: Path,
) -> None:
    broker, provider = make(tmp_path, Hang())
    async with broker, anyio.create_task_group() as tasks:
        tasks.start_soon(broker.submit, "x")
        while not provider.in_flight:  # noqa: ASYNC110  # nothing tells of it
            await anyio.sleep(0.001)
        with pytest.raises(DeadlineExceededError):
            await broker.submit("x", timeout=0.01)
        tasks.cancel_scope.cancel()


async def test_threads_left_behind_are_bounded(
    tmp_path: Path, disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs for good holds a few threads, and costs no answer."""
    monkeypatch.setattr(cache_store, "MOST_THREADS", 3)
    assert MOST_THREADS >= 40  # as many as anyio's threads, all at once
    disks.hang("_get")
    broker, provider = make(tmp_path)
    async with broker:
        for number in range(8):
            reply = await broker.submit(f"x{number}", timeout=0.2)
            assert reply.text == "ok"
    assert len(provider.sent) == 8
    # Those that wrote have ended.
    assert disks.hanging <= 3


async def test_a_reader_waits_for_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds the file for writing, and what is kept is handed out."""
    monkeypatch.setattr(cache_store, "PATIENCE", 100.0)
    broker, provider = make(tmp_path)
    async with broker:
        await broker.submit("x")
        with closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await broker.submit("x", timeout=4.0)).cached
            other.execute("ROLLBACK")
        assert (await broker.submit("x")).cached
    assert len(provider.sent) == 1


# Who answers for whom.


async def test_a_provider_that_was_replaced_answers_no_more() -> None:
    """The kind: a key that forgets something that can change the answer."""
    manager = LLMManager()
    manager.add_provider("a", "mock", {"default_response": "old"})
    manager.add_provider("b", "mock", {"default_response": "other"})
    cached = CachedLLMProvider(CachedLLMProvider(manager.get_provider("a")))
    assert await cached.generate_response("x") == "old"
    # Somebody whom nobody asks here may be replaced.
    manager.add_provider("b", "mock", {"default_response": "new"}, replace=True)
    assert (await cached.generate_response("x")).reply.cached
    for number in range(3):
        text = f"new {number}"
        manager.add_provider("a", "mock", {"default_response": text}, replace=True)
        assert await cached.generate_response("x") == text
        assert (await cached.generate_response("x")).reply.cached


async def test_nor_do_those_before_whom_somebody_was_put() -> None:
    manager = LLMManager()
    manager.add_provider("a", "mock", {"default_response": "a"})
    manager.add_provider("b", "mock", {"default_response": "b"})
    cached = CachedLLMProvider(manager.get_provider("a"))
    form = {"answer": "text"}
    with pytest.raises(Exception, match="answer"):
        await cached.generate_structured_response("x", form)
    assert await cached.generate_response("x") == "a"
    manager.set_failover_sequence(["a", "b"])
    assert not (await cached.generate_response("x")).reply.cached


async def test_one_whose_configuration_changed_answers_no_more_from_the_broker_s(
    tmp_path: Path,
) -> None:
    def mock(text: str) -> Any:
        manager = LLMManager(cache=Cache(path=tmp_path / "c.db"))
        manager.add_provider("a", "mock", {"default_response": text})
        return manager

    manager = mock("old")
    assert await manager.generate_response("a", "x") == "old"
    manager.add_provider("a", "mock", {"default_response": "new"}, replace=True)
    assert await manager.generate_response("a", "x") == "new"
    assert await mock("third").generate_response("a", "x") == "third"
    assert (await mock("old").generate_response("a", "x")).reply.cached
