"""
A cache: what was answered before is not asked again.

It keeps answers, never errors, under a hash of everything that can change the answer.
Of identical requests at one time only the first is sent; the others wait for its
answer, and if whoever sent it leaves, the next of them sends it. So a stampede costs
one call, and nobody's cancellation is anybody else's.
"""

import math
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, TypeAlias

import anyio
from anyio.lowlevel import checkpoint

from aitor.broker.cache_store import Bounds, Disk, Memory, Store, file_at
from aitor.broker.native import current_loop
from aitor.errors import (
    BrokerClosedError,
    ConfigurationError,
    DeadlineExceededError,
    LLMError,
)
from aitor.messages import Reply, Request
from aitor.outcomes import Outcome
from aitor.providers.base import Provider

__all__ = ("Cache", "CacheStatistics", "identity")

Until: TypeAlias = Callable[[float], AbstractContextManager[anyio.CancelScope]]
"""Opens a scope that ends at a time, or sooner."""

LOOK_UP_SHARE = 0.25
"""The part of a request's time in which the file has to answer; then it is sent."""

OWN = frozenset({Outcome.REFUSED, Outcome.EXPIRED, Outcome.CANCELLED})
"""How a request may end for reasons of its own, which say nothing of the others."""


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """
    What a cache has done so far.

    Args:
        hits: Requests answered by what was kept.
        shared: Requests answered by another's answer, for which they waited.
        misses: Requests that were sent.
        failures: Accesses to the file that failed; their requests were sent.
        entries: Replies kept, as far as this process knows.
        size: Bytes that they take.
    """

    hits: int
    shared: int
    misses: int
    failures: int
    entries: int
    size: int


class Cache:
    """
    Keeps replies, and makes one call of identical ones.

    Args:
        max_entries: Most replies kept.
        max_bytes: Most bytes kept, as the replies are written in JSON.
        ttl: Seconds that a reply may be used; None for as long as it is kept.
        path: A file of SQLite to keep them in; None for memory alone.

    Raises:
        ConfigurationError: If a bound makes no sense, or no file can be at *path*.
    """

    def __init__(
        self,
        max_entries: int = 1_000,
        max_bytes: int = 64 * 1024 * 1024,
        ttl: float | None = None,
        path: str | PathLike[str] | None = None,
    ) -> None:
        for name, value in (
            ("max_entries", max_entries),
            ("max_bytes", max_bytes),
            ("ttl", ttl),
        ):
            if value is None and name == "ttl":
                continue
            if not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(
                    f"'{name}' = {value!r} must be a number of more than 0"
                )
        bounds = Bounds(max_entries, max_bytes, ttl)
        self._store: Store = (
            Memory(bounds) if path is None else Disk(file_at(path), bounds)
        )
        # By event loop, because nobody can wait for what another one does.
        self._flights: dict[tuple[Any, str], _Flight] = {}
        self._hits = self._shared = self._misses = self._failures = 0

    @staticmethod
    def key(request: Request, provider_identity: Any) -> str:
        """
        Return the hash of everything that can change the answer.

        Args:
            request: What is asked.
            provider_identity: Who is asked, in words of JSON; see `identity`.

        Raises:
            BadRequestError: If the request cannot be written as JSON.
        """
        return request.fingerprint(provider=provider_identity)

    async def reply(
        self,
        key: str,
        submit: Callable[[], Awaitable[Reply]],
        *,
        deadline: float = math.inf,
        until: Until | None = None,
    ) -> Reply:
        """
        Return what is kept under *key*, or else what *submit* brings.

        A file that takes too long to answer is as good as none: the request is sent.

        Args:
            key: See `key`.
            submit: Asks for the answer; called only if nobody else is asking.
            deadline: Until when to wait for somebody else's answer, or for the file.
            until: Opens a scope that ends at a time, or when nobody may wait any more.

        Raises:
            DeadlineExceededError: The deadline passed.
            BrokerClosedError: A scope of *until* ended before the deadline.
            LLMError: What *submit* raises, to everybody who waited for it, unless it
                is the request's own: a deadline, or a queue without room.
        """
        until = until or _until
        mine = (current_loop(), key)
        while (flight := self._flights.get(mine)) is not None:
            with until(deadline):
                await flight.landed.wait()
            if flight.reply is not None:
                self._shared += 1
                return replace(flight.reply, cached=True, attempts=())
            if flight.error is not None:
                # A copy: an exception gathers the traces of all who raise it.
                raise copy(flight.error)
            if not flight.landed.is_set():
                raise _too_late(deadline, "an identical request was answered")
            # Who sent it has left: the first of those who waited takes over.
        flight = self._flights[mine] = _Flight()
        try:
            return await self._lead(flight, key, submit, deadline, until)
        finally:
            del self._flights[mine]
            flight.landed.set()

    async def _lead(
        self,
        flight: "_Flight",
        key: str,
        submit: Callable[[], Awaitable[Reply]],
        deadline: float,
        until: Until,
    ) -> Reply:
        try:
            found = await self._look_up(key, deadline, until)
            if found is not None:
                self._hits += 1
                flight.land(found)
                await checkpoint()
                return replace(found, cached=True, attempts=())
            self._misses += 1
            reply = await submit()
        except LLMError as error:
            # One with more time might have been answered by a further try.
            if error.outcome not in OWN and not error.cut_short:
                flight.error = error
            raise
        # Nobody has to wait until it is written.
        flight.land(reply)
        with until(deadline):
            await self._keep(key, reply)
        return reply

    async def _look_up(self, key: str, deadline: float, until: Until) -> Reply | None:
        now = anyio.current_time()
        limit = now + (deadline - now) * LOOK_UP_SHARE
        with until(limit) as scope:
            try:
                return await self._store.get(key)
            except (sqlite3.Error, OSError, ValueError, KeyError, TypeError):
                # A file may be locked, full, or not ours: as if it were empty.
                self._failures += 1
                return None
        if anyio.current_time() < scope.deadline:
            raise _too_late(deadline, "the cache's file was read")
        self._failures += 1
        return None

    async def _keep(self, key: str, reply: Reply) -> None:
        try:
            await self._store.put(key, reply)
        except (sqlite3.Error, OSError):
            self._failures += 1

    def statistics(self) -> CacheStatistics:
        """Return a frozen snapshot."""
        return CacheStatistics(
            hits=self._hits,
            shared=self._shared,
            misses=self._misses,
            failures=self._failures,
            entries=self._store.entries,
            size=self._store.size,
        )

    def __repr__(self) -> str:
        return f"Cache({self.statistics()})"


class _Flight:
    """A request that somebody is asking, and what came of it."""

    __slots__ = ("error", "landed", "reply")

    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.reply: Reply | None = None
        self.error: LLMError | None = None

    def land(self, reply: Reply) -> None:
        self.reply = reply
        self.landed.set()


def _until(deadline: float) -> anyio.CancelScope:
    return anyio.CancelScope(deadline=deadline)


def _too_late(deadline: float, meanwhile: str) -> LLMError:
    if anyio.current_time() >= deadline:
        return DeadlineExceededError(f"the deadline passed while {meanwhile}")
    return BrokerClosedError(f"the broker closed while {meanwhile}")


def identity(provider: Provider, model: str | None) -> list[Any]:
    """
    Return what of *provider* can change its answers, in words of JSON.

    Args:
        provider: Who is asked.
        model: The model that the request asks of it, if it names one.
    """
    return [
        provider.kind,
        provider.name,
        model or provider.settings.model,
        provider.identity,
    ]
