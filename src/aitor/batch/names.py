"""
Which names of rows were seen in this run, and where: a name given twice is an error.

It takes disk, not memory: a table in a file that has lost its name already, so that it
goes with the process. The file is opened when this is made. What SQLite opens only once
it needs it would fail where the system has no descriptors left, with answers paid for.
"""

import sqlite3
import tempfile
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from aitor.batch.database import marks, pieces
from aitor.batch.errors import InputError

__all__ = ("Name", "Names")

SEEN = """
PRAGMA journal_mode=MEMORY;
PRAGMA temp_store=MEMORY;
PRAGMA synchronous=OFF;
CREATE TABLE seen (custom_id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID;
"""


class Name(NamedTuple):
    """
    A row's name, and where it was given.

    Args:
        custom_id: The name.
        line: Its line in the input, counted from 1.
    """

    custom_id: str
    line: int


class Names:
    """The names of a run's rows. One thread at a time may use it."""

    def __init__(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="aitor-names-") as file:
            self._database = sqlite3.connect(
                file.name, isolation_level=None, check_same_thread=False
            )
            self._database.executescript(SEEN)

    def add(self, names: Sequence[Name]) -> None:
        """
        Note *names*.

        Raises:
            InputError: If one was given before, with both lines.
        """
        for piece in pieces(names):
            try:
                self._insert(piece)
            except sqlite3.IntegrityError:
                # Nothing of the statement was stored: one at a time tells which it was.
                for name in piece:
                    self._insert_one(name)

    def check(self, names: Sequence[Name]) -> None:
        """
        Check that *names* are those that were noted, line by line.

        Raises:
            InputError: If they are not: the input was changed meanwhile.
        """
        for piece in pieces(names):
            query = (
                "SELECT custom_id, line FROM seen "  # noqa: S608
                f"WHERE custom_id IN ({marks(piece)})"
            )
            asked = [name.custom_id for name in piece]
            found = self._database.execute(query, asked).fetchall()
            if len(found) != len(piece) or not set(found) >= set(piece):
                raise InputError(
                    f"the input was changed while it was read, at line "
                    f"{piece[0].line} or after it; what has come is stored: run the "
                    f"same command again"
                )

    def _insert(self, names: Sequence[Name]) -> None:
        values = ",".join([f"({marks(Name._fields)})"] * len(names))
        statement = f"INSERT INTO seen VALUES {values}"  # noqa: S608  # our own
        self._database.execute(statement, tuple(chain(*names)))

    def _insert_one(self, name: Name) -> None:
        try:
            self._insert([name])
        except sqlite3.IntegrityError:
            query = "SELECT line FROM seen WHERE custom_id = ?"
            (first,) = self._database.execute(query, (name.custom_id,)).fetchone()
            raise InputError(
                f"custom_id {name.custom_id!r} is both in line {first} and in line "
                f"{name.line}: each row needs a name of its own"
            ) from None

    def close(self) -> None:
        """Forget them."""
        self._database.close()
