"""The command line as a whole."""

import subprocess
import sys

import pytest

from aitor import __version__
from aitor.cli import main

from .conftest import Run

HEAVY = ("anthropic", "httptools", "httpx", "openai", "pydantic", "rich", "structlog")


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in ("ask", "batch", "check", "fake-provider"):
        assert f"  {command} " in result.stdout


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").stdout == f"aitor {__version__}\n"


def test_an_unknown_command_is_a_misuse(run: Run) -> None:
    assert run("bach").exit_code == 2


def test_help_waits_for_nothing_it_does_not_use() -> None:
    program = f"""
import sys
from aitor.cli import main
sys.argv = ["aitor", "--help"]
try:
    main()
except SystemExit:
    pass
print("imported:", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout.splitlines()[-1] == "imported:"


@pytest.mark.parametrize("module", ["aitor", "aitor.cli"])
def test_it_can_be_run_as_a_module(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (0, f"aitor {__version__}\n")


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aitor: the command line needs typer")
    assert "extra 'cli'" in line


def test_another_missing_module_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aitor.cli.ask", None)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_an_interrupt_while_it_starts_ends_it_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aitor.cli.application", interrupt)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "")
