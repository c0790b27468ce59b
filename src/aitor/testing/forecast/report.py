"""
A forecast in words: what was assumed, what comes of it, and where it waits.

Nothing is left unsaid that the numbers rest on: every assumption is named, and so is
the part that was not simulated. A cost that is not known is never a zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.util import find_spec

from rich.console import Console
from rich.table import Table

from aitor.batch.progress import cell, duration
from aitor.terminal import one_line
from aitor.testing.distribution import Distribution
from aitor.testing.faults import Fault
from aitor.testing.forecast.assumptions import Assumption
from aitor.testing.forecast.result import Forecast, Load
from aitor.testing.forecast.run import Batch

__all__ = ("report",)

WIDTH = 200
"""Characters that a table may take where there is no terminal."""

FULL = 0.9
"""From this share on, all that may be under way is under way."""

EXTRAS = "aitor's extra 'cli' or 'cost'"

CAUSES = {
    "worker": "for a worker",
    "rate": "for its limit",
    "pause": "for a pause to end",
    "circuit": "for its circuit",
}
"""What a call waits for, in words."""


def report(
    forecast: Forecast,
    source: str,
    assumptions: Mapping[str, Assumption],
    batch: Batch,
    console: Console,
) -> None:
    """
    Write a forecast and what it rests on.

    Args:
        forecast: The numbers.
        source: Where the configuration comes from.
        assumptions: What was assumed of each provider.
        batch: What was to be done.
        console: Where to.
    """
    if not console.is_terminal:
        # A file has no width that a table would have to fit in.
        console.width = max(console.width, WIDTH)
    rows = [
        *_outcome(forecast),
        ("assumed", f"{_amount(batch.input_tokens)} tokens in, and of"),
        *((f"  {name}", _behaviour(one)) for name, one in assumptions.items()),
    ]
    width = max(len(label) for label, _ in rows)
    _say(console, f"{forecast.requests:,} requests through {source}")
    for label, text in rows:
        _say(console, f"  {label:{width}}  {text}")
    for table in (_carried(forecast), _waited(forecast)):
        console.print()
        console.print(table)
    _say(console, "in brackets: the share of the time that somebody waited for it")
    if forecast.running >= FULL * forecast.max_in_flight:
        console.print()
        _say(
            console,
            f"{forecast.running:,.1f} calls ran at once on average, of at most "
            f"{forecast.max_in_flight:,}: more at once ('workers', --max-in-flight) "
            f"would be quicker",
        )


def _say(console: Console, line: str) -> None:
    console.print(one_line(line), highlight=False, markup=False, soft_wrap=True)


# What comes of it.


def _outcome(forecast: Forecast) -> Iterator[tuple[str, str]]:
    took = f"{duration(forecast.seconds)} ({forecast.seconds:,.1f} s)"
    yield "time", f"{took}, {forecast.rate:,.1f} answers a second"
    yield "cost", _total(forecast)
    failed = "".join(
        f", {count:,} fail with {name}" for name, count in forecast.failures.items()
    )
    yield "answered", f"{forecast.answered:,}{failed}"
    if forecast.stopped is not None:
        yield "stops early", f"aitor batch gives up: {forecast.stopped}"
    elif forecast.steady_since is None:
        yield "simulated", "every request"
    else:
        yield from _parts(forecast, forecast.steady_since)


def _parts(forecast: Forecast, since: float) -> Iterator[tuple[str, str]]:
    first, rest = forecast.simulated, forecast.requests - forecast.simulated
    took = duration(forecast.simulated_seconds)
    yield "simulated", f"the first {first:,} requests, which take {took}"
    steady = (
        f"the other {rest:,}, at the pace from {duration(since)} on, which was steady "
        f"within {forecast.drift:.1%} (--exact simulates all)"
    )
    yield "extrapolated", steady


def _total(forecast: Forecast) -> str:
    if forecast.cost is not None:
        return _dollars(forecast.cost)
    unknown = (
        name
        for name, load in forecast.providers.items()
        if load.answers and load.cost is None
    )
    why = f"no price is known for {', '.join(unknown)}"
    if find_spec("genai_prices") is None:
        why += f" without genai-prices, which comes with {EXTRAS}"
    return f"unknown: {why} (see --price)"


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:,.4f}"


def _carried(forecast: Forecast) -> Table:
    table = Table("provider", box=None, pad_edge=False)
    columns = ("answers", "share", "calls", "tokens in", "tokens out", "cost")
    for name in (*columns, "circuit opens"):
        table.add_column(name, justify="right")
    table.add_column("calls that fail")
    for name, load in forecast.providers.items():
        table.add_row(
            cell(name),
            f"{load.answers:,}",
            f"{load.answers / max(forecast.answered, 1):.1%}",
            f"{load.calls:,}",
            f"{load.input_tokens:,}",
            f"{load.output_tokens:,}",
            _dollars(load.cost),
            f"{load.openings:,}",
            cell(
                ", ".join(f"{count:,} {what}" for what, count in load.failed.items())
                or "-"
            ),
        )
    return table


def _waited(forecast: Forecast) -> Table:
    table = Table("provider", box=None, pad_edge=False)
    for name in ("calls running", "a call waits", *CAUSES.values(), "for a retry"):
        table.add_column(name, justify="right")
    table.add_column("uses of its limit")
    for name, load in forecast.providers.items():
        table.add_row(
            cell(name),
            f"{load.running:,.1f} of {load.workers:,}",
            f"{sum(load.waits.values()):,.2f} s",
            *(_wait(load, cause) for cause in CAUSES),
            f"{load.waits['backoff']:,.2f} s",
            ", ".join(
                f"{share:.0%} of {dimension.replace('_', ' ')}"
                for dimension, share in load.used.items()
            )
            or "-",
        )
    return table


def _wait(load: Load, cause: str) -> str:
    return f"{load.waits[cause]:,.2f} s ({load.standing[cause]:.0%})"


# What was assumed.


def _behaviour(assumed: Assumption) -> str:
    parts = [
        f"an answer after {_amount(assumed.latency)} s",
        f"{_amount(assumed.output_tokens)} tokens out",
        *(_fault(fault) for fault in assumed.faults),
    ]
    if (price := assumed.price) is not None:
        parts.append(
            f"${price.input_tokens:g} a million in and ${price.output_tokens:g} out"
        )
    return ", ".join(parts)


def _amount(amount: Distribution) -> str:
    return f"{amount.values[0]:g}" if amount.name == "constant" else str(amount)


def _fault(fault: Fault) -> str:
    """Return *fault* as it may be written."""
    words = [] if fault.kind == "status" else [fault.kind]
    for field in fields(fault):
        value = getattr(fault, field.name)
        if field.name not in ("kind", "headers") and value != field.default:
            listed = ",".join(map(str, value)) if isinstance(value, tuple) else value
            number = f"{value:g}" if isinstance(value, float) else listed
            words.append(f"{field.name}={number}")
    return " ".join(words)
