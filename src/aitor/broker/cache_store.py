"""
Where a cache keeps replies: in memory, or in a file of SQLite.

Both are bounded in entries and in bytes, drop what was not used for longest, and hand
out nothing that is older than its time to live. A file holds answers and the hashes of
requests, never a prompt; only its owner can read it. One that fails is as good as
none, which the log tells once.
"""

import json
import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
from anyio.to_thread import run_sync

from aitor.errors import ConfigurationError
from aitor.logs import NAME
from aitor.messages import Reply, Usage

__all__ = ("Bounds", "Disk", "Memory", "Store", "file_at")

_T = TypeVar("_T")

_logger = logging.getLogger(NAME)


@dataclass(frozen=True, slots=True)
class Bounds:
    """
    How much is kept, and for how long.

    Args:
        entries: Most replies.
        size: Most bytes, as the replies are written in JSON.
        ttl: Seconds that a reply may be used; None for as long as it is kept.
    """

    entries: int
    size: int
    ttl: float | None


class Store(Protocol):
    """Keeps replies by key."""

    @property
    def entries(self) -> int:
        """Replies kept, as far as this process knows."""
        ...

    @property
    def size(self) -> int:
        """Bytes that they take."""
        ...

    async def get(self, key: str) -> Reply | None:
        """Return the reply under *key*, if it is there and fresh."""
        ...

    async def put(self, key: str, reply: Reply) -> None:
        """Keep *reply* under *key*, as far as the bounds allow."""
        ...


class Memory:
    """
    Keeps replies in this process; they age by the event loop's clock.

    Args:
        bounds: How much and how long.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        # In the order of their last use.
        self._kept: OrderedDict[str, tuple[Reply, int, float]] = OrderedDict()
        self._size = 0

    @property
    def entries(self) -> int:
        """Replies kept."""
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return self._size

    async def get(self, key: str) -> Reply | None:
        """Return the reply under *key*, if it is there and fresh."""
        if key not in self._kept:
            return None
        reply, _, stored = self._kept[key]
        ttl = self._bounds.ttl
        if ttl is not None and anyio.current_time() - stored >= ttl:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return reply

    async def put(self, key: str, reply: Reply) -> None:
        """Keep *reply* under *key*, as far as the bounds allow."""
        data = _written(reply)
        if data is None or len(data) > self._bounds.size:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = (reply, len(data), anyio.current_time())
        self._size += len(data)
        while self.entries > self._bounds.entries or self.size > self._bounds.size:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        self._size -= self._kept.pop(key)[1]


SCHEMA = """
    CREATE TABLE IF NOT EXISTS replies (
        key TEXT PRIMARY KEY, reply BLOB NOT NULL, size INTEGER NOT NULL,
        stored REAL NOT NULL, used REAL NOT NULL
    )
"""

EVICT = """
    DELETE FROM replies WHERE key IN (
        SELECT key FROM (
            SELECT key, ROW_NUMBER() OVER latest AS number, SUM(size) OVER latest AS sum
            FROM replies WINDOW latest AS (ORDER BY used DESC, key)
        ) WHERE number > ? OR sum > ?
    )
"""


PATIENCE = 1.0
"""Seconds to wait for another process that writes to the file."""

MOST_THREADS = 64
"""Accesses to the file at once; more than can be unless it hangs."""


def file_at(path: str | PathLike[str]) -> Path:
    """
    Return *path* if a file can be there.

    Raises:
        ConfigurationError: If none can.
    """
    try:
        file = Path(path)
        if file.is_dir() or not fspath(path):
            problem = "is no file"
        elif not file.parent.is_dir():
            problem = "is in a directory that is not there"
        elif "\0" in str(file):
            problem = "is no name for a file"
        else:
            return file
    except (OSError, TypeError) as error:
        problem = f"cannot be looked at ({type(error).__name__})"
    raise ConfigurationError(f"'path' = {path!r} {problem}")


class Disk:
    """
    Keeps replies in a file, for this process and others; they age by the wall clock.

    Each access opens the file anew, in a thread: next to a model's answer that costs
    nothing, and there is no connection to leave open.

    Args:
        path: The file; it is made if it is not there.
        bounds: How much and how long.
    """

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self._path = path
        self._bounds = bounds
        self._seen = (0, 0)
        self._has_failed = False
        self._threads: set[object] = set()

    @property
    def entries(self) -> int:
        """Replies in the file when it was last written here."""
        return self._seen[0]

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return self._seen[1]

    async def get(self, key: str) -> Reply | None:
        """Return the reply under *key*, if it is there and fresh."""
        with self._told():
            return await self._in_a_thread(self._get, key)

    async def put(self, key: str, reply: Reply) -> None:
        """Keep *reply* under *key*, as far as the bounds allow."""
        data = _written(reply)
        if data is not None and len(data) <= self._bounds.size:
            with self._told():
                await self._in_a_thread(self._put, key, data)

    async def _in_a_thread(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """
        Call *function* in a thread, which whoever is cancelled leaves behind.

        Raises:
            TimeoutError: So many were left behind that the file seems to hang.
        """
        if len(self._threads) >= MOST_THREADS:
            raise TimeoutError("the cache's file does not answer")
        mark = object()

        def work() -> _T:
            self._threads.add(mark)
            try:
                return function(*arguments)
            finally:
                self._threads.discard(mark)

        return await run_sync(work, abandon_on_cancel=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell the first failure; those after it are the same, and counted."""
        try:
            yield
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                # Its text may quote what is in the file.
                told = getattr(error, "sqlite_errorname", type(error).__name__)
                path = json.dumps(str(self._path))
                _logger.warning("cache_failed path=%s error=%s", path, told)
            raise

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        self._path.touch(mode=0o600)
        with closing(sqlite3.connect(self._path, timeout=PATIENCE)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(SCHEMA)
            with connection:
                yield connection

    def _oldest(self) -> float:
        ttl = self._bounds.ttl
        return float("-inf") if ttl is None else time.time() - ttl

    def _get(self, key: str) -> Reply | None:
        with self._opened() as connection:
            found = connection.execute(
                "SELECT reply FROM replies WHERE key = ? AND stored > ?",
                (key, self._oldest()),
            ).fetchone()
            if found is None:
                return None
            # Whoever reads waits for nobody who writes, not even to say so.
            connection.execute("PRAGMA busy_timeout = 0")
            with suppress(sqlite3.OperationalError):
                connection.execute(
                    "UPDATE replies SET used = ? WHERE key = ?", (time.time(), key)
                )
        return _read(found[0])

    def _put(self, key: str, data: bytes) -> None:
        now, bounds = time.time(), self._bounds
        with self._opened() as connection:
            connection.execute(
                "DELETE FROM replies WHERE stored <= ?", (self._oldest(),)
            )
            connection.execute(
                "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)",
                (key, data, len(data), now, now),
            )
            connection.execute(EVICT, (bounds.entries, bounds.size))
            self._seen = connection.execute(
                "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM replies"
            ).fetchone()


def _written(reply: Reply) -> bytes | None:
    """Return *reply* in JSON, without its attempts; None where that cannot be."""
    fields: dict[str, Any] = {
        "text": reply.text,
        "provider": reply.provider,
        "model": reply.model,
        "finish_reason": reply.finish_reason,
        "usage": asdict(reply.usage),
        "request_id": reply.request_id,
        "body": reply.body,
        "message": reply.message,
    }
    try:
        return json.dumps(fields).encode()
    except (TypeError, ValueError):
        return None


def _read(data: bytes) -> Reply:
    fields = json.loads(data)
    return Reply(**{**fields, "usage": Usage(**fields["usage"]), "attempts": ()})
