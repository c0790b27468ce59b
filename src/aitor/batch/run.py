"""
Run a batch: rows out of a file, through a broker, records into another.

Three things happen at once. The broker pulls rows as it has room for them; what
comes back is handed to a writer; and the writer stores what has gathered, a group at
a time, so that no row waits for the disk on its way. In memory is what is in flight,
two groups of records and a piece of the input.
"""

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio import to_thread

from aitor.batch.journal import Admitted, Record
from aitor.batch.output import default_journal, is_stdout
from aitor.batch.record import answered, failed
from aitor.batch.rows import Row
from aitor.batch.source import Source
from aitor.batch.store import Store, StoreOptions
from aitor.batch.summary import Summary
from aitor.broker.prices import Cost
from aitor.errors import (
    AccountError,
    BadRequestError,
    BrokerClosedError,
    ConfigurationError,
)
from aitor.messages import Reply, Request
from aitor.outcomes import Outcome

if TYPE_CHECKING:
    from aitor.broker.broker import Broker
    from aitor.broker.mapping import MapResult

__all__ = ("run_batch",)

Name = str | os.PathLike[str]

DELIVERY = {"max_in_flight", "timeout", "priority", "tenant"}
"""How rows are delivered; all else that `Broker.map` takes can change an answer."""

GROUP = 256
"""Most records that wait to be stored; while there are as many, no more are taken."""

GATHER = 0.05
"""
Seconds that a group gathers unless it is full before. Waiting for the disk after
each record would cost more than all the rest of a row; what a kill may lose by
gathering is little beside what is in flight.
"""

LAST_WAIT = 0.5
"""Seconds that the reader of a pipe has left when the run is cancelled."""


async def run_batch(
    broker: "Broker",
    source: Name,
    output: Name,
    *,
    journal: Name | None = None,
    errors: Name | None = None,
    settings: Mapping[str, Any] | None = None,
    restart: bool = False,
    retry_failed: bool = False,
    accept_changes: bool = False,
    limit: int | None = None,
    stop: anyio.Event | None = None,
    summary: Summary | None = None,
    cost: Cost | None = None,
    **asking: Any,
) -> Summary:
    """
    Have every row of *source* answered, each once, and write the records down.

    Call it again after whatever ended it, and it goes on: a row whose record is
    stored is not asked again. A row that fails is a record as well. At the end
    *output*, together with *errors*, holds exactly one record for each row.

    Args:
        broker: An open broker.
        source: A JSONL file in the shape of OpenAI's or Anthropic's batches, or of
            bare prompts; `-` for the standard input.
        output: Where records go, in the order in which rows end; `-` for the
            standard output, which gets those of earlier runs first, as do pipes.
        journal: What makes it safe; by default *output* with `.journal` added. For
            the standard output, a pipe or a device there is none unless it is given.
        errors: Where records of failed rows go; by default to *output*.
        settings: By name, what else can change an answer; see `identity`. Answers
            got with other settings are not mixed with these.
        restart: Forget all that is stored and begin anew.
        retry_failed: Run the rows again that failed in an earlier run. Their old
            records are taken out of the files before anything is sent.
        accept_changes: Keep the stored answers although *settings* have changed.
        limit: Take only the first so many rows.
        stop: When it is set no more rows are taken; those in flight are waited for.
        summary: Counts as the batch goes on; by default a new one.
        cost: Tells what an answer cost; see `Prices`.
        asking: As for `Broker.map`, for every row.

    Returns:
        The numbers; `finished` says whether every row has its record.

    Raises:
        ConfigurationError: If a name or a setting is wrong, or another run holds the
            journal; nothing was sent.
        InputError: If two rows have one name, or a row asks for something else than
            it did when its record was stored. What was in flight is stored.
        StorageError: If the disk is full. What is stored is intact.
        AccountError: If no provider takes its account any more (key, purse). No row
            would be answered until a human acts, so none has failed.
    """
    if journal is None:
        journal = default_journal(os.fspath(output))
    changing = {name: asking[name] for name in asking.keys() - DELIVERY}
    options = StoreOptions(
        output=os.fspath(output),
        errors=None if errors is None else os.fspath(errors),
        journal=None if journal is None else os.fspath(journal),
        settings={**(settings or {}), **changing},
        restart=restart,
        retry_failed=retry_failed,
        accept_changes=accept_changes,
    )
    _check_apart(os.fspath(source), options)
    summary = summary or Summary()
    began = anyio.current_time()
    try:
        async with _opened(os.fspath(source), limit, options) as (rows, store):
            await store.replay()
            run = _Run(rows, store, summary, stop or anyio.Event(), cost)
            await run.run(broker, asking)
    finally:
        summary.seconds = anyio.current_time() - began
    return summary


@asynccontextmanager
async def _opened(
    source: str, limit: int | None, options: StoreOptions
) -> AsyncIterator[tuple[Source, Store]]:
    rows = Source(source, limit)
    try:
        store = await to_thread.run_sync(Store, options)
        try:
            yield rows, store
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(store.close)
    finally:
        rows.close()


def _check_apart(source: str, options: StoreOptions) -> None:
    given = {
        "the input": source,
        "--output": options.output,
        "--errors": options.errors,
        "--journal": options.journal,
    }
    seen: dict[Path, str] = {}
    for role, name in given.items():
        if name is None or is_stdout(name):
            continue
        other = seen.setdefault(Path(name).resolve(), role)
        if other != role:
            raise ConfigurationError(f"{other} and {role} are one file, {name}")


class _Run:
    """One run: the iterator of requests that the broker pulls, and where they end."""

    def __init__(
        self,
        source: Source,
        store: Store,
        summary: Summary,
        stop: anyio.Event,
        cost: Cost | None,
    ) -> None:
        self._source = source
        self._store = store
        self._summary = summary
        self._stop = stop
        self._cost = cost
        # Reading and writing share the store, and take turns.
        self._turns = anyio.CapacityLimiter(1)
        self._writer = _Writer(store, self._turns)
        self._rows: deque[Row] = deque()
        self._sent = 0
        self._given_up = False  # the broker has closed
        # By position in what the broker pulled: the row, and when it was pulled.
        self._flying: dict[int, tuple[Row, float]] = {}
        summary.bytes_in_all = source.size
        summary.notes += store.notes

    async def run(self, broker: "Broker", asking: Mapping[str, Any]) -> None:
        """Carry the batch to its end, or until it is stopped."""
        failure: BaseException | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._writer.run)
                try:
                    await self._exchange(broker, asking)
                except Exception as error:  # noqa: BLE001 - raised again below
                    # Kept, so that it does not cancel the writer, which stores first.
                    failure = error
                self._writer.finish()
        except BaseExceptionGroup as group:
            # The first one ended the run; others are what came of that.
            failure = failure or group.exceptions[0]
        if failure is not None:
            raise failure
        pending = self._rows or self._flying
        self._summary.finished = self._source.ended and not pending

    async def _exchange(self, broker: "Broker", asking: Mapping[str, Any]) -> None:
        async with broker.map(self, **asking) as results:
            try:
                async for result in results:
                    await self._end(result)
            except BrokerClosedError:
                # What was not read is pending, like what was given up.
                self._given_up = True

    # Rows go out.

    def __aiter__(self) -> AsyncIterator[Request]:
        return self

    async def __anext__(self) -> Request:
        while not (self._stop.is_set() or self._given_up):
            if self._rows:
                row = self._rows.popleft()
                if row.request is not None:
                    return self._send(row, row.request)
                await self._refuse(row)
            elif self._source.ended:
                break
            else:
                await self._read()
        raise StopAsyncIteration

    def _send(self, row: Row, request: Request) -> Request:
        self._flying[self._sent] = (row, anyio.current_time())
        self._sent += 1
        self._summary.in_flight += 1
        return request

    async def _read(self) -> None:
        await self._source.wait_until_readable(self._stop)
        if self._stop.is_set():
            return
        rows, admitted = await to_thread.run_sync(self._next_rows, limiter=self._turns)
        self._rows.extend(admitted.rows)
        self._summary.rows += rows
        self._summary.bytes_read = self._source.bytes_read
        self._summary.earlier_succeeded += admitted.succeeded
        self._summary.earlier_failed += admitted.failed

    def _next_rows(self) -> tuple[int, Admitted]:
        rows = self._source.read()
        return len(rows), self._store.admit(rows)

    # Records come in.

    async def _end(self, result: "MapResult") -> None:
        error = result.error
        if error is not None and error.outcome is Outcome.CANCELLED:
            # The broker closed under it: it has no outcome, and is pending still.
            self._given_up = True
            self._summary.in_flight -= not error.attempts
            return
        if isinstance(error, AccountError) and _by_account_alone(error):
            raise error
        row, since = self._flying.pop(result.index)
        seconds = anyio.current_time() - since
        if error is not None:
            record = failed(row, error, seconds=seconds)
            count = partial(self._landed, self._summary.count_failure, error)
        else:
            reply = cast("Reply", result.reply)
            cost = self._cost(reply) if self._cost is not None else None
            record = answered(row, reply, seconds=seconds, cost=cost)
            # Its text is in the record; the reply itself does not wait for the disk.
            by = (reply.provider, reply.model)
            told = (by, reply.usage, reply.attempts, cost)
            count = partial(self._landed, self._summary.count_answer, *told)
        await self._writer.put(record, count)

    def _landed(self, count: Callable[..., None], *told: object) -> None:
        self._summary.in_flight -= 1
        count(*told)

    async def _refuse(self, row: Row) -> None:
        error = cast("BadRequestError", row.error)
        record = failed(row, error, seconds=0.0)
        await self._writer.put(record, partial(self._summary.count_failure, error))


def _by_account_alone(error: AccountError) -> bool:
    """Return whether nothing but accounts kept a row from its answer."""
    return all(attempt.outcome is Outcome.ACCOUNT for attempt in error.attempts)


class _Writer:
    """
    Stores records, a group at a time; a row counts once it is stored.

    Whatever way the run ends but by the death of its process, the records that were
    put here are stored: they are paid for.
    """

    def __init__(self, store: Store, turns: anyio.CapacityLimiter) -> None:
        self._store = store
        self._turns = turns
        self._group: list[tuple[Record, Callable[[], None]]] = []
        self._some = anyio.Event()
        self._enough = anyio.Event()
        self._room = anyio.Event()
        self._finished = False

    async def put(self, record: Record, stored: Callable[[], None]) -> None:
        """
        Have *record* stored; wait only while too many are waiting for it already.

        Args:
            record: The record.
            stored: Called when it is on the disk.
        """
        while len(self._group) >= GROUP:
            await self._room.wait()
        self._group.append((record, stored))
        self._some.set()
        if len(self._group) == GROUP:
            self._enough.set()

    def finish(self) -> None:
        """Say that nothing more comes."""
        self._finished = True
        self._some.set()
        self._enough.set()

    async def run(self) -> None:
        """Store until `finish` was called and everything is stored."""
        try:
            while self._group or not self._finished:
                await self._some.wait()
                with anyio.move_on_after(GATHER):
                    await self._enough.wait()
                await self._save()
                await self._store.flush()
        finally:
            with anyio.CancelScope(shield=True):
                await self._save()
            with anyio.move_on_after(LAST_WAIT, shield=True):
                await self._store.flush()

    async def _save(self) -> None:
        group, self._group = self._group, []
        self._some = anyio.Event()
        self._enough = anyio.Event()
        self._room.set()
        self._room = anyio.Event()
        if group:
            records = [record for record, _ in group]
            await to_thread.run_sync(self._store.save, records, limiter=self._turns)
        for _, stored in group:
            stored()
