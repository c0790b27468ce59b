"""
The journal: every row that has ended, with its record, in one SQLite file.

The journal is the truth, and the output is a copy of it. A record is committed
here before its first byte goes to the output, in the order in which they go there.
So whatever instant a run is killed at, what the output holds is a
beginning of what the journal says: the next run writes the rest, and asks nobody.
The price is that the disk holds every record twice.

Promised is that a record once stored survives the death of the process and of the
machine (`synchronous=FULL`: each commit waits for the disk). That costs one sync a
group of rows, in a thread of its own; no row waits for it on its way. A row that
was in flight at that moment is not known here and is sent again.

One run holds the file: SQLite's exclusive locking mode keeps the operating
system's lock until the connection, or the process, is gone. A file system without
locks (some network ones) is no place for it.

Everything here is synchronous and knows nothing of the broker.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from aitor.batch.errors import InputError
from aitor.batch.rows import Row
from aitor.batch.soundness import damage_in, digest
from aitor.errors import ConfigurationError

__all__ = ("ERRORS", "OUTPUT", "Admitted", "Journal", "Record")

OUTPUT, ERRORS = 0, 1
"""The two files that a record may go to."""

APPLICATION = 0x61_69_74_72
"""Tells our files from other SQLite files (`PRAGMA application_id`)."""

VERSION = 2

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file that is not as it left it; the rest is the disk's."""

PATIENCE = 0.5
"""Seconds to wait for a run that is just ending."""

AT_ONCE = 64
"""
Rows that one statement stores or looks up. Python's global lock is let go for each
statement and has to be got back from a busy event loop, which for one row costs more
than SQLite's own work. Seven columns of so many rows are fewer values than any SQLite
takes (999).
"""

SCHEMA = """
CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    custom_id TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    line INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    record BLOB NOT NULL,
    digest BLOB NOT NULL
);
CREATE TABLE settings (name TEXT PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

# Where each record of a file ends in it: at the sum of the lengths so far. Nothing of
# that is stored, so a layout that changes moves nothing, and no row pays for it.
PLACES = """
WITH places AS (
    SELECT number, SUM(LENGTH(record)) OVER (ORDER BY number) AS stop
    FROM records WHERE (failed AND :apart) = :file
)
SELECT stop, record FROM places JOIN records USING (number)
"""

# Where a custom_id was seen in this run. A temporary table lives in a file of its
# own and goes with the connection: finding duplicates takes disk, not memory.
SEEN = "CREATE TEMP TABLE seen (custom_id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID"

_Item = TypeVar("_Item")


class Record(NamedTuple):
    """
    A row that has ended.

    Args:
        row: The row.
        failed: Whether it failed.
        text: Its line for the output, newline included.
    """

    row: Row
    failed: bool
    text: bytes

    def __repr__(self) -> str:
        return f"Record(row={self.row!r}, failed={self.failed})"


@dataclass(frozen=True, slots=True)
class Admitted:
    """
    What the journal says to a piece of the input.

    Args:
        rows: Those still to do.
        succeeded: How many an earlier run has answered.
        failed: How many failed in an earlier run.
    """

    rows: list[Row]
    succeeded: int
    failed: int


class Journal:
    """
    The records of one batch, held by one run.

    Args:
        path: The file, made if it is not there; empty for one that goes when the
            run ends.

    Raises:
        ConfigurationError: If another run holds it, it is no journal, or it is damaged.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # The threads that use the connection take turns; see `Store`.
            self._database = sqlite3.connect(
                path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"the journal {path} cannot be opened ({error}); see --journal"
            ) from error
        self._apart = False
        self._number = 0
        self._resumed = False  # whether rows have ended in an earlier run
        try:
            self._open()
        except BaseException:
            # Closing reads the file once more, and complains once more.
            with suppress(sqlite3.Error, UnicodeDecodeError):
                self._database.close()
            raise

    def _open(self) -> None:
        try:
            self._prepare()
            self._apart = self._get("layout") == "apart"
            damage = damage_in(self._database)
            self._count()
        except UnicodeDecodeError:
            # SQLite quotes the file in what it says of it.
            damage = "what it holds is no text"
        except sqlite3.DatabaseError as error:
            # There is none where Python refuses what SQLite found.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise self._held() from error
            if code not in DAMAGE:
                raise
            damage = str(error)
        if damage is not None:
            raise ConfigurationError(
                f"the journal {self.path} is damaged ({damage}), so which rows were "
                f"answered cannot be told: get it back from a copy, or move it and "
                f"the output away to begin anew"
            )

    def _prepare(self) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode=EXCLUSIVE")
        self._check_owner()
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        with self._transaction():
            if self._pragma("schema_version") == 0:
                for statement in SCHEMA.split(";"):
                    run(statement)
                run(f"PRAGMA application_id={APPLICATION}")
                run(f"PRAGMA user_version={VERSION}")
        run(SEEN)

    def _check_owner(self) -> None:
        try:
            if self._pragma("schema_version") == 0:
                return
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise
            raise self._foreign() from error
        if self._pragma("application_id") != APPLICATION:
            raise self._foreign()
        version = self._pragma("user_version")
        if version != VERSION:
            other = "a later" if version > VERSION else "an earlier"
            raise ConfigurationError(
                f"the journal {self.path} was written by {other} version of aitor "
                f"(its format is {version}, this one reads {VERSION})"
            )

    def _held(self) -> ConfigurationError:
        return ConfigurationError(
            f"the journal {self.path} is held by another run of this batch; "
            f"wait until it has ended, or give this one another -o and --journal"
        )

    def _foreign(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path} is there and is no journal of a batch; see --journal"
        )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    # What the batch was begun with.

    def settle(self, settings: Mapping[str, Any], *, accept: bool = False) -> list[str]:
        """
        Check that *settings* are those that the stored answers were got with.

        Only hashes are stored. Without any answer every setting is good: a row that
        failed has none, and a wrong setting is what many fail for.

        Args:
            settings: By name, everything outside the rows that can change an answer.
            accept: Keep answers that were got with others.

        Returns:
            The settings that differ.

        Raises:
            ConfigurationError: Naming the settings that differ, or one that is no
                JSON.
        """
        now = {name: _hash(name, value) for name, value in settings.items()}
        old = dict(self._database.execute("SELECT name, hash FROM settings"))
        differ = sorted(
            name for name in now.keys() | old.keys() if now.get(name) != old.get(name)
        )
        if not differ:
            return []
        if self.holds(failed=False) and not accept:
            raise ConfigurationError(
                f"the answers in {self.path} were got with other settings "
                f"({', '.join(differ)}); go back to those, keep the answers with "
                f"--accept-changes, or begin anew with --restart"
            )
        with self._transaction():
            self._database.execute("DELETE FROM settings")
            self._insert("settings", list(now.items()))
        return differ

    def holds(self, *, failed: bool) -> bool:
        """Return whether there is any row that was answered, or that failed."""
        query = "SELECT EXISTS (SELECT 1 FROM records WHERE failed = ?)"
        return bool(self._database.execute(query, (failed,)).fetchone()[0])

    # The layout: which record is where in which file.

    def clear(self) -> None:
        """Forget every record and setting; the files are to be written anew."""
        with self._transaction():
            self._database.execute("DELETE FROM records")
            self._database.execute("DELETE FROM settings")
            self._set("rewrite", "1")
        self._count()

    def arrange(self, *, apart: bool, retry_failed: bool = False) -> None:
        """
        Decide where failed rows go; if that changes, the files are to be rewritten.

        Args:
            apart: Whether they go to a file of their own.
            retry_failed: Forget those of earlier runs, so that they are run again.
        """
        layout = "apart" if apart else "together"
        with self._transaction():
            moved = self._get("layout") not in (None, layout)
            self._set("layout", layout)
            forgotten = 0
            if retry_failed:
                query = "DELETE FROM records WHERE failed"
                forgotten = self._database.execute(query).rowcount
            if moved or forgotten:
                self._set("rewrite", "1")
        self._apart = apart
        self._count()

    @property
    def rewrite(self) -> bool:
        """Whether the files differ from the journal until they are rewritten."""
        return self._get("rewrite") is not None

    def rewritten(self) -> None:
        """Note that they are."""
        self._database.execute("DELETE FROM state WHERE name = 'rewrite'")

    # Rows in, records in, records out.

    def admit(self, rows: Sequence[Row]) -> Admitted:
        """
        Return those of *rows* that have not ended yet.

        Raises:
            InputError: If a name occurs twice in this run's input, or a row that has
                ended asks for something else now.
        """
        todo: list[Row] = []
        failed = 0
        with self._transaction():
            for piece in _pieces(rows):
                self._see(piece)
                ended = self._ended(piece) if self._resumed else {}
                for row in piece:
                    if row.custom_id not in ended:
                        todo.append(row)
                        continue
                    fingerprint, has_failed = ended[row.custom_id]
                    if fingerprint != row.fingerprint:
                        raise self._changed(row, failed=bool(has_failed))
                    failed += has_failed
        return Admitted(todo, len(rows) - len(todo) - failed, failed)

    def _see(self, rows: Sequence[Row]) -> None:
        try:
            self._insert("seen", [(row.custom_id, row.line) for row in rows])
        except sqlite3.IntegrityError:
            # Nothing of the statement was stored: one at a time tells which it was.
            for row in rows:
                self._see_one(row)

    def _see_one(self, row: Row) -> None:
        try:
            self._insert("seen", [(row.custom_id, row.line)])
        except sqlite3.IntegrityError:
            query = "SELECT line FROM seen WHERE custom_id = ?"
            (first,) = self._database.execute(query, (row.custom_id,)).fetchone()
            raise InputError(
                f"custom_id {row.custom_id!r} is both in line {first} and in line "
                f"{row.line}: each row needs a name of its own"
            ) from None

    def _ended(self, rows: Sequence[Row]) -> dict[str, tuple[str, int]]:
        names = [row.custom_id for row in rows]
        query = (
            "SELECT custom_id, fingerprint, failed FROM records "  # noqa: S608
            f"WHERE custom_id IN ({_marks(names)})"
        )
        found = self._database.execute(query, names)
        return {name: (fingerprint, failed) for name, fingerprint, failed in found}

    def _insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        for piece in _pieces(rows):
            values = ",".join(f"({_marks(row)})" for row in piece)
            statement = f"INSERT INTO {table} VALUES {values}"  # noqa: S608  # our own
            self._database.execute(statement, tuple(chain(*piece)))

    def _changed(self, row: Row, *, failed: bool) -> InputError:
        ended = "failed" if failed else "was answered"
        retry = ", run the failed ones again with --retry-failed" if failed else ""
        return InputError(
            f"row {row.custom_id!r} (line {row.line}) {ended} in an earlier run, and "
            f"asks for something else now; give it another custom_id{retry}, or "
            f"begin anew with --restart"
        )

    def add(self, records: Iterable[Record]) -> list[bytes]:
        """
        Store *records*, all or none; when this returns they are on the disk.

        Returns:
            What to append to the output, and what to the errors.
        """
        texts: tuple[list[bytes], list[bytes]] = ([], [])
        rows = []
        for number, record in enumerate(records, self._number + 1):
            texts[self._apart and record.failed].append(record.text)
            row = record.row
            identity = (number, row.custom_id, row.fingerprint, row.line)
            stored = (*identity, int(record.failed), record.text)
            rows.append((*stored, digest(*stored)))
        with self._transaction():
            self._insert("records", rows)
        self._number += len(rows)
        return [b"".join(text) for text in texts]

    def last_before(self, file: int, place: int) -> tuple[int, bytes]:
        """Return where the last record that ends by *place* ends, and its text."""
        query = f"{PLACES} WHERE stop <= :place ORDER BY stop DESC LIMIT 1"
        found: tuple[int, bytes] | None = self._places(query, file, place).fetchone()
        return found or (0, b"")

    def texts_after(self, file: int, place: int) -> Iterator[bytes]:
        """Yield what *file* holds from *place* on, record by record."""
        rows = self._places(f"{PLACES} WHERE stop > :place ORDER BY stop", file, place)
        for _, text in rows:
            yield text

    def _places(self, query: str, file: int, place: int) -> sqlite3.Cursor:
        asked = {"apart": self._apart, "file": file, "place": place}
        return self._database.execute(query, asked)

    # Small things.

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        finally:
            # SQLite has rolled back by itself where the disk was full.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def _count(self) -> None:
        """Read how many records there are, which is the last one's number."""
        query = "SELECT IFNULL(MAX(number), 0) FROM records"
        (self._number,) = self._database.execute(query).fetchone()
        # A row that has ended in this run has been seen in this run.
        self._resumed = self._number > 0

    def _pragma(self, name: str) -> int:
        value: int = self._database.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _get(self, name: str) -> str | None:
        query = "SELECT value FROM state WHERE name = ?"
        found = self._database.execute(query, (name,)).fetchone()
        return found and str(found[0])

    def _set(self, name: str, value: str) -> None:
        query = "INSERT OR REPLACE INTO state VALUES (?, ?)"
        self._database.execute(query, (name, value))


def _pieces(rows: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for first in range(0, len(rows), AT_ONCE):
        yield rows[first : first + AT_ONCE]


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _hash(name: str, value: Any) -> str:
    try:
        text = json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"'{name}' must be what JSON can hold, so that a later run can tell "
            f"whether it is the same; it is a {type(value).__name__}"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()
