"""The table of promises: every one of them is there, and so is every test it names."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

ROW = re.compile(r"^\| S(\d+) \|.*\|.*\|.*\|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def table() -> str:
    return (ROOT / "docs" / "promises-guide.md").read_text(encoding="utf-8")


def test_every_promise_is_in_the_table_once() -> None:
    assert [int(number) for number in ROW.findall(table())] == list(range(1, 109))


def test_every_test_that_the_table_names_is_there() -> None:
    named = set(TEST.findall(table()))
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if f"def {name}(" not in (ROOT / "tests" / path).read_text(encoding="utf-8")
    ]
    assert not missing
    assert len(named) > 80


def test_a_promise_without_a_test_says_why() -> None:
    for row in table().splitlines():
        if ROW.match(row) and not TEST.search(row):
            assert row.split("|")[-2].strip()
