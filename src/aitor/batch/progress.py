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
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from aitor.batch.summary import Served, Summary
from aitor.broker.ledger import Totals
from aitor.outcomes import Outcome
from aitor.terminal import one_line

__all__ = ("Pace", "cell", "report", "show_progress")

INTERVAL = 0.25
"""Seconds between two drawings of the line."""

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
    summary: Summary, console: Console, limit: int | None = None
) -> None:
    """
    Draw the line until cancelled.

    Args:
        summary: The numbers as they grow.
        console: The terminal.
        limit: Most rows that are taken.
    """
    pace = Pace()
    columns = BarColumn(bar_width=16), TextColumn("{task.description}", markup=False)
    # Without a thread of its own, which would read the numbers while they change.
    with Progress(
        *columns,
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
    ) as progress:
        task = progress.add_task("", total=None)
        while True:
            done = summary.succeeded + summary.failed
            now = anyio.current_time()
            rates = pace.sample(now, done, summary.total.usage.total_tokens)
            total = expected_rows(summary, limit)
            progress.update(
                task,
                total=total,
                completed=summary.ended,
                description=one_line(line(summary, total, *rates)),
            )
            progress.refresh()
            await anyio.sleep(INTERVAL)


def expected_rows(summary: Summary, limit: int | None) -> int | None:
    """Return how many rows there will be, judged by the length of those read."""
    if summary.bytes_in_all is None or not summary.bytes_read:
        return None
    total = round(summary.rows * summary.bytes_in_all / summary.bytes_read)
    return min(total, limit) if limit is not None else total


def line(
    summary: Summary, total: int | None, rows_a_second: float, tokens_a_second: float
) -> str:
    """Return the line."""
    parts = [f"{summary.ended:,}" + (f" of {total:,} rows" if total else " rows")]
    if total and rows_a_second > 0:
        parts.append(f"{duration((total - summary.ended) / rows_a_second)} left")
    parts += [
        f"{rows_a_second:,.1f} rows/s",
        f"{tokens_a_second:,.0f} tokens/s",
        f"cost {cost_in_words(summary.total)}",
        f"{summary.in_flight:,} in flight",
    ]
    if failed := summary.failed + summary.earlier_failed:
        parts.insert(1, f"{failed:,} failed")
    return ", ".join(parts)


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


def cell(text: object) -> Text:
    """Return *text*, which came from outside, as a table may have it: no markup."""
    return Text(one_line(text, WORDS))


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "-"


def _failures(summary: Summary) -> Table:
    table = Table("failed with", box=None, pad_edge=False)
    table.add_column("rows", justify="right")
    for name, rows in summary.failures.most_common():
        table.add_row(cell(name), f"{rows:,}")
    return table
