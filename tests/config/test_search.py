"""Where the command line's configuration comes from."""

from pathlib import Path

import pytest

from aitor.config import find_configuration
from aitor.errors import ConfigurationError

KEY = {"OPENAI_API_KEY": "sk-canary"}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path) -> str:
    path.write_text("[providers.mock]")
    return str(path)


def test_a_file_asked_for_by_name_comes_first(directory: Path) -> None:
    asked, named = write(directory / "asked.toml"), write(directory / "named.toml")
    write(directory / "aitor.toml")
    found = find_configuration(asked, {**KEY, "AITOR_CONFIG": named})
    assert found.source == asked


def test_then_the_file_that_the_environment_names(directory: Path) -> None:
    named = write(directory / "named.toml")
    write(directory / "aitor.toml")
    assert find_configuration(None, {**KEY, "AITOR_CONFIG": named}).source == named


def test_then_the_file_in_the_working_directory(directory: Path) -> None:
    write(directory / "aitor.toml")
    assert find_configuration(None, {**KEY, "AITOR_CONFIG": ""}).source == "aitor.toml"


def test_then_the_environment() -> None:
    assert find_configuration(None, KEY).source == "environment"


def test_a_file_that_was_named_and_is_missing_is_an_error(directory: Path) -> None:
    write(directory / "aitor.toml")
    with pytest.raises(ConfigurationError, match=r"none\.toml: No such file"):
        find_configuration("none.toml", KEY)
    with pytest.raises(ConfigurationError, match=r"none\.toml: No such file"):
        find_configuration(None, {**KEY, "AITOR_CONFIG": "none.toml"})


def test_a_wrong_file_does_not_fall_back_to_the_environment(directory: Path) -> None:
    (directory / "aitor.toml").write_text("[provider.mock]")
    with pytest.raises(ConfigurationError, match="did you mean 'providers'"):
        find_configuration(None, KEY)
