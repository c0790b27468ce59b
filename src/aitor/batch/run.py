"""
Run a batch: rows out of a file, through a broker, records into another.

A file is looked through first: which names its rows have, and how many there are. So
a name given twice is found before anything is paid for, and how far a batch is needs no
guess. Then three things happen at once. The broker pulls rows as it has room for them;
what comes back is handed to a writer; and the writer stores it, a group at a time.
In memory is what is in flight, two groups of records and a piece of the input.

Nothing that may fail stands between an answer and its record: what is optional, such as
its price, was loaded before the first call, and costs a column where it fails.
"""

import os
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio import to_thread

from aitor.batch.health import at_stake, until
from aitor.batch.journal import Admitted
from aitor.batch.output import default_journal, is_stdout
from aitor.batch.record import answered, failed
from aitor.batch.rows import Row
from aitor.batch.source import STDIN, Source
from aitor.batch.store import Store, StoreOptions
from aitor.batch.summary import Summary
from aitor.batch.writer import Writer
from aitor.broker.policy import POLICIES, Charge
from aitor.broker.prices import Cost
from aitor.errors import (
    AccountError,
    BadRequestError,
    BrokerClosedError,
    ConfigurationError,
)
from aitor.messages import Attempt, Reply, Request
from aitor.outcomes import Outcome

if TYPE_CHECKING:
    from aitor.broker.broker import Broker
    from aitor.broker.mapping import MapResult

__all__ = ("run_batch",)

Name = str | os.PathLike[str]

DELIVERY = {"max_in_flight", "timeout", "priority", "tenant"}
"""How rows are delivered; all else that `Broker.map` takes can change an answer."""


GIVE_UP_AFTER = 30.0
"""
Seconds that a batch tries to reach anybody at all: longer than a server takes to be
started again, and shorter than anybody watches a batch that does nothing.
"""


async def run_batch(
    broker: "Broker",
    source: Name,
    output: Name,
    *,
    journal: Name | None = None,
    errors: Name | None = None,
    settings: Mapping[str, Any] | None = None,
    restart: bool = False,
    recover: bool = False,
    retry_failed: bool = False,
    accept_changes: bool = False,
    limit: int | None = None,
    give_up_after: float | None = GIVE_UP_AFTER,
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
        recover: Take over what *output* and *errors* hold and the journal does not
            know, for it was lost or is too old. Those rows count as got with these
            settings.
        retry_failed: Run the rows again that failed in an earlier run. Their old
            records are taken out of the files before anything is sent.
        accept_changes: Keep the stored answers although *settings* have changed.
        limit: Take only the first so many rows.
        give_up_after: Seconds after which the run ends if no provider was reached by
            then: wrong addresses, no network, or dead keys. None waits for ever, and
            so does everybody who was reached once.
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
        UnreachableError: If no provider was reached within *give_up_after*.
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
        recover=recover,
        retry_failed=retry_failed,
        accept_changes=accept_changes,
    )
    _check_apart(os.fspath(source), options)
    summary = summary or Summary()
    began = anyio.current_time()
    try:
        async with _opened(os.fspath(source), limit, options) as (rows, store):
            await store.replay()
            places = asking.pop("max_in_flight", None)
            if places is None:
                asked = broker.sequence(asking.get("provider")).values()
                places = sum(each.settings.workers for each in asked)
            run = _Run(rows, store, summary, stop or anyio.Event(), cost, places)
            await run.run(broker, asking, give_up_after)
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
    seen: dict[object, str] = {}
    for role, name in given.items():
        if name is None:
            continue
        other = seen.setdefault(_file_of(name, role), role)
        if other != role:
            raise ConfigurationError(f"{other} and {role} are one file, {name}")


def _file_of(name: str, role: str) -> object:
    """Return what tells the file of that name from others, whatever its name is."""
    stream = {"the input": sys.stdin}.get(role, sys.stdout)
    try:
        if name == STDIN or (role != "the input" and is_stdout(name)):
            status = os.fstat(stream.fileno())
        else:
            status = Path(name).stat()
    except (OSError, AttributeError, ValueError):
        # It is not there, or it is closed: whoever opens it says what is wrong.
        return os.path.realpath(name)
    if stat.S_ISREG(status.st_mode):
        return status.st_dev, status.st_ino
    # Of a stream there is no beginning that could be lost.
    return role


class _Run:
    """One run: the iterator of requests that the broker pulls, and where they end."""

    def __init__(
        self,
        source: Source,
        store: Store,
        summary: Summary,
        stop: anyio.Event,
        cost: Cost | None,
        places: int,
    ) -> None:
        self._source = source
        self._store = store
        self._summary = summary
        self._stop = stop
        self._cost = cost
        # Reading and writing share the store, and take turns.
        self._turns = anyio.CapacityLimiter(1)
        self._places = places
        self._writer = Writer(store, self._turns, places)
        self._rows: deque[Row] = deque()
        self._sent = 0
        self._given_up = False  # the broker has closed
        # By position in what the broker pulled: the row, and when it was pulled.
        self._flying: dict[int, tuple[Row, float]] = {}
        summary.notes += store.notes

    async def run(
        self, broker: "Broker", asking: Mapping[str, Any], give_up_after: float | None
    ) -> None:
        """Carry the batch to its end, or until it is stopped."""
        names = broker.sequence(asking.get("provider"))
        looking = anyio.CancelScope()

        async def look() -> None:
            with looking:
                if give_up_after is not None:
                    await until(broker, names, give_up_after)

        failure: BaseException | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._writer.run)
                tasks.start_soon(look)
                try:
                    await self._exchange(broker, asking)
                except Exception as error:  # noqa: BLE001 - raised again below
                    # Kept, so that it does not cancel the writer, which stores first.
                    failure = error
                looking.cancel()
                self._writer.finish()
        except BaseExceptionGroup as group:
            # The first one ended the run; others are what came of that.
            failure = failure or group.exceptions[0]
        if failure is not None:
            raise failure
        pending = self._rows or self._flying
        self._summary.finished = self._source.ended and not pending

    async def _exchange(self, broker: "Broker", asking: Mapping[str, Any]) -> None:
        while not (self._source.scanned or self._stop.is_set()):
            await to_thread.run_sync(self._announce, limiter=self._turns)
        self._summary.expected = self._source.expected
        asking = {**asking, "max_in_flight": self._places}
        async with broker.map(self, **asking) as results:
            try:
                async for result in results:
                    await self._end(result)
            except BrokerClosedError:
                # What was not read is pending, like what was given up.
                self._given_up = True
            except BaseException:
                # What is on the wire now is given up, and may be paid for.
                lost = min(at_stake(broker.statistics()), self._summary.in_flight)
                self._summary.given_up += lost
                raise

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
        self._summary.earlier_succeeded += admitted.succeeded
        self._summary.earlier_failed += admitted.failed

    def _announce(self) -> None:
        self._store.announce(self._source.scan())

    def _next_rows(self) -> tuple[int, Admitted]:
        rows = self._source.read()
        announced = self._source.expected is not None
        return len(rows), self._store.admit(rows, announced=announced)

    # Records come in.

    async def _end(self, result: "MapResult") -> None:
        error = result.error
        if error is not None and error.outcome is Outcome.CANCELLED:
            # The broker closed under it: it has no outcome, and is pending still.
            self._given_up = True
            self._summary.in_flight -= 1
            self._summary.given_up += any(map(_may_be_paid, error.attempts))
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
            cost = self._cost_of(reply)
            record = answered(row, reply, seconds=seconds, cost=cost)
            # Its text is in the record; the reply itself does not wait for the disk.
            by = (reply.provider, reply.model)
            told = (by, reply.usage, reply.attempts, cost)
            count = partial(self._landed, self._summary.count_answer, *told)
        await self._writer.put(record, count)

    def _cost_of(self, reply: Reply) -> Decimal | None:
        if self._cost is None:
            return None
        try:
            return self._cost(reply)
        except Exception:  # noqa: BLE001  # a price is not worth an answer
            return None

    def _landed(self, count: Callable[..., None], *told: object) -> None:
        self._summary.in_flight -= 1
        count(*told)

    async def _refuse(self, row: Row) -> None:
        error = cast("BadRequestError", row.error)
        record = failed(row, error, seconds=0.0)
        await self._writer.put(record, partial(self._summary.count_failure, error))


def _may_be_paid(attempt: Attempt) -> bool:
    """Return whether a provider may have done the work of *attempt*."""
    if attempt.outcome is Outcome.CONNECTION:
        return False
    return POLICIES[attempt.outcome].charge is Charge.RESERVED


def _by_account_alone(error: AccountError) -> bool:
    """Return whether nothing but accounts kept a row from its answer."""
    return all(attempt.outcome is Outcome.ACCOUNT for attempt in error.attempts)
