"""Journal and files as one: what is saved is saved, and each file follows."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aitor.batch import InputError, StorageError
from aitor.batch.journal import Journal, Record
from aitor.batch.rows import Row
from aitor.batch.store import Store, StoreOptions
from aitor.errors import ConfigurationError


def row(name: str, line: int = 1, fingerprint: str = "f") -> Row:
    return Row(name, line, fingerprint)


def record(name: str, text: str = "", *, failed: bool = False) -> Record:
    return Record(row(name), failed, f"{name}{text}\n".encode())


class Desk:
    """A directory with a batch in it, opened as often as a test likes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.output = path / "out.jsonl"
        self.errors = path / "errors.jsonl"
        self.journal = path / "out.jsonl.journal"

    @contextmanager
    def open(self, *, apart: bool = False, **options: Any) -> Iterator[Store]:
        places: dict[str, Any] = {
            "output": str(self.output),
            "journal": str(self.journal),
            "errors": str(self.errors) if apart else None,
        }
        store = Store(StoreOptions(**places | options))
        try:
            yield store
        finally:
            store.close()

    def save(self, *records: Record, **options: Any) -> None:
        with self.open(**options) as store:
            store.save(records)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_saved_record_is_in_the_file_and_its_row_is_done(desk: Desk) -> None:
    desk.save(record("a"), record("b"), record("c", failed=True))
    assert desk.output.read_bytes() == b"a\nb\nc\n"
    with desk.open() as store:
        admitted = store.admit([row(name) for name in "dcba"])
        assert [each.custom_id for each in admitted.rows] == ["d"]
        assert (admitted.succeeded, admitted.failed) == (2, 1)


def test_failed_rows_go_to_a_file_of_their_own(desk: Desk) -> None:
    desk.save(record("a"), record("b", failed=True), record("c"), apart=True)
    assert desk.output.read_bytes() == b"a\nc\n"
    assert desk.errors.read_bytes() == b"b\n"


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 300])
def test_however_many_rows_at_once_all_are_stored_and_known(
    desk: Desk, count: int
) -> None:
    names = [f"row {number}" for number in range(count)]
    desk.save(*(record(name, failed=name.endswith("7")) for name in names))
    assert desk.output.read_text().splitlines() == names
    with desk.open() as store:
        rows = [row(name, line) for line, name in enumerate([*names, "new"], 1)]
        admitted = store.admit(rows)
        assert [each.custom_id for each in admitted.rows] == ["new"]
        failed = sum(name.endswith("7") for name in names)
        assert (admitted.succeeded, admitted.failed) == (count - failed, failed)
    with desk.open() as store, pytest.raises(InputError) as caught:
        store.admit([*rows, row(names[-1], count + 2)])
    assert f"both in line {count} and in line {count + 2}:" in str(caught.value)


# What a crash leaves.


@pytest.mark.parametrize("length", range(9))
def test_a_copy_cut_anywhere_is_made_good(desk: Desk, length: int) -> None:
    """
    Whatever beginning of the file a crash left, the next run writes the rest.
    """
    desk.save(record("aa"), record("bb"), record("c"))
    whole = b"aa\nbb\nc\n"
    desk.output.write_bytes(whole[:length])
    with desk.open() as store:
        assert desk.output.read_bytes() == whole
        torn = {1: 1, 2: 2, 4: 1, 5: 2, 7: 1}.get(length)
        expected = (
            f"{desk.output} ended in the middle of a record: its last {torn} bytes "
            f"were cut off and written again from the journal"
        )
        assert store.notes == ([expected] if torn else [])


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_torn_errors_file_is_made_good(desk: Desk, length: int) -> None:
    records = record("a"), record("b", failed=True), record("c", failed=True)
    desk.save(*records, apart=True)
    desk.errors.write_bytes(b"b\nc\n"[:length])
    with desk.open(apart=True):
        assert desk.errors.read_bytes() == b"b\nc\n"
        assert desk.output.read_bytes() == b"a\n"


def test_a_file_that_was_lost_is_written_again(desk: Desk) -> None:
    desk.save(record("a"), record("b"))
    desk.output.unlink()
    with desk.open() as store:
        store.save([record("c")])
    assert desk.output.read_bytes() == b"a\nb\nc\n"


@pytest.mark.parametrize(
    "content", [b"a\nb\nx", b"a\nx", b"x\nb\n"[2:] + b"zzzz", b"a\nB\n"]
)
def test_a_file_that_holds_something_else_is_left_alone(
    desk: Desk, content: bytes
) -> None:
    desk.save(record("a"), record("b"))
    desk.output.write_bytes(content)
    wrong = pytest.raises(ConfigurationError, match="no record of a batch")
    with wrong, desk.open():
        pass
    assert desk.output.read_bytes() == content
    with desk.open(output=str(desk.path / "other.jsonl")):
        assert (desk.path / "other.jsonl").read_bytes() == b"a\nb\n"


def test_a_file_without_a_journal_is_left_alone(desk: Desk) -> None:
    """
    A wrong name behind -o costs nobody a file.
    """
    desk.output.write_bytes(b"precious\n")
    with pytest.raises(ConfigurationError, match="no record of a batch"):
        desk.save(record("a"))
    assert desk.output.read_bytes() == b"precious\n"


def test_nothing_is_rewritten_through_a_wrong_name(desk: Desk) -> None:
    """
    Some options rewrite the output, but never what is not one.
    """
    desk.save(record("a"), record("b", failed=True))
    precious = desk.path / "precious"
    precious.write_bytes(b"precious\n")
    for wrong in ("output", "errors"):
        for option in ("retry_failed", "restart"):
            with pytest.raises(ConfigurationError, match="precious holds something"):
                desk.save(**{wrong: str(precious), option: True})
    assert precious.read_bytes() == b"precious\n"


# Another layout.


def test_failed_rows_run_again_leave_the_file_first(desk: Desk) -> None:
    """
    At no time does a row have two records.
    """
    desk.save(record("a"), record("b", failed=True), record("c"))
    with desk.open(retry_failed=True) as store:
        assert desk.output.read_bytes() == b"a\nc\n"
        assert store.admit([row("b")]).rows
        store.save([record("b", " again")])
    assert desk.output.read_bytes() == b"a\nc\nb again\n"
    with desk.open():
        assert desk.output.read_bytes() == b"a\nc\nb again\n"


def test_failed_rows_may_move_to_another_file_and_back(desk: Desk) -> None:
    desk.save(record("a", failed=True), record("b"))
    with desk.open(apart=True):
        assert desk.output.read_bytes() == b"b\n"
        assert desk.errors.read_bytes() == b"a\n"
    desk.save(record("c", failed=True), apart=True)
    with desk.open():
        assert desk.output.read_bytes() == b"a\nb\nc\n"


@pytest.mark.parametrize("content", [b"", b"a\nb", b"a\nc\n"])
def test_a_crash_while_the_file_is_rewritten_is_made_good(
    desk: Desk, content: bytes
) -> None:
    desk.save(record("a"), record("b", failed=True), record("c"))
    journal = Journal(str(desk.journal))
    journal.arrange(apart=False, retry_failed=True)
    journal.close()
    desk.output.write_bytes(content)
    with desk.open():
        assert desk.output.read_bytes() == b"a\nc\n"


def test_restart_forgets_everything(desk: Desk) -> None:
    desk.save(record("a"), record("b"), settings={"model": "m"})
    with desk.open(restart=True, settings={"model": "n"}) as store:
        assert desk.output.read_bytes() == b""
        assert store.admit([row("a", fingerprint="other")]).rows
        store.save([record("a", " again")])
    assert desk.output.read_bytes() == b"a again\n"


# One name, one row, one request.


def test_a_name_given_twice_is_an_error_that_names_both_lines(desk: Desk) -> None:
    with desk.open() as store:
        store.admit([row("a", 1), row("b", 2)])
        with pytest.raises(InputError) as caught:
            store.admit([row("c", 3), row("a", 4)])
    assert str(caught.value) == (
        "custom_id 'a' is both in line 1 and in line 4: each row needs a name of its "
        "own"
    )


def test_a_name_given_twice_is_found_among_finished_rows(desk: Desk) -> None:
    desk.save(record("a"))
    with desk.open() as store, pytest.raises(InputError, match="line 1 and in line 2"):
        store.admit([row("a", 1), row("a", 2)])


def test_a_name_given_twice_in_one_piece_is_told_with_both_lines(desk: Desk) -> None:
    with desk.open() as store:
        store.admit([row("x", 1)])
        rows = [row("a", 2), row("b", 3), row("c", 4), row("b", 6), row("a", 7)]
        twice = "'b' is both in line 3 and in line 6"
        with pytest.raises(InputError, match=twice):
            store.admit(rows)


@pytest.mark.parametrize("name", ["", "\0", "a\0b", "é", "\U0001f600", "'", "1"])
def test_a_row_is_known_again_whatever_it_is_called(desk: Desk, name: str) -> None:
    desk.save(record(name))
    with desk.open() as store:
        rows = [row("b", 1), row(name, 2), row(f"{name} ", 3)]
        assert [each.line for each in store.admit(rows).rows] == [1, 3]


def test_a_row_may_move_to_another_line(desk: Desk) -> None:
    desk.save(record("a"))
    with desk.open() as store:
        assert not store.admit([row("a", 99)]).rows


def test_a_row_that_asks_for_something_else_is_an_error(desk: Desk) -> None:
    desk.save(record("a"), record("b", failed=True))
    with desk.open() as store:
        with pytest.raises(InputError) as caught:
            store.admit([row("a", 7, "other")])
        with pytest.raises(InputError) as failed:
            store.admit([row("b", 8, "other")])
    assert str(caught.value) == (
        "row 'a' (line 7) was answered in an earlier run, and asks for something else "
        "now; give it another custom_id"
    )
    assert "row 'b' (line 8) failed" in str(failed.value)
    assert "--retry-failed" in str(failed.value)


def test_a_failed_row_may_be_mended_and_run_again(desk: Desk) -> None:
    desk.save(record("a", failed=True))
    with desk.open(retry_failed=True) as store:
        assert store.admit([row("a", 1, "mended")]).rows


# Settings.


def test_other_settings_are_an_error_that_names_them(desk: Desk) -> None:
    old = {"model": "m", "openai.temperature": 0, "same": [1]}
    desk.save(record("a"), settings=old)
    new = {"model": "n", "openai.top_p": 1, "same": [1]}
    with pytest.raises(ConfigurationError) as caught, desk.open(settings=new):
        pass
    assert "(model, openai.temperature, openai.top_p)" in str(caught.value)
    with desk.open(settings=new, accept_changes=True) as store:
        assert not store.admit([row("a")]).rows
    with desk.open(settings=new):
        pass


def test_settings_may_change_while_nothing_is_stored(desk: Desk) -> None:
    with desk.open(settings={"model": "m"}):
        pass
    with desk.open(settings={"model": "n"}):
        pass


@pytest.mark.parametrize("retry", [False, True])
def test_settings_may_change_while_every_row_has_failed(
    desk: Desk, *, retry: bool
) -> None:
    """
    Many fail for a wrong setting, and nobody has an answer that could be mixed.

    Those that stay failed are told of, for nothing else would say why they are not run.
    """
    desk.save(record("a", failed=True), settings={"url": "wrong"})
    with desk.open(settings={"url": "right"}, retry_failed=retry) as store:
        assert len(store.admit([row("a")]).rows) == retry
        told = (
            "rows that failed had other settings (url); run them again with "
            "--retry-failed"
        )
        assert store.notes == ([] if retry else [told])
        store.save([record("b")])
    with desk.open(settings={"url": "right"}) as store:
        assert store.notes == []
    refused = pytest.raises(ConfigurationError, match=r"other settings \(url\)")
    with refused, desk.open(settings={"url": "wrong"}, retry_failed=True):
        pass


def test_settings_are_not_in_the_journal(desk: Desk) -> None:
    with desk.open(settings={"base_url": "https://key@host"}):
        pass
    assert b"key@host" not in desk.journal.read_bytes()


# The journal's file.


def test_a_journal_is_held_by_one_run(desk: Desk) -> None:
    held = pytest.raises(ConfigurationError, match="held by another run")
    with desk.open(), held:
        Journal(str(desk.journal))
    with desk.open():
        pass


def test_a_run_that_could_not_open_its_output_lets_go(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        desk.save(output=str(desk.path / "nowhere" / "out.jsonl"))
    with desk.open():
        pass


@pytest.mark.parametrize("content", [b"not a database, and long enough" * 9, None])
def test_what_is_no_journal_is_left_alone(desk: Desk, content: bytes | None) -> None:
    if content is None:
        database = sqlite3.connect(desk.journal)
        database.execute("CREATE TABLE precious (a)")
        database.close()
    else:
        desk.journal.write_bytes(content)
    before = desk.journal.read_bytes()
    for options in ({}, {"restart": True}):
        with pytest.raises(ConfigurationError, match="is no journal of a batch"):
            desk.save(**options)
    assert desk.journal.read_bytes() == before


def test_a_journal_of_a_later_version_is_left_alone(desk: Desk) -> None:
    desk.save(record("a"))
    database = sqlite3.connect(desk.journal)
    database.execute("PRAGMA user_version=3")
    database.close()
    with pytest.raises(ConfigurationError, match="later version of aitor"):
        desk.save()


def test_a_journal_in_no_directory_is_an_error(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="see --journal"):
        desk.save(journal=str(desk.path / "nowhere" / "journal"))


# The disk.


def test_a_copy_that_fails_is_made_good_by_the_next_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A full disk takes half of a record; the journal has all of it.
    """
    import os

    write = os.write

    def full(descriptor: int, text: bytes) -> int:
        if len(text) == 2:
            raise OSError(28, "No space left on device")
        return write(descriptor, text[:2])

    with desk.open() as store:
        store.save([record("aa")])
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StorageError) as caught:
            store.save([record("bbb")])
        monkeypatch.undo()
    assert str(caught.value) == (
        f"{desk.output} cannot be written (No space left on device); what is stored "
        f"is intact: see to that, and run the same command again"
    )
    assert desk.output.read_bytes() == b"aa\nbb"
    with desk.open() as store:
        assert desk.output.read_bytes() == b"aa\nbbb\n"
        assert not store.admit([row("aa"), row("bbb")]).rows


def test_a_journal_that_is_full_stores_nothing_of_the_group(desk: Desk) -> None:
    with desk.open() as store:
        store.save([record("a")])
        database = store._journal._database
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count={pages + 1}")
        with pytest.raises(StorageError, match="database or disk is full"):
            store.save([record("b"), record("c", "x" * 100_000)])
    assert desk.output.read_bytes() == b"a\n"
    with desk.open() as store:
        assert len(store.admit([row("a"), row("b"), row("c")]).rows) == 2
