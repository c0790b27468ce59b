"""
`aitor batch`: JSONL in, JSONL out, safe against crashes.

Exit codes: 0 all rows were answered; 1 the batch is finished and some rows failed;
2 the options, the configuration or the input are wrong; 69 no provider was ever
reached; 70 it crashed, which is a bug; 75 it stopped early and the same command goes on
from there; 130 and 143 likewise, after Control-C and SIGTERM.
"""

import gc
import json
import select
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from aitor.cli.exits import FAILED, MISUSED, UNAVAILABLE, exits_for_errors
from aitor.cli.exits import tell as _tell
from aitor.cli.options import Backend, Config
from aitor.cli.signals import last_one_ends
from aitor.cli.streams import require, write
from aitor.errors import AccountError, LLMError

if TYPE_CHECKING:
    import anyio
    from anyio.abc import TaskStatus

    from aitor.broker.broker import Broker
    from aitor.config import Configuration

__all__ = ("batch",)

STOPPED = 75
"""It stopped early; the same command goes on from there (`EX_TEMPFAIL`)."""

SIGNALLED = 128
"""And the signal's number, as shells count it."""

STDIN = "-"

PATIENT = (10_000, 20, 20)
"""
Thresholds of Python's garbage collector for thousands of calls in flight: with its own
it looks at all of them again and again, a fifth of the processor time of 2,000.
"""

Source = Annotated[
    str,
    typer.Argument(metavar="IN", help="A JSONL file; - reads standard input."),
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="OUT", help="Where records go; - likewise."),
]
Errors = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Where failed rows go; else to OUT."),
]
JournalFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="What it is resumed from; else OUT and '.journal', if OUT is a file.",
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", help="Run the rows again that failed earlier."),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Forget every answer and begin anew.")
]
Recover = Annotated[
    bool,
    typer.Option(
        "--recover", help="Take over records in OUT that a lost journal lacks."
    ),
]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes", help="Keep answers that were got with other settings."
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Take only the first so many rows.")
]
AllowFailures = Annotated[
    int, typer.Option(min=0, help="Exit with 0 if no more rows than that failed.")
]
ProviderName = Annotated[
    str | None, typer.Option(help="Begin the failover sequence there.")
]
ModelName = Annotated[
    str | None, typer.Option(help="The model for the first provider asked.")
]
InFlight = Annotated[
    int | None, typer.Option(min=1, help="Most rows at once; else all workers.")
]
GiveUpAfter = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="Seconds to wait while no provider was ever reached; 0 waits for ever.",
    ),
]
Timeout = Annotated[
    float | None, typer.Option(min=0.001, help="Seconds for each row, retries too.")
]
Priority = Annotated[
    int, typer.Option(min=-1_000_000, max=1_000_000, help="Higher goes first.")
]
Tenant = Annotated[str | None, typer.Option(help="On whose behalf.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Draw no progress.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell errors only.")]
AsJSON = Annotated[
    bool, typer.Option("--json", help="Write the numbers to standard output, as JSON.")
]


def batch(
    source: Source,
    output: Output,
    errors: Errors = None,
    journal: JournalFile = None,
    retry_failed: RetryFailed = False,
    restart: Restart = False,
    recover: Recover = False,
    accept_changes: AcceptChanges = False,
    limit: Limit = None,
    allow_failures: AllowFailures = 0,
    provider: ProviderName = None,
    model: ModelName = None,
    max_in_flight: InFlight = None,
    timeout: Timeout = None,
    give_up_after: GiveUpAfter = 30.0,
    priority: Priority = 0,
    tenant: Tenant = None,
    config: Config = None,
    backend: Backend = None,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
    as_json: AsJSON = False,
) -> None:
    """
    Have every row of a JSONL file answered, each once.

    Run it again after whatever ended it, and it goes on. Rows are in the shape of
    OpenAI's or Anthropic's batches, or bare: {"prompt": …} or {"messages": …}.
    """
    from aitor.batch.output import default_journal, is_stdout

    if source == STDIN:
        require("stdin", "IN")
    for name, hint in ((output, "--output"), (errors, "--errors")):
        if name is None or not is_stdout(name):
            continue
        require("stdout", hint)
        if as_json:
            raise typer.BadParameter(
                "standard output takes records or numbers, not both",
                param_hint="--json",
            )
    if restart and recover:
        raise typer.BadParameter(
            "what is forgotten cannot be taken over", param_hint="--recover"
        )
    options = {
        "journal": journal or default_journal(output),
        "errors": errors,
        "retry_failed": retry_failed,
        "restart": restart,
        "recover": recover,
        "accept_changes": accept_changes,
        "limit": limit,
        "provider": provider,
        "model": model,
        "max_in_flight": max_in_flight,
        "timeout": timeout,
        "give_up_after": give_up_after or None,
        "priority": priority,
        "tenant": tenant,
    }
    with exits_for_errors():
        import anyio

        from aitor.config import find_configuration

        configuration = find_configuration(config)
        command = _Command(configuration, source, output, options)
        if not quiet:
            command.shows = sys.stderr.isatty() and not no_progress
            command.speaks = not command.shows
        gc.set_threshold(*PATIENT)
        anyio.run(command.run, backend=backend or configuration.backend)
        command.tell(quiet=quiet, as_json=as_json)
        raise SystemExit(command.exit_code(allow_failures))


class _Command:
    """One run of the command: the batch, who interrupts it, and what came of it."""

    def __init__(
        self,
        configuration: "Configuration",
        source: str,
        output: str,
        options: dict[str, Any],
    ) -> None:
        from rich.console import Console

        from aitor.batch import Summary

        self.shows = False
        self.speaks = False
        self._configuration = configuration
        self._files = (source, output)
        self._options = options
        self._console = Console(stderr=True)
        self._summary = Summary()
        self._signal: int | None = None
        self._given_up = False
        self._failure: LLMError | None = None

    async def run(self) -> None:
        """Run the batch until it has ended, or was ended."""
        import anyio

        broker = self._configuration.broker()
        stop, whole = anyio.Event(), anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._listen, broker, stop, whole)
            tasks.start_soon(self._show, broker)
            with whole:
                await self._run_batch(broker, stop)
            tasks.cancel_scope.cancel()
        self._given_up = whole.cancel_called

    async def _show(self, broker: "Broker") -> None:
        from aitor.batch.health import tell_changes
        from aitor.batch.progress import show_progress

        try:
            if self.shows:
                await show_progress(self._summary, self._console, broker)
            elif self.speaks:
                await tell_changes(broker, _tell_if_taken)
        except Exception as error:  # noqa: BLE001  # a picture is not worth a row
            _tell_if_taken(f"progress is not shown any more ({type(error).__name__})")

    async def _run_batch(self, broker: "Broker", stop: "anyio.Event") -> None:
        from aitor.batch import Prices, identity, run_batch

        # Made for a look at their settings: they open nothing until they are used.
        providers = self._configuration.make_providers()
        async with broker:
            try:
                await run_batch(
                    broker,
                    *self._files,
                    settings=identity(providers, self._configuration.failover),
                    stop=stop,
                    summary=self._summary,
                    cost=Prices.of(providers),
                    **self._options,
                )
            except LLMError as error:
                # Kept, because a task group would wrap what leaves it.
                self._failure = error

    async def _listen(
        self,
        broker: "Broker",
        stop: "anyio.Event",
        whole: "anyio.CancelScope",
        *,
        task_status: "TaskStatus[None]",
    ) -> None:
        import anyio

        from aitor.batch.health import on_the_wire

        numbers = signal.SIGINT, signal.SIGTERM
        with (
            anyio.open_signal_receiver(*numbers) as signals,
            last_one_ends(*numbers, after=2),
        ):
            task_status.started()
            async for number in signals:
                self._signal = number
                if stop.is_set():
                    whole.cancel()
                    continue
                stop.set()
                broker.stop()
                sent = on_the_wire(broker.statistics())
                _tell_if_taken(
                    f"no more rows are taken; waiting for {sent:,} on the wire (again "
                    f"to give them up)"
                )

    def tell(self, *, quiet: bool, as_json: bool) -> None:
        """Write what came of it."""
        from aitor.batch import InputError, StorageError, UnreachableError
        from aitor.batch.progress import report

        known = InputError | StorageError | UnreachableError | AccountError
        if self._failure and not isinstance(self._failure, known):
            raise self._failure
        if self._given_up and not _takes_text(sys.stderr):
            return
        for note in self._summary.notes:
            _tell(note)
        if as_json:
            write(json.dumps(self._summary.to_json()) + "\n")
        elif not quiet:
            report(self._summary, self._console)
        if self._failure:
            _tell(str(self._failure))
        if not (self._summary.finished or isinstance(self._failure, InputError)):
            _tell(f"stopped with rows left; {self._next_time()}")
        if lost := self._summary.given_up:
            _tell(f"{lost:,} rows were given up in flight and may be paid for again")

    def _next_time(self) -> str:
        if self._options["journal"] is None:
            return "the next run begins anew, for there was no --journal"
        return "the same command goes on from here"

    def exit_code(self, allow_failures: int) -> int:
        """Return what to exit with."""
        from aitor.batch import InputError, UnreachableError

        if isinstance(self._failure, InputError):
            return MISUSED
        if isinstance(self._failure, UnreachableError):
            return UNAVAILABLE
        if self._failure is None and self._summary.finished:
            failed = self._summary.failed + self._summary.earlier_failed
            return FAILED if failed > allow_failures else 0
        if self._failure is None and self._signal is not None:
            return SIGNALLED + self._signal
        return STOPPED


def _takes_text(stream: TextIO) -> bool:
    """Return whether a line can be written to *stream* without waiting."""
    ready = select.poll()
    try:
        ready.register(stream, select.POLLOUT)
    except (OSError, ValueError):
        return True  # there is no file behind it
    return bool(ready.poll(0))


def _tell_if_taken(text: str) -> None:
    # A standard error that is stuck must not keep a signal out, or the batch.
    if _takes_text(sys.stderr):
        _tell(text)
