"""
While something is wrong it is said, whoever was never there is not waited for, and
Control-C ends a batch that only waits.
"""

import io
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from rich.console import Console
from tests.batch.conftest import Desk

from aitor import Broker
from aitor.batch import Summary, UnreachableError, run_batch
from aitor.batch.health import at_stake, on_the_wire, reached, tell_changes, troubles
from aitor.batch.progress import show_progress
from aitor.errors import AuthenticationError, ConnectionFailedError, ServerError
from aitor.messages import Answer, Request, Usage
from aitor.testing.scripted import ScriptedProvider


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address of this machine where nobody is, and nobody will be."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def at(desk: Desk, url: str) -> None:
    (desk.path / "aitor.toml").write_text(
        f'[providers.local]\nkind = "compatible"\nmodel = "m"\nbase_url = "{url}"\n'
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_dead_address_is_told_and_not_waited_for(
    desk: Desk, nowhere: str, backend: str
) -> None:
    """
    Stands for: a batch that waits in silence for what will never come.
    """
    at(desk, nowhere)
    desk.write(*(str(row) for row in range(300)))
    process = desk.start("--give-up-after", "2", "--backend", backend)
    _, stderr = process.communicate()
    assert process.returncode == 69, stderr
    told = r"aitor: local: the connection was refused .*, (not reached|circuit open)"
    assert re.search(told, stderr)
    assert "no provider was reached for 2 s (local: the connection was ref" in stderr
    assert "may be paid" not in stderr
    assert "Traceback" not in stderr
    assert desk.output.read_bytes() == b""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_signal_ends_a_batch_that_only_waits(
    desk: Desk, nowhere: str, backend: str
) -> None:
    """
    What is on the wire is waited for, and what waits for a circuit is given up.
    """
    at(desk, nowhere)
    desk.write(*(str(row) for row in range(300)))
    process = desk.start("--give-up-after", "0", "--backend", backend)
    assert process.stderr is not None
    assert "the connection was refused" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "no more rows are taken; waiting for " in stderr
    assert "may be paid" not in stderr


def test_a_crash_is_no_failed_row(desk: Desk) -> None:
    """
    Stands for: an exit code that means two things.
    """
    (desk.path / "batch_command_provider.py").write_text(
        "from aitor.providers.base import Provider\n"
        "class Billing(Provider):\n"
        "    kind = 'billing'\n"
        "    @property\n"
        "    def identity(self):\n"
        "        raise RuntimeError(str(12345 * 2))\n"
        "    async def complete(self, request, progress): ...\n"
    )
    desk.write("a")
    process = desk.start()
    _, stderr = process.communicate()
    assert process.returncode == 70, stderr
    assert "crashed with RuntimeError" in stderr
    assert "batch_command_provider.py" in stderr
    assert "24690" not in stderr


# In the broker's own time.


def failing(error: Exception) -> ScriptedProvider:
    return ScriptedProvider(error)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailedError("the host's name was not found"),
        ConnectionFailedError("the connection was refused"),
    ],
    ids=["name", "refused"],
)
@pytest.mark.parametrize("how_many", [1, 2])
async def test_who_never_reached_anybody_fails_with_the_reason(
    desk: Desk, error: ConnectionFailedError, how_many: int
) -> None:
    text = error.message
    desk.write(*(str(row) for row in range(50)))
    providers = {f"p{number}": failing(error) for number in range(how_many)}
    summary = Summary()
    async with Broker(providers) as broker:
        with pytest.raises(UnreachableError, match=f"p0: {text}"):
            await run_batch(
                broker, "in.jsonl", "out.jsonl", summary=summary, give_up_after=0.2
            )
        assert (summary.given_up, summary.failed, summary.succeeded) == (0, 0, 0)
        statistics = broker.statistics()
        assert not any(map(reached, statistics.providers.values()))
        assert at_stake(statistics) == on_the_wire(statistics) == 0


@pytest.mark.anyio
async def test_who_was_reached_once_is_waited_for(desk: Desk) -> None:
    """
    One that has gone is an outage, and outages end: also that of the second provider.
    """
    desk.write(*(str(row) for row in range(3)))
    begun = anyio.current_time()

    async def later(request: Request) -> Answer:
        if anyio.current_time() < begun + 1:
            raise ServerError("it is starting")
        return Answer("hi", "m", "stop", Usage(1, 1))

    dead = failing(ConnectionFailedError("the connection was refused"))
    async with Broker({"dead": dead, "slow": ScriptedProvider(lambda _: later)}) as b:
        summary = await run_batch(b, "in.jsonl", "out.jsonl", give_up_after=0.1)
    assert summary.succeeded == 3


@pytest.mark.anyio
async def test_dead_keys_leave_nothing_to_be_paid_again(desk: Desk) -> None:
    desk.write(*(str(row) for row in range(50)))
    summary = Summary()
    async with Broker({"p": failing(AuthenticationError("the key is wrong"))}) as b:
        with pytest.raises(AuthenticationError):
            await run_batch(b, "in.jsonl", "out.jsonl", summary=summary)
    assert summary.given_up == 0


@pytest.mark.anyio
async def test_a_change_is_told_once_and_its_end_as_well(desk: Desk) -> None:
    """
    Stands for: what is wrong, told once it is over, or again and again.
    """
    well = anyio.Event()
    told: list[str] = []

    async def answer(request: Request) -> Answer:
        if not well.is_set():
            raise ConnectionFailedError("the connection was refused")
        return Answer("hi", "m", "stop", Usage(1, 1))

    desk.write(*(str(row) for row in range(50)))
    provider = ScriptedProvider(
        lambda _: answer,
        breaker={"first_open_seconds": 0.2, "open_seconds": 1, "failing_seconds": 0.1},
    )

    both = anyio.Event()

    def tell(text: str) -> None:
        told.append(text)
        well.set()
        if "again" in text:
            both.set()

    async with Broker({"p": provider}) as broker, anyio.create_task_group() as tasks:
        tasks.start_soon(tell_changes, broker, tell)
        summary = await run_batch(broker, "in.jsonl", "out.jsonl", give_up_after=None)
        await both.wait()
        tasks.cancel_scope.cancel()
        assert troubles(broker.statistics()) == {}
    assert summary.succeeded == 50
    reason, _, state = told[0].partition(", ")
    assert reason == "p: the connection was refused"
    assert re.fullmatch(r"circuit open, next try .*|not reached so far", state)
    assert told[1:] == ["p: is asked again"]


@pytest.mark.anyio
async def test_the_picture_of_an_outage_fits_in_80_columns(desk: Desk) -> None:
    """
    What waits is not called on the wire, and what is wrong stands below.
    """
    desk.write(*(str(row) for row in range(304)))
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None)
    provider = failing(ConnectionFailedError("the connection was refused " * 9))
    summary = Summary()
    async with Broker({"p": provider}) as broker, anyio.create_task_group() as tasks:
        tasks.start_soon(show_progress, summary, console, broker)
        with pytest.raises(UnreachableError):
            await run_batch(
                broker, "in.jsonl", "out.jsonl", summary=summary, give_up_after=1
            )
        tasks.cancel_scope.cancel()
    lines = re.split(r"[\r\n]|\x1b\[[0-9?]*[a-zA-Z]", file.getvalue())
    assert max(map(len, lines)) <= 80
    assert any("0 of 304 rows" in each and " waiting" in each for each in lines)
    assert any("p: the connection was refused" in each for each in lines)


def test_a_picture_that_breaks_ends_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Stands for: something optional whose failure costs rows.
    """

    async def broken(*_: Any) -> None:
        raise ImportError

    monkeypatch.setattr("aitor.batch.health.tell_changes", broken)
    desk.write("a", "b")
    result = desk.run()
    assert result.exit_code == 0
    assert sorted(desk.bill()) == ["a", "b"]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
from aitor.cli import main
sys.argv[0] = "aitor"
main()
"""


@pytest.mark.parametrize("files", [128, 256])
def test_a_batch_ends_whole_where_descriptors_are_few(desk: Desk, files: int) -> None:
    """
    Stands for: the system has nothing left for us between an answer and its record.

    Every descriptor that the process may have is taken once the first row is asked.
    """
    (desk.path / "batch_command_provider.py").write_text(
        "import os\n"
        "from aitor.messages import Answer, Usage\n"
        "from aitor.providers.base import Provider\n"
        "class Billing(Provider):\n"
        "    kind = 'billing'\n"
        "    async def complete(self, request, progress):\n"
        "        try:\n"
        "            while True:\n"
        "                os.dup(2)\n"
        "        except OSError:\n"
        "            return Answer('x' * 2000, 'm', 'stop', Usage(1, 1))\n"
    )
    desk.write(*(str(row) for row in range(2_000)))
    program = LIMITED.format(files=files)
    arguments = ["batch", "in.jsonl", "-o", "out.jsonl"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(desk.records()) == 2_000
