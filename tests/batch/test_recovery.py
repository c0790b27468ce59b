"""
What a run says when it cannot go on is done here, word by word, and the bill is read.

Stands for: advice that nobody tried. No text may cost a row that was paid for.
"""

import errno
import json
import os
import shutil
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.batch.conftest import CONFIGURATION, Desk

ROWS = [str(number) for number in range(30)]


@pytest.fixture
def paid(desk: Desk) -> Desk:
    """A desk with a batch whose first twenty rows are answered."""
    desk.write(*ROWS)
    assert desk.run("--limit", "20").exit_code == 0
    return desk


def journal(desk: Desk) -> Path:
    return desk.path / "out.jsonl.journal"


def check_whole(desk: Desk, name: str = "out.jsonl") -> None:
    """Every row has its record, and was paid for once."""
    assert desk.records(name).keys() == set(ROWS)
    assert Counter(desk.bill()) == Counter(ROWS)


@pytest.mark.parametrize("loss", ["lost", "empty", "older"])
def test_a_journal_that_lacks_what_the_output_holds(paid: Desk, loss: str) -> None:
    older = paid.path / "older"
    shutil.copy(journal(paid), older)
    assert paid.run("--limit", "25").exit_code == 0
    if loss == "lost":
        journal(paid).unlink()
    elif loss == "empty":
        journal(paid).write_bytes(b"")
    else:
        older.rename(journal(paid))
    told = paid.run()
    assert told.exit_code == 2
    count = 5 if loss == "older" else 25
    assert f"holds {count} records that are not in out.jsonl.journal" in told.stderr
    assert "take them over with --recover" in told.stderr
    assert "move" not in told.stderr
    assert len(paid.bill()) == 25
    taken = paid.run("--recover")
    assert taken.exit_code == 0
    assert f"{count} records of out.jsonl were taken over" in taken.stderr
    check_whole(paid)
    assert paid.run().exit_code == 0
    check_whole(paid)


def test_the_journal_that_it_was_written_with_may_be_named(paid: Desk) -> None:
    journal(paid).rename(paid.path / "other.journal")
    assert "(--journal)" in paid.run().stderr
    assert paid.run("--journal", "other.journal").exit_code == 0
    check_whole(paid)


@pytest.mark.parametrize("where", [0.2, 0.5, 0.9])
def test_a_damaged_journal(paid: Desk, where: float) -> None:
    data = bytearray(journal(paid).read_bytes())
    middle = int(len(data) * where)
    data[middle : middle + 500] = os.urandom(500)
    journal(paid).write_bytes(data)
    told = paid.run()
    if told.exit_code == 2:
        assert "move it away and run the same command with --recover" in told.stderr
        journal(paid).rename(paid.path / "damaged")
        assert paid.run("--recover").exit_code == 0
    check_whole(paid)


def test_a_torn_and_a_wrong_line_in_what_is_taken_over(paid: Desk) -> None:
    """
    A torn end is dropped; a line that is none has to be removed by hand.
    """
    journal(paid).unlink()
    lines = paid.output.read_text().splitlines(keepends=True)
    paid.output.write_text("".join([*lines[:3], "wrong\n", *lines[3:], '{"id": "b']))
    told = paid.run()
    assert "in line 4 something that is none: remove that" in told.stderr
    assert "out.jsonl, line 4 is no record" in paid.run("--recover").stderr
    paid.output.write_text("".join([*lines, '{"id": "b']))
    assert paid.run("--recover").exit_code == 0
    check_whole(paid)


def test_an_output_whose_records_are_all_known_may_be_moved_away(paid: Desk) -> None:
    lines = paid.output.read_text().splitlines(keepends=True)
    paid.output.write_text("".join(reversed(lines)))
    told = paid.run()
    assert told.exit_code == 2
    assert "move it away to have it written again from there" in told.stderr
    paid.output.rename(paid.path / "away")
    assert paid.run().exit_code == 0
    check_whole(paid)


def test_an_output_that_is_none_is_left_and_another_one_given(paid: Desk) -> None:
    paid.output.write_text("precious\n")
    told = paid.run()
    assert "no record of a batch (line 1); give another -o" in told.stderr
    options = "--journal", "out.jsonl.journal"
    assert paid.run(*options, output="other.jsonl").exit_code == 0
    check_whole(paid, "other.jsonl")
    assert paid.output.read_text() == "precious\n"


def test_failed_rows_in_their_own_file_are_taken_over(desk: Desk) -> None:
    desk.write("a", "long", "b")
    options = "--errors", "errors.jsonl"
    assert desk.run(*options).exit_code == 1
    before = desk.output.read_bytes(), (desk.path / "errors.jsonl").read_bytes()
    journal(desk).unlink()
    assert desk.run(*options, "--recover").exit_code == 1
    after = desk.output.read_bytes(), (desk.path / "errors.jsonl").read_bytes()
    assert before == after
    assert Counter(desk.bill()) == {"a": 1, "long": 1, "b": 1}


def test_a_row_that_asks_for_something_else_is_not_taken_over(paid: Desk) -> None:
    """
    A record knows its row by more than its name.
    """
    journal(paid).unlink()
    assert paid.run("--recover", "--limit", "20").exit_code == 0
    lines = (paid.path / "in.jsonl").read_text().splitlines()
    lines[0] = json.dumps({"id": "0", "prompt": "other"})
    (paid.path / "in.jsonl").write_text("\n".join(lines))
    told = paid.run()
    assert told.exit_code == 2
    assert "give it another custom_id" in told.stderr
    lines[0] = json.dumps({"id": "new", "prompt": "other"})
    (paid.path / "in.jsonl").write_text("\n".join(lines))
    assert paid.run().exit_code == 0
    assert Counter(paid.bill()) == Counter([*ROWS, "other"])


def test_other_settings(paid: Desk) -> None:
    """
    Going back and keeping the answers are the two ways that are told.
    """
    (paid.path / "aitor.toml").write_text(CONFIGURATION.replace('"m"', '"n"'))
    told = paid.run()
    assert told.exit_code == 2
    assert "--restart" not in told.stderr
    (paid.path / "aitor.toml").write_text(CONFIGURATION)
    assert paid.run("--limit", "25").exit_code == 0
    (paid.path / "aitor.toml").write_text(CONFIGURATION.replace('"m"', '"n"'))
    assert paid.run("--accept-changes").exit_code == 0
    check_whole(paid)


def test_a_name_given_twice(paid: Desk) -> None:
    with (paid.path / "in.jsonl").open("a") as file:
        file.write('\n{"id": "7", "prompt": "7"}')
    told = paid.run()
    assert told.exit_code == 2
    assert "each row needs a name of its own" in told.stderr
    paid.write(*ROWS)
    assert paid.run().exit_code == 0
    check_whole(paid)


def test_restart_and_recover_exclude_one_another(paid: Desk) -> None:
    told = paid.run("--restart", "--recover")
    assert told.exit_code == 2
    assert len(paid.bill()) == 20


# Two names for one file.


def test_a_link_beside_its_target_is_the_same_batch(paid: Desk) -> None:
    (paid.path / "link.jsonl").symlink_to("out.jsonl")
    assert paid.run(output="link.jsonl").exit_code == 0
    check_whole(paid)
    assert not (paid.path / "link.jsonl.journal").exists()


@pytest.mark.parametrize("spelling", ["./out.jsonl", "{0}/out.jsonl", "x/../out.jsonl"])
def test_another_spelling_is_the_same_batch(paid: Desk, spelling: str) -> None:
    (paid.path / "x").mkdir()
    assert paid.run(output=spelling.format(paid.path)).exit_code == 0
    check_whole(paid)


def test_a_hard_link_is_the_same_output(paid: Desk) -> None:
    """
    It has no journal beside it, and what is advised then costs nothing.
    """
    os.link(paid.output, paid.path / "hard.jsonl")
    told = paid.run(output="hard.jsonl")
    assert told.exit_code == 2
    assert "--recover" in told.stderr
    assert paid.run("--recover", output="hard.jsonl").exit_code == 0
    check_whole(paid, "hard.jsonl")


@pytest.mark.parametrize("other", ["hard.jsonl", "link.jsonl", "./out.jsonl"])
@pytest.mark.parametrize("role", ["--errors", "--journal"])
def test_one_file_is_not_used_twice_whatever_it_is_called(
    paid: Desk, other: str, role: str
) -> None:
    os.link(paid.output, paid.path / "hard.jsonl")
    (paid.path / "link.jsonl").symlink_to("out.jsonl")
    before = paid.output.read_bytes()
    told = paid.run(role, other)
    assert told.exit_code == 2
    assert f"--output and {role} are one file" in told.stderr
    assert paid.output.read_bytes() == before
    assert len(paid.bill()) == 20


@pytest.mark.parametrize("name", ["link", "hard", "fd"])
def test_the_input_is_no_output_whatever_it_is_called(desk: Desk, name: str) -> None:
    desk.write("a")
    source = desk.path / "in.jsonl"
    before = source.read_bytes()
    (desk.path / "link").symlink_to("in.jsonl")
    os.link(source, desk.path / "hard")
    with source.open("a") as file:
        output = f"/dev/fd/{file.fileno()}" if name == "fd" else name
        told = desk.run("--restart", output=output)
    assert told.exit_code == 2
    assert "the input and --output are one file" in told.stderr
    assert source.read_bytes() == before
    assert desk.bill() == []


@pytest.mark.parametrize("name", ["hard.jsonl", "link.jsonl", "out.jsonl"])
def test_an_output_is_held_by_one_run_whatever_it_is_called(
    desk: Desk, name: str
) -> None:
    """
    With a journal of its own a second run would pay for everything again.
    """
    desk.write("a", "b")
    desk.output.touch()
    os.link(desk.output, desk.path / "hard.jsonl")
    (desk.path / "link.jsonl").symlink_to("out.jsonl")
    desk.gate.touch()
    first = desk.start()
    desk.wait_for_bill(2)
    told = desk.run("--journal", "other.journal", output=name)
    assert told.exit_code == 2
    assert "is held by another run of this batch; wait until that has" in told.stderr
    desk.gate.unlink()
    first.communicate()
    assert desk.run().exit_code == 0
    assert sorted(desk.bill()) == ["a", "b"]


def test_a_journal_with_two_names_is_refused(paid: Desk) -> None:
    """
    What a killed run has left beside it would not be seen under the other name.
    """
    os.link(journal(paid), paid.path / "other.journal")
    for name in ("other.journal", "out.jsonl.journal"):
        told = paid.run("--journal", name)
        assert told.exit_code == 2
        assert "has 2 names (hard links)" in told.stderr
    (paid.path / "other.journal").unlink()
    assert paid.run().exit_code == 0
    check_whole(paid)


# Who may read it, and where it cannot be.


def test_what_is_created_is_for_its_owner_alone(desk: Desk) -> None:
    """
    Stands for: prompts and answers that everybody on a machine can read.

    The files that SQLite keeps beside a journal while it runs, too.
    """
    desk.write("a", "long")
    desk.gate.touch()
    before = set(desk.path.iterdir())
    old = os.umask(0)
    try:
        process = desk.start("--errors", "errors.jsonl")
        desk.wait_for_bill(1)
        during = {path: path.stat().st_mode for path in desk.path.iterdir()}
        desk.gate.unlink()
        process.communicate()
    finally:
        os.umask(old)
    created = {path: path.stat().st_mode for path in desk.path.iterdir()} | during
    ours = {path.name: mode for path, mode in created.items() if path not in before}
    del ours["bill"]
    ours = {name: mode for name, mode in ours.items() if "pycache" not in name}
    assert {"out.jsonl", "errors.jsonl", "out.jsonl.journal"} < ours.keys()
    assert {stat.S_IMODE(mode) for mode in ours.values()} == {0o600}, ours


def test_the_mode_of_what_was_there_is_left_alone(desk: Desk) -> None:
    desk.write("a")
    desk.output.touch(mode=0o644)
    desk.output.chmod(0o644)
    assert desk.run().exit_code == 0
    assert stat.S_IMODE(desk.output.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nowhere/j", "cannot be written: there is no folder nowhere; see --journal"),
        ("in.jsonl/j", "cannot be written: Not a directory; see --journal"),
        ("x" * 300, "cannot be written: File name too long; see --journal"),
        (".", "cannot be written: Is a directory; see --journal"),
        ("/dev/null", "the journal /dev/null is no file; see --journal"),
    ],
)
def test_a_journal_that_cannot_be_there_is_named_as_such(
    desk: Desk, name: str, problem: str
) -> None:
    """
    Stands for: a library below us blamed for what the user has written.
    """
    desk.write("a")
    told = desk.run("--journal", name)
    assert told.exit_code == 2
    assert problem in told.stderr
    assert "database" not in told.stderr
    assert desk.bill() == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_journal_in_a_folder_that_is_read_only_is_named_as_such(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    desk.write("a")
    open_ = os.open

    def denied(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).startswith("folder"):
            raise OSError(number, os.strerror(number))
        return open_(path, *arguments, **more)

    monkeypatch.setattr(os, "open", denied)
    told = desk.run("--journal", "folder/j")
    assert told.exit_code == 2
    assert f"{os.strerror(number)} (in the folder folder)" in told.stderr
    assert "database" not in told.stderr
    assert desk.bill() == []
