"""The fake provider in a process of its own."""

import json
import signal
import socket
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
        (["--latency", "uniform(3, 1)"], "uniform(3, 1) is no distribution"),
        (["--concurrency", "0"], "concurrency is at least 1"),
        (["--tokens-per-second", "nan"], "tokens_per_second and context_window"),
        (["--context-window", "-1"], "are at least 0"),
        (["--fault", "dead after=20 until=10"], "after=20 until=10 is no time at all"),
        (["--fault", "dead at=0"], "at counts requests from 1"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1:0"),
        (["--port", "70000"], "--port"),
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


def test_an_address_of_the_sixth_version_is_in_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no such address here")
    with running("--host", "::1") as (_, line):
        assert line.startswith("http://[::1]:")
        assert ask(line.strip()) == "Answer to row-17"
