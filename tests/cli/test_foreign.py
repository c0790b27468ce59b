"""What came from outside is shown, and neither read as markup nor obeyed."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import rich.console
from rich.console import Console

from aitor.batch import Summary
from aitor.batch.progress import report, show_progress
from aitor.broker.arguments import MOST_URGENT
from aitor.messages import Attempt, Usage, Waits
from aitor.outcomes import Outcome
from aitor.terminal import one_line, paragraphs

from .conftest import Run

Configure = Callable[[str], None]

FOREIGN = (
    "m[/]",
    "[bold red]X[/bold red]",
    "[link=http://evil]m[/link]",
    ":warning:",
    "\x1b]0;PWNED\x07\x1b[2Jm",
    "\x9b2Jm",
    "m\rforged",
    "m\nforged line",
    "left\u202eright",
    "m" * 5_000,
    "\ud83d",
    "",
)


def is_plain(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("terminal", [False, True])
def test_the_end_of_a_batch_shows_any_name(name: str, terminal: bool) -> None:
    """
    Of the kind: foreign text printed as it is.

    A vendor's model, a provider's name and a kind of failure may hold markup, escape
    sequences, line breaks, text that runs backwards, halves of characters, or pages.
    """
    summary = Summary(rows=2, seconds=1.0)
    attempt = Attempt(name, name, Outcome.SERVER, 1.0, Waits())
    summary.count_answer((name, name), Usage(1, 1), (attempt,), None)
    summary.failures[name] += 1
    console = Console(file=io.StringIO(), force_terminal=terminal, no_color=True)
    report(summary, console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    shown = written.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert is_plain(shown)
    assert name[:3] in shown or not name[:3].isprintable()
    assert len(shown) < 3_000


@pytest.mark.anyio
async def test_the_line_while_a_batch_runs_is_no_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import anyio

    said = "[/] \x1b]0;PWNED\x07 \x9b2J"
    monkeypatch.setattr("aitor.batch.progress.line", lambda *_, **__: said)
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with anyio.move_on_after(0.01):
        await show_progress(Summary(), console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[/] \\u001b]0;PWNED\\u0007 \\u009b2J" in written
    assert "\x07" not in written


NAMED = '[providers."[red]x\\u001b[2J"]\nkind = "mock"\nmodel = "[/]\\u009b2J"\n'


@pytest.mark.parametrize("terminal", [False, True])
def test_check_shows_any_name(
    run: Run, configure: Configure, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    configure(NAMED)
    monkeypatch.setattr("aitor.cli.check._is_terminal", lambda: terminal)
    plain = rich.console.Console(width=200, no_color=True)
    monkeypatch.setattr(rich.console, "Console", lambda: plain)
    result = run("check")
    assert result.exit_code == 0
    assert is_plain(result.stdout)
    assert "provider [red]x\\u001b[2J" in result.stdout
    assert "[/]\\u009b2J" in result.stdout


def test_simulate_shows_any_name(
    run: Run, configure: Configure, directory: Path
) -> None:
    configure(NAMED)
    result = run("simulate", "--requests", "10", "--svg", "picture.svg")
    assert result.exit_code == 0
    assert is_plain(result.stdout)
    assert result.stdout.count("[red]x\\u001b[2J") >= 3
    ET.parse(directory / "picture.svg")


@pytest.mark.parametrize("terminal", [False, True])
def test_an_answer_steers_no_terminal_and_is_itself_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    from aitor.cli.ask import _write

    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    text = 'a\tb\r\nc \x1b]0;PWNED\x07 \x9b2J "ü" שלום 👩‍💻'
    _write(text)
    expected = text
    if terminal:
        expected = 'a\tb\r\nc \\u001b]0;PWNED\\u0007 \\u009b2J "ü" שלום 👩‍💻'
    assert capsys.readouterr().out == f"{expected}\n"
    document = json.dumps({"text": text}, ensure_ascii=False)
    _write(document)
    assert json.loads(capsys.readouterr().out) == {"text": text}


def test_attempts_are_told_of_any_model(run: Run, configure: Configure) -> None:
    configure(NAMED)
    result = run("ask", "hello", "--verbose", "--model", "a\x1b[2J\nforged: answer")
    (line,) = result.stderr.splitlines()
    assert "a\\u001b[2J forged: answer" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "x", "--config", "\x1b[2Jnone.toml"),
        ("ask", "x", "--provider", "\x1b[2J"),
        ("ask", "x", "--set", "\x1b[2J"),
        ("check", "--config", "\x1b[2J\nnone.toml"),
        ("simulate", "--requests", "\x1b[2J"),
        ("simulate", "--requests", "10", "--svg", "none/\x1b[2J.svg"),
        ("simulate", "--requests", "10", "--latency", "\x1b[2J=3"),
        ("fake-provider", "--fault", "\x1b[2J"),
        ("fake-provider", "--host", "\x1b[2J"),
        ("batch", "\x1b[2Jnone.jsonl", "-o", "out"),
        ("batch", "in.jsonl", "-o", "\x1b[2J/out"),
    ],
)
def test_no_error_repeats_what_steers_a_terminal(
    run: Run, configure: Configure, directory: Path, arguments: tuple[str, ...]
) -> None:
    configure("[providers.mock]")
    (directory / "in.jsonl").write_text('{"prompt": "a"}\n')
    result = run(*arguments)
    assert result.exit_code in (1, 2, 75)
    assert result.stderr
    assert is_plain(result.stderr)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢字 👍", "plain ü 漢字 👍"),
        ("a\u00a0b\u3000c\td\ne", "a b c d e"),
        ("\x1b\x7f\x9b\u202e\U000e0001", "\\u001b\\u007f\\u009b\\u202e\\udb40\\udc01"),
        ("x" * 11, "x" * 9 + "…"),
    ],
)
def test_one_line_is_one_line(text: str, shown: str) -> None:
    assert one_line(text, 10 if len(text) == 11 else 100) == shown
    assert paragraphs(shown) == shown


# Options and streams that nobody thought of.

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "x", "--set", f"a={DEEP}"),
        ("ask", "x", "--set", f"{DEEP}"),
        ("batch", "in.jsonl", "-o", "out", "--priority", "100000000"),
        ("batch", "in.jsonl", "-o", "out", "--priority", "-100000000"),
        ("batch", "in.jsonl", "-o", "out", "--timeout", "nan"),
        ("simulate", "--requests", "9" * 5_000),
        ("simulate", "--requests", "10", "--latency", "(" * 3_000),
        ("fake-provider", "--fault", "'x"),
    ],
)
def test_an_option_out_of_all_bounds_is_a_misuse(
    run: Run, configure: Configure, directory: Path, arguments: tuple[str, ...]
) -> None:
    """
    Of the kind: an argument whose reading fails in a way that was not thought of.
    """
    configure("[providers.mock]")
    (directory / "in.jsonl").write_text('{"prompt": "a"}\n')
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: Invalid value" in result.stderr
    assert not (directory / "out").exists()


def test_the_bounds_of_a_priority_are_the_brokers(
    run: Run, configure: Configure, directory: Path
) -> None:
    configure("[providers.mock]")
    (directory / "in.jsonl").write_text('{"prompt": "a"}\n')
    for number, priority in enumerate((MOST_URGENT, -MOST_URGENT)):
        out = f"out{number}"
        result = run("batch", "in.jsonl", "-o", out, "--priority", str(priority))
        assert result.exit_code == 0


@pytest.mark.parametrize(
    ("value", "sent"),
    [("NaN", "'NaN'"), ("-Infinity", "'-Infinity'"), ("1e3", "1000.0")],
)
def test_what_is_no_json_is_a_text(
    run: Run, configure: Configure, value: str, sent: str
) -> None:
    configure('[providers.echo]\nkind = "users_providers:Echo"\n')
    assert run("ask", "hi", "--set", f"a={value}").stdout.endswith(f"a={sent}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("batch", "--help"),
        ("--version",),
        ("check",),
        ("simulate", "--requests", "10"),
        ("fake-provider", "--port", "0", "--backend", "asyncio"),
        ("fake-provider", "--port", "0", "--backend", "trio"),
    ],
)
def test_a_full_disk_is_one_line_whoever_writes(
    configure: Configure, arguments: tuple[str, ...], unbuffered: str
) -> None:
    """
    Of the kind: standard output that fails, whichever library it is that writes.
    """
    configure("[providers.mock]")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [Path(sys.executable).with_name("aitor"), *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            text=True,
            timeout=60,
        )
    assert (ran.returncode, ran.stderr) == (
        1,
        "aitor: standard output cannot be written (No space left on device)\n",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk")
@pytest.mark.parametrize(
    ("line", "code"),
    [("ask hello --verbose", 0), ("ask hello --provider nobody", 2)],
)
def test_a_lost_line_of_standard_error_costs_no_answer(
    configure: Configure, line: str, code: int
) -> None:
    configure("[providers.mock]")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [Path(sys.executable).with_name("aitor"), *line.split()],
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
        )
    assert ran.returncode == code
    assert bool(ran.stdout) is (code == 0)
