"""
A stream of prompts in, a stream of results out, in bounded memory.

One task reads the source and closes it in the end: a generator with a cancel scope or
a task group within goes wrong in more than one. Runners, at most as many as may be in
flight, carry prompts out and put the results down for the consumer. A place is free
again only when its result was handed out, so a slow consumer slows the source down and
nothing piles up in between. Runners are started as they are needed.
"""

import threading
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import anyio
from anyio.lowlevel import checkpoint

from aitor.broker.closing import CLOSE_SECONDS
from aitor.broker.host import Host
from aitor.broker.native import Wakeup, is_stray, wakeup
from aitor.errors import BrokerClosedError, LLMError
from aitor.logs import report_source_not_closed
from aitor.messages import Prompt, Reply

__all__ = ("Map", "MapResult")


@dataclass(frozen=True, slots=True, repr=False)
class MapResult:
    """
    What became of one prompt.

    Args:
        index: Its position in the source, from 0.
        prompt: The very object that the source gave.
        reply: The answer; None if there is none.
        error: Why there is none.
    """

    index: int
    prompt: Prompt
    reply: Reply | None = None
    error: LLMError | None = None

    def __repr__(self) -> str:
        return (
            f"MapResult(index={self.index}, reply={self.reply}, error={self.error!r})"
        )


class Map:
    """
    An asynchronous iterator of `MapResult`; see `Broker.map`.

    A loop that ends early should do so within `async with`, which cancels what
    still runs at once, closes the source if it is a generator, and waits for both.
    """

    def __init__(
        self,
        source: Iterable[Prompt] | AsyncIterable[Prompt],
        submit: Callable[[Prompt], Awaitable[Reply]],
        host: Callable[[], Host],
        places: int,
        *,
        ordered: bool,
    ) -> None:
        if not isinstance(places, int) or places < 1:
            raise ValueError(f"'max_in_flight' must be at least 1, not {places!r:.80}")
        self._flow = _Flow(source, submit, places, ordered=ordered)
        self._host = host
        self._thread = threading.get_ident()

    def __aiter__(self) -> AsyncIterator[MapResult]:
        return self

    async def __anext__(self) -> MapResult:
        flow = self._flow
        if not flow.started:
            flow.start(self._host())
        while (result := flow.take()) is None:
            if flow.ended:
                raise flow.failure_once() or StopAsyncIteration
            await flow.changed()
        return result

    async def aclose(self) -> None:
        """Cancel what still runs; results not handed out yet are dropped."""
        flow = self._flow
        flow.cancel()
        while flow.started and not flow.ended:
            await flow.changed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.aclose()

    def __del__(self) -> None:
        # A loop left by `break` drops its iterator, and nobody wants the rest. The
        # garbage collector of another thread must not touch this one's tasks.
        flow = getattr(self, "_flow", None)  # None if its making failed
        if flow is None or not flow.started or flow.ended:
            return
        if threading.get_ident() == self._thread:
            flow.cancel()


class _Flow:
    """
    What runs behind a `Map`; it does not refer to the `Map`, which may be dropped.
    """

    def __init__(
        self,
        source: Iterable[Prompt] | AsyncIterable[Prompt],
        submit: Callable[[Prompt], Awaitable[Reply]],
        places: int,
        *,
        ordered: bool,
    ) -> None:
        self._source = _Source(source)
        self._submit = submit
        self._ordered = ordered
        self._free = places  # places that no prompt has
        self._host: Host | None = None
        self._running = 0  # tasks
        self._todo: deque[tuple[int, Prompt]] = deque()
        self._idle: deque[Wakeup] = deque()  # runners that wait for a prompt
        self._runners: dict[anyio.CancelScope, None] = {}
        self._reader: anyio.CancelScope | None = None
        self._is_reading = False  # the source, at this moment
        self._parked: Wakeup | None = None  # the reader, while it waits for a place
        self._wanted = 0  # the next result to hand out, in order
        self._results: dict[int, MapResult] = {}
        self._changed: anyio.Event | None = None
        self._stopped = False  # nothing more is wanted
        self._exhausted = False  # nothing more is read
        self._failure: BaseException | None = None

    @property
    def started(self) -> bool:
        """Whether it was started."""
        return self._host is not None

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more, once it was started."""
        return not self._running

    # The consumer's side.

    def take(self) -> MapResult | None:
        """Return the next result, if it is there, and free its place."""
        if not self._results:
            return None
        # Without an order, the first that came is the first in the dictionary.
        index = self._wanted if self._ordered else next(iter(self._results))
        result = self._results.pop(index, None)
        if result is not None:
            self._wanted += 1
            self._free += 1
            _wake(self._parked)
        return result

    def failure_once(self) -> BaseException | None:
        """Return what ended it too early, the first time it is asked for."""
        failure, self._failure = self._failure, None
        return failure

    async def changed(self) -> None:
        """Wait for a result, or for the end."""
        self._changed = self._changed or anyio.Event()
        await self._changed.wait()

    def cancel(self) -> None:
        """Give up what runs and what was not handed out."""
        self._results.clear()
        self._stop()

    # What runs.

    def start(self, host: Host) -> None:
        """Begin to read, in tasks of *host*."""
        self._host = host
        self._start(self._read_all)

    def _start(self, function: Callable[[], Awaitable[None]]) -> None:
        assert self._host is not None  # noqa: S101  # it was started
        self._running += 1
        self._host.start_soon(self._counted, function)

    async def _counted(self, function: Callable[[], Awaitable[None]]) -> None:
        try:
            await function()
        except anyio.get_cancelled_exc_class():
            if not self._stopped:
                # By the broker. What is missing must not look like the end.
                self._failure = self._failure or BrokerClosedError("the broker closed")
            raise
        finally:
            self._running -= 1
            self._tell()

    def _stop(self) -> None:
        """Carry nothing out any more, and let the reader close the source."""
        self._stopped = self._exhausted = True
        self._todo.clear()
        for scope in list(self._runners):
            scope.cancel()
        # While it waits for the source, that has to be ended; else it ends by itself,
        # and the source may await something while it is closed.
        if self._reader is not None and self._is_reading:
            self._reader.cancel()
        _wake(self._parked)

    def _fail(self, error: BaseException) -> None:
        """End with *error*, after the results that are there."""
        self._failure = self._failure or error
        self._stop()

    # The reader.

    async def _read_all(self) -> None:
        # No other scope is opened around the source than this one, which is there
        # before the source can have opened its own.
        with anyio.CancelScope() as self._reader:
            try:
                await self._read_while_there_is_room()
            finally:
                self._exhausted = True
                for runner in self._idle:
                    _wake(runner)
                self._reader.deadline = anyio.current_time() + CLOSE_SECONDS
                await self._source.close()
        self._reader = None

    async def _read_while_there_is_room(self) -> None:
        index = 0
        while not self._exhausted:
            if not self._free:
                self._parked = wakeup()
                await self._parked
                self._parked = None
                continue
            self._is_reading = True
            try:
                prompt = await self._source.read()
            except BaseException as error:
                told = _for_the_consumer(error)
                if told is None:
                    raise
                # What was read before is still carried out.
                self._failure = self._failure or told
                return
            finally:
                self._is_reading = False
            if isinstance(prompt, _Nothing):
                return
            self._free -= 1
            self._todo.append((index, prompt))
            index += 1
            self._find_a_runner()
            if not index % READ_AT_ONCE:
                # A source may never wait, and who runs meanwhile must.
                await checkpoint()

    def _find_a_runner(self) -> None:
        while self._idle:
            runner = self._idle.popleft()
            if not runner.done():
                runner.set_result(None)
                return
        self._start(self._run)

    # The runners.

    async def _run(self) -> None:
        with anyio.CancelScope() as scope:
            self._runners[scope] = None
            try:
                while not self._stopped:
                    if self._todo:
                        await self._carry_out(*self._todo.popleft())
                    elif self._exhausted:
                        break
                    else:
                        idle = wakeup()
                        self._idle.append(idle)
                        await idle
            finally:
                del self._runners[scope]

    async def _carry_out(self, index: int, prompt: Prompt) -> None:
        try:
            result = MapResult(index, prompt, reply=await self._submit(prompt))
        except LLMError as error:
            result = MapResult(index, prompt, error=error)
        except BaseException as error:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                raise
            # No prompt's, for the consumer.
            self._fail(error)
            return
        if not self._stopped:
            self._results[index] = result
            self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


READ_AT_ONCE = 64
"""Prompts that are read without letting anybody else run."""


def _wake(waiter: Wakeup | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _for_the_consumer(error: BaseException) -> BaseException | None:
    """Return what a source's *error* is told as; None if its reader was cancelled."""
    if is_stray(error):
        return RuntimeError("something that the source waited for was cancelled")
    if isinstance(error, anyio.get_cancelled_exc_class() | KeyboardInterrupt):
        return None
    return error


class _Nothing:
    """The end of a source."""


NOTHING: Final = _Nothing()


class _Source:
    """
    Reads prompts from any kind of source, and closes it if it is a generator.

    Others are left as they are: who made a file or a stream closes it.
    """

    def __init__(self, source: Iterable[Prompt] | AsyncIterable[Prompt]) -> None:
        self._iterator: Iterator[Prompt] | AsyncIterator[Prompt] = (
            aiter(source) if isinstance(source, AsyncIterable) else iter(source)
        )

    async def read(self) -> Prompt | _Nothing:
        """Return the next prompt, or `NOTHING` at the end."""
        if isinstance(self._iterator, Iterator):
            return next(self._iterator, NOTHING)
        return await anext(self._iterator, NOTHING)

    async def close(self) -> None:
        """Close it, if it was not read to its end."""
        try:
            if isinstance(self._iterator, AsyncGenerator):
                await self._iterator.aclose()
            elif isinstance(self._iterator, Generator):
                self._iterator.close()
        except BaseException as error:
            # A task group within wraps what closes it in a group of its own.
            kinds = (anyio.get_cancelled_exc_class(), GeneratorExit)
            if isinstance(error, BaseExceptionGroup):
                _, rest = error.split(kinds)
                if rest is not None:
                    report_source_not_closed(type(rest.exceptions[0]).__name__)
            elif isinstance(error, Exception):
                report_source_not_closed(type(error).__name__)
            else:
                raise
