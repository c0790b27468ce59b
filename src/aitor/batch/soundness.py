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

__all__ = ("damage_in", "digest")

RECORDS = (
    "SELECT number, custom_id, fingerprint, line, failed, record, digest FROM records"
)


def digest(
    number: int, custom_id: str, fingerprint: str, line: int, failed: int, record: bytes
) -> bytes:
    """Return the sum over all that is stored of one row."""
    known = f"{number} {custom_id} {fingerprint} {line} {failed} ".encode()
    return hashlib.blake2b(known + record, digest_size=16).digest()


def damage_in(database: sqlite3.Connection) -> str | None:
    """
    Return what is wrong with a journal, None if it is sound.

    Args:
        database: The journal.

    Raises:
        sqlite3.Error: If it is so damaged that SQLite gives up.
    """
    run = database.execute
    (found,) = run("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        return " ".join(str(found).split())
    for *row, expected in run(RECORDS):
        # Of damaged ones any column may be of any type.
        if not isinstance(row[-1], bytes) or digest(*row) != expected:
            return f"the record of row {row[1]!r} has changed"
    return None
