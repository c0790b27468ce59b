"""A batch, through the real broker: every row once, whatever happens."""

import json
import os
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from aitor import Broker
from aitor.batch import InputError, StorageError, Summary, run_batch
from aitor.batch.journal import Record
from aitor.batch.rows import Row
from aitor.batch.store import Store
from aitor.batch.writer import MOST, Writer
from aitor.errors import (
    BadRequestError,
    ConfigurationError,
    ContextLengthError,
    QuotaError,
    ServerError,
)
from aitor.messages import Answer, Reply, Request, Usage
from aitor.testing.scripted import ScriptedProvider, Step

pytestmark = pytest.mark.anyio

Answerer = Callable[[Request], Awaitable[Answer]]


def text_of(request: Request) -> str:
    text = request.messages[-1]["content"]
    assert isinstance(text, str)
    return text


async def echo(request: Request) -> Answer:
    text = text_of(request)
    body = {"id": "chatcmpl-1", "choices": [{"message": {"content": text}}]}
    usage = Usage(input_tokens=10, output_tokens=5)
    return Answer(text, "echo-1", "stop", usage, "req_1", body)


def names_in(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


class Batch:
    """Files of a batch, and a provider that keeps books."""

    def __init__(self, path: Path) -> None:
        self.source = path / "in.jsonl"
        self.output = path / "out.jsonl"
        self.provider = ScriptedProvider(lambda _: echo)

    def write(self, *lines: Any) -> None:
        texts = (x if isinstance(x, str) else json.dumps(x) for x in lines)
        self.source.write_text("".join(f"{text}\n" for text in texts))

    def write_rows(self, count: int) -> None:
        names = [f"row {number}" for number in range(count)]
        self.write(*({"id": name, "prompt": name} for name in names))

    def answers(self, step: Answerer | Step) -> None:
        self.provider = ScriptedProvider(lambda _: step, max_retries=0)

    async def run(self, **options: Any) -> Summary:
        async with Broker({"scripted": self.provider}) as broker:
            return await run_batch(broker, self.source, self.output, **options)

    @property
    def asked(self) -> list[str]:
        return [text_of(sent.request) for sent in self.provider.sent]

    def records(self, path: Path | None = None) -> list[dict[str, Any]]:
        lines = (path or self.output).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def names(self) -> list[str]:
        return [record["custom_id"] for record in self.records()]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


async def test_every_row_gets_its_record(batch: Batch) -> None:
    batch.write_rows(300)
    summary = await batch.run()
    assert sorted(batch.names()) == sorted(f"row {number}" for number in range(300))
    for record in batch.records():
        assert record["aitor"]["text"] == record["custom_id"]
    assert (summary.rows, summary.succeeded, summary.failed) == (300, 300, 0)
    assert summary.finished
    assert summary.in_flight == 0


async def test_the_record_of_an_answer(batch: Batch) -> None:
    """
    A reader of OpenAI's Batch files finds all it looks for.
    """
    batch.write({"custom_id": "a", "body": {"messages": [{"role": "user",
        "content": "hello"}]}})  # fmt: skip
    await batch.run()
    (record,) = batch.records()
    name, seconds = record.pop("id"), record["aitor"].pop("seconds")
    (attempt,) = record["aitor"].pop("attempts")
    assert name.startswith("batch_req_")
    assert seconds >= attempt.pop("seconds") > 0
    assert attempt.pop("waited") >= 0
    assert attempt == {
        "provider": "scripted",
        "model": "scripted",
        "outcome": "answer",
        "status": None,
    }
    assert record == {
        "custom_id": "a",
        "response": {
            "status_code": 200,
            "request_id": "req_1",
            "body": {
                "id": "chatcmpl-1",
                "choices": [{"message": {"content": "hello"}}],
            },
        },
        "error": None,
        "aitor": {
            "provider": "scripted",
            "model": "echo-1",
            "finish_reason": "stop",
            "text": "hello",
            "usage": {
                "input_tokens": 10,
                "output_tokens": 5,
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "reasoning_tokens": 0,
                "estimated": False,
            },
            "cost_usd": None,
        },
    }


async def test_the_record_of_a_failure(batch: Batch) -> None:
    batch.write({"custom_id": "a", "prompt": "hello"})
    batch.answers(
        ContextLengthError(
            "9 tokens, and the model takes 8",
            provider="scripted",
            status=400,
            code="context_length_exceeded",
            request_id="req_1",
        )
    )
    summary = await batch.run()
    (record,) = batch.records()
    (attempt,) = record["aitor"].pop("attempts")
    assert attempt["outcome"] == "too_long"
    assert record["aitor"].pop("seconds") > 0
    assert record.pop("id").startswith("batch_req_")
    assert record == {
        "custom_id": "a",
        "response": None,
        "error": {
            "code": "context_length_exceeded",
            "message": "scripted: 9 tokens, and the model takes 8",
        },
        "aitor": {
            "provider": "scripted",
            "error": "ContextLengthError",
            "outcome": "too_long",
            "status": 400,
            "request_id": "req_1",
            "line": 1,
        },
    }
    assert summary.failures == {"ContextLengthError": 1}
    assert summary.finished


async def test_half_a_character_and_odd_line_breaks_are_one_line(batch: Batch) -> None:
    """
    Models send them; every reader must find one record a line.
    """
    text = "\ud83d \u2028 \x85 \r\n é"
    batch.write({"id": "é", "prompt": text})
    await batch.run()
    (record,) = batch.records()
    assert record["custom_id"] == "é"
    assert record["aitor"]["text"] == text


async def test_a_wrong_line_is_a_failed_row(batch: Batch) -> None:
    batch.write({"prompt": "a"}, "{wrong", {"id": "c", "prompt": "c"}, {"id": "d"})
    summary = await batch.run()
    errors = {
        record["custom_id"]: record["error"]["message"]
        for record in batch.records()
        if record["error"]
    }
    assert errors.keys() == {"row-2", "d"}
    assert errors["row-2"].startswith(f"{batch.source}, line 2: not JSON")
    assert sorted(batch.asked) == ["a", "c"]
    assert (summary.succeeded, summary.failed, summary.finished) == (2, 2, True)


async def test_what_is_asked_is_what_the_row_says(batch: Batch) -> None:
    batch.write({"prompt": "a", "model": "m", "temperature": 0.5})
    await batch.run(top_p=0.1, max_in_flight=1, timeout=60, priority=3, tenant="t")
    (sent,) = batch.provider.sent
    assert sent.request.model == "m"
    assert sent.request.parameters == {"temperature": 0.5, "top_p": 0.1}


# Going on.


async def test_a_second_run_asks_nobody(batch: Batch) -> None:
    batch.write_rows(50)
    await batch.run()
    before = batch.output.read_bytes()
    summary = await batch.run()
    assert len(batch.asked) == 50
    assert batch.output.read_bytes() == before
    assert (summary.earlier_succeeded, summary.succeeded) == (50, 0)
    assert summary.finished


async def test_rows_that_are_added_are_run(batch: Batch) -> None:
    batch.write_rows(3)
    await batch.run()
    batch.write_rows(5)
    summary = await batch.run()
    assert sorted(batch.names()) == [f"row {number}" for number in range(5)]
    assert sorted(batch.asked[3:]) == ["row 3", "row 4"]
    assert (summary.earlier_succeeded, summary.succeeded) == (3, 2)


async def test_the_limit_is_a_beginning(batch: Batch) -> None:
    batch.write_rows(5)
    summary = await batch.run(limit=2)
    assert batch.asked == ["row 0", "row 1"]
    assert (summary.rows, summary.finished) == (2, True)
    await batch.run()
    assert sorted(batch.names()) == [f"row {number}" for number in range(5)]
    assert len(batch.asked) == 5


async def test_failed_rows_stay_failed_until_they_are_retried(batch: Batch) -> None:
    batch.write_rows(3)

    async def moody(request: Request) -> Answer:
        if text_of(request) == "row 1" and len(batch.asked) <= 3:
            raise BadRequestError("not today")
        return await echo(request)

    batch.answers(moody)
    assert (await batch.run()).failed == 1
    assert (await batch.run()).earlier_failed == 1
    assert len(batch.asked) == 3
    summary = await batch.run(retry_failed=True)
    assert batch.asked[3:] == ["row 1"]
    assert (summary.earlier_succeeded, summary.succeeded) == (2, 1)
    assert sorted(batch.names()) == ["row 0", "row 1", "row 2"]
    assert not any(record["error"] for record in batch.records())


async def test_failed_rows_go_to_their_file(batch: Batch) -> None:
    batch.write({"id": "a", "prompt": "a"}, "wrong")
    errors = batch.output.with_name("errors.jsonl")
    await batch.run(errors=errors)
    assert batch.names() == ["a"]
    assert [record["custom_id"] for record in batch.records(errors)] == ["row-2"]


async def test_other_parameters_are_other_answers(batch: Batch) -> None:
    batch.write_rows(1)
    await batch.run(temperature=0, max_in_flight=1)
    with pytest.raises(ConfigurationError, match=r"other settings \(temperature\)"):
        await batch.run(temperature=1)
    await batch.run(temperature=0, max_in_flight=2, timeout=9)
    assert len(batch.asked) == 1


async def test_a_parameter_that_is_no_json_is_an_error_that_names_it(
    batch: Batch,
) -> None:
    batch.write_rows(1)
    with pytest.raises(ConfigurationError, match="'seed' must be what JSON can hold"):
        await batch.run(seed=object())
    assert batch.asked == []


async def test_a_changed_row_ends_the_run(batch: Batch) -> None:
    batch.write({"id": "a", "prompt": "a"})
    await batch.run()
    batch.write({"id": "a", "prompt": "b"})
    with pytest.raises(InputError, match="row 'a'"):
        await batch.run()
    summary = await batch.run(restart=True)
    assert summary.succeeded == 1
    assert batch.records()[0]["aitor"]["text"] == "b"


async def test_a_name_given_twice_is_found_before_anything_is_paid_for(
    batch: Batch,
) -> None:
    """
    Stands for: a mistake in the input that is found with half of it paid for.

    However far apart the two are, named or named after their lines.
    """
    batch.write_rows(600)
    whole = batch.source.read_text()
    for name, first in (("row 7", 8), ("row 599", 600), ("row-3", 3)):
        text = whole if name != "row-3" else '\n\n{"prompt": "x"}\n' + "\n" * 597
        batch.source.write_text(f'{text}{{"id": "{name}", "prompt": "x"}}\n')
        summary = Summary()
        twice = f"'{name}' is both in line {first} and in line 601"
        with pytest.raises(InputError, match=twice):
            await batch.run(summary=summary)
        assert batch.asked == batch.names() == []
        assert not summary.finished
    batch.source.write_text(whole)
    assert (await batch.run()).succeeded == 600


async def test_a_name_given_twice_in_a_pipe_ends_the_run_and_loses_nothing(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What was in flight by then is paid for, so it is stored.
    """
    batch.write_rows(600)
    text = batch.source.read_text() + '{"id": "row 7", "prompt": "x"}\n'
    end, other = os.pipe()
    writer = threading.Thread(target=lambda: Path(f"/dev/fd/{other}").write_text(text))
    writer.start()
    summary = Summary()
    with os.fdopen(end) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        batch.source = Path("-")
        with pytest.raises(InputError, match="'row 7' is both in line 8 and in line 6"):
            await batch.run(summary=summary)
        monkeypatch.undo()
    writer.join()
    os.close(other)
    assert len(batch.names()) == len(batch.asked) == summary.succeeded > 0
    assert not summary.finished


@pytest.mark.parametrize("change", ["renamed", "twice", "moved"])
async def test_an_input_that_changes_while_it_is_read_ends_the_run(
    batch: Batch, change: str
) -> None:
    """
    Stands for: what was checked is not what is used. Nothing paid for is lost.
    """
    names = [f"row {number:03}" for number in range(300)]
    batch.write(*({"id": name, "prompt": name + " " * 2_000} for name in names))
    lines = batch.source.read_text().splitlines(keepends=True)
    changed = {
        "renamed": [*lines[:-1], lines[-1].replace("row 299", "row 999")],
        "twice": [*lines[:-1], lines[7]],
        "moved": [*lines[:-2], lines[-1], lines[-2]],
    }[change]

    async def answer(request: Request) -> Answer:
        with batch.source.open("r+") as file:
            file.write("".join(changed))
        return await echo(request)

    batch.answers(answer)
    with pytest.raises(InputError, match="the input was changed while it was read"):
        await batch.run()
    assert sorted(batch.names()) == sorted(text.strip() for text in batch.asked)
    assert 100 < len(batch.asked) < 300


# Between an answer and its record.


class Sulking(dict[str, Any]):
    """What a provider of one's own may bring for a body."""

    def __iter__(self) -> Any:
        raise RuntimeError("not today")

    keys = __iter__


class Silent:
    """What JSON has no word for, and Python no text."""

    def __str__(self) -> str:
        raise RuntimeError("not today")

    __repr__ = __str__


def _circle() -> dict[str, Any]:
    circle: dict[str, Any] = {"a": 1}
    circle["self"] = circle
    return circle


@pytest.mark.parametrize(
    "body", [{"a": Silent()}, _circle(), Sulking(a=1), {"a": float("nan"), 1: {2}}]
)
async def test_an_answer_that_cannot_be_written_down_is_kept_by_its_text(
    batch: Batch, body: dict[str, Any]
) -> None:
    """
    Stands for: something that may fail between an answer and its record.
    """

    async def answer(request: Request) -> Answer:
        return Answer("hi", "m", "stop", Usage(1, 1), None, body)

    batch.write_rows(3)
    batch.answers(answer)
    assert (await batch.run()).succeeded == 3
    assert {record["aitor"]["text"] for record in batch.records()} == {"hi"}


@pytest.mark.parametrize("error", [ImportError, OSError, KeyError, RecursionError])
async def test_a_price_that_fails_costs_a_column_and_no_row(
    batch: Batch, error: type[Exception]
) -> None:
    """
    Stands for: something optional between an answer and its record.
    """

    def cost(reply: Reply) -> Decimal:
        raise error

    batch.write_rows(3)
    summary = await batch.run(cost=cost)
    assert (summary.succeeded, summary.total.unpriced) == (3, 3)
    assert {record["aitor"]["cost_usd"] for record in batch.records()} == {None}


async def test_where_there_are_no_threads_records_are_stored_all_the_same(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Stands for: the system has nothing left for us between an answer and its record.
    """
    run_sync = anyio.to_thread.run_sync

    async def none_left(function: Any, *arguments: Any, **more: Any) -> Any:
        if getattr(function, "__name__", "") == "save":
            raise RuntimeError("can't start new thread")
        return await run_sync(function, *arguments, **more)

    batch.write_rows(30)
    monkeypatch.setattr("anyio.to_thread.run_sync", none_left)
    assert (await batch.run()).succeeded == 30
    assert len(batch.names()) == 30


# Ending early.


class Gate:
    """Lets answers out when it is opened."""

    def __init__(self, batch: Batch, expected: int) -> None:
        self._batch = batch
        self._expected = expected
        self.full = anyio.Event()
        self.opened = anyio.Event()

    async def answer(self, request: Request) -> Answer:
        if len(self._batch.asked) >= self._expected:
            self.full.set()
        await self.opened.wait()
        return await echo(request)


async def test_stop_waits_for_what_is_in_flight(batch: Batch) -> None:
    batch.write_rows(20)
    gate, stop, summary = Gate(batch, 4), anyio.Event(), Summary()
    batch.answers(gate.answer)
    async with anyio.create_task_group() as tasks:

        async def interrupt() -> None:
            await gate.full.wait()
            stop.set()
            await anyio.wait_all_tasks_blocked()
            gate.opened.set()

        tasks.start_soon(interrupt)
        await batch.run(stop=stop, summary=summary, max_in_flight=4)
    assert summary.succeeded == len(batch.asked) == 4
    assert not summary.finished
    summary = await batch.run()
    assert summary.finished
    assert sorted(batch.names()) == sorted(f"row {number}" for number in range(20))
    assert len(batch.asked) == 20


async def test_stop_after_the_last_row_is_a_finished_batch(batch: Batch) -> None:
    batch.write_rows(4)
    gate, stop = Gate(batch, 4), anyio.Event()
    batch.answers(gate.answer)
    async with anyio.create_task_group() as tasks:

        async def interrupt() -> None:
            await gate.full.wait()
            await anyio.wait_all_tasks_blocked()
            stop.set()
            gate.opened.set()

        tasks.start_soon(interrupt)
        assert (await batch.run(stop=stop)).finished


async def test_a_cancelled_run_stores_what_has_come(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whether it is being stored at that moment or waits for its turn: it is paid for.
    """
    batch.write_rows(20)
    save, cancelled = Store.save, threading.Event()
    hanging: list[Request] = []
    all_hang = anyio.Event()

    async def even_ones(request: Request) -> Answer:
        if int(text_of(request).split()[1]) % 2:
            hanging.append(request)
            if len(hanging) == 4:
                all_hang.set()
            await anyio.sleep_forever()
        return await echo(request)

    def slow(store: Store, records: Any) -> None:
        cancelled.wait(10)
        save(store, records)

    batch.answers(even_ones)
    monkeypatch.setattr(Store, "save", slow)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(batch.run, max_in_flight=4))
        await all_hang.wait()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        cancelled.set()
    answered = [name for name in batch.asked if not int(name.split()[1]) % 2]
    assert sorted(batch.names()) == sorted(answered)
    assert len(answered) > 1
    assert batch.provider.in_flight == 0


async def test_rows_that_a_closing_broker_gave_up_are_pending(batch: Batch) -> None:
    batch.write_rows(3)
    all_hang, summary = anyio.Event(), Summary()

    async def hang(request: Request) -> Answer:
        if batch.provider.in_flight == 3:
            all_hang.set()
        await anyio.sleep_forever()
        raise AssertionError

    batch.answers(hang)
    async with (
        Broker([batch.provider], drain_timeout=0.0) as broker,
        anyio.create_task_group() as tasks,
    ):
        run = partial(run_batch, summary=summary)
        tasks.start_soon(run, broker, batch.source, batch.output)
        await all_hang.wait()
        await broker.aclose()
    assert batch.names() == []
    assert not summary.finished
    assert summary.given_up == 3
    batch.answers(echo)
    assert (await batch.run()).succeeded == 3


async def test_no_more_rows_are_taken_once_the_broker_has_closed(batch: Batch) -> None:
    batch.write_rows(2_000)
    all_hang, summary = anyio.Event(), Summary()

    async def hang(request: Request) -> Answer:
        if batch.provider.in_flight == 4:
            all_hang.set()
        await anyio.sleep_forever()
        raise AssertionError

    provider = batch.provider = ScriptedProvider(lambda _: hang, workers=4)
    async with (
        Broker([provider], drain_timeout=0.0) as broker,
        anyio.create_task_group() as tasks,
    ):
        run = partial(run_batch, max_in_flight=8, summary=summary)
        tasks.start_soon(run, broker, batch.source, batch.output)
        await all_hang.wait()
        await broker.aclose()
    assert summary.rows < 2_000
    assert not summary.finished
    # Those that had not been sent cost nothing.
    assert summary.given_up == 4
    batch.answers(echo)
    assert (await batch.run()).succeeded == 2_000


async def test_a_bug_ends_the_run_and_not_the_broker(batch: Batch) -> None:
    batch.write_rows(20)
    async with Broker([batch.provider]) as broker:
        with pytest.raises(ValueError, match="'timeout'"):
            await run_batch(broker, batch.source, batch.output, timeout=float("nan"))
        await broker.submit("x")
    assert batch.names() == []
    assert (await batch.run()).succeeded == 20


async def test_a_dead_account_ends_the_run_and_fails_no_row(batch: Batch) -> None:
    """
    Whoever mends the key goes on with the same command; nothing has to be retried.
    """
    batch.write_rows(20)

    async def broke(request: Request) -> Answer:
        if len(batch.asked) > 5:
            raise QuotaError("the purse is empty", provider="scripted")
        return await echo(request)

    batch.answers(broke)
    with pytest.raises(QuotaError, match="the purse is empty"):
        await batch.run(max_in_flight=1)
    assert batch.names() == [f"row {number}" for number in range(5)]
    batch.answers(echo)
    summary = await batch.run()
    assert (summary.earlier_succeeded, summary.succeeded) == (5, 15)


async def test_one_dead_account_of_two_ends_nothing(batch: Batch) -> None:
    """
    A row that another provider has failed is a failed row.
    """
    batch.write_rows(3)
    broken = ScriptedProvider(ServerError("it fell over"), max_retries=0)
    dead = ScriptedProvider(QuotaError("the purse is empty"))
    async with Broker({"broken": broken, "dead": dead}) as broker:
        summary = await run_batch(broker, batch.source, batch.output, limit=1)
    assert summary.failures == {"QuotaError": 1}
    assert summary.finished


async def test_a_full_disk_ends_the_run_and_what_is_in_flight(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.write_rows(20)

    async def first_only(request: Request) -> Answer:
        if text_of(request) != "row 0":
            await anyio.sleep_forever()
        return await echo(request)

    def full(store: Store, records: object) -> None:
        raise StorageError("the disk is full")

    batch.answers(first_only)
    monkeypatch.setattr(Store, "save", full)
    with pytest.raises(StorageError, match="the disk is full"):
        await batch.run()
    monkeypatch.undo()
    assert batch.provider.in_flight == 0
    assert batch.names() == []
    batch.answers(echo)
    assert (await batch.run()).succeeded == 20


async def test_a_slow_disk_slows_the_batch_down() -> None:
    """
    In memory is what is in flight and two groups, not all that was answered.
    """
    disk_is_free = threading.Event()
    saved: list[int] = []
    put: list[int] = []

    class SlowStore:
        def save(self, records: list[Record]) -> None:
            assert disk_is_free.wait(10)
            saved.append(len(records))

        async def flush(self) -> None:
            """There are no pipes."""

    writer = Writer(cast("Store", SlowStore()), anyio.CapacityLimiter(1))
    record = Record(Row("a", 1, "f"), failed=False, text=b"a\n")

    async def put_many() -> None:
        for number in range(3 * MOST):
            await writer.put(record, lambda: None)
            put.append(number)
        writer.finish()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        tasks.start_soon(put_many)
        await anyio.wait_all_tasks_blocked()
        # One group is being stored, and as many records as may wait are waiting.
        assert 2 * MOST - 2 <= len(put) < 2 * MOST
        disk_is_free.set()
    assert len(put) == 3 * MOST
    assert sum(saved) == 3 * MOST
    assert max(saved) <= MOST


async def test_records_are_committed_at_once_and_gather_only_meanwhile() -> None:
    """
    Stands for: paid for and not yet on the disk.

    The first is stored though no second comes; what comes while it is, is stored
    together; and the last at once.
    """
    saved: list[int] = []
    disk_is_free = threading.Event()

    class SlowStore:
        def save(self, records: list[Record]) -> None:
            assert disk_is_free.wait(10)
            saved.append(len(records))

        async def flush(self) -> None:
            """There are no pipes."""

    writer = Writer(cast("Store", SlowStore()), anyio.CapacityLimiter(1))
    record = Record(Row("a", 1, "f"), failed=False, text=b"a\n")
    stored = [anyio.Event() for _ in range(7)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        await writer.put(record, stored[0].set)
        await anyio.wait_all_tasks_blocked()
        # It is being stored now.
        for each in stored[1:6]:
            await writer.put(record, each.set)
        disk_is_free.set()
        for each in stored[:6]:
            await each.wait()
        assert saved == [1, 5]
        await writer.put(record, stored[6].set)
        await stored[6].wait()
        writer.finish()
    assert saved == [1, 5, 1]


@pytest.mark.parametrize("places", [1, 4])
async def test_a_slow_disk_bounds_what_a_kill_can_lose(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, places: int
) -> None:
    """
    Stands for: paid for and not yet on the disk, however slow the disk is.

    On the wire, in the commit that runs, and behind it: each as many as may be in
    flight, and no row more is asked.
    """
    batch.write_rows(50)
    save, disk_is_free = Store.save, threading.Event()

    def slow(store: Store, records: Any) -> None:
        assert disk_is_free.wait(10)
        save(store, records)

    monkeypatch.setattr(Store, "save", slow)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(batch.run, max_in_flight=places))
        while not batch.asked:
            await anyio.lowlevel.checkpoint()
        for _ in range(5):
            await anyio.wait_all_tasks_blocked()
        assert places <= len(batch.asked) <= 3 * places
        disk_is_free.set()
    assert len(batch.names()) == len(batch.asked) == 50


async def test_a_provider_that_is_not_there_is_told_at_once(batch: Batch) -> None:
    batch.write_rows(1)
    with pytest.raises(ConfigurationError, match="nobody"):
        await batch.run(provider="nobody")


# Names.


async def test_no_file_is_used_twice(batch: Batch) -> None:
    batch.write_rows(1)
    before = batch.source.read_bytes()
    batch.output = batch.source
    with pytest.raises(ConfigurationError, match="the input and --output are one file"):
        await batch.run(restart=True)
    assert batch.source.read_bytes() == before


# Pipes.


async def test_a_row_in_a_pipe_is_on_its_way_before_the_next(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, other = os.pipe()
    with os.fdopen(end) as stdin, os.fdopen(other, "wb", buffering=0) as writer:
        monkeypatch.setattr("sys.stdin", stdin)
        batch.source = Path("-")

        async def answer(request: Request) -> Answer:
            # The second row is written because the first has arrived.
            if text_of(request) == "a":
                writer.write(b'{"prompt": "b"}')
                writer.close()
            return await echo(request)

        batch.answers(answer)
        writer.write(b'{"prompt": "a"}\n')
        summary = await batch.run()
    assert batch.names() == ["row-1", "row-2"]
    assert summary.finished
    assert summary.expected is None


async def test_stop_ends_the_wait_for_a_silent_pipe(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, other = os.pipe()
    stop, summary = anyio.Event(), Summary()
    with os.fdopen(end) as stdin, os.fdopen(other, "wb", buffering=0) as writer:
        monkeypatch.setattr("sys.stdin", stdin)
        batch.source = Path("-")
        writer.write(b'{"prompt": "a"}\n{"pro')

        async def answer(request: Request) -> Answer:
            stop.set()
            return await echo(request)

        batch.answers(answer)
        await batch.run(stop=stop, summary=summary)
    assert batch.names() == ["row-1"]
    assert not summary.finished


async def test_standard_output_gets_every_record(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also those of earlier runs, for they are nowhere else in this stream.
    """
    batch.write_rows(3)
    batch.output = Path("-")
    caught = tmp_path / "caught"
    for limit in (2, 3):
        with caught.open("w") as stdout:
            monkeypatch.setattr("sys.stdout", stdout)
            await batch.run(journal=tmp_path / "journal", limit=limit)
            monkeypatch.undo()
        names = sorted(record["custom_id"] for record in batch.records(caught))
        assert names == [f"row {number}" for number in range(limit)]
    assert len(batch.asked) == 3


async def test_standard_output_needs_no_journal(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.write({"id": "a", "prompt": "a"}, {"id": "a", "prompt": "a"})
    batch.output = Path("-")
    with (tmp_path / "caught").open("w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        with pytest.raises(InputError):
            await batch.run()
        monkeypatch.undo()
    assert names_in(tmp_path) == ["caught", "in.jsonl"]


async def test_a_closed_standard_stream_is_told(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Python has None for it.
    """
    batch.write_rows(1)
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr("sys.stdout", None)
    source, batch.source = batch.source, Path("-")
    with pytest.raises(ConfigurationError, match="input - cannot be read: it is close"):
        await batch.run()
    batch.source, batch.output = source, Path("-")
    with pytest.raises(ConfigurationError, match="- cannot be written: it is closed"):
        await batch.run()
