"""
Killed at any instant, a batch loses no finished row and pays for none twice.

The provider keeps the bill: it writes a row's name down before it answers. After
each kill the journal is read as it lies there, and from then on no name in it may
appear on the bill again. What is on the bill and not in the journal will be paid for
twice: there may be no more of that than the documents say.
"""

import json
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from aitor.testing import fingerprint

ROWS = 4_000
KILLS = 20

WORKERS = 8
LOST_AT_MOST = 3 * WORKERS
"""Rows that a kill may cost: on the wire, in the commit that runs, and behind it."""

NURSERY = """
import os, sys
import anyio
from aitor import Broker
from aitor.batch import run_batch
from aitor.errors import BadRequestError
from aitor.messages import Answer, Usage
from aitor.providers.base import Provider

place, WORKERS = sys.argv[1], int(sys.argv[2])

class Billing(Provider):
    kind = "billing"

    async def complete(self, request, progress):
        name = request.messages[0]["content"]
        os.write(self.bill, name.encode() + b"\\n")
        await anyio.sleep(int(name) % 5 / 1000)
        if int(name) % 7 == 0:
            raise BadRequestError("an odd week")
        return Answer("x" * (int(name) % 5000), "m", "stop", Usage(1, 1))

async def main(more):
    provider = Billing(workers=WORKERS)
    provider.bill = os.open(f"{place}/bill", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with Broker({"billing": provider}) as broker:
        os.write(1, b"begun\\n")
        summary = await run_batch(
            broker, f"{place}/in.jsonl", f"{place}/out.jsonl",
            errors=f"{place}/errors.jsonl", **more,
        )
        assert summary.finished

for backend in ("asyncio", "trio"):
    anyio.run(anyio.sleep, 0, backend=backend)

# Forked children start in a millisecond, all imports done.
for line in sys.stdin:
    backend, *more = line.split()
    child = os.fork()
    if not child:
        code = 1
        try:
            anyio.run(main, {name: True for name in more}, backend=backend)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.write(1, f"{child}\\n".encode())
    _, status = os.waitpid(child, 0)
    os.write(1, f"{os.waitstatus_to_exitcode(status)}\\n".encode())
"""


class Nursery:
    """Starts runs of the batch in processes of their own."""

    def __init__(self, place: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(place), str(WORKERS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def start(self, *words: str) -> int:
        """Start a run and return its process id once it has begun."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        self._process.stdin.flush()
        lines = [self._line(), self._line()]
        lines.remove("begun")
        return int(lines[0])

    def has_ended(self) -> bool:
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def end(self) -> int:
        """Wait until the run has ended and return its exit code."""
        return int(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()


class Batch:
    """The files, as they lie there between two runs."""

    def __init__(self, path: Path, rows: int = ROWS) -> None:
        self.path = path
        names = [str(number) for number in range(rows)]
        lines = [json.dumps({"id": name, "prompt": name}) for name in names]
        (path / "in.jsonl").write_text("\n".join(lines))

    def bill(self) -> list[str]:
        path = self.path / "bill"
        return path.read_text().split() if path.exists() else []

    def stored(self) -> dict[str, tuple[int, bytes]]:
        """Return whether each row in the journal failed, and its record."""
        # Of a copy: opening it would tidy up what the kill has left.
        copy = self.path / "copy"
        for suffix in ("", "-wal"):
            name = f"out.jsonl.journal{suffix}"
            if (self.path / name).exists():
                shutil.copyfile(self.path / name, f"{copy}{suffix}")
        database = sqlite3.connect(copy)
        try:
            query = "SELECT custom_id, failed, record FROM records ORDER BY number"
            rows = database.execute(query)
            return {name: (failed, text) for name, failed, text in rows}
        except sqlite3.OperationalError:
            return {}  # killed before there was a table
        finally:
            database.close()
            for suffix in ("", "-wal", "-shm"):
                Path(f"{copy}{suffix}").unlink(missing_ok=True)

    def check_files(self, stored: dict[str, tuple[int, bytes]]) -> None:
        """Each file is a beginning of what the journal says."""
        for failed, name in enumerate(("out.jsonl", "errors.jsonl")):
            whole = b"".join(text for kind, text in stored.values() if kind == failed)
            path = self.path / name
            assert whole.startswith(path.read_bytes() if path.exists() else b"")

    def check_end(self) -> None:
        """Every row has exactly one record, in the right file."""
        for failed, name in enumerate(("out.jsonl", "errors.jsonl")):
            lines = (self.path / name).read_text().splitlines()
            names = Counter(json.loads(line)["custom_id"] for line in lines)
            expected = [str(n) for n in range(ROWS) if (n % 7 == 0) == failed]
            assert names == Counter(expected)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path)
    yield nursery
    nursery.close()


def run_and_kill(
    batch: Batch, nursery: Nursery, dice: random.Random, *words: str, but: int
) -> bool:
    """
    Start a run, kill it when the bill has grown a little, and judge it by the bill.

    Args:
        batch: The files.
        nursery: Where it runs.
        dice: Says when.
        words: Its backend and options.
        but: The most kinds of records (0 answered, 1 failed) that count as final.

    Returns:
        Whether it was killed; else it had ended.
    """
    final = {name for name, (failed, _) in batch.stored().items() if failed <= but}
    before = len(batch.bill())
    child = nursery.start(*words)
    # Some are killed before they have sent anything.
    more = max(0, dice.randrange(-50, 400))
    while len(batch.bill()) < before + more and not nursery.has_ended():
        time.sleep(0.0005)
    time.sleep(dice.uniform(0, 0.01))
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    code = nursery.end()
    paid = batch.bill()[before:]
    assert len(set(paid)) == len(paid), "a row was paid twice in one run"
    assert not final & set(paid), "a row was paid again that was stored"
    assert code in (0, -signal.SIGKILL)
    lost = set(paid) - batch.stored().keys()
    assert len(lost) <= LOST_AT_MOST, "more was paid for and lost than may be"
    return code != 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_killed_at_random_instants(
    batch: Batch, nursery: Nursery, backend: str
) -> None:
    """
    No row whose record was stored is paid again; at the end each has one record.
    """
    dice = random.Random(f"kill {backend}")
    stored: list[int] = []
    for _ in range(KILLS):
        assert run_and_kill(batch, nursery, dice, backend, but=1)
        records = batch.stored()
        batch.check_files(records)
        stored.append(len(records))
    # The kills came at different places of the batch, and it went on after each.
    assert 0 < stored[KILLS // 2] < stored[-1] < ROWS
    nursery.start(backend)
    assert nursery.end() == 0
    batch.check_end()
    assert set(batch.bill()) == {str(number) for number in range(ROWS)}


def test_killed_while_failed_rows_are_run_again(batch: Batch, nursery: Nursery) -> None:
    """
    Taking old records out of the files is cut short as safely as anything else.
    """
    nursery.start("asyncio")
    assert nursery.end() == 0
    dice = random.Random("retry")
    for _ in range(KILLS // 3):
        run_and_kill(batch, nursery, dice, "asyncio", "retry_failed", but=0)
    nursery.start("asyncio")
    assert nursery.end() == 0
    batch.check_end()


CONFIGURATION = """
[providers.openai]
model = "gpt-5.5"
api_key = "any"
base_url = "{url}/v1"
workers = 16
"""


def test_the_command_killed_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The same, of the command as it is used, with a vendor's own bill.
    """
    batch = Batch(tmp_path, rows=600)
    monkeypatch.chdir(tmp_path)
    aitor = [sys.executable, "-m", "aitor"]
    command = [*aitor, "batch", "in.jsonl", "-o", "out.jsonl", "--quiet"]
    fake = [*aitor, "fake-provider", "--port", "0", "--latency", "0.02"]
    with subprocess.Popen(
        fake, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        (tmp_path / "aitor.toml").write_text(CONFIGURATION.format(url=url))
        for kill in range(3):
            final = {fingerprint(name) for name in batch.stored()}
            before = bill_of(url)
            with subprocess.Popen(command) as run:
                while sum(bill_of(url).values()) < sum(before.values()) + 120:
                    time.sleep(0.005)
                run.kill()
            assert run.returncode == -signal.SIGKILL
            assert {name: before[name] for name in final} == {
                name: count for name, count in bill_of(url).items() if name in final
            }
            assert len(final) >= 10 * kill
            stored = {fingerprint(name) for name in batch.stored()}
            assert len(bill_of(url).keys() - stored) <= 3 * 16
        assert subprocess.run(command).returncode == 0
        server.terminate()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    names = [json.loads(line)["custom_id"] for line in lines]
    assert sorted(names) == sorted(str(number) for number in range(600))


def bill_of(url: str) -> dict[str, int]:
    """Return how often each prompt's answer was sent, by its fingerprint."""
    with urlopen(f"{url}/_fake/bill") as answer:
        answers: dict[str, int] = json.load(answer)["answers"]
    return answers
