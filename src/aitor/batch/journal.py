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
was in flight at that moment, or whose answer waited for the disk, is not known here and
is sent again; see `aitor.batch.writer` for how many those can be.

Should a journal be lost, the records in the output tell which rows they answer: each
has an id that is a hash of its row. A run with `recover` takes them over.

Everything here is synchronous and knows nothing of the broker.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from aitor.batch.database import digest, marks, open_database, pieces
from aitor.batch.errors import InputError
from aitor.batch.rows import Row
from aitor.errors import ConfigurationError

__all__ = ("ERRORS", "OUTPUT", "Admitted", "Journal", "Record")

OUTPUT, ERRORS = 0, 1
"""The two files that a record may go to."""

# Where each record of a file ends in it: at the sum of the lengths so far. Nothing of
# that is stored, so a layout that changes moves nothing, and no row pays for it.
PLACES = """
WITH places AS (
    SELECT number, SUM(LENGTH(record)) OVER (ORDER BY number) AS stop
    FROM records WHERE (failed AND :apart) = :file
)
SELECT stop, record FROM places JOIN records USING (number)
"""


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
        self._database = open_database(path)
        self._apart = self._get("layout") == "apart"
        self._number = 0
        self._resumed = False  # whether rows have ended in an earlier run
        self._count()

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
                f"({', '.join(differ)}); go back to those, or keep the answers with "
                f"--accept-changes"
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
            InputError: If a row that has ended asks for something else now.
        """
        todo: list[Row] = []
        failed = 0
        for piece in pieces(rows):
            ended = self._ended(piece) if self._resumed else {}
            for row in piece:
                if row.custom_id not in ended:
                    todo.append(row)
                    continue
                known, has_failed = ended[row.custom_id]
                # A record that was taken over is known by its own id.
                if known != row.fingerprint and known != row.record_id:
                    raise self._changed(row, failed=bool(has_failed))
                failed += has_failed
        return Admitted(todo, len(rows) - len(todo) - failed, failed)

    def _ended(self, rows: Sequence[Row]) -> dict[str, tuple[str, int]]:
        names = [row.custom_id for row in rows]
        query = (
            "SELECT custom_id, fingerprint, failed FROM records "  # noqa: S608
            f"WHERE custom_id IN ({marks(names)})"
        )
        found = self._database.execute(query, names)
        return {name: (fingerprint, failed) for name, fingerprint, failed in found}

    def _insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        for piece in pieces(rows):
            values = ",".join(f"({marks(row)})" for row in piece)
            statement = f"INSERT INTO {table} VALUES {values}"  # noqa: S608  # our own
            self._database.execute(statement, tuple(chain(*piece)))

    def _changed(self, row: Row, *, failed: bool) -> InputError:
        ended = "failed" if failed else "was answered"
        retry = ", or run the failed ones again with --retry-failed" if failed else ""
        return InputError(
            f"row {row.custom_id!r} (line {row.line}) {ended} in an earlier run, and "
            f"asks for something else now; give it another custom_id{retry}"
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

    def take_over(self, records: Iterable[Record]) -> int:
        """
        Store those of *records* whose names are not known; the files are rewritten.

        Args:
            records: Of an output; the fingerprints of their rows are the records' ids.

        Returns:
            How many.
        """
        before = self._number
        with self._transaction():
            for record in records:
                row = record.row
                if self._ended([row]):
                    continue
                self._number += 1
                identity = (self._number, row.custom_id, row.fingerprint, row.line)
                stored = (*identity, int(record.failed), record.text)
                self._insert("records", [(*stored, digest(*stored))])
            self._set("rewrite", "1")
        taken = self._number - before
        self._count()
        return taken

    def lacks(self, record: Record) -> bool:
        """Return whether no record of that name is stored."""
        return not self._ended([record.row])

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

    def _get(self, name: str) -> str | None:
        query = "SELECT value FROM state WHERE name = ?"
        found = self._database.execute(query, (name,)).fetchone()
        return found and str(found[0])

    def _set(self, name: str, value: str) -> None:
        query = "INSERT OR REPLACE INTO state VALUES (?, ?)"
        self._database.execute(query, (name, value))


def _hash(name: str, value: Any) -> str:
    try:
        text = json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"'{name}' must be what JSON can hold, so that a later run can tell "
            f"whether it is the same; it is a {type(value).__name__}"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()
