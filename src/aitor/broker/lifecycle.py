"""
Opening and closing a broker.

An open broker has tasks (for its timer, for what nobody waits for, for threads), and
they belong to its event loop alone. So it may be opened in one task and closed in
another, several may be closed in any order, and none of it cancels anybody who has not
asked for it. Closing takes no longer than was agreed, whatever a provider's code does.
"""

from types import TracebackType
from typing import Self

import anyio

from aitor.broker.closing import CLOSE_SECONDS, GRACE_SECONDS, Scopes, close_all
from aitor.broker.delivery import Delivery
from aitor.broker.host import Host
from aitor.broker.residence import Residence
from aitor.broker.roster import Roster
from aitor.broker.watch import Watch
from aitor.errors import BrokerClosedError

__all__ = ("Lifecycle",)


class Lifecycle:
    """The part of a broker that opens and closes it."""

    _drain_timeout: float
    _delivery: Delivery
    _residence: Residence
    _roster: Roster
    _watch: Watch

    def __init__(self) -> None:
        self._closed = False
        self._scopes = Scopes()

    async def __aenter__(self) -> Self:
        if self._closed:
            raise BrokerClosedError("a closed broker cannot be opened again")
        if self._residence.host is not None:
            self._residence.check_process()
            raise RuntimeError("the broker is open already")
        self._residence.open().start_soon(self._watch.run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose(drain_timeout=0.0 if kind is not None else None)

    @property
    def is_forked(self) -> bool:
        """Whether the broker is open in the process that this one was forked from."""
        return self._residence.forked

    def check_process(self) -> None:
        """
        Check that the broker was not opened before this process was forked off.

        Raises:
            WrongEventLoopError: It was.
        """
        self._residence.check_process()

    def stop(self) -> None:
        """
        Take no more requests, give up those that wait, and send nothing again.

        What is on the wire may finish; whoever waited gets a `BrokerClosedError`.
        """
        self._closed = True
        for actor in self._roster.everybody():
            actor.stop()
        self._delivery.abort()

    async def drain(self) -> None:
        """Take no more requests, and wait until every one has its outcome."""
        self._closed = True
        await self._delivery.drain()
        await self._residence.empty()

    async def aclose(self, *, drain_timeout: float | None = None) -> None:
        """
        Let what is in flight finish, end what does not, and close all connections.

        May be called in any task of the broker's event loop, also while that task is
        cancelled. A provider that ignores its cancellation is waited for some seconds
        and then left behind. In a process that was forked from the broker's it does
        nothing: the connections are the parent's.

        Args:
            drain_timeout: Seconds to wait; by default the broker's own.

        Raises:
            WrongEventLoopError: The broker is used in another event loop.
        """
        if not self._residence.forked:
            self._residence.check()
            self._closed = True
            seconds = self._drain_timeout if drain_timeout is None else drain_timeout
            try:
                with anyio.move_on_after(seconds):
                    await self.drain()
            finally:
                await self._shut_down()

    async def _shut_down(self) -> None:
        actors = self._roster.everybody()
        for actor in actors:
            actor.abort()
        self._delivery.abort()
        self._scopes.abort()
        # Shielded, so that a caller that is cancelled itself leaves no socket open;
        # bounded, so that a call that will not end cannot hold it up.
        limit = anyio.current_time() + CLOSE_SECONDS
        with anyio.CancelScope(deadline=limit, shield=True):
            await self.drain()
        if (host := self._residence.host) is not None:
            await host.stop(max(limit - anyio.current_time(), GRACE_SECONDS))
            self._residence.close()
        unused = self._roster.take_unused()
        await close_all([*(actor.provider for actor in actors), *unused])

    async def _close_unused(self) -> None:
        unused = self._roster.take_unused()
        if (host := self._residence.host) is None:
            await close_all(unused)
        else:
            # Whoever comes with a request has nothing to do with it.
            host.start_soon(close_all, unused)

    def _opened(self, verb: str) -> Host:
        host = self._residence.host
        if host is None:
            raise BrokerClosedError(
                "the broker is closed"
                if self._closed
                else f"{verb!r} needs an open broker: use it within "
                f"'async with broker:'"
            )
        return host
