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
RECOVERED_BELOW = 0.2

BY_CHANCE = 1e-9
"""So unlikely is a row of failures that is taken for the request's own fault."""

LEAST_SHARE, GREATEST_SHARE = 0.1, 0.95
"""What is assumed at least and at most of others where that is calculated."""

PROBES_EARNED = 2
"""Further probes for each that is answered, but for the first: doubling, as in TCP's
slow start."""

FIRST_INTERVAL = 1.0
"""Seconds between a probe that failed and the next; doubles with each failure."""


class FailureRate:
    """
    The share of calls that failed, and when a degraded provider is probed.

    Args:
        longest_interval: The most seconds between two probes.

    Attributes:
        answered: Calls that were answered, ever.
        failed: Calls that failed, ever.
        share: From 0 to 1, a moving average.
        degraded: Whether others are to be asked first.
    """

    __slots__ = (
        "_count",
        "_earned",
        "_in_a_row",
        "_interval",
        "_longest",
        "_next_probe",
        "answered",
        "degraded",
        "failed",
        "share",
    )

    answered: int
    failed: int
    share: float
    degraded: bool

    def __init__(self, longest_interval: float) -> None:
        self.answered = 0
        self.failed = 0
        self.share = 0.0
        self.degraded = False
        self._count = ASSUMED
        self._longest = longest_interval
        self._interval = min(FIRST_INTERVAL, longest_interval)
        self._next_probe = 0.0
        self._earned = 0  # probes that may go at once
        self._in_a_row = 0  # answers while it is degraded

    def record(self, now: float, *, failed: bool) -> None:
        """Learn how a call ended."""
        if failed:
            self.failed += 1
        else:
            self.answered += 1
        self._count += 1
        gain = max(GAIN, 1.0 / self._count)
        self.share += ((1.0 if failed else 0.0) - self.share) * gain
        if not self.degraded:
            if self.share < DEGRADED_ABOVE:
                return
            self.degraded = True
            self._in_a_row = 0
            self._interval = min(FIRST_INTERVAL, self._longest)
            self._next_probe = now + self._interval
        elif self.share < RECOVERED_BELOW:
            self.degraded = False
            self._earned = 0
        elif failed:
            self._earned = self._in_a_row = 0
            self._next_probe = max(self._next_probe, now + self._interval)
        else:
            self._interval = min(FIRST_INTERVAL, self._longest)
            self._in_a_row += 1
            # One that answers every other call would earn its probes for ever.
            self._earned += 1 if self._in_a_row == 1 else PROBES_EARNED

    def is_its_own_fault(self, failures: int, answered: int, failed: int) -> bool:
        """
        Whether one request has failed so often that chance does not explain it.

        Where others got through meanwhile, no request fails so often in a row.

        Args:
            failures: How often it has failed, in a row.
            answered: What `answered` was when it first had failed.
            failed: What `failed` was then.
        """
        others = self.failed - failed - (failures - 1)
        share = (others + 1.0) / (others + self.answered - answered + 2.0)
        share = min(max(share, LEAST_SHARE), GREATEST_SHARE)
        return failures >= math.log(BY_CHANCE) / math.log(share)

    def probe(self, now: float) -> bool:
        """
        Whether a request may go to this degraded provider first, as a probe.

        Who is told so is expected to go: the next one is told so after an interval
        that doubles, or when a probe is answered.
        """
        if self._earned:
            self._earned -= 1
            return True
        if now < self._next_probe:
            return False
        self._next_probe = now + self._interval
        self._interval = min(2.0 * self._interval, self._longest)
        return True
