"""
The writer: records go to the disk as soon as it is free, a group at a time.

A record that came while the disk was idle is committed at once. Those that come while
a commit runs wait for it and are the next group: under load groups grow by themselves,
and no timer makes an answer wait that is paid for.

What a kill can lose is bounded. At most *places* records are in the commit that runs,
and as many wait behind it; while those wait, no more answers are taken, and a row keeps
its place among those in flight until its answer was taken. So no more than three times
`max_in_flight` rows can be paid for again, however slow the disk is, and on one that
syncs in milliseconds hardly more than were on the wire.
"""

from collections.abc import Callable

import anyio
from anyio import to_thread

from aitor.batch.journal import Record
from aitor.batch.store import Store

__all__ = ("Writer",)

LAST_WAIT = 0.5
"""Seconds that the reader of a pipe has left when the run is cancelled."""

MOST = 256
"""Most records of a group, however many rows are in flight: they are in memory."""


class Writer:
    """
    Stores records; a row counts once it is stored.

    Whatever way the run ends but by the death of its process, the records that were
    put here are stored: they are paid for.

    Args:
        store: Where to.
        turns: Whose turn it is to use the store.
        places: Most records that wait while others are stored.
    """

    def __init__(
        self, store: Store, turns: anyio.CapacityLimiter, places: int = MOST
    ) -> None:
        self._store = store
        self._turns = turns
        self._places = min(places, MOST)
        self._group: list[tuple[Record, Callable[[], None]]] = []
        self._some = anyio.Event()
        self._room = anyio.Event()
        self._finished = False

    async def put(self, record: Record, stored: Callable[[], None]) -> None:
        """
        Have *record* stored, and wait only while as many wait for it as may.

        It is among them before anything is awaited, so a cancellation loses nothing.

        Args:
            record: The record.
            stored: Called when it is on the disk.
        """
        self._group.append((record, stored))
        self._some.set()
        while len(self._group) >= self._places:
            await self._room.wait()

    def finish(self) -> None:
        """Say that nothing more comes."""
        self._finished = True
        self._some.set()

    async def run(self) -> None:
        """Store until `finish` was called and everything is stored."""
        try:
            while self._group or not self._finished:
                await self._some.wait()
                await self._save()
                await self._store.flush()
        finally:
            with anyio.CancelScope(shield=True):
                await self._save()
            with anyio.move_on_after(LAST_WAIT, shield=True):
                await self._store.flush()

    async def _save(self) -> None:
        group, self._group = self._group, []
        if not self._finished:
            self._some = anyio.Event()
        self._room.set()
        self._room = anyio.Event()
        if group:
            await self._store_records([record for record, _ in group])
        for _, stored in group:
            stored()

    async def _store_records(self, records: list[Record]) -> None:
        try:
            await to_thread.run_sync(self._store.save, records, limiter=self._turns)
        except RuntimeError:
            # The system has no thread left for us. Everybody waits for the disk then.
            async with self._turns:
                self._store.save(records)
