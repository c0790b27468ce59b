"""The fake provider in a process of its own."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.testing.client import CHAT, question


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command and give it with the first line it writes."""
    command = [sys.executable, "-m", "aitor.testing", "--port", "0", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def ask(url: str) -> str:
    request = urllib.request.Request(
        url + CHAT, question(CHAT), {"authorization": "Bearer sk-any"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        body = json.load(answer)
    return str(body["choices"][0]["message"]["content"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_tells_its_address_serves_and_sums_up(number: signal.Signals) -> None:
    with running("--answer", "Hello {last}", "--fault", "status=500 at=2") as (
        process,
        line,
    ):
        assert line.startswith("http://127.0.0.1:")
        assert ask(line.strip()) == "Hello row-17"
        with pytest.raises(OSError, match="500"):
            ask(line.strip())
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == ""
    assert err == (
        "2 requests (answered 1, faulty 1), at most 1 at once, 0 beyond a limit; "
        "5 input and 3 output tokens\n"
    )


def test_it_speaks_json_to_programs() -> None:
    settings = ("--json", "--backend", "asyncio", "--requests-per-minute", "5")
    with running(*settings) as (process, line):
        ask(json.loads(line)["url"])
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    told = json.loads(err)
    assert told["bill"]["requests"] == 1
    assert told["statistics"]["limits"]["requests"]["remaining"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "explode"], "kind=explode"),
        (["--latency", "soon"], "is no distribution"),
        (["--requests-per-minute", "0"], "above zero"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1:0"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_served(
    arguments: list[str], message: str
) -> None:
    with running(*arguments) as (process, line):
        assert line == ""
        _, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert message in " ".join(err.split())
