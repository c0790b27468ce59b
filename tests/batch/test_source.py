"""The input is read a piece at a time, whatever its lines look like."""

import json
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


def test_reading_is_bounded_by_the_limit(path: Path) -> None:
    path.write_text('{"prompt": "a"}\n' * 100_000)
    source = Source(str(path), 1)
    assert len(source.read()) == 1
    assert source.ended
    assert source.bytes_read < PIECE
    source.close()


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Source(str(tmp_path / "no.jsonl"))
    assert str(caught.value) == (
        f"the input {tmp_path}/no.jsonl cannot be read: No such file or directory"
    )
    with pytest.raises(ConfigurationError, match="Is a directory"):
        Source(str(tmp_path))


def test_what_was_read_tells_how_much_there_is(path: Path) -> None:
    """
    Rows and bytes go together, so that one can be judged by the other.
    """
    path.write_text('{"prompt": "a"}\n' * 10_000)
    source = Source(str(path))
    assert source.size is not None
    while not source.ended:
        rows = len(source.read())
        assert source.bytes_read == pytest.approx(16 * rows, abs=1) or rows == 0
        source.bytes_read = 0
    source.close()
