"""Standard streams that are closed, or lie on a full disk."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Configure = Callable[[str], None]

PROVIDER = """
[providers.echo]
kind = "users_providers:Echo"
"""


@pytest.fixture
def shell(directory: Path, configure: Configure) -> Callable[[str], tuple[int, str]]:
    """Run a command line by the shell, and give its exit code and what it said."""
    configure(PROVIDER)
    (directory / "in.jsonl").write_text('{"prompt": "a"}\n')
    aitor = Path(sys.executable).with_name("aitor")

    def run(line: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-c", line.replace("aitor", f"exec {aitor}", 1)],
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("aitor batch - -o out <&-", "for IN: standard input is closed"),
        ("aitor batch in.jsonl -o - >&-", "for --output: standard output is closed"),
        ("aitor batch in.jsonl -o /dev/stdout >&-", "for --output: standard output"),
        ("aitor batch in.jsonl -o x --errors - >&-", "for --errors: standard output"),
        ("aitor ask - <&-", "for PROMPT: standard input is closed"),
        ("aitor ask a >&-", "standard output is closed"),
    ],
)
def test_a_closed_stream_that_is_needed_is_a_misuse(
    directory: Path, shell: Callable[[str], tuple[int, str]], line: str, told: str
) -> None:
    code, stderr = shell(line)
    assert code == 2
    assert told in " ".join(stderr.split())
    assert not list(directory.glob("*.journal"))


@pytest.mark.parametrize(
    "line",
    [
        "aitor batch in.jsonl -o out -q 2>&-",
        "aitor batch in.jsonl -o out --json >&-",
        "aitor batch in.jsonl -o out -q <&- >&- 2>&-",
        "aitor ask a <&- 2>&-",
        "aitor check <&- >&- 2>&-",
        "aitor check --json >&-",
        "aitor --version >&-",
    ],
)
def test_a_closed_stream_that_is_not_needed_is_none_to_it(
    directory: Path, shell: Callable[[str], tuple[int, str]], line: str
) -> None:
    """
    Nor does a file get its number, and with it what others write there.
    """
    assert shell(line) == (0, "")
    if "batch" in line:
        (record,) = (directory / "out").read_text().splitlines()
        assert record.startswith('{"id":')


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk")
@pytest.mark.parametrize(
    "line", ["aitor ask a", "aitor check --json", "aitor batch in.jsonl -o x -q --json"]
)
def test_a_full_disk_is_one_line(
    shell: Callable[[str], tuple[int, str]], line: str
) -> None:
    code, stderr = shell(f"{line} >/dev/full")
    assert (code, stderr) == (
        1,
        "aitor: standard output cannot be written (No space left on device)\n",
    )


def test_an_interrupt_that_is_ignored_stays_so(
    configure: Configure, shell: Callable[[str], tuple[int, str]]
) -> None:
    """As in a script's background job."""
    configure('[providers.slow]\nkind = "mock"\ndelay = 1.5\n')
    code, _ = shell("trap '' INT; (sleep 1; kill -INT $$) & aitor ask a")
    assert code == 0
