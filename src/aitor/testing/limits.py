"""
A vendor's limits per minute, held exactly over every window of time.

This is the judge in tests of rate limiters, so it shares no code and no idea
with them: no bucket and no schedule, only what came in the last minute and its
sum. What is counted at one moment stops counting exactly one window later.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ("DIMENSIONS", "Excess", "LimitState", "Limits", "Window")

DIMENSIONS = ("requests", "tokens", "input_tokens", "output_tokens")


class Window:
    """
    The sum of the amounts added within the last *seconds*.
    """

    __slots__ = ("_entries", "_seconds", "_total")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, amount: int, now: float) -> None:
        """
        Count *amount* from *now* on.
        """
        self._entries.append((now, amount))
        self._total += amount

    def total(self, now: float) -> int:
        """
        Return the sum of what still counts.
        """
        entries = self._entries
        while entries and entries[0][0] + self._seconds <= now:
            self._total -= entries.popleft()[1]
        return self._total

    def delay(self, excess: int, now: float) -> float:
        """
        Return the seconds until the sum is less by *excess*, infinity if never.
        """
        for when, amount in self._entries:
            excess -= amount
            if excess <= 0:
                return when + self._seconds - now
        return math.inf

    def empty_in(self, now: float) -> float:
        """
        Return the seconds until nothing counts any more.
        """
        return self._entries[-1][0] + self._seconds - now if self._entries else 0.0


@dataclass(frozen=True, slots=True)
class Excess:
    """
    Why a request is refused: it would exceed this limit.

    Args:
        name: The dimension, for example `"input_tokens"`.
        limit: What a window may hold.
        used: What it holds.
        requested: What the request would add.
        delay: Seconds until the request would pass, infinity if never.
    """

    name: str
    limit: int
    used: int
    requested: int
    delay: float


@dataclass(frozen=True, slots=True)
class LimitState:
    """
    One limit at one moment.

    Args:
        limit: What a window may hold.
        remaining: What may still be added now.
        reset: Seconds until all of it may be added.
        violations: How many requests were refused for it.
        worst: The most that was ever asked of one window, refused requests
            counted too: at most *limit* when the client kept to it.
    """

    limit: int
    remaining: int
    reset: float
    violations: int
    worst: int


class _Limit:
    __slots__ = ("admitted", "most", "offered", "violations", "worst")

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.admitted = Window(seconds)
        self.offered = Window(seconds)
        self.violations = 0
        self.worst = 0


class Limits:
    """
    Several limits, of which a request takes from all or from none.

    Args:
        most: By dimension, what a window may hold.
        seconds: The length of a window: a limit "per minute" has 60.

    Raises:
        ValueError: If a dimension is unknown, or a limit or the window not
            above zero.
    """

    def __init__(self, most: Mapping[str, int], seconds: float = 60.0) -> None:
        if unknown := set(most) - set(DIMENSIONS):
            raise ValueError(f"no such limits: {sorted(unknown)}; see {DIMENSIONS}")
        if not seconds > 0 or not all(limit > 0 for limit in most.values()):
            raise ValueError(f"limits are above zero, not {dict(most)} in {seconds} s")
        self._limits = {name: _Limit(limit, seconds) for name, limit in most.items()}

    def admit(self, input_tokens: int, output_tokens: int, now: float) -> Excess | None:
        """
        Count one request, or return the limit that refuses it the longest.
        """
        amounts = {
            "requests": 1,
            "tokens": input_tokens + output_tokens,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
        }
        worst: Excess | None = None
        for name, limit in self._limits.items():
            excess = _offer(name, limit, amounts[name], now)
            if excess and (worst is None or excess.delay > worst.delay):
                worst = excess
        if worst is None:
            for name, limit in self._limits.items():
                limit.admitted.add(amounts[name], now)
        return worst

    def states(self, now: float) -> dict[str, LimitState]:
        """
        Return every limit as it stands *now*, by dimension.
        """
        return {
            name: LimitState(
                limit.most,
                limit.most - limit.admitted.total(now),
                limit.admitted.empty_in(now),
                limit.violations,
                limit.worst,
            )
            for name, limit in self._limits.items()
        }

    def __bool__(self) -> bool:
        return bool(self._limits)


def _offer(name: str, limit: _Limit, amount: int, now: float) -> Excess | None:
    limit.offered.add(amount, now)
    limit.worst = max(limit.worst, limit.offered.total(now))
    used = limit.admitted.total(now)
    if used + amount <= limit.most:
        return None
    limit.violations += 1
    # A request that is larger than the limit never passes, however empty it is.
    never = amount > limit.most
    delay = math.inf if never else limit.admitted.delay(used + amount - limit.most, now)
    return Excess(name, limit.most, used, amount, delay)
