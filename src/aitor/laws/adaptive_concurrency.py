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
"""A share of refused calls that is no reason to send less."""

MOST = 0.5
"""A share of refused calls that is a reason also where the limit was not reached."""

FEWER = 0.75
"""Fewer calls are refused if, of the places, it is certainly this part of before."""

LATER = 1.1
"""The first bytes come later if they certainly take so many times the best."""

SOONER = 0.9
"""The first bytes come sooner if they take no more than this part of what they took."""

CERTAIN = 5.0
"""A trial has so many calls that this many of them would be refused as before."""

SAME = 0.75
"""A limit that has fewer calls refused stays if this part is served at a time."""

KEPT = 0.9
"""A limit that brings sooner first bytes stays if it serves this part of the calls."""

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

    __slots__ = ("answered", "began", "calls", "flown", "full", "lost", "refused")

    def __init__(self, began: float) -> None:
        self.began = began
        self.full = False  # whether as many ran as the limit allows
        self.calls = 0
        self.refused = 0
        self.answered = 0  # in its time, whenever they were sent
        self.lost = 0.0  # seconds of those
        self.flown = 0.0  # seconds of all that ran meanwhile

    @property
    def share(self) -> float:
        """The share of the calls that was refused."""
        return self.refused / self.calls

    @property
    def error(self) -> float:
        """The standard error of the share."""
        return math.sqrt(self.share * (1.0 - self.share) / self.calls)

    def rate(self, now: float) -> float:
        """Return how many calls were served a second, whenever they were sent."""
        return self.answered / max(now - self.began, 1e-9)

    def served(self, now: float) -> float:
        """Return how many on average were in flight and not for nothing."""
        # Little's law, both for those that ran and for those that were refused.
        return max(self.flown - self.lost, 0.0) / max(now - self.began, 1e-9)

    def refusals(self, now: float, limit: float, errors: float = 0.0) -> float:
        """
        Return how many were refused, in a second and for each that may be in flight.

        Args:
            now: When the round ended.
            limit: The limit of this round.
            errors: So many standard errors are added.
        """
        refused = self.refused + errors * math.sqrt(self.refused)
        return refused / max(now - self.began, 1e-9) / limit


class _Trial(NamedTuple):
    """
    A lower limit, tried for a round.

    Args:
        limit: What it was before.
        refusals: As `_Round.refusals` tells them; 0 where that is not what is tried.
        first_byte: Mean seconds to the first byte then; 0 likewise.
        served: How many were served at a time then; 0 likewise.
        rate: Calls that were served a second then.
        cause: Whether something was wrong.
    """

    limit: float
    refusals: float
    first_byte: float
    served: float
    rate: float
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
        "_enough",
        "_exact",
        "_explore_at",
        "_first_bytes",
        "_good",
        "_grow_at",
        "_hold_until",
        "_in_flight",
        "_judged_at",
        "_noise",
        "_rest",
        "_round",
        "_since",
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
        self._judged_at = -math.inf
        self._in_flight, self._since = 0, 0.0  # how many run, and since when
        self._first_bytes: list[float] = []
        self._trial: _Trial | None = None
        self._usual = 0.0  # seconds that a served call takes
        self._noise = 0.0  # the share that is refused whatever is sent
        self._best = 0.0  # mean seconds to the first byte while all is well
        self._enough = ROUND  # calls at least that this round is judged by
        self._good = 0  # good rounds in a row
        self._steady = False  # whether the limit was reached in the round before
        self._rest = FIRST_REST
        self._grow_at = -math.inf
        self._hold_until = -math.inf
        self._explore_at = -math.inf

    def changed(self, in_flight: int, now: float) -> None:
        """Learn that a call has started or ended, and *in_flight* run from *now* on."""
        this = self._round
        if this.began == -math.inf:
            this.began = self._since = now
        this.flown += self._in_flight * (now - self._since)
        self._in_flight, self._since = in_flight, now
        if in_flight >= self.limit:
            this.full = True

    def ended(
        self,
        sent: float,
        now: float,
        *,
        refused: bool,
        first_byte: float | None,
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
        this.answered += not refused
        if refused:
            this.lost += now - max(sent, this.began)
        if sent < this.began or sent == this.began == self._judged_at:
            # It was sent under another limit.
            return
        seconds = now - sent
        this.calls += 1
        if refused:
            this.refused += 1
        else:
            self._usual += (seconds - self._usual) / 8 if self._usual else seconds
            if first_byte is not None:
                self._first_bytes.append(first_byte)
        # Of calls that are refused at once there are many before one that is served
        # has ended. Where none ever was, the server is down, and not full.
        if (
            self._usual
            and this.calls >= max(self._enough, self.limit)
            and now - this.began >= self._usual
        ):
            self._judge(now)

    def _judge(self, now: float) -> None:
        this = self._round
        mean, certain = self._first_byte()
        self._round = _Round(now)
        self._judged_at = now
        if self._trial is not None and not self._passed(self._trial, this, mean, now):
            return
        rate, share = this.rate(now), this.share
        if share - this.error > self._noise + TOLERATED:
            self._good = 0
            # Where fewer run than may, what we send is hardly the cause of a few.
            if now >= self._hold_until and (this.full or share > MOST):
                served = this.served(now)
                refusals = this.refusals(now, self._exact)
                # With so many calls, none is refused by chance in one trial of 150.
                self._enough = max(ROUND, math.ceil(CERTAIN / share))
                trial = _Trial(self._exact, refusals, 0.0, served, rate, cause=True)
                self._try(served, trial, now)
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
                self._try(
                    lower, _Trial(self._exact, 0.0, mean, 0.0, rate, cause=True), now
                )
        else:
            self._best += (mean - self._best) * (0.1 if self._best else 1.0)
            steady, self._steady = self._steady, this.full
            if this.full and steady and now >= self._explore_at:
                lower = self._exact * EXPLORED
                self._try(
                    lower, _Trial(self._exact, 0.0, mean, 0.0, rate, cause=False), now
                )
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
        self._enough = ROUND
        if trial.refusals:
            refusals = this.refusals(now, self._exact, errors=1.0)
            helped = refusals <= FEWER * trial.refusals
            # What fails at random leaves fewer served.
            helped = helped and this.served(now) + 2.0 >= SAME * trial.served
        else:
            # Where nothing had to wait, fewer calls in flight are served sooner, too,
            # as in a server that works at many at once; but then they are fewer.
            helped = 0.0 < mean <= SOONER * trial.first_byte
            helped = helped and this.rate(now) >= KEPT * trial.rate
        if helped:
            self._best = min(self._best or mean, mean or self._best)
            return True
        self._set(trial.limit)
        if trial.refusals:
            self._noise = max(self._noise, this.share)
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
