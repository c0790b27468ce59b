"""
The source of a `map` is read and closed by one task, however the map ends.

The kind: a resource that is borrowed and not given back. A generator holds files,
connections, cancel scopes and task groups; the last two go wrong in any task but one.
"""

import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aitor.broker.broker import Broker
from aitor.broker.closing import CLOSE_SECONDS
from aitor.errors import BrokerClosedError
from aitor.messages import Answer, Request
from aitor.testing.scripted import Hang, ScriptedProvider, Slow

pytestmark = pytest.mark.anyio


class Log:
    """What a source has done, and in which tasks."""

    def __init__(self) -> None:
        self.tasks: set[int] = set()
        self.closed = 0

    def here(self) -> None:
        self.tasks.add(anyio.get_current_task().id)

    def close(self) -> None:
        self.here()
        self.closed += 1


def synchronous(log: Log) -> Iterator[str]:
    try:
        for number in itertools.count():
            log.here()
            yield f"{number}"
    finally:
        log.close()


async def asynchronous(log: Log) -> AsyncIterator[str]:
    try:
        for number in itertools.count():
            log.here()
            yield f"{number}"
    finally:
        # As the closing of a client does; it is not cancelled by who leaves.
        await anyio.sleep(0.1)
        log.close()


async def waiting(log: Log) -> AsyncIterator[str]:
    try:
        for number in itertools.count():
            log.here()
            await anyio.sleep(0.1)
            yield f"{number}"
    finally:
        # One that is interrupted where it waits has to shield what it still does.
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.1)
        log.close()


async def with_scopes_within(log: Log) -> AsyncIterator[str]:
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            with anyio.fail_after(1_000.0):
                for number in itertools.count():
                    log.here()
                    yield f"{number}"
            tasks.cancel_scope.cancel()
    finally:
        log.close()


class Wrapped:
    """A source that makes a generator when it is iterated."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __iter__(self) -> Iterator[str]:
        return synchronous(self._log)


sources = pytest.mark.parametrize(
    "source", [synchronous, asynchronous, waiting, with_scopes_within, Wrapped]
)
Source = Callable[[Log], Any]


def bug_at(number: int) -> ScriptedProvider:
    """A provider whose fault is no prompt's."""

    async def exits(_: Request) -> Answer:
        raise SystemExit(3)

    return ScriptedProvider(lambda n: exits if n == number else "ok", workers=4)


def closed_once(log: Log) -> bool:
    return log.closed == 1 and len(log.tasks) == 1


@sources
async def test_when_its_consumer_leaves_the_block(source: Source) -> None:
    log = Log()
    async with Broker([ScriptedProvider("ok", workers=4)]) as broker:
        async with broker.map(source(log)) as results:
            async for row in results:
                if row.index >= 20:
                    break
        assert closed_once(log)
        assert (await broker.submit("x")).text == "ok"


@sources
async def test_when_its_consumer_raises(source: Source) -> None:
    log = Log()
    async with Broker([ScriptedProvider("ok", workers=4)]) as broker:
        with pytest.raises(ZeroDivisionError):
            async with broker.map(source(log)) as results:
                await anext(results)
                raise ZeroDivisionError
        assert closed_once(log)


@sources
async def test_when_its_consumer_is_cancelled(source: Source) -> None:
    log = Log()
    async with Broker([ScriptedProvider(Slow(1.0, "ok"), workers=4)]) as broker:
        with anyio.move_on_after(3.5):
            async with broker.map(source(log)) as results:
                async for _ in results:
                    pass
        assert closed_once(log)


@sources
async def test_when_its_loop_is_left_by_break_alone(source: Source) -> None:
    log = Log()
    async with Broker([ScriptedProvider("ok", workers=4)]) as broker:
        async for _ in broker.map(source(log)):
            break
        await anyio.sleep(1.0)
        assert closed_once(log)


@sources
async def test_when_the_map_fails(source: Source) -> None:
    log = Log()
    async with Broker([bug_at(7)]) as broker:
        with pytest.raises(SystemExit):
            async for _ in broker.map(source(log), max_in_flight=4):
                pass
        await anyio.sleep(1.0)
        assert closed_once(log)
        assert (await broker.submit("x")).text == "ok"


@sources
async def test_when_the_broker_closes(source: Source) -> None:
    log = Log()
    broker = await Broker([ScriptedProvider(Hang())], drain_timeout=0.0).__aenter__()

    async def consume() -> None:
        with pytest.raises(BrokerClosedError):
            async for _ in broker.map(source(log), max_in_flight=4):
                pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await anyio.sleep(1.0)
        await broker.aclose()
    assert len(log.tasks) == 1


async def test_one_that_waits_is_interrupted() -> None:
    log = Log()

    async def waits() -> AsyncIterator[str]:
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            log.close()

    async with Broker([ScriptedProvider("ok")]) as broker:
        begin = anyio.current_time()
        async with broker.map(waits()) as results:
            await anext(results)
            await anyio.sleep(1.0)
        assert log.closed == 1
        assert anyio.current_time() == begin + 1.0


async def test_one_that_takes_for_ever_to_close_is_given_some_seconds() -> None:
    async def hangs() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
        finally:
            await anyio.sleep_forever()

    async with Broker([ScriptedProvider("ok")]) as broker:
        begin = anyio.current_time()
        async with broker.map(hangs(), max_in_flight=2) as results:
            await anext(results)
        assert anyio.current_time() - begin == pytest.approx(CLOSE_SECONDS)


@pytest.mark.parametrize("kind", ["asynchronous", "synchronous"])
async def test_one_that_cannot_be_closed_is_told_of_and_costs_nothing(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def synchronous() -> Iterator[str]:
        try:
            while True:
                yield "x"
        finally:
            raise RuntimeError("sk-live-123")

    async def asynchronous() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
        finally:
            raise RuntimeError("sk-live-123")

    source: Any = {"asynchronous": asynchronous, "synchronous": synchronous}[kind]
    caplog.set_level(logging.DEBUG, logger="aitor")
    async with (
        Broker([ScriptedProvider("ok")]) as broker,
        broker.map(source(), max_in_flight=2) as results,
    ):
        await anext(results)
    (record,) = caplog.records
    assert record.getMessage() == "source_not_closed error=RuntimeError"
    assert "sk-live-123" not in caplog.text


async def test_what_is_no_generator_is_left_open(tmp_path: Path) -> None:
    """A file, or a stream, belongs to whoever opened it."""
    path = tmp_path / "prompts"
    path.write_text("a\nb\nc\n")
    send, receive = anyio.create_memory_object_stream[str](10)
    for word in "abcdefgh":
        send.send_nowait(word)
    async with Broker([ScriptedProvider("ok")]) as broker:
        with path.open() as file:
            async with broker.map(file, max_in_flight=1) as results:
                await anext(results)
            assert not file.closed
        with send, receive:
            async with broker.map(receive, max_in_flight=1) as rows:
                await anext(rows)
            assert receive.receive_nowait() in "bcdefgh"


async def test_one_that_is_read_to_its_end_is_read_by_one_task_too() -> None:
    log = Log()

    async def source() -> AsyncIterator[str]:
        with anyio.fail_after(1_000.0):
            for number in range(200):
                log.here()
                if number % 7 == 0:
                    await anyio.sleep(0.1)
                yield f"{number}"

    async with Broker([ScriptedProvider(Slow(0.3, "ok"), workers=8)]) as broker:
        rows = [row async for row in broker.map(source(), ordered=True)]
    assert [row.prompt for row in rows] == [f"{number}" for number in range(200)]
    assert len(log.tasks) == 1


async def test_one_that_never_waits_lets_others_run() -> None:
    """It is not read to the end of a large number of places at one go."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        with suppress(anyio.get_cancelled_exc_class()):
            while True:
                await checkpoint()
                turns += 1

    seen: list[int] = []

    def source() -> Iterator[str]:
        for _ in range(1_000):
            seen.append(turns)
            yield "x"

    async with (
        Broker([ScriptedProvider("ok", workers=4)]) as broker,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(tick)
        rows = broker.map(source(), max_in_flight=1_000)
        assert len([row async for row in rows]) == 1_000
        tasks.cancel_scope.cancel()
    assert len(set(seen)) >= 10
