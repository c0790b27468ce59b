"""
The journal's file: made, opened, held, and looked through for damage.

One run holds the file: SQLite's exclusive locking mode keeps the operating system's
lock until the connection, or the process, is gone. A file system without locks (some
network ones) is no place for it.

Everything in a journal is read once when a run begins. A row whose name was damaged in
the file would be asked, and paid, a second time without a word. SQLite by itself finds
damage only where it happens to look, and it keeps no sums of what it stores. So each
record has a sum over all that is known of its row, and a journal with anything wrong
in it is refused as a whole: a guess at what is still good in it would be a guess at
who was paid. A million rows take some seconds, and took hours to be answered.
"""

import errno
import hashlib
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from aitor.errors import ConfigurationError

__all__ = ("PRIVATE", "digest", "held", "marks", "open_database", "pieces")

APPLICATION = 0x61_69_74_72
"""Tells our files from other SQLite files (`PRAGMA application_id`)."""

VERSION = 2

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file that is not as it left it; the rest is the disk's."""

NO_ROOM = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""What SQLite says where it cannot make the files that it needs beside the journal."""

PATIENCE = 0.5
"""Seconds to wait for a run that is just ending."""

PRIVATE = 0o600
"""Who may read what we create: its owner, for it holds prompts and answers."""

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

RECORDS = (
    "SELECT number, custom_id, fingerprint, line, failed, record, digest FROM records"
)

_Item = TypeVar("_Item")


def open_database(path: str) -> sqlite3.Connection:
    """
    Open the journal at *path* and hold it.

    Args:
        path: The file, made if it is not there; empty for one that goes when it is
            closed.

    Raises:
        ConfigurationError: If it cannot be there, another run holds it, it is no
            journal, or it is damaged.
        sqlite3.Error: If the disk fails.
    """
    if path:
        _make(path)
    try:
        # The threads that use the connection take turns; see `Store`.
        database = sqlite3.connect(
            path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise _no_room(path, str(error)) from error
    try:
        _open(database, path)
    except BaseException:
        # Closing reads the file once more, and complains once more.
        with suppress(sqlite3.Error, UnicodeDecodeError):
            database.close()
        raise
    return database


def held(path: str) -> ConfigurationError:
    """Return the error for a file that another run holds."""
    return ConfigurationError(
        f"{path} is held by another run of this batch; wait until that has ended, and "
        f"run the same command again"
    )


def digest(
    number: int, custom_id: str, fingerprint: str, line: int, failed: int, record: bytes
) -> bytes:
    """Return the sum over all that is stored of one row."""
    known = f"{number} {custom_id} {fingerprint} {line} {failed} ".encode()
    return hashlib.blake2b(known + record, digest_size=16).digest()


def pieces(rows: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield *rows*, as many at once as one statement takes."""
    for first in range(0, len(rows), AT_ONCE):
        yield rows[first : first + AT_ONCE]


def marks(values: Sequence[object]) -> str:
    """Return the place holders for *values* in a statement."""
    return ",".join("?" * len(values))


def _make(path: str) -> None:
    try:
        # By us, because SQLite would make it readable for everybody; the files that it
        # needs beside it get the same mode.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the journal {path} cannot be written: {_reason(path, error)}; "
            f"see --journal"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the journal {path} is no file; see --journal")
    if status.st_nlink > 1:
        # What SQLite keeps beside it goes by its name. Under another name, a run would
        # not see what a killed one has left there, and pay for it again.
        raise ConfigurationError(
            f"the journal {path} has {status.st_nlink} names (hard links); remove all "
            f"but the one that it was written by, and name that one"
        )


def _reason(path: str, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return "its name is none for a file"
    folder = Path(path).parent
    if error.errno == errno.ENOENT:
        return f"there is no folder {folder}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.strerror} (in the folder {folder})"
    return str(error.strerror)


def _no_room(path: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"the journal {path} cannot be opened: files beside it, in the folder "
        f"{Path(path).parent}, cannot be written ({reason}); see --journal"
    )


def _open(database: sqlite3.Connection, path: str) -> None:
    try:
        _prepare(database, path)
        damage = _damage_in(database)
    except UnicodeDecodeError:
        # SQLite quotes the file in what it says of it.
        damage = "what it holds is no text"
    except sqlite3.DatabaseError as error:
        # There is none where Python refuses what SQLite found.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            raise held(f"the journal {path}") from error
        if code in NO_ROOM:
            raise _no_room(path, str(error)) from error
        if code not in DAMAGE:
            raise
        damage = str(error)
    if damage is not None:
        raise ConfigurationError(
            f"the journal {path} is damaged ({damage}), so which rows were answered "
            f"cannot be told from it: get it back from a copy, or move it away and run "
            f"the same command with --recover, which takes over what the output holds"
        )


def _prepare(database: sqlite3.Connection, path: str) -> None:
    run = database.execute
    run("PRAGMA locking_mode=EXCLUSIVE")
    _check_owner(database, path)
    run("PRAGMA journal_mode=WAL")
    run("PRAGMA synchronous=FULL")
    # Else a statement that is undone may need a file of its own, in mid-run.
    run("PRAGMA temp_store=MEMORY")
    run("BEGIN IMMEDIATE")
    if _pragma(database, "schema_version") == 0:
        for statement in SCHEMA.split(";"):
            run(statement)
        run(f"PRAGMA application_id={APPLICATION}")
        run(f"PRAGMA user_version={VERSION}")
    run("COMMIT")


def _check_owner(database: sqlite3.Connection, path: str) -> None:
    foreign = ConfigurationError(
        f"{path} is there and is no journal of a batch; see --journal"
    )
    try:
        if _pragma(database, "schema_version") == 0:
            return
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise foreign from error
    if _pragma(database, "application_id") != APPLICATION:
        raise foreign
    version = _pragma(database, "user_version")
    if version != VERSION:
        other = "a later" if version > VERSION else "an earlier"
        raise ConfigurationError(
            f"the journal {path} was written by {other} version of aitor "
            f"(its format is {version}, this one reads {VERSION})"
        )


def _damage_in(database: sqlite3.Connection) -> str | None:
    """Return what is wrong with a journal, None if it is sound."""
    run = database.execute
    (found,) = run("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        return " ".join(str(found).split())
    for *row, expected in run(RECORDS):
        # Of damaged ones any column may be of any type.
        if not isinstance(row[-1], bytes) or digest(*row) != expected:
            return f"the record of row {row[1]!r} has changed"
    # Read here, so that a state that is none is found as damage, too.
    run("SELECT name, value FROM state").fetchall()
    return None


def _pragma(database: sqlite3.Connection, name: str) -> int:
    value: int = database.execute(f"PRAGMA {name}").fetchone()[0]
    return value
