"""
How a run went over time, in a bounded number of samples.

A sampler does not know how long a run will be. It begins with a fine step; whenever
there are too many samples it keeps every second one and doubles the step. What is
counted in a sample has been added up since the start, so nothing is lost by that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

__all__ = ("CIRCUITS", "History", "Sample", "Sums")

CIRCUITS = ("closed", "half-open", "open")
"""States of a circuit; the worst comes last."""

FINEST = 0.01
"""Seconds between the first samples."""

MOST = 240
"""Samples that are kept at most."""

Sums: TypeAlias = dict[tuple[str, str], float]
"""Amounts by provider (or "" for the batch) and by name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """
    Everything at one instant.

    Args:
        time: Seconds since the start.
        sums: What was counted since the start.
        waiting: Requests that wait, by provider.
        running: Calls that run, by provider.
        circuits: The worst state of each circuit since the last sample.
    """

    time: float
    sums: Sums
    waiting: Mapping[str, int]
    running: Mapping[str, int]
    circuits: Mapping[str, str]


class History:
    """Samples at even times, never more than twice as fine as can be looked at."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._step = FINEST

    @property
    def next_time(self) -> float:
        """When the next sample is due."""
        return self.samples[-1].time + self._step if self.samples else 0.0

    def add(self, sample: Sample) -> None:
        """Add *sample*, which is due."""
        self.samples.append(sample)
        if len(self.samples) > MOST:
            self._step *= 2
            pairs = zip(self.samples[1::2], self.samples[2::2], strict=True)
            self.samples = [self.samples[0], *(_merged(*pair) for pair in pairs)]


def _merged(first: Sample, second: Sample) -> Sample:
    worst = {
        name: max(state, second.circuits[name], key=CIRCUITS.index)
        for name, state in first.circuits.items()
    }
    return replace(second, circuits=worst)
