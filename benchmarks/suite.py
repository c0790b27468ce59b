"""
What every benchmark gets, and what it gives back.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.workers import Workers, workers

__all__ = (
    "Row",
    "Run",
    "Table",
    "at_least",
    "at_most",
    "median",
    "medians",
    "number",
    "rounds",
    "spread",
)


class Row(NamedTuple):
    """
    One line of a report.

    Args:
        what: What was measured.
        measured: What came of it.
        goal: What was wanted; empty if nothing in particular.
        reached: Whether that was reached.
    """

    what: str
    measured: str
    goal: str = ""
    reached: bool | None = None


class Table(NamedTuple):
    """
    More lines, without a goal.

    Args:
        title: What they tell.
        heads: Of the columns.
        rows: The cells.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


class Run:
    """
    One run of one benchmark.

    Args:
        quick: Whether everything is smaller.
        log: Where measured processes write what they have to say.
    """

    def __init__(self, *, quick: bool, log: Path) -> None:
        self.quick = quick
        self.left_out: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self._log = log
        self._began = time.monotonic()

    def of(self, full: Any, quick: Any) -> Any:
        """Return the first for the whole suite and the second for the quick one."""
        return quick if self.quick else full

    @contextmanager
    def workers(self, environ: Mapping[str, str] | None = None) -> Iterator[Workers]:
        """Give measured processes."""
        with workers(self._log, environ) as made:
            try:
                yield made
            finally:
                self.left_out.update(made.left_out)
                self.versions.update(made.versions)

    def say(self, text: str) -> None:
        """Tell whoever waits how far this is."""
        seconds = time.monotonic() - self._began
        print(f"  {seconds:5.0f} s  {text}", file=sys.stderr, flush=True)


def rounds(
    count: int, who: Sequence[Any], measure: Callable[[Any], dict[str, Any] | None]
) -> dict[str, list[dict[str, Any]]]:
    """
    Measure everybody in turn, *count* times, and return the samples by name.

    In turn, so that a disturbance of the machine hits all alike. Whoever gives
    nothing is missing from the result.
    """
    samples: dict[str, list[dict[str, Any]]] = {}
    for _ in range(count):
        for one in who:
            sample = measure(one)
            if sample is not None:
                name = one if isinstance(one, str) else "/".join(one)
                samples.setdefault(name, []).append(sample)
    return samples


def medians(
    samples: Mapping[str, Sequence[Mapping[str, Any]]], key: str
) -> dict[str, float]:
    """Return the median of *key* for everybody who has samples with it."""
    return {
        name: found
        for name, some in samples.items()
        if (found := median(some, key)) is not None
    }


def median(samples: Sequence[Mapping[str, Any]] | None, key: str) -> float | None:
    """Return the median of *key*, None without samples."""
    values = [one[key] for one in samples or () if one[key] is not None]
    return statistics.median(values) if values else None


def spread(
    samples: Sequence[Mapping[str, Any]] | None, key: str, unit: str = ""
) -> str:
    """Return the median of *key* and, of several samples, from where to where."""
    values = [one[key] for one in samples or () if one[key] is not None]
    if not values:
        return "not measured"
    middle = number(statistics.median(values))
    if len(values) == 1:
        return f"{middle}{unit}"
    return f"{middle}{unit} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Write a number with three digits that say something."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def at_least(
    what: str, value: float | None, goal: float, *, unit: str = "", shown: str = ""
) -> Row:
    """Make a row for what should be at least *goal*."""
    wanted = f"at least {number(goal)}{unit}"
    if value is None:
        return Row(what, "not measured", wanted)
    return Row(what, shown or f"{number(value)}{unit}", wanted, value >= goal)


def at_most(
    what: str, value: float | None, goal: float, *, unit: str = "", shown: str = ""
) -> Row:
    """Make a row for what should be at most *goal*."""
    wanted = f"at most {number(goal)}{unit}"
    if value is None:
        return Row(what, "not measured", wanted)
    return Row(what, shown or f"{number(value)}{unit}", wanted, value <= goal)
