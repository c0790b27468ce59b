"""What `import aitor` gives, and what it does not bring along."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import aitor

ROOT = Path(__file__).parent.parent


def modules_after(statement: str) -> set[str]:
    """Return the top-level packages that *statement* imports in a fresh process."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_package_imports_next_to_nothing() -> None:
    assert not modules_after("import aitor") & {"anyio", "pydantic", "structlog"}


@pytest.mark.parametrize(
    "statement",
    [
        "from aitor import Broker",
        "from aitor.providers import OpenAIProvider, AnthropicProvider, MockProvider",
        (
            "from aitor.providers import CompatibleProvider as C\n"
            "C(base_url='http://127.0.0.1:1/v1', model='m')"
        ),
    ],
)
def test_no_sdk_is_imported_before_it_is_used(statement: str) -> None:
    heavy = {"openai", "anthropic", "structlog", "rich", "typer", "asyncio", "trio"}
    assert not modules_after(statement) & (heavy - {"asyncio"})


def test_every_public_name_is_there() -> None:
    for name in aitor.__all__:
        assert getattr(aitor, name).__name__ == name
    assert set(aitor.__all__) <= set(dir(aitor))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = aitor.nonsense


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert aitor.__version__ == project["version"]


def test_the_command_line_comes_with_its_prices() -> None:
    """
    Of the kind: what the README has one install is less than what it shows.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras["cost"]) <= set(extras["cli"])
