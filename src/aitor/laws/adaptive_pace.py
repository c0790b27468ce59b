"""
An adaptive pace: how fast calls go to a server that goes on saying "too many".

A limit that nobody configured and no header tells shows itself by 429s alone. What the
server let through from one pause to the next, the pauses included, is the rate that it
bears; a little less than that is sent from then on, a little more with each second, and
after a minute without a pause any pace is right again. That is additive increase and
multiplicative decrease (Chiu and Jain, 1989), started from a measured rate instead of
from a guess.
"""

import math

__all__ = ("AdaptivePace",)

DECREASE = 0.9
"""What is sent of the rate that the server let through."""

INCREASE = 0.1
"""What the rate gains each second, as a share of what it was decreased to."""

FORGET_SECONDS = 60.0
"""After so long without a pause, nothing is known of a limit any more."""

ENOUGH = 4
"""Answers at least that make a rate."""


class AdaptivePace:
    """Spaces starts evenly, at a rate that is found out; at any rate to begin with."""

    __slots__ = ("_answers", "_last", "_measured_since", "_paused_at", "_rate")

    def __init__(self) -> None:
        self._rate = math.inf  # starts a second, when it was decreased
        self._paused_at = -math.inf
        self._measured_since = -math.inf
        self._answers = 0
        self._last = -math.inf

    def paused(self, now: float) -> None:
        """Learn that the server has asked everybody to wait."""
        elapsed = now - self._measured_since
        if self._answers >= ENOUGH and 0.0 < elapsed <= FORGET_SECONDS:
            self._rate = DECREASE * self._answers / elapsed
        elif now - self._paused_at > FORGET_SECONDS:
            self._rate = math.inf
        self._paused_at = self._measured_since = now
        self._answers = 0

    def answered(self) -> None:
        """Learn that a call got through."""
        self._answers += 1

    def started(self, now: float) -> None:
        """Learn that a call has started."""
        self._last = now

    def rate(self, now: float) -> float:
        """Return the starts a second that are allowed; infinity for any."""
        since = now - self._paused_at
        if self._rate == math.inf or since >= FORGET_SECONDS:
            return math.inf
        return self._rate * (1.0 + INCREASE * since)

    def ready_at(self, now: float) -> float:
        """
        Return when the next call may start, *now* if it may at once.

        It is a schedule: whoever asks again meanwhile is told the same time, though
        the rate has grown.
        """
        rate = self._rate
        if rate == math.inf or self._last == -math.inf:
            return now
        # After as many seconds as solve seconds * rate * (1 + INCREASE * since) = 1.
        before = 1.0 + INCREASE * (self._last - self._paused_at)
        root = math.sqrt(before * before + 4.0 * INCREASE / rate)
        start = self._last + (root - before) / (2.0 * INCREASE)
        return max(now, min(start, self._paused_at + FORGET_SECONDS))
