"""
How far a batch is, for people: a line while it runs, and a table at its end.

Both are written to standard error, in colour where the terminal has it and
`NO_COLOR` does not forbid it. The line is drawn on a terminal only. A number that is
not known is said to be unknown; nowhere does it become a zero.
"""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

import anyio
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from aitor.batch.health import on_the_wire, troubles
from aitor.batch.summary import Served, Summary
from aitor.broker.broker import Broker
from aitor.broker.ledger import Totals
from aitor.broker.statistics import Statistics
from aitor.outcomes import Outcome
from aitor.terminal import one_line

__all__ = ("Pace", "cell", "report", "show_progress")

INTERVAL = 0.25
"""Seconds between two drawings of the line."""

BAR = 16
"""Characters of the bar."""

WIDTH = 200
"""Characters that a table may take where there is no terminal."""

WORDS = 80
"""Characters of a name in a table."""

WINDOW = 10.0
"""Seconds that a pace is taken over."""


class Pace:
    """
    Rows and tokens a second, over the last seconds.

    Args:
        window: How many.
    """

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._samples: deque[tuple[float, int, int]] = deque()

    def sample(self, now: float, rows: int, tokens: int) -> tuple[float, float]:
        """Return rows a second and tokens a second, given their numbers so far."""
        samples = self._samples
        samples.append((now, rows, tokens))
        while len(samples) > 2 and samples[1][0] <= now - self._window:
            samples.popleft()
        since, rows_then, tokens_then = samples[0]
        seconds = now - since
        if not seconds:
            return 0.0, 0.0
        return (rows - rows_then) / seconds, (tokens - tokens_then) / seconds


async def show_progress(
    summary: Summary, console: Console, broker: Broker | None = None
) -> None:
    """
    Draw the line until cancelled, and below it what is wrong with providers.

    Args:
        summary: The numbers as they grow.
        console: The terminal.
        broker: Whose providers are looked at.
    """
    pace = Pace()
    # Without a thread of its own, which would read the numbers while they change.
    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False
    ) as live:
        while True:
            done = summary.succeeded + summary.failed
            now = anyio.current_time()
            rates = pace.sample(now, done, summary.total.usage.total_tokens)
            statistics = broker.statistics() if broker is not None else None
            width = console.width - BAR - 1
            text = line(summary, *rates, statistics=statistics, width=width)
            bar = ProgressBar(summary.expected, summary.ended, BAR, animation_time=now)
            rows = Table.grid(Column(width=BAR), Column(no_wrap=True), padding=(0, 1))
            rows.add_row(bar, cell(text, WIDTH))
            wrong = troubles(statistics) if statistics is not None else {}
            for trouble in wrong.values():
                rows.add_row("", cell(trouble, WIDTH))
            live.update(rows, refresh=True)
            await anyio.sleep(INTERVAL)


def line(
    summary: Summary,
    rows_a_second: float,
    tokens_a_second: float,
    *,
    statistics: Statistics | None = None,
    width: int | None = None,
) -> str:
    """
    Return the line.

    Args:
        summary: The numbers.
        rows_a_second: The pace.
        tokens_a_second: Likewise.
        statistics: The broker's, to tell what is on the wire from what waits.
        width: Characters that there are; what matters least is left out beyond that.
    """
    total, ended = summary.expected, summary.ended
    wire = summary.in_flight if statistics is None else on_the_wire(statistics)
    waiting = max(0, summary.in_flight - wire)
    failed = summary.failed + summary.earlier_failed
    left = ""
    if total and rows_a_second > 0:
        left = f"{duration((total - ended) / rows_a_second)} left"
    # In the order in which they are said, and how much each matters.
    parts = [
        (0, f"{ended:,}" + (f" of {total:,} rows" if total is not None else " rows")),
        (1, f"{failed:,} failed" if failed else ""),
        (4, left),
        (5, f"{rows_a_second:,.1f} rows/s"),
        (7, f"{tokens_a_second:,.0f} tokens/s"),
        (6, f"cost {cost_in_words(summary.total)}"),
        (2, f"{min(wire, summary.in_flight):,} on the wire"),
        (3, f"{waiting:,} waiting" if waiting else ""),
    ]
    told = [part for part in parts if part[1]]
    while width is not None and len(_joined(told)) > width and len(told) > 1:
        told.remove(max(told))
    return _joined(told)


def _joined(parts: Iterable[tuple[int, str]]) -> str:
    return ", ".join(text for _, text in parts)


def cost_in_words(served: Served) -> str:
    """Return what is known of the cost."""
    if served.known_cost is None:
        return "unknown"
    dollars = served.known_cost.quantize(Decimal("0.0001"))
    return f"${dollars:,}" + (" and more" if served.unpriced else "")


def duration(seconds: float) -> str:
    """Return *seconds* as hours, minutes and seconds."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def report(summary: Summary, console: Console) -> None:
    """
    Write what a batch came to.

    Args:
        summary: The numbers.
        console: Where to.
    """
    for text in _sentences(summary):
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    tables = []
    if summary.served:
        tables.append(_served(summary))
    if totals := summary.ledger.by_provider():
        tables.append(_asked(totals))
    if summary.failures:
        tables.append(_failures(summary))
    if not console.is_terminal:
        # A file has no width that a table would have to fit in.
        console.width = max(console.width, WIDTH)
    for table in tables:
        console.print(table)


def _sentences(summary: Summary) -> list[str]:
    earlier = summary.earlier_succeeded + summary.earlier_failed
    read = f"{summary.rows:,} rows read"
    ended = f"{summary.succeeded:,} answered and {summary.failed:,} failed"
    sentences = [f"{read}: {ended} in {summary.seconds:,.1f} s"]
    if earlier:
        failed = f", {summary.earlier_failed:,} of them failed"
        sentences.append(
            f"{earlier:,} had ended in an earlier run"
            + (failed if summary.earlier_failed else "")
        )
    if summary.failovers:
        sentences.append(f"{summary.failovers:,} rows moved on to another provider")
    return sentences


def _served(summary: Summary) -> Table:
    table = Table("provider", "model", box=None, pad_edge=False)
    for name in ("rows", "input tokens", "output tokens", "cost"):
        table.add_column(name, justify="right")
    rows = sorted(summary.served.items())
    if len(rows) > 1:
        rows.append((("all", ""), summary.total))
    for (provider, model), served in rows:
        table.add_row(
            cell(provider),
            cell(model),
            f"{served.rows:,}",
            f"{served.usage.input_tokens:,}",
            f"{served.usage.output_tokens:,}",
            cost_in_words(served),
        )
    return table


def _asked(totals: dict[str, Totals]) -> Table:
    table = Table("provider", box=None, pad_edge=False)
    for name in ("attempts", "answered", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("else")
    table.add_column("waited, in all")
    for provider, total in totals.items():
        table.add_row(
            cell(provider),
            f"{total.sent:,}",
            f"{total.answered:,}",
            f"{total.seconds / total.sent:,.2f}",
            _listed(
                f"{count:,} {outcome}"
                for outcome, count in total.attempts.items()
                if outcome is not Outcome.ANSWER
            ),
            _listed(
                f"{cause} {seconds:,.1f} s"
                for cause, seconds in total.waits._asdict().items()
                if seconds >= 0.05
            ),
        )
    return table


def cell(text: object, most: int = WORDS) -> Text:
    """Return *text*, which came from outside, as a table may have it: no markup."""
    return Text(one_line(text, most))


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "-"


def _failures(summary: Summary) -> Table:
    table = Table("failed with", box=None, pad_edge=False)
    table.add_column("rows", justify="right")
    table.add_column("the first of them", overflow="fold")
    for name, rows in summary.failures.most_common():
        reason = cell(summary.reasons.get(name, ""), WIDTH)
        table.add_row(cell(name), f"{rows:,}", reason)
    return table
