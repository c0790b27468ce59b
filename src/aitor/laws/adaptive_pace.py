"""
An adaptive pace: how fast calls go to a server that goes on saying "too many".

A limit that nobody configured and no header tells shows itself by 429s alone. What the
server let through lately, pauses included, is the rate that it bears. A little less is
sent from then on, a little more with each second, and after a minute without a reason
any pace is right again. That is additive increase and multiplicative decrease (Chiu and
Jain, 1989), started from a measured rate instead of from a guess.

As with `aitor.laws.adaptive_concurrency`, to send less has to help: where as many calls
are refused at the slower pace as before, the pace is not what the server minds, and any
is right again.
"""

import math

__all__ = ("AdaptivePace",)

TOLERATED = 0.1
"""A share of refused calls, as far as it is certain, that is no reason to go slower."""

HELPED = 0.75
"""Going slower has helped if no more than this part of the share is refused then."""

DECREASE = 0.9
"""What is sent of the rate that the server let through."""

MOST_DECREASE = 0.7
"""No more than down to this part of its rate is a pace taken at once."""

INCREASE = 0.1
"""What the rate gains each second, as a share of what it was decreased to."""

FORGET_SECONDS = 60.0
"""So long after the last decrease nothing is known of a limit any more."""

ENOUGH = 4
"""Answers at least that make a rate."""

MANY, LONG = 32, 1.0
"""Calls, and seconds, after which the rate is judged where no pause makes an end."""


class AdaptivePace:
    """Spaces starts evenly, at a rate that is found out; at any rate to begin with."""

    __slots__ = (
        "_answered",
        "_began",
        "_decreased_at",
        "_hold_until",
        "_last",
        "_rate",
        "_refused",
        "_trial",
    )

    def __init__(self) -> None:
        self._rate = math.inf  # starts a second, when it was decreased
        self._decreased_at = -math.inf
        self._hold_until = -math.inf
        self._trial = 0.0  # the share that was refused before the pace on trial
        self._last = -math.inf
        # What is being measured, and since when.
        self._began = -math.inf
        self._answered = 0
        self._refused = 0

    def answered(self, sent: float, now: float) -> None:
        """Learn that a call got through, which was sent then."""
        if sent >= self._began:
            self._answered += 1
            self._measured(now)

    def refused(self, sent: float, now: float) -> None:
        """Learn that a call was refused because there were too many."""
        if self._began == -math.inf:
            self._measure_anew(sent)
        # Those that were sent at another pace say nothing of this one.
        if sent >= self._began:
            self._refused += 1
            self._measured(now)

    def paused(self, now: float) -> None:
        """Learn that everybody pauses: what was sent since the last pause was more."""
        if self._answered >= ENOUGH and now > self._began:
            self._judge(now)

    def started(self, now: float) -> None:
        """Learn that a call has started."""
        self._last = now

    def rate(self, now: float) -> float:
        """Return the starts a second that are allowed; infinity for any."""
        since = now - self._decreased_at
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
        before = 1.0 + INCREASE * (self._last - self._decreased_at)
        root = math.sqrt(before * before + 4.0 * INCREASE / rate)
        start = self._last + (root - before) / (2.0 * INCREASE)
        return max(now, min(start, self._decreased_at + FORGET_SECONDS))

    def _measured(self, now: float) -> None:
        if self._answered + self._refused >= MANY and now - self._began >= LONG:
            self._judge(now)

    def _judge(self, now: float) -> None:
        calls = self._answered + self._refused
        share = self._refused / calls
        # One refusal among a few calls is chance, and no pace.
        certain = share - math.sqrt(share * (1.0 - share) / calls)
        elapsed = now - self._began
        trial, self._trial = self._trial, 0.0
        if trial and share > HELPED * trial:
            self._rate = math.inf
            self._hold_until = now + FORGET_SECONDS
        elif (
            certain > TOLERATED and now >= self._hold_until and self._answered >= ENOUGH
        ):
            rate = self.rate(now)
            if rate == math.inf:
                self._trial = share
                rate = 0.0
            self._rate = max(DECREASE * self._answered / elapsed, MOST_DECREASE * rate)
            self._decreased_at = now
        self._measure_anew(now)

    def _measure_anew(self, now: float) -> None:
        self._began = now
        self._answered = self._refused = 0
