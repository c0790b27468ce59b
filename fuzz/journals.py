"""
The files of a batch, damaged in every way, and the batch resumed.

Two journals are begun with: one of a run that ended in good order, and one of a run
that was killed, whose last records are in SQLite's log beside it. The fuzzer damages
the journal, or else what was copied from it; nothing helps against a loss of both. What
comes of it is one of two: the batch goes on, and then every row has one record and no
row that was stored is asked again; or it is refused.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from aitor.batch import InputError, StorageError
from aitor.batch.journal import Record
from aitor.batch.rows import Row
from aitor.batch.store import Store, StoreOptions
from aitor.errors import ConfigurationError
from fuzz import promise

__all__ = ("COPIES", "JOURNAL", "begun", "journal", "store_in")

STORED, ALL = 12, 16
"""Rows that the first run has stored, and rows in all."""

JOURNAL, COPIES = ("out.journal", "out.journal-wal"), ("out", "errors")
Files = dict[str, bytes]


def journal(data: bytes) -> None:
    """Damage and resume; choices: what is begun with, what is damaged, and how."""
    choice = sum(data[:1])
    first = begun(killed=bool(choice & 1))
    names = COPIES if choice & 2 else JOURNAL
    damaged = _damaged(dict(first), names, data[1:])
    with _place() as place:
        for name, content in damaged.items():
            (place / name).write_bytes(content)
        asked = _resume(place)
        if asked is None:
            return
        twice = {row.custom_id for row in asked} & {str(n) for n in range(STORED)}
        promise(not twice, f"no row that was stored is asked again: {sorted(twice)}")
        if all(first[name].startswith(damaged[name]) for name in COPIES):
            _check(place)


def _check(place: Path) -> None:
    """Check that each row has its record, in the file where it belongs."""
    for name, failed in (("out", False), ("errors", True)):
        lines = sorted((place / name).read_bytes().splitlines(keepends=True))
        wanted = sorted(
            each.text for each in map(_record, range(ALL)) if each.failed is failed
        )
        promise(lines == wanted, f"each row has one record in {name}")


def _resume(place: Path) -> list[Row] | None:
    """Return the rows that were asked; None where the files were refused."""
    try:
        return _run(place, ALL)
    except (ConfigurationError, StorageError, InputError) as error:
        promise(len(str(error)) > 20, "a refusal says why")
        return None


def _run(place: Path, count: int) -> list[Row]:
    store = store_in(place)
    try:
        todo = store.admit([_row(number) for number in range(count)]).rows
        store.save([_record(int(row.custom_id)) for row in todo])
    finally:
        store.close()
    return todo


def store_in(place: Path) -> Store:
    """Open the batch that lies in *place*."""
    output, errors, path = (str(place / name) for name in (*COPIES, JOURNAL[0]))
    return Store(StoreOptions(output, errors, path, settings={"model": "m"}))


def _row(number: int) -> Row:
    return Row(str(number), number + 1, f"{number:064x}")


def _record(number: int) -> Record:
    text = json.dumps({"custom_id": str(number), "text": "x" * (7 * number)})
    return Record(_row(number), number % 3 == 0, text.encode() + b"\n")


@cache
def begun(*, killed: bool) -> Files:
    """Return the files of a run that ended, or of one that was killed."""
    with _place() as place:
        store = store_in(place)
        try:
            store.admit([_row(number) for number in range(STORED)])
            for number in range(STORED):
                store.save([_record(number)])
            if killed:
                return _read(place)
        finally:
            store.close()
        return _read(place)


def _read(place: Path) -> Files:
    names = (name for name in JOURNAL + COPIES if (place / name).exists())
    return {name: (place / name).read_bytes() for name in names}


def _damaged(files: Files, names: Sequence[str], orders: bytes) -> Files:
    """Damage *files*; an order is file and kind, place (3 bytes), length, bytes."""
    while orders:
        order, orders = orders[:5].ljust(5, b"\0"), orders[5:]
        kind, which = divmod(order[0] % 8, 2)
        content = files.get(names[which])
        if not content:
            continue
        at = int.from_bytes(order[1:4], "big") % (len(content) + 1)
        size = order[4] % 32
        put, orders = orders[:size], orders[size:]
        files[names[which]] = (
            content[:at],  # cut off
            content[:at] + put + content[at + len(put) :],  # written over
            content[:at] + put + content[at:],  # put in
            content[:at] + content[at + size :],  # taken out
        )[kind]
    return files


@contextmanager
def _place() -> Iterator[Path]:
    memory = "/dev/shm"  # noqa: S108  # the name within is drawn
    place = tempfile.mkdtemp(dir=memory if Path(memory).is_dir() else None)
    try:
        yield Path(place)
    finally:
        shutil.rmtree(place)
