"""The input is read a piece at a time, whatever its lines look like."""

import json
import os
from pathlib import Path

import pytest

from aitor.batch.rows import Row
from aitor.batch.source import PIECE, Source
from aitor.errors import ConfigurationError


def read(path: Path, limit: int | None = None) -> list[Row]:
    source = Source(str(path), limit)
    rows = []
    while not source.ended:
        rows += source.read()
    source.close()
    return rows


def prompts(rows: list[Row]) -> list[tuple[int, object]]:
    return [
        (row.line, row.request and row.request.messages[0]["content"]) for row in rows
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.jsonl"


def test_lines_are_numbered_as_an_editor_does(path: Path) -> None:
    """
    Blank lines count and are no rows; the last line needs no newline.
    """
    path.write_bytes(b'{"prompt": "a"}\r\n\r\n \t\n{"prompt": "b"}\n\n{"prompt": "c"}')
    assert prompts(read(path)) == [(1, "a"), (4, "b"), (6, "c")]


def test_a_byte_order_mark_is_no_part_of_the_first_line(path: Path) -> None:
    path.write_text('{"prompt": "é"}\n', encoding="utf-8-sig")
    assert prompts(read(path)) == [(1, "é")]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_rows(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert read(path) == []


def test_a_line_may_be_larger_than_many_pieces(path: Path) -> None:
    long = "x" * (3 * PIECE + 1)
    lines = [{"prompt": "a"}, {"prompt": long}, {"prompt": "b"}]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    assert prompts(read(path)) == [(1, "a"), (2, long), (3, "b")]


@pytest.mark.parametrize("length", range(PIECE - 20, PIECE + 20))
def test_a_piece_may_end_anywhere_in_a_line(path: Path, length: int) -> None:
    first = json.dumps({"prompt": "x" * (length - 15)})
    path.write_text(f'{first}\n{{"prompt": "b"}}\n')
    assert [row.line for row in read(path)] == [1, 2]


def test_the_limit_counts_rows_and_not_lines(path: Path) -> None:
    path.write_text('\n{"prompt": "a"}\nwrong\n{"prompt": "c"}\n')
    assert prompts(read(path, limit=2)) == [(2, "a"), (3, None)]


@pytest.mark.parametrize("rows", [1, 2_500])
def test_reading_is_bounded_by_the_limit(path: Path, rows: int) -> None:
    path.write_text('{"prompt": "a"}\n' * 100_000)
    source = Source(str(path), rows)
    scanned = 0
    while not source.scanned:
        scanned += len(source.scan())
        # Of what is beyond it no more is read than a piece holds.
        assert source._lines.position <= 16 * rows + PIECE
    assert scanned == source.expected == rows
    read = 0
    while not source.ended:
        read += len(source.read())
        assert source._lines.position <= 16 * rows + PIECE
    assert read == rows
    source.close()


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Source(str(tmp_path / "no.jsonl"))
    assert str(caught.value) == (
        f"the input {tmp_path}/no.jsonl cannot be read: No such file or directory"
    )
    with pytest.raises(ConfigurationError, match="Is a directory"):
        Source(str(tmp_path))


@pytest.mark.parametrize("count", [0, 1, 2_047, 2_048, 2_049, 10_000])
def test_the_number_of_rows_is_known_before_the_first_is_asked(
    path: Path, count: int
) -> None:
    """
    Stands for: a number that is guessed and shown as if it were known.

    Lines of any length, blank ones and such as are none count for what they are, and
    what is appended after the look is for the next run.
    """
    lines = ["", '{"prompt": "%s"}' % ("x" * 3_000), "wrong", '{"id": 7}']
    with path.open("w") as file:
        for number in range(count):
            file.write(lines[number % 4] + "\n")
    source = Source(str(path))
    names = []
    while not source.scanned:
        names += source.scan()
    with path.open("a") as file:
        file.write('{"prompt": "late"}\n')
    rows = []
    while not source.ended:
        rows += source.read()
    source.close()
    assert (
        source.expected
        == len(names)
        == len(rows)
        == sum(bool(lines[number % 4]) for number in range(count))
    )
    assert [(row.custom_id, row.line) for row in rows] == names


def test_a_pipe_has_no_number_of_rows(path: Path) -> None:
    os.mkfifo(path)
    source = Source(str(path))
    assert source.scanned
    assert source.expected is None
    source.close()


def test_standard_input_is_read_from_where_it_stands(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    `(head -1; aitor batch - …) < in.jsonl`: what somebody else has read is not ours.
    """
    path.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    with path.open() as stdin:
        os.lseek(stdin.fileno(), 16, os.SEEK_SET)
        monkeypatch.setattr("sys.stdin", stdin)
        source = Source("-")
        while not source.scanned:
            source.scan()
        assert prompts(source.read()) == [(1, "b")]
        source.close()
