"""
Adaptive concurrency: how many calls a server bears at once, found out by asking.

A server that is full says so: 503, 529, a refused connection, a full queue; or it says
nothing and its first bytes come later and later. Sending it less helps only where what
one sends is the cause, and whether it is can be tried: a lower limit is on trial for a
round of calls. If fewer are refused then, or the first bytes come sooner, it stays; if
not, the limit goes back up, and what was seen is taken for the server's own noise. That
is what keeps a server that fails 30 % of its calls at random at full speed, where TCP's
rule would starve it, and lets one that takes two at a time have two.

Time to first byte counts and whole durations do not, since those grow with the length
of the answer. While all is well, a lower limit is tried once in a while, too: where the
first bytes then come sooner, calls had been waiting inside of the server.

Sources: Netflix's concurrency-limits (Gradient2: a limit from the ratio of usual and
present latency), Envoy's adaptive concurrency filter (the minimum must be measured at
a lower limit), TCP (a round of calls as the unit of time; growth while all is well).
What is ours is the trial: neither of them faces servers whose errors and latencies are
mostly not the caller's doing.
"""

import math
from typing import NamedTuple

__all__ = ("AdaptiveConcurrency",)

ROUND = 8
"""Calls at least that a round is judged by; more where the limit is higher."""

TOLERATED = 0.05
"""A share of the places that goes to refused calls, and is no reason to send less."""

MANY = 0.25
"""A share of refused calls of which nothing is tolerated above the noise."""

QUICK = 0.5
"""A call is refused at once if that takes less than this part of a served call."""

FEWER = 0.75
"""Fewer calls are refused if their share of the places is this part of what it was."""

LATER = 1.1
"""The first bytes come later if they certainly take so many times the best."""

SOONER = 0.9
"""The first bytes come sooner if they take no more than this part of what they took."""

EXPLORED = 0.75
"""The limit that is tried though nothing is wrong, as a share of the present one."""

HOLD_SECONDS = 5.0
"""After a trial that did not help, nothing lower is tried for so long..."""

EXPLORE_SECONDS = 10.0
"""... and after one for which there was no cause, for so long without a cause."""

FIRST_REST, LONGEST_REST = 1.0, 8.0
"""Seconds without growth after the limit came down; twice as long each time."""

STEP, MOST_STEPS = 0.1, 5
"""Growth in a good round, as a share of the limit, and in a row of such at most."""


class _Round:
    """Calls that were sent under one limit."""

    __slots__ = ("began", "calls", "full", "lost", "refused", "since")

    def __init__(self, began: float) -> None:
        self.began = began
        self.full = False  # whether as many ran as the limit allows
        self.calls = 0
        self.refused = 0
        self.lost = 0.0  # seconds of those
        self.since = math.inf  # when the first of them was sent

    def wasted(self, now: float) -> float:
        """Return how many on average were in flight for nothing (Little's law)."""
        return self.lost / max(now - self.since, 1e-9)

    def quick(self, usual: float) -> bool:
        """Whether calls are refused in less time than they are *usual*ly served."""
        return self.lost < QUICK * usual * self.refused

    def share(self, now: float, limit: float, usual: float) -> float:
        """
        Return the share that was refused: of the calls, or of *limit* places in time.

        Of calls that are refused at once there are many, each of them a small waste.
        """
        if self.quick(usual):
            return min(self.wasted(now) / limit, 1.0)
        return self.refused / self.calls

    def error(self, share: float) -> float:
        """Return the standard error of *share*."""
        return math.sqrt(share * (1.0 - share) / self.calls)


class _Trial(NamedTuple):
    """
    A lower limit, tried for a round.

    Args:
        limit: What it was before.
        share: The share of the places that refused calls had then; 0 where that is
            not what is tried.
        first_byte: Mean seconds to the first byte then; 0 likewise.
        cause: Whether something was wrong.
    """

    limit: float
    share: float
    first_byte: float
    cause: bool


class AdaptiveConcurrency:
    """
    The most calls that may be in flight, from 1 to *ceiling*.

    Args:
        ceiling: The most that is allowed; where it starts.

    Attributes:
        limit: The most calls in flight now, a whole number.
    """

    __slots__ = (
        "_best",
        "_ceiling",
        "_exact",
        "_explore_at",
        "_first_bytes",
        "_good",
        "_grow_at",
        "_hold_until",
        "_noise",
        "_rest",
        "_round",
        "_steady",
        "_trial",
        "_usual",
        "limit",
    )

    limit: int

    def __init__(self, ceiling: int) -> None:
        self._ceiling = float(ceiling)
        self.limit = ceiling
        self._exact = self._ceiling
        self._round = _Round(-math.inf)
        self._first_bytes: list[float] = []
        self._trial: _Trial | None = None
        self._usual = 0.0  # seconds that a served call takes
        self._noise = 0.0  # the share that goes to refused calls whatever is sent
        self._best = 0.0  # mean seconds to the first byte while all is well
        self._good = 0  # good rounds in a row
        self._steady = False  # whether the limit was reached in the round before
        self._rest = FIRST_REST
        self._grow_at = -math.inf
        self._hold_until = -math.inf
        self._explore_at = -math.inf

    def started(self, in_flight: int) -> None:
        """Learn that a call has started, and *in_flight* run now."""
        if in_flight >= self.limit:
            self._round.full = True

    def ended(
        self, sent: float, now: float, *, refused: bool, first_byte: float | None
    ) -> None:
        """
        Learn how a call ended.

        Args:
            sent: When it was sent.
            now: The time.
            refused: Whether the server had no room for it.
            first_byte: Seconds until its answer began, where that is known.
        """
        this = self._round
        if sent <= this.began:
            return
        seconds = now - sent
        this.calls += 1
        this.since = min(this.since, sent)
        if refused:
            this.refused += 1
            this.lost += seconds
        else:
            self._usual += (seconds - self._usual) / 8 if self._usual else seconds
            if first_byte is not None:
                self._first_bytes.append(first_byte)
        # Of calls that are refused at once there are many before one that is served
        # has ended. Where none ever was, the server is down, and not full.
        if (
            self._usual
            and this.calls >= max(ROUND, self.limit)
            and now - this.began >= self._usual
        ):
            self._judge(now)

    def _judge(self, now: float) -> None:
        this = self._round
        mean, certain = self._first_byte()
        self._round = _Round(now)
        if self._trial is not None and not self._passed(self._trial, this, mean, now):
            return
        share = this.share(now, self._exact, self._usual)
        certain_share = share - this.error(share)
        # Calls that are refused at once may be many in little time.
        many = this.quick(self._usual) and this.refused > MANY * this.calls
        if certain_share > self._noise + (0.0 if many else TOLERATED):
            self._good = 0
            if now >= self._hold_until:
                lower = self._exact - max(this.wasted(now), self._exact * share)
                self._try(lower, _Trial(self._exact, share, 0.0, cause=True), now)
            return
        noise = 0.9 * self._noise + 0.1 * share
        # Where the limit has grown by itself, more are refused because of that.
        at_ceiling = self._exact == self._ceiling
        self._noise = noise if at_ceiling else min(self._noise, noise)
        if not mean:
            self._grow(this, now)
        elif self._best and certain > LATER * self._best:
            self._good = 0
            if now >= self._hold_until:
                lower = self._exact * max(self._best / certain, 0.5)
                self._try(lower, _Trial(self._exact, 0.0, mean, cause=True), now)
        else:
            self._best += (mean - self._best) * (0.1 if self._best else 1.0)
            steady, self._steady = self._steady, this.full
            if this.full and steady and now >= self._explore_at:
                lower = self._exact * EXPLORED
                self._try(lower, _Trial(self._exact, 0.0, mean, cause=False), now)
            else:
                self._grow(this, now)

    def _first_byte(self) -> tuple[float, float]:
        """Return the mean seconds to the first byte, and what it certainly is."""
        seen, self._first_bytes = self._first_bytes, []
        if len(seen) < ROUND:
            return 0.0, 0.0
        mean = sum(seen) / len(seen)
        variance = sum((one - mean) ** 2 for one in seen) / len(seen)
        return mean, mean - 2.0 * math.sqrt(variance / len(seen))

    def _try(self, lower: float, trial: _Trial, now: float) -> None:
        self._trial = trial
        self._set(min(lower, self._exact - 1.0))
        if trial.cause:
            self._grow_at = now + self._rest
            self._rest = min(2.0 * self._rest, LONGEST_REST)

    def _passed(self, trial: _Trial, this: _Round, mean: float, now: float) -> bool:
        """Whether the limit on *trial* has helped; otherwise it goes back up."""
        self._trial = None
        if trial.share:
            share = this.share(now, self._exact, self._usual)
            helped = share + this.error(share) <= FEWER * trial.share
        else:
            helped = 0.0 < mean <= SOONER * trial.first_byte
        if helped:
            self._best = min(self._best or mean, mean or self._best)
            return True
        self._set(trial.limit)
        if trial.share:
            self._noise = max(self._noise, min(share, trial.share))
        elif mean and trial.cause:
            self._best = mean
        if trial.cause:
            self._hold_until = now + HOLD_SECONDS
            self._grow_at = min(self._grow_at, now)
        else:
            self._explore_at = now + EXPLORE_SECONDS
        return False

    def _grow(self, this: _Round, now: float) -> None:
        if not this.full or now < self._grow_at or self._exact == self._ceiling:
            return
        self._good += 1
        if self._good >= 2:
            # It has grown before, and that was well.
            self._rest = FIRST_REST
        steps = min(self._good, MOST_STEPS)
        self._set(self._exact + max(1.0, self._exact * STEP * steps))

    def _set(self, limit: float) -> None:
        self._exact = min(max(limit, 1.0), self._ceiling)
        self.limit = int(self._exact)
