"""
A stream of prompts in, a stream of results out, in bounded memory.

Runners, at most as many as may be in flight, carry prompts out and put the results
down for the consumer. One at a time reads the source, for all who wait for a prompt.
A place is free again only when its result was handed out, so a slow consumer slows
the source down and nothing piles up in between. Runners are started as they are
needed.
"""

import threading
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

import anyio
from anyio.abc import TaskGroup

from aitor.broker.native import is_stray
from aitor.errors import LLMError
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
    still runs at once and waits for it.
    """

    def __init__(
        self,
        source: Iterable[Prompt] | AsyncIterable[Prompt],
        submit: Callable[[Prompt], Awaitable[Reply]],
        tasks: Callable[[], TaskGroup],
        places: int,
        *,
        ordered: bool,
    ) -> None:
        if not isinstance(places, int) or places < 1:
            raise ValueError(f"'max_in_flight' must be at least 1, not {places!r:.80}")
        self._flow = _Flow(source, submit, places, ordered=ordered)
        self._tasks = tasks
        self._thread = threading.get_ident()

    def __aiter__(self) -> AsyncIterator[MapResult]:
        return self

    async def __anext__(self) -> MapResult:
        flow = self._flow
        if not flow.started:
            self._tasks().start_soon(flow.run)
            flow.started = True
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
        self.started = False
        self.ended = False
        self._read = _reader(source)
        self._submit = submit
        self._places = places
        self._ordered = ordered
        self._free = anyio.Semaphore(places, max_value=places, fast_acquire=True)
        self._reading = False
        self._line: deque[_Waiter] = deque()
        self._runners = 0
        self._idle = 0  # runners that wait to read
        self._index = 0  # of the prompt that is read next
        self._wanted = 0  # the next result to hand out, in order
        self._results: dict[int, MapResult] = {}
        self._changed: anyio.Event | None = None
        self._tasks: TaskGroup | None = None
        self._exhausted = False
        self._failure: Exception | None = None

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
            self._free.release()
        return result

    def failure_once(self) -> Exception | None:
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
        self._exhausted = True
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    # The runners' side.

    async def run(self) -> None:
        """Carry the source out, to its end."""
        try:
            async with anyio.create_task_group() as self._tasks:
                if not self._exhausted:
                    self._start_runner()
        finally:
            self._tasks = None
            self.ended = True
            self._tell()

    def _start_runner(self) -> None:
        self._runners += 1
        assert self._tasks is not None  # noqa: S101  # runners live in it
        self._tasks.start_soon(self._runner)

    async def _runner(self) -> None:
        while not self._exhausted:
            self._idle += 1
            try:
                await self._free.acquire()
                index, prompt = await self._next()
            finally:
                self._idle -= 1
            if isinstance(prompt, _Nothing):
                return
            if not self._idle and self._runners < self._places:
                self._start_runner()
            try:
                self._results[index] = await self._carry_out(index, prompt)
            except Exception as error:  # noqa: BLE001  # no prompt's, for the consumer
                self._fail(error)
            self._tell()

    async def _next(self) -> "_Numbered":
        """Return what is read next; one reads, for all who wait for something."""
        if self._reading:
            waiter = _Waiter()
            self._line.append(waiter)
            return await waiter.served()
        self._reading = True
        try:
            read = await self._read_one()
            # Those in line are served here: were the turn to read handed on instead,
            # each of them would cost a turn of the event loop. Such a line would
            # never end, for whoever has been served comes back to its end.
            while self._line:
                self._line.popleft().serve(read)
                read = await self._read_one()
        finally:
            self._reading = False
        return read

    async def _read_one(self) -> "_Numbered":
        prompt: Prompt | _Nothing = NOTHING
        if not self._exhausted:
            try:
                prompt = await self._read()
            except StopAsyncIteration:
                pass
            except BaseException as error:
                told = _for_the_consumer(error)
                if told is None:
                    raise
                self._failure = self._failure or told
            self._exhausted = prompt is NOTHING
        index, self._index = self._index, self._index + 1
        return index, prompt

    async def _carry_out(self, index: int, prompt: Prompt) -> MapResult:
        try:
            return MapResult(index, prompt, reply=await self._submit(prompt))
        except LLMError as error:
            return MapResult(index, prompt, error=error)

    def _fail(self, error: Exception) -> None:
        """End with *error*, after the results that are there."""
        self._failure = self._failure or error
        self._exhausted = True
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def _for_the_consumer(error: BaseException) -> Exception | None:
    """Return what a source's *error* is told as; None if its reader was cancelled."""
    if isinstance(error, Exception):
        return error
    if is_stray(error):
        return RuntimeError("something that the source waited for was cancelled")
    return None


class _Nothing:
    """The end of a source."""


NOTHING: Final = _Nothing()

_Numbered: TypeAlias = tuple[int, Prompt | _Nothing]
"""A prompt and its position in the source."""


class _Waiter:
    """A runner that waits until another one has read something for it."""

    def __init__(self) -> None:
        self._served = anyio.Event()
        self._read: _Numbered = (0, NOTHING)

    def serve(self, read: _Numbered) -> None:
        self._read = read
        self._served.set()

    async def served(self) -> _Numbered:
        await self._served.wait()
        return self._read


def _reader(
    source: Iterable[Prompt] | AsyncIterable[Prompt],
) -> Callable[[], Awaitable[Prompt | _Nothing]]:
    """
    Return a function that reads the next prompt of any kind of source.

    At the end it returns `NOTHING` or raises `StopAsyncIteration`.
    """
    if isinstance(source, AsyncIterable):
        return aiter(source).__anext__
    synchronous: Iterator[Prompt] = iter(source)

    async def read() -> Prompt | _Nothing:
        return next(synchronous, NOTHING)

    return read
