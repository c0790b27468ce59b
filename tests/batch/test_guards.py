"""Guards of batches that no other test would miss; see docs/mutation.md."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from aitor.batch import identity
from aitor.batch.journal import Journal, Record
from aitor.batch.output import OutputFile
from aitor.batch.rows import Row, read_row
from aitor.providers import CompatibleProvider, MockProvider


def record(name: str, line: int = 1) -> Record:
    return Record(Row(name, line, "print"), failed=False, text=b"{}\n")


def test_each_commit_waits_for_the_disk(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"))
    full = 2
    query = "PRAGMA synchronous"
    assert journal._database.execute(query).fetchone() == (full,)
    journal.close()


def test_a_group_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"))
    # More than one statement stores; the last one is refused.
    names = [str(number) for number in range(200)]
    with pytest.raises(sqlite3.IntegrityError):
        journal.add([record(name) for name in [*names, "0"]])
    rows = [Row(name, 1, "print") for name in names]
    assert journal.admit(rows).rows == rows
    journal.close()


def test_a_disk_that_takes_a_part_gets_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = OutputFile(str(tmp_path / "out"), 0)
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:3]))
    file.append(b"0123456789")
    monkeypatch.undo()
    file.close()
    assert (tmp_path / "out").read_bytes() == b"0123456789"


def test_what_was_written_last_reaches_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    OutputFile(str(tmp_path / "out"), 0).close()
    assert len(synced) == 1


def test_whatever_can_change_an_answer_is_part_of_the_identity() -> None:
    def told(**settings: Any) -> str:
        usual = {"model": "m", "base_url": "http://one.test/v1"}
        one = CompatibleProvider(**{**usual, **settings})
        return str(identity({"one": one}, ["one"]))

    changes: list[dict[str, Any]] = [
        {"model": "n"},
        {"base_url": "http://two.test/v1"},
        {"on_unsupported": "pass"},
        {"temperature": 0.5},
        {"max_tokens": 5},
        {"max_completion_tokens": 5},
        {"top_p": 0.5},
        {"frequency_penalty": 0.5},
        {"presence_penalty": 0.5},
    ]
    for change in changes:
        assert told(**change) != told(), change
    assert told(workers=3, api_key="k", timeout=9.0) == told()


def test_the_kind_and_the_sequence_are_part_of_the_identity() -> None:
    one, two = MockProvider(), MockProvider()
    both = {"one": one, "two": two}
    assert identity(both, ["one", "two"]) != identity(both, ["two", "one"])
    other = CompatibleProvider(model=one.settings.model, base_url="http://x.test/v1")
    assert identity({"one": other}, ["one"])["one.kind"] == "compatible"
    assert identity({"one": one}, ["one"])["one.kind"] == "mock"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_row_with_a_number_that_is_none_is_a_wrong_row(number: str) -> None:
    row = read_row(f'{{"prompt": "x", "temperature": {number}}}'.encode(), 1, "in")
    assert row.request is None
    assert number in str(row.error)
