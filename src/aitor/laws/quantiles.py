"""
Quantiles of times, in a fixed number of counters.

Each time goes into a bucket whose bounds grow by a constant factor, so a quantile is
told to within that factor, whatever the times are, and two histograms add up exactly.
A sample of recent times would be as small and would not show the rare slow one.
"""

import math

__all__ = ("Histogram",)

SHORTEST = 0.001
"""Seconds; what is shorter counts as this."""

FACTOR = 1.05
"""How much larger each bucket is than the one before: the error of a quantile."""

BUCKETS = 360
"""The last one begins at about 11 hours."""

_LOG_FACTOR = math.log(FACTOR)


class Histogram:
    """Counts times, in seconds."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self.total = 0
        """How many times there are."""
        self._counts: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Count one more."""
        if seconds > SHORTEST:
            bucket = int(math.log(seconds / SHORTEST) / _LOG_FACTOR) + 1
            bucket = min(bucket, BUCKETS)
        else:
            bucket = 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.total += 1

    def add_all(self, other: "Histogram") -> None:
        """Count everything that *other* has counted."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.total += other.total

    def quantile(self, share: float) -> float | None:
        """
        Return the seconds that *share* of all times do not exceed.

        The answer is within 5 % above 1 ms and below 11 hours; None where there are
        no times.
        """
        if not self.total:
            return None
        # The smallest time that at least this many do not exceed.
        left = max(1, math.ceil(share * self.total))
        for bucket in sorted(self._counts):
            left -= self._counts[bucket]
            if left <= 0:
                break
        return SHORTEST * FACTOR ** (bucket - 0.5) if bucket else SHORTEST
