"""Variables, and the file `.env` behind them."""

import builtins
import os
from pathlib import Path
from typing import Any

import pytest

from aitor.config.environment import Environment, Variable, look_up
from aitor.errors import ConfigurationError


def environment(tmp_path: Path, content: str, **process: str) -> Environment:
    path = tmp_path / ".env"
    path.write_text(content)
    return Environment(process, path)


def test_the_file_gives_what_the_process_does_not_have(tmp_path: Path) -> None:
    environ = environment(tmp_path, "A=1\nexport B='two words' # a comment\n", C="3")
    assert dict(environ) == {"A": "1", "B": "two words", "C": "3"}
    assert len(environ) == 3
    with pytest.raises(KeyError):
        environ["D"]


def test_the_process_wins_even_with_nothing(tmp_path: Path) -> None:
    environ = environment(tmp_path, "A=file\nB=file\n", A="process", B="")
    assert environ["A"] == "process"
    assert look_up(environ, "B") is None


def test_the_environment_of_the_process_stays_as_it_was(tmp_path: Path) -> None:
    before = dict(os.environ)
    path = tmp_path / ".env"
    path.write_text("AITOR_TEST_ONLY=1")
    assert Environment(path=path)["AITOR_TEST_ONLY"] == "1"
    assert dict(os.environ) == before


def test_without_a_file_there_is_only_the_process(tmp_path: Path) -> None:
    assert dict(Environment({"A": "1"}, tmp_path / ".env")) == {"A": "1"}


def test_a_name_without_a_value_is_not_set(tmp_path: Path) -> None:
    assert "A" not in environment(tmp_path, "A\n")


def test_it_is_told_where_a_variable_was_found(tmp_path: Path) -> None:
    environ = environment(tmp_path, "A=1", B="2")
    found = look_up(environ, "A"), look_up(environ, "B"), look_up({"C": "3"}, "C")
    origins = [variable.origin for variable in found if variable]
    assert origins == [f"A in {tmp_path / '.env'}", "B", "C"]


class TestWithoutPythonDotenv:
    @pytest.fixture(autouse=True)
    def missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def importing(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "dotenv":
                raise ModuleNotFoundError("No module named 'dotenv'", name="dotenv")
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", importing)

    def test_a_file_that_is_not_needed_is_no_error(self, tmp_path: Path) -> None:
        assert environment(tmp_path, "A=1", B="2")["B"] == "2"

    def test_no_file_is_no_error(self, tmp_path: Path) -> None:
        assert look_up(Environment({}, tmp_path / ".env"), "A") is None

    def test_a_file_that_is_needed_says_what_reads_it(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"python-dotenv.*cli extra"):
            look_up(environment(tmp_path, "A=1"), "A")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read: Unicode"):
        look_up(Environment({}, path), "A")


def test_a_variables_repr_names_it_and_hides_its_value() -> None:
    assert repr(Variable("secret", "A")) == "'env:A'"
    assert repr(Variable("-5", "A", shown=True)) == "'-5' (from A)"
    assert Variable("text", "A") == "text"
