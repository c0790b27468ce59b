"""
A token bucket over several limits: how fast work may leave, decided without waiting.

The bucket is arithmetic and nothing else. It never reads a clock and never sleeps:
the caller brings the time and is told when to come back. That time is a schedule (the
generic cell rate algorithm's idea): it depends on what was started and not on when
it is asked for. So a caller who waits until exactly then may start, no one has to
be woken, and no wait is too small to move a clock.

Two rules keep a limit of N a minute, each in every dimension that is limited:

1.  The window (`aitor.laws.window`): what starts within any 60 seconds is N at most.
    This is the promise. On its own it would send N at once and then be silent.
2.  The pace (`aitor.laws.pace`): tokens come evenly, N a minute, and a request starts
    when there are as many as it takes. On its own it would let through a burst more
    than N in the first minute.

Requests, tokens, input tokens and output tokens are taken together or not at all,
so nothing is held while something else is missing. What a request uses is only known
at its end: a reservation takes the estimate, and settling it counts the truth in
its place, at the time when it started.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from aitor.laws.pace import Pace
from aitor.laws.window import Amounts, Slot, Window

__all__ = (
    "DIMENSIONS",
    "NO_COST",
    "ONE_CALL",
    "Cost",
    "Level",
    "Reservation",
    "TokenBucket",
)

DIMENSIONS = ("requests", "tokens", "input_tokens", "output_tokens")
"""What can be limited; `tokens` are those of both kinds together."""

MOST_BELIEVED = 1e12
"""No vendor allows, has left, or charges more; who says so is not believed."""

FADE_PERIODS = 2.0
"""For so many of its periods a limit holds that a server does not tell any more."""

LONG_AGO = -1e9
"""Before any clock: the last start of a bucket that has started nothing."""


class Cost(NamedTuple):
    """
    What a request takes from a bucket: an estimate before, a fact after.

    Args:
        requests: Calls on the wire.
        input_tokens: Tokens sent.
        output_tokens: Tokens generated.
    """

    requests: float = 1
    input_tokens: float = 0
    output_tokens: float = 0

    # A cost is a tuple for speed only: + adds amounts, it does not join.
    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        return Cost(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self[0] - other[0], self[1] - other[1], self[2] - other[2])


NO_COST = Cost(0, 0, 0)
ONE_CALL = Cost(1, 0, 0)
NOTHING: Amounts = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Level:
    """
    One dimension of a bucket at one instant.

    Args:
        limit: What any minute allows.
        available: What may go at once; negative while something is owed.
        rate: What comes back each second.
    """

    limit: float
    available: float
    rate: float


class Reservation:
    """
    What one request holds of a bucket until it is settled.

    Args:
        cost: What was taken.
        slot: Where it counts; None if nothing was limited.
        amounts: The cost by dimension.
        most: As what each of them counted at most; 0 where none was limited.
    """

    __slots__ = ("amounts", "cost", "most", "slot")

    def __init__(
        self, cost: Cost, slot: Slot | None, amounts: Amounts, most: Sequence[float]
    ) -> None:
        self.cost = cost
        self.slot = slot
        self.amounts = amounts
        self.most = most


class TokenBucket:
    """
    Lets at most N a minute through, in any 60 seconds, of all that is limited.

    What counts is what was used, once that is known. Built for one caller who asks
    for the head of its queue: that is what keeps a large request from being
    overtaken for ever by small ones. One that is larger than a whole limit starts
    where nothing else has for a minute, and counts as the limit.

    Args:
        requests_per_minute: Most calls; None for no limit, here and below.
        tokens_per_minute: Most tokens, input and output together.
        input_tokens_per_minute: Most tokens sent.
        output_tokens_per_minute: Most tokens generated.
        burst: Share of each limit that may go at once, 0 to 0.5; a single request
            always may.

    Raises:
        ValueError: If a setting is not in its range.
    """

    __slots__ = (
        "_answer",
        "_asked",
        "_burst",
        "_configured",
        "_fade_at",
        "_last_start",
        "_most",
        "_observed",
        "_open",
        "_paces",
        "_slow_factor",
        "_slow_until",
        "_window",
        "counts_tokens",
        "held_until",
    )

    counts_tokens: bool
    """Whether tokens are limited at all, not only calls."""

    held_until: float
    """When the last hold ends or ended."""

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        input_tokens_per_minute: float | None = None,
        output_tokens_per_minute: float | None = None,
        burst: float = 0.01,
    ) -> None:
        if not 0.0 <= burst <= 0.5:
            raise ValueError(f"'burst' must be from 0 to 0.5, and is {burst}")
        self._burst = burst
        self._configured: dict[str, float] = {}
        self._paces: dict[str, Pace] = {}
        self._window = Window()
        # The caps of the paces by dimension.
        self._most: Sequence[float] = NOTHING
        self.counts_tokens = False
        limits = (
            requests_per_minute,
            tokens_per_minute,
            input_tokens_per_minute,
            output_tokens_per_minute,
        )
        for dimension, limit in zip(DIMENSIONS, limits, strict=True):
            if limit is not None:
                if not 0.0 < limit < math.inf:
                    raise ValueError(
                        f"'{dimension}_per_minute' must be finite and more than 0, "
                        f"and is {limit}"
                    )
                self._configured[dimension] = limit
                self._add_pace(dimension, limit)
        self._last_start = LONG_AGO
        # When a limit fades that a server told, unless it is told again.
        self._observed: dict[str, float] = {}
        self._fade_at = math.inf
        # The last question to `ready_at` and its answer, while it still holds.
        self._asked: Cost | None = None
        self._answer = LONG_AGO
        self._open: set[Reservation] = set()
        self._slow_factor = 1.0
        self._slow_until = LONG_AGO
        self.held_until = LONG_AGO

    def ready_at(self, cost: Cost, now: float, ahead: Cost = NO_COST) -> float:
        """
        Return when *cost* may start, *now* if it may at once.

        A `take` at that time succeeds, unless something else was taken, charged or
        observed in between.

        Args:
            cost: What is to start.
            now: The time.
            ahead: What is to start before it. What is returned is then a lower
                bound, for the order and the sizes are not known.
        """
        start = self.held_until
        if start < now:
            start = now
        if now >= self._fade_at:
            self._fade(now)
        if self._paces:
            if ahead != NO_COST:
                scheduled = now + self._wait_at_least(cost + ahead, now)
            else:
                scheduled = self._schedule(_by_dimension(cost))
                self._asked, self._answer = cost, scheduled
            if scheduled > start:
                return scheduled
        return start

    def take(self, cost: Cost, now: float) -> Reservation:
        """
        Take *cost* from every limit and return what settles it.

        Raises:
            ValueError: If it is not `ready_at` *now*.
        """
        if now < self.held_until:
            raise self._too_early(cost, now)
        slot, amounts = None, NOTHING
        if self._paces:
            amounts = _by_dimension(cost)
            # Who takes has asked just before, as a rule.
            if cost is not self._asked:
                self._answer = self._schedule(amounts)
            if now < self._answer:
                raise self._too_early(cost, now)
            self._asked = None
            elapsed = self._elapsed(now)
            for pace in self._paces.values():
                pace.take(amounts[pace.dimension], elapsed)
            self._window.lapse(now)
            slot = self._window.add(amounts, now)
        self._last_start = now
        reservation = Reservation(cost, slot, amounts, self._most)
        self._open.add(reservation)
        return reservation

    def settle(self, reservation: Reservation, used: Cost, now: float) -> None:
        """
        Count *used* in place of what *reservation* had taken, once.

        What it had taken too much may go at once. What it had taken too little is
        owed, and holds up those who come next. Either counts as the limit at most, as
        it is and as it was. A *used* that is no amount of tokens is not believed.

        Raises:
            ValueError: If it is not a reservation of this bucket, or settled before.
        """
        try:
            self._open.remove(reservation)
        except KeyError:
            raise ValueError(f"not open in this bucket: {reservation}") from None
        if reservation.slot is None:
            return
        # What a server says was used may be anything; then what was taken stays.
        if not (0 <= used[1] <= MOST_BELIEVED and 0 <= used[2] <= MOST_BELIEVED):
            return
        self._asked = None
        requests, inputs, outputs = used
        taken = reservation.amounts
        truth = (requests, inputs + outputs, inputs, outputs)
        self._window.lapse(now)
        self._window.change(reservation.slot, _differences(truth, taken))
        limits = reservation.most
        for pace in self._paces.values():
            dimension = pace.dimension
            before, after = taken[dimension], truth[dimension]
            most = limits[dimension]
            if most > pace.cap:
                most = pace.cap
            if before > most:
                before = most
            if after > most:
                after = most
            pace.change(after - before)

    def counted(self, cost: Cost) -> Cost:
        """Return as what *cost* counts: in no dimension as more than its limit."""
        share = 1.0
        for amount, most in zip(_by_dimension(cost), self._most, strict=True):
            if 0.0 < most < amount:
                share = min(share, most / amount)
        return cost if share == 1.0 else Cost(cost[0], cost[1] * share, cost[2] * share)

    def cancel(self, reservation: Reservation, now: float) -> None:
        """
        Give all of *reservation* back: it used nothing.

        Raises:
            ValueError: As `settle` does.
        """
        self.settle(reservation, NO_COST, now)

    @property
    def reserved(self) -> Cost:
        """What is taken and not settled yet."""
        return sum((one.cost for one in self._open), NO_COST)

    def hold_until(self, time: float) -> None:
        """Start nothing before *time*; the latest of all such times counts."""
        self.held_until = max(self.held_until, time)

    def end_hold(self, now: float) -> None:
        """Let the hold that is in force end *now*."""
        self.held_until = min(self.held_until, now)

    def drop_burst(self, now: float) -> None:
        """Keep nothing for later: from *now* on tokens come evenly."""
        elapsed = self._elapsed(now)
        for pace in self._paces.values():
            pace.set_level(min(pace.available(elapsed), 0.0), elapsed)
        self._asked = None

    def slow_down(self, factor: float, until: float) -> None:
        """
        Multiply the pace by *factor*, from the last start until *until*.

        The last call counts: it replaces one that is still in force.

        Raises:
            ValueError: If *factor* is not more than 0 and at most 1.
        """
        if not 0.0 < factor <= 1.0:
            raise ValueError(f"'factor' must be more than 0, at most 1, not {factor}")
        self._slow_factor = factor
        self._slow_until = until
        self._asked = None

    def observe(
        self,
        dimension: str,
        limit: float | None,
        remaining: float | None,
        now: float,
        period: float = 60.0,
    ) -> None:
        """
        Believe a server's headers as far as they ask for less than we allow.

        Args:
            dimension: One of `DIMENSIONS`; others are not ours.
            limit: The server's limit per minute. It holds where it is lower than the
                one configured, or where none is, until the server has not told it
                for `FADE_PERIODS`.
            remaining: What the server has left, which bounds what may go at once;
                it never adds to it.
            now: The time.
            period: For how many seconds the server counts.
        """
        pace = self._paces.get(dimension)
        if pace is None and dimension not in DIMENSIONS:
            return
        elapsed = self._elapsed(now)
        # Whatever is not a number between the two fails these tests.
        if limit is not None and 1.0 <= limit <= MOST_BELIEVED:
            limit = min(limit, self._configured.get(dimension, limit))
            if limit != self._configured.get(dimension):
                fades = now + FADE_PERIODS * period
                self._observed[dimension] = fades
                self._fade_at = min(self._fade_at, fades)
            if pace is None:
                pace = self._add_pace(dimension, limit)
                pace.set_level(pace.burst, elapsed)
            elif pace.limit != limit:
                pace.change_limit(limit, elapsed)
                self._note_most()
        if (
            pace is not None
            and remaining is not None
            and 0.0 <= remaining < pace.saved(elapsed)
        ):
            pace.set_level(remaining, elapsed)
        self._asked = None

    def _fade(self, now: float) -> None:
        """Forget the limits that the server does not tell any more."""
        self._fade_at = math.inf
        for dimension, fades in list(self._observed.items()):
            if now < fades:
                self._fade_at = min(self._fade_at, fades)
                continue
            del self._observed[dimension]
            configured = self._configured.get(dimension)
            if configured is not None:
                self._paces[dimension].change_limit(configured, self._elapsed(now))
            else:
                del self._paces[dimension]
        self.counts_tokens = any(name != "requests" for name in self._paces)
        self._note_most()
        self._asked = None

    def levels(self, now: float) -> Mapping[str, Level]:
        """Return how full each limited dimension is, as a frozen snapshot."""
        elapsed = self._elapsed(now)
        slow = self._slow_factor if now < self._slow_until else 1.0
        self._window.lapse(now)
        return MappingProxyType(
            {
                dimension: Level(
                    limit=pace.limit,
                    available=min(
                        pace.available(elapsed),
                        pace.limit - self._window.totals[pace.dimension],
                    ),
                    rate=pace.rate * slow,
                )
                for dimension, pace in self._paces.items()
            }
        )

    def _schedule(self, amounts: Amounts) -> float:
        wait, start = 0.0, LONG_AGO
        totals = self._window.totals
        for pace in self._paces.values():
            dimension = pace.dimension
            amount = amounts[dimension]
            if amount > pace.cap:
                amount = pace.cap
            missing = amount - pace.level - pace.returned
            if missing > wait * pace.rate:
                wait = missing / pace.rate
            excess = totals[dimension] + amount - pace.cap
            if excess > pace.slack:
                start = max(start, self._window.room_at(dimension, excess))
        return max(start, self._later(wait))

    def _too_early(self, cost: Cost, now: float) -> ValueError:
        ready = self.ready_at(cost, now)
        return ValueError(f"taken at {now}, but not ready before {ready}: {cost}")

    def _wait_at_least(self, cost: Cost, now: float) -> float:
        amounts = _by_dimension(cost)
        elapsed = max(now - self._last_start, 0.0)
        missing = [
            (amounts[pace.dimension] - pace.saved(elapsed)) / pace.rate
            for pace in self._paces.values()
        ]
        return max(0.0, *missing)

    def _add_pace(self, dimension: str, limit: float) -> Pace:
        pace = Pace(DIMENSIONS.index(dimension), limit, self._burst)
        self._paces[dimension] = pace
        self.counts_tokens = self.counts_tokens or dimension != "requests"
        self._window.watch(pace.dimension)
        self._note_most()
        return pace

    def _note_most(self) -> None:
        # A new one: reservations keep the old.
        self._most = most = [0.0] * len(DIMENSIONS)
        for pace in self._paces.values():
            most[pace.dimension] = pace.cap

    # The seconds of the pace: those of the clock, but fewer while slowed down. A
    # clock that stepped back to before the last start stands still for it, since
    # tokens that it brought would come a second time.

    def _elapsed(self, now: float) -> float:
        elapsed = now - self._last_start
        if elapsed < 0.0:
            return 0.0
        if self._slow_until > self._last_start:
            slow = self._slow_until - self._last_start
            factor = self._slow_factor
            elapsed = max(factor * elapsed, elapsed - slow * (1.0 - factor))
        return elapsed

    def _later(self, wait: float) -> float:
        if self._slow_until > self._last_start:
            slow = self._slow_until - self._last_start
            factor = self._slow_factor
            wait = min(wait / factor, wait + slow * (1.0 - factor))
        return self._last_start + wait


def _by_dimension(cost: Cost) -> Amounts:
    requests, inputs, outputs = cost
    tokens = inputs + outputs
    # A guess that is no amount would never leave the sums again.
    if not 0 <= tokens <= MOST_BELIEVED:
        inputs, outputs = _believable(inputs), _believable(outputs)
        tokens = inputs + outputs
    return requests, tokens, inputs, outputs


def _believable(tokens: float) -> float:
    # In this order a NaN is nothing.
    return min(max(0.0, tokens), MOST_BELIEVED)


def _differences(a: Amounts, b: Amounts) -> Amounts:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]
