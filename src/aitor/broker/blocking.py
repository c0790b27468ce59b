"""
The broker for programs that are not asynchronous.

It runs the broker in an event loop in a thread of its own and offers the same verbs,
which block. Any number of threads may use one at the same time.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from aitor.broker.broker import Broker
from aitor.broker.mapping import Map, MapResult
from aitor.broker.statistics import Statistics
from aitor.errors import BrokerClosedError
from aitor.messages import Prompt, Reply
from aitor.providers.concealed import concealed

__all__ = ("BlockingBroker",)

_T = TypeVar("_T")


class BlockingBroker:
    """
    A broker whose verbs block; use it in a `with` statement.

    Args:
        broker: Not opened yet; this opens and closes it.
        backend: `asyncio` or `trio`.
    """

    def __init__(self, broker: Broker, *, backend: str = "asyncio") -> None:
        self._broker = broker
        self._backend = backend
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    @classmethod
    def from_config(cls, source: str | PathLike[str] | Mapping[str, Any]) -> Self:
        """Make one as `Broker.from_config` does."""
        source = concealed(source)
        return cls(Broker.from_config(source))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Make one as `Broker.from_env` does."""
        from aitor.config.environment import veiled  # a floor above

        environ = veiled(environ)
        return cls(Broker.from_env(environ))

    def submit(self, prompt: Prompt, **arguments: Any) -> Reply:
        """
        Have *prompt* answered; see `Broker.submit`.

        Raises:
            LLMError: As `Broker.submit` does.
        """
        return self._call(partial(self._broker.submit, prompt, **arguments))

    def map(self, prompts: Iterable[Prompt], **arguments: Any) -> Iterator[MapResult]:
        """
        Have a stream of prompts answered; see `Broker.map`.

        The source is read in the broker's thread.
        """

        async def start() -> Map:
            return self._broker.map(prompts, **arguments)

        results = self._call(start)
        try:
            while True:
                try:
                    yield self._call(results.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            # A broker that has closed has ended it.
            with suppress(BrokerClosedError):
                self._call(results.aclose)

    def statistics(self) -> Statistics:
        """Return a frozen snapshot; see `Broker.statistics`."""

        async def look() -> Statistics:
            return self._broker.statistics()

        return self._call(look)

    def _call(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Call *function* in the broker's thread, and wait for what comes of it."""
        portal = self._portal
        if portal is not None:
            self._broker.check_process()
            try:
                future = portal.start_task_soon(function)
            except RuntimeError:
                # It may have closed since this thread looked.
                if self._portal is not None:
                    raise
            else:
                return future.result()
        raise BrokerClosedError("use the broker within 'with broker:'")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(self._backend))
            stack.enter_context(portal.wrap_async_context_manager(self._broker))
            # Where it cannot be opened its thread ends, or else the program would not.
            self._stack, self._portal = stack.pop_all(), portal
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._portal = None
        # In a process that was forked off there is no thread to wait for.
        if not self._broker.is_forked:
            self._stack.__exit__(kind, error, traceback)
