"""
Whether a journal is sound: everything in it is read once when a run begins.

A row whose name was damaged in the file would be asked, and paid, a second time
without a word. SQLite by itself finds damage only where it happens to look, and it
keeps no sums of what it stores. So each record has a sum over all that is known of
its row, and a journal with anything wrong in it is refused as a whole: a guess at
what is still good in it would be a guess at who was paid. A million rows take some
seconds, and took hours to be answered.
"""

import hashlib
import sqlite3
from typing import Any

__all__ = ("damage_in", "digest")

RECORDS = (
    "SELECT number, custom_id, fingerprint, line, failed, record, digest FROM records"
)

# What `places` would be if it was written anew.
MISPLACED = """
SELECT failed AND ?1, SUM(LENGTH(record))
    OVER (PARTITION BY failed AND ?1 ORDER BY number), number FROM records
EXCEPT SELECT file, stop, number FROM places
"""


def digest(*row: Any) -> bytes:
    """Return the sum over all that is stored of one row, in the order of its table."""
    # Of damaged ones any column may be of any type, and `ascii` takes all of them.
    return hashlib.blake2b(ascii(row).encode(), digest_size=16).digest()


def damage_in(database: sqlite3.Connection, *, apart: bool) -> str | None:
    """
    Return what is wrong with a journal, None if it is sound.

    Args:
        database: The journal.
        apart: Whether failed rows go to a file of their own.

    Raises:
        sqlite3.Error: If it is so damaged that SQLite gives up.
    """
    run = database.execute
    (found,) = run("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        return " ".join(str(found).split())
    for *row, expected in run(RECORDS):
        if digest(*row) != expected:
            return f"the record of row {row[1]!r} has changed"
    (surplus,) = run(
        "SELECT (SELECT COUNT(*) FROM places) - (SELECT COUNT(*) FROM records)"
    ).fetchone()
    if surplus or run(MISPLACED, (apart,)).fetchone() is not None:
        return "the places of its records do not fit them"
    return None
