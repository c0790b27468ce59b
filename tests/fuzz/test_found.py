"""What the fuzzer, or a look at what it could not reach, has found, and how it ends."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from aitor.batch.journal import Journal
from aitor.batch.rows import read_row
from aitor.config import load_configuration
from aitor.errors import BadRequestError, ConfigurationError
from aitor.messages import Request
from fuzz import journals
from fuzz.targets import TARGETS

FOUND: list[tuple[str, bytes]] = [
    # A status of nothing let the reader go on with what followed.
    ("http1", b"\x00 HTTP/1.1 002\r\n\r\n\x8c"),
    ("http1", b"\x00\x20HTTP/1.1 002 O\r\n\r\nHTTP/1.1 204 O\r\n\r\n"),
    # A message without a role cannot be carried on with.
    (
        "answers",
        b'\0\0\0\0{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}',
    ),
    # A place in a file that is damaged may be any bytes, and SQLite quotes it.
    ("journal", b"\x00\xc4\xe9\x11\xaa\xcf6\xbd\xd9\xf7\x1f"),
    ("journal", b"\xb4\x8c\x14\xecSgm\xa4?\x9e\x99\x19\x87\x8d\x97/\x9aE\x1d\xa10S"),
    ("journal", b"L\xf1\xc0\xae^;\x0cGk\x8e\x81\xbf\xb4\xb9\x8eN\n\xe7\xc8\x80?M\x9b"),
    ("journal", b"8\xb4\x9d\x9b\x05\x84v\xc5;\xa8f\xcfY\x82\xa6s\xb8\x1ccz\xfeR\x13"),
    # The end of SQLite's log is gone, and with it the last records.
    ("journal", b"\xd5\xb9\xab\xe63\xeb\xd0\xc6u\xa5^}\x9e\xba\xb2\xef\xf2\xb2\xaeT"),
]


@pytest.mark.parametrize(("name", "data"), FOUND, ids=range(len(FOUND)))
def test_what_was_found_keeps_its_promise(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = " + "[" * 3_000, "it is nested too deep"),
        ("x = " + "{a = " * 3_000, "it is nested too deep"),
        ("a" + ".a" * 3_000 + " = 1", "it is nested too deep"),
        ("x = " + "1" * 5_000, "a number has thousands of digits"),
        (f"[providers.mock]\nworkers = 0x{'f' * 5_000}", "'workers' is a number of 20"),
        (f"retry_ratio = 0x{'f' * 17}", "'retry_ratio' is a number of 68 bits"),
    ],
)
def test_a_configuration_that_no_parser_likes_is_an_error(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "aitor.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=told) as caught:
        load_configuration(path, {})
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_request_nested_too_deep_is_a_bad_one() -> None:
    for depth in (900, 950, 980, 990, 2_000):
        deep = b"[" * depth + b"]" * depth
        row = read_row(b'{"prompt": "Hi", "x": %b}' % deep, 1, "in.jsonl")
        told = str(row.error)
        assert row.request or "JSON" in told or "levels deep" in told
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(BadRequestError, match="levels deep"):
        Request.of("Hi", parameters={"x": nested})
    with pytest.raises(BadRequestError, match="RecursionError"):
        Request(({"role": "user"},), parameters={"x": nested}).fingerprint()


# A journal is refused for whatever is wrong with what it says of its rows.


def changed(statement: str) -> Callable[[sqlite3.Connection], object]:
    return lambda database: database.execute(statement)


def renamed(database: sqlite3.Connection) -> None:
    # As a flipped bit would: in the table, not in its index.
    (schema,) = database.execute(
        "SELECT sql FROM sqlite_schema WHERE name = 'records'"
    ).fetchone()
    plain = schema.replace("UNIQUE", "")
    database.execute("PRAGMA writable_schema = 1")
    database.execute("UPDATE sqlite_schema SET sql = ? WHERE sql = ?", (plain, schema))
    database.execute(
        "DELETE FROM sqlite_schema WHERE name LIKE '%records%' AND sql IS NULL"
    )


@pytest.mark.parametrize(
    "damage",
    [
        changed("UPDATE records SET custom_id = 'other' WHERE number = 3"),
        changed("UPDATE records SET fingerprint = 'other' WHERE number = 3"),
        changed("UPDATE records SET failed = 1 WHERE number = 3"),
        changed("UPDATE records SET record = CAST('x' AS BLOB) WHERE number = 3"),
        changed("UPDATE records SET record = 'a text' WHERE number = 3"),
        changed("UPDATE records SET digest = x'00' WHERE number = 3"),
        renamed,
    ],
)
def test_a_damaged_journal_is_refused(
    tmp_path: Path, damage: Callable[[sqlite3.Connection], object]
) -> None:
    for name, content in journals.begun(killed=False).items():
        (tmp_path / name).write_bytes(content)
    path = tmp_path / journals.JOURNAL[0]
    Journal(str(path)).close()
    database = sqlite3.connect(path, isolation_level=None)
    damage(database)
    database.close()
    before = path.read_bytes()
    with pytest.raises(
        ConfigurationError,
        match=r"is damaged .* move it away and run the same command with --recover",
    ):
        Journal(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        *(changed(f"DELETE FROM records WHERE number = {row}") for row in (1, 3, 12)),
        changed("DELETE FROM records"),
        changed("UPDATE state SET value = 'together' WHERE name = 'layout'"),
    ],
)
def test_a_journal_that_lacks_what_was_copied_from_it_is_refused(
    tmp_path: Path, damage: Callable[[sqlite3.Connection], object]
) -> None:
    for name, content in journals.begun(killed=False).items():
        (tmp_path / name).write_bytes(content)
    database = sqlite3.connect(tmp_path / journals.JOURNAL[0], isolation_level=None)
    damage(database)
    database.close()
    with pytest.raises(
        ConfigurationError, match="holds something that is no record of a batch"
    ):
        journals.store_in(tmp_path)
