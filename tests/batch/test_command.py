"""`aitor batch`: options, exit codes, signals and a full disk."""

import fcntl
import json
import os
import resource
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tests.batch.conftest import CONFIGURATION, Desk

CANARY = "sk-canary-4711"

# Exit codes.


def test_all_rows_answered_is_0(desk: Desk) -> None:
    desk.write("a", "b")
    result = desk.run()
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "2 rows read: 2 answered and 0 failed" in result.stderr
    assert desk.records().keys() == {"a", "b"}
    assert desk.run().exit_code == 0
    assert sorted(desk.bill()) == ["a", "b"]


def test_failed_rows_are_1_unless_they_are_allowed(desk: Desk) -> None:
    """
    Those of an earlier run count as well: the batch is not all answered.
    """
    desk.write("a", "long")
    assert desk.run().exit_code == 1
    assert desk.run().exit_code == 1
    assert desk.run("--allow-failures", "1").exit_code == 0
    assert desk.run("--retry-failed").exit_code == 1
    assert Counter(desk.bill()) == {"a": 1, "long": 2}


def test_failed_rows_have_their_file(desk: Desk) -> None:
    desk.write("a", "long")
    assert desk.run("--errors", "errors.jsonl").exit_code == 1
    assert desk.records().keys() == {"a"}
    assert desk.records("errors.jsonl").keys() == {"long"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--provider", "nobody"), "nobody"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
        (("--errors", "out.jsonl"), "--output and --errors are one file"),
        (("--journal", "aitor.toml"), "aitor.toml is there and is no journal"),
        (("--limit", "0"), "--limit"),
        (("--backend", "threads"), "--backend"),
    ],
)
def test_wrong_options_are_2(desk: Desk, options: tuple[str, ...], told: str) -> None:
    desk.write("a")
    result = desk.run(*options)
    assert result.exit_code == 2
    assert told in result.stderr
    assert desk.bill() == []


def test_a_wrong_input_is_2_and_keeps_what_was_paid_for(desk: Desk) -> None:
    desk.write(*[f"p{number}" for number in range(600)], "p0")
    result = desk.run()
    assert result.exit_code == 2
    assert "custom_id 'p0' is both in line 1 and in line 601" in result.stderr
    assert desk.records().keys() == set(desk.bill())
    desk.write(*[f"p{number}" for number in range(600)])
    assert desk.run().exit_code == 0
    assert set(Counter(desk.bill()).values()) == {1}


def test_a_dead_account_is_75(desk: Desk) -> None:
    desk.write("a", "dear")
    result = desk.run("--max-in-flight", "1")
    assert result.exit_code == 75
    assert "aitor: mine: the purse is empty\n" in result.stderr
    assert desk.records().keys() == {"a"}


def test_other_settings_are_2_until_they_are_accepted(desk: Desk) -> None:
    desk.write("a")
    assert desk.run().exit_code == 0
    desk.write("a", "b")
    (desk.path / "aitor.toml").write_text(CONFIGURATION.replace('"m"', '"n"'))
    result = desk.run()
    assert result.exit_code == 2
    assert "got with other settings (mine.model)" in result.stderr
    assert desk.run("--accept-changes").exit_code == 0
    assert desk.bill() == ["a", "b"]


def test_how_requests_travel_may_change(desk: Desk) -> None:
    desk.write("a")
    assert desk.run().exit_code == 0
    more = "timeout = 5\nmax_retries = 0\nrequests_per_minute = 600\n"
    (desk.path / "aitor.toml").write_text(CONFIGURATION + more)
    assert desk.run("--max-in-flight", "1", "--timeout", "9").exit_code == 0
    assert desk.bill() == ["a"]


def test_an_output_that_cannot_be_looked_at_is_2(desk: Desk) -> None:
    desk.write("a")
    result = desk.run(output="x" * 300)
    assert result.exit_code == 2
    assert desk.bill() == []


def test_a_second_run_at_the_same_time_is_2(desk: Desk) -> None:
    """
    And it holds nothing up: after a kill the next run goes on at once.
    """
    desk.write("a", "b")
    desk.gate.touch()
    first = desk.start()
    desk.wait_for_bill(2)
    second = desk.run()
    assert second.exit_code == 2
    assert "held by another run of this batch" in second.stderr
    first.kill()
    first.communicate()
    desk.gate.unlink()
    assert desk.run().exit_code == 0
    assert desk.records().keys() == {"a", "b"}


# Signals.


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(desk: Desk, number: signal.Signals, backend: str) -> None:
    """
    What is in flight is waited for and stored, and nothing is sent any more.
    """
    desk.write(*(str(row) for row in range(40)))
    desk.gate.touch()
    process = desk.start("--backend", backend)
    desk.wait_for_bill(4)
    process.send_signal(number)
    assert process.stderr is not None
    told = process.stderr.readline()
    assert told == (
        "aitor: no more rows are taken; waiting for 4 on the wire (again to give them "
        "up)\n"
    )
    desk.gate.unlink()
    _, stderr = process.communicate()
    assert process.returncode == 128 + number
    assert "4 answered and 0 failed" in stderr
    assert "stopped with rows left; the same command goes on from here" in stderr
    assert desk.records().keys() == set(desk.bill()) == {"0", "1", "2", "3"}
    assert desk.run().exit_code == 0
    assert len(desk.bill()) == len(desk.records()) == 40


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_second_signal_gives_up(desk: Desk, backend: str) -> None:
    desk.write(*(str(row) for row in range(40)))
    desk.gate.touch()
    process = desk.start("--backend", backend)
    desk.wait_for_bill(4)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "4 rows were given up in flight and may be paid for again" in stderr
    assert "Traceback" not in stderr
    desk.gate.unlink()
    assert desk.run().exit_code == 0
    assert len(desk.records()) == 40


def test_a_signal_after_the_last_row_was_taken_changes_nothing(desk: Desk) -> None:
    desk.write("a", "b")
    desk.gate.touch()
    process = desk.start()
    desk.wait_for_bill(2)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    process.stderr.readline()
    desk.gate.unlink()
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("again", [False, True])
def test_a_second_signal_does_not_wait_for_a_reader(
    desk: Desk, backend: str, *, again: bool
) -> None:
    """
    Nobody reads the pipe, with records of this run in it or of an earlier one.

    What had come by then is stored, and is not asked again.
    """
    options = ("--journal", "journal", "--max-in-flight", "4")
    desk.write(*(str(row) for row in range(1_000)))
    if again:
        desk.run(*options, output="other.jsonl")
    end, other = os.pipe()
    process = desk.start(*options, "-o", "-", "--backend", backend, stdout=other)
    os.close(other)
    wait_until_full(end)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("aitor: no more rows are taken")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    os.close(end)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    before = len(desk.bill())
    given_up = before - len(stored_in(desk.path / "journal"))
    assert given_up <= 4
    assert desk.run(*options, output="other.jsonl").exit_code == 0
    assert len(desk.bill()) == 1_000 + given_up
    assert len(desk.records("other.jsonl")) == 1_000


def test_signals_end_it_that_cannot_say_anything_either(desk: Desk) -> None:
    """
    Standard error is the same stuck pipe.
    """
    desk.write(*(str(row) for row in range(1_000)))
    end, other = os.pipe()
    process = desk.start("-o", "-", stdout=other, stderr=other)
    os.close(other)
    wait_until_full(end)
    for _ in range(2):
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        # Two that come at once may be one to the process.
        time.sleep(0.2)
    assert process.wait() == 130
    os.close(end)


def wait_until_full(pipe: int) -> None:
    """Wait until a pipe holds what it can: much, and no more for a while."""
    room = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    held, same = 0, 0
    while held <= room // 4 or same < 30:
        time.sleep(0.01)
        (now,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
        held, same = now, same + 1 if now == held else 0


def stored_in(journal: Path) -> list[str]:
    database = sqlite3.connect(journal)
    names = database.execute("SELECT custom_id FROM records").fetchall()
    database.close()
    return [name for (name,) in names]


# The disk.


def test_a_full_disk_is_75_and_loses_nothing(desk: Desk) -> None:
    """
    Files may not grow beyond a size: the same command with more room goes on.
    """
    desk.write(*(str(row) for row in range(3_000)))
    room = 1_000_000

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    process = desk.start(preexec_fn=limit_files)
    _, stderr = process.communicate()
    assert process.returncode == 75
    assert "cannot be written" in stderr
    assert "see to that, and run the same command again" in stderr
    assert "Traceback" not in stderr
    whole = desk.output.read_text().rpartition("\n")[0]
    stored = {json.loads(line)["custom_id"] for line in whole.splitlines()}
    assert 0 < len(stored) < 3_000
    assert desk.run().exit_code == 0
    assert len(desk.records()) == 3_000
    bill = Counter(desk.bill())
    assert all(bill[name] == 1 for name in stored)


# What is written where.


def test_the_numbers_are_written_for_programs(desk: Desk) -> None:
    desk.write("a", "long")
    result = desk.run("--json")
    numbers = json.loads(result.stdout)
    assert (numbers["rows"], numbers["succeeded"], numbers["failed"]) == (2, 1, 1)
    assert numbers["finished"] is True
    assert numbers["cost_usd"] is None
    assert numbers["failures"] == {"ContextLengthError": 1}
    assert result.stderr == ""


def test_quiet_tells_errors_only(desk: Desk) -> None:
    desk.write("a")
    result = desk.run("--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_a_torn_file_is_told(desk: Desk) -> None:
    desk.write("a")
    desk.run()
    desk.output.write_bytes(desk.output.read_bytes()[:-9])
    assert "ended in the middle of a record" in desk.run().stderr
    assert desk.records().keys() == {"a"}


def test_standard_output_takes_records_or_numbers(desk: Desk) -> None:
    desk.write("a")
    for options, output in ((), "-"), (("--errors", "-"), "out.jsonl"):
        result = desk.run("--json", *options, output=output)
        assert result.exit_code == 2
        assert "records or numbers, not both" in result.stderr


def test_a_pipeline(desk: Desk) -> None:
    command = [sys.executable, "-m", "aitor", "batch", "-", "-o", "-", "--quiet"]
    lines = '{"prompt": "a"}\n{"prompt": "b"}\n'
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    names = [json.loads(line)["custom_id"] for line in done.stdout.splitlines()]
    assert sorted(names) == ["row-1", "row-2"]


def test_a_pipe_whose_reader_has_gone(desk: Desk) -> None:
    """
    No journal, no resuming: it says so instead of promising it.
    """
    desk.write(*(str(row) for row in range(100)))
    end, other = os.pipe()
    os.close(end)
    command = [sys.executable, "-m", "aitor", "batch", "in.jsonl", "-o", "-"]
    done = subprocess.run(command, stdout=other, stderr=subprocess.PIPE, text=True)
    os.close(other)
    assert done.returncode == 75
    assert "standard output cannot be written (Broken pipe)" in done.stderr
    assert "the next run begins anew, for there was no --journal" in done.stderr


def open_fifo(path: Path) -> int:
    """Make a pipe with a name, and return the end to read from."""
    os.mkfifo(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(end, True)
    return end


def wait_until_written(end: int) -> None:
    """Wait for its first writer; until then a pipe seems to be at its end."""
    ready = select.poll()
    ready.register(end, select.POLLIN)
    ready.poll()


def test_a_fifo_whose_reader_has_gone(desk: Desk) -> None:
    """
    It is told, as of any pipe, and a pipe has no journal unless it is given one.
    """
    desk.write(*(str(row) for row in range(1_000)))
    end = open_fifo(desk.path / "fifo")
    process = desk.start("-o", "fifo")
    wait_until_written(end)
    os.close(end)
    _, stderr = process.communicate()
    assert process.returncode == 75
    assert "fifo cannot be written (Broken pipe)" in stderr
    assert "the next run begins anew, for there was no --journal" in stderr
    assert not list(desk.path.glob("*journal*"))


def test_a_fifo_without_a_reader_is_2(desk: Desk) -> None:
    desk.write("a")
    os.mkfifo(desk.path / "fifo")
    result = desk.run(output="fifo")
    assert result.exit_code == 2
    assert "fifo cannot be written: nobody has opened it for reading" in result.stderr
    assert desk.bill() == []


def test_a_fifo_gets_every_record(desk: Desk) -> None:
    """
    Those of earlier runs, too, for a pipe keeps nothing.
    """
    desk.write(*(str(row) for row in range(1_000)))
    assert desk.run("--journal", "journal", "--limit", "500").exit_code == 0
    end = open_fifo(desk.path / "fifo")
    process = desk.start("-o", "fifo", "--journal", "journal")
    wait_until_written(end)
    with os.fdopen(end) as fifo:
        names = {json.loads(line)["custom_id"] for line in fifo}
    process.communicate()
    assert process.returncode == 0
    assert len(names) == len(desk.bill()) == 1_000


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_fifo_that_nobody_writes_to_can_be_left(desk: Desk, backend: str) -> None:
    os.mkfifo(desk.path / "in.jsonl")
    process = desk.start("--backend", backend)
    journal = desk.path / "out.jsonl.journal"
    while not journal.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "0 rows read" in stderr


def test_a_fifo_is_read_from_its_first_writer_on(desk: Desk) -> None:
    os.mkfifo(desk.path / "in.jsonl")
    process = desk.start()
    with (desk.path / "in.jsonl").open("w") as fifo:
        fifo.write('{"prompt": "a"}\n')
        fifo.flush()
        desk.wait_for_bill(1)
        fifo.write('{"prompt": "b"}\n')
    process.communicate()
    assert process.returncode == 0
    assert desk.records().keys() == {"row-1", "row-2"}


@pytest.mark.parametrize("output", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_has_no_journal_by_any_name(desk: Desk, output: str) -> None:
    desk.write("a")
    process = desk.start("-o", output)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["custom_id"] == "a"
    assert not list(desk.path.glob("*journal*"))
    assert not Path("/dev/stdout.journal").exists()
    result = desk.run("--json", output=output)
    assert "records or numbers, not both" in result.stderr


# Over HTTP.


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a fake provider."""
    command = [sys.executable, "-m", "aitor", "fake-provider", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def test_two_vendors_over_http(desk: Desk, url: str) -> None:
    """
    Each answer is in its vendor's shape and paid for once, and no key is kept.
    """
    (desk.path / "aitor.toml").write_text(f"""
        [providers.openai]
        model = "gpt-5.5"
        api_key = "{CANARY}"
        base_url = "{url}/v1"
        [providers.anthropic]
        model = "claude-opus-5"
        api_key = "{CANARY}"
        base_url = "{url}"
    """)
    messages = [{"role": "user", "content": "hello"}]
    lines: list[dict[str, Any]] = [
        {
            "custom_id": f"a{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": f"number {number}"}]},
        }
        for number in range(50)
    ]
    lines.append({"custom_id": "b", "params": {"messages": messages, "system": "s"}})
    (desk.path / "in.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert desk.run("--limit", "50").exit_code == 0
    assert desk.run("--provider", "anthropic", "--accept-changes").exit_code == 0
    records = desk.records()
    bodies = {name: record["response"]["body"] for name, record in records.items()}
    assert bodies["a7"]["choices"][0]["message"]["content"] == "Answer to 7"
    assert bodies["b"]["content"][0]["text"] == "Answer to hello"
    assert records["b"]["aitor"]["text"] == "Answer to hello"
    with urlopen(f"{url}/_fake/bill") as answer:
        bill = json.load(answer)
    assert bill["requests"] == 51
    kept = [path.read_bytes() for path in desk.path.glob("out.jsonl*")]
    assert len(kept) == 2
    assert not any(CANARY.encode() in content for content in kept)


def test_help_needs_none_of_the_heavy_modules() -> None:
    code = (
        "import sys\n"
        "from aitor.cli.batch import batch\n"
        "assert not {'anyio', 'sqlite3', 'rich.progress'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
