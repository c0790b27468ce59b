"""The example of the README, typed again and again, in any order."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parent.parent.parent
CONFIGURATIONS = ["examples/outage.toml", "examples/outage-trio.toml"]


def command(out: Path, configuration: str, rows: int = 30) -> list[str]:
    example = [sys.executable, "examples/outage.py", "--rows", str(rows)]
    return [*example, "--out", str(out), "--config", configuration]


def urls_in(text: str) -> list[str]:
    """The addresses of the providers that a run has started."""
    words = text.split()
    return [word for word in words if word.startswith("http://127.0.0.1")]


def check_gone(urls: list[str]) -> None:
    assert len(urls) == 2
    for url in urls:
        with pytest.raises(URLError):
            urlopen(f"{url}/_fake/statistics")


def test_it_can_be_typed_any_number_of_times_in_any_order(tmp_path: Path) -> None:
    """
    Stands for: what works once. The same one twice, the other, the first again; and no
    provider is left behind by any of them.
    """
    one, other = CONFIGURATIONS
    for configuration in (one, one, other, one):
        done = subprocess.run(
            command(tmp_path, configuration), cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "30 of 30 prompts answered, each once: yes" in done.stdout
        check_gone(urls_in(done.stdout))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_can_be_typed_again_after_it_was_ended(
    tmp_path: Path, number: signal.Signals
) -> None:
    """
    Control-C ends its providers, too. A kill leaves them, and the next run ends them.
    """
    with subprocess.Popen(
        command(tmp_path, CONFIGURATIONS[0], 200),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        urls = [urls_in(process.stdout.readline())[0] for _ in range(2)]
        while not requests_at(urls):
            time.sleep(0.01)
        # As a terminal does it: for everybody in the foreground.
        os.killpg(process.pid, number)
        process.communicate()
    if number is signal.SIGINT:
        assert process.returncode == 130
        check_gone(urls)
    done = subprocess.run(
        command(tmp_path, CONFIGURATIONS[0], 200),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check_gone(urls)


def requests_at(urls: list[str]) -> int:
    total = 0
    for url in urls:
        with urlopen(f"{url}/_fake/statistics") as answer:
            total += json.load(answer)["requests"]
    return total
