"""
A failure rate: which share of a provider's calls fails, and who is asked first then.

A provider that fails a part of its calls is neither well nor down. Its circuit stays
closed, because retries get answers out of it; but where another provider is well,
new requests had better go there first. So the share is kept as a moving average, and a
provider above a threshold is *degraded*: it comes last among those that can start a
request now, but for a probe from time to time, by which it shows that it has recovered.
The idea is that of Envoy's success-rate outlier detection and Finagle's failure
accrual, without their window: an average forgets by itself and needs no history.

Two thresholds instead of one keep a provider near either from going back and forth.
"""

import math

__all__ = ("FailureRate",)

GAIN = 1 / 16
"""How much of each outcome is learned: the last few dozen calls count."""

ASSUMED = 4
"""Answers that a provider is credited with before its first call."""

DEGRADED_ABOVE = 0.5
RECOVERED_BELOW = 0.25

BY_CHANCE = 1e-9
"""So unlikely is a row of failures that is taken for the request's own fault."""

FEWEST_ASSUMED = 0.1
"""The least share of failures that is assumed where that is reckoned."""

FIRST_INTERVAL = 1.0
"""Seconds between a probe that failed and the next; doubles with each failure."""


class FailureRate:
    """
    The share of calls that failed, and when a degraded provider is probed.

    Args:
        longest_interval: The most seconds between two probes.

    Attributes:
        share: From 0 to 1, a moving average.
        degraded: Whether others are to be asked first.
    """

    __slots__ = ("_count", "_interval", "_longest", "_next_probe", "degraded", "share")

    share: float
    degraded: bool

    def __init__(self, longest_interval: float) -> None:
        self.share = 0.0
        self.degraded = False
        self._count = ASSUMED
        self._longest = longest_interval
        self._interval = min(FIRST_INTERVAL, longest_interval)
        self._next_probe = 0.0

    def record(self, now: float, *, failed: bool) -> None:
        """Learn how a call ended."""
        self._count += 1
        gain = max(GAIN, 1.0 / self._count)
        self.share += ((1.0 if failed else 0.0) - self.share) * gain
        if not self.degraded:
            if self.share < DEGRADED_ABOVE:
                return
            self.degraded = True
            self._interval = min(FIRST_INTERVAL, self._longest)
            self._next_probe = now + self._interval
        elif self.share < RECOVERED_BELOW:
            self.degraded = False
        elif not failed:
            self._interval = min(FIRST_INTERVAL, self._longest)
            self._next_probe = now

    def most_tries(self) -> int:
        """
        Return how often one request may fail before it is its own fault.

        Where others get through, no request fails so often in a row by chance.
        """
        share = min(max(self.share, FEWEST_ASSUMED), 0.95)
        return math.ceil(math.log(BY_CHANCE) / math.log(share))

    def probe(self, now: float) -> bool:
        """
        Whether a request may go to this degraded provider first, as a probe.

        Who is told so is expected to go: the next one is told so after an interval
        that doubles, unless the probe is answered.
        """
        if now < self._next_probe:
            return False
        self._next_probe = now + self._interval
        self._interval = min(2.0 * self._interval, self._longest)
        return True
