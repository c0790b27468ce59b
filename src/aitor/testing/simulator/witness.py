"""
Witnesses: the laws of the real broker, which also write down what they decide.

A breaker and a bucket are replaced by ones that do exactly the same and tell. So the
history has the order of decisions also among those of one and the same time.
"""

from collections.abc import Callable, Hashable

import anyio

from aitor.broker.limit import Limit
from aitor.laws.breaker import CircuitBreaker, Ticket, Verdict
from aitor.laws.bucket import Cost, Reservation, TokenBucket
from aitor.laws.budget import RetryBudget
from aitor.providers.settings import BreakerSettings, LimitSettings
from aitor.testing.simulator.history import (
    Admitted,
    Eased,
    Judged,
    Line,
    Settled,
    Taken,
    Withdrawn,
)

__all__ = ("WatchedBreaker", "WatchedBucket", "WatchedBudget", "watched_limit")


class WatchedBreaker(CircuitBreaker):
    """
    A breaker that tells.

    Args:
        provider: Whose it is.
        settings: As the actor's own.
        tell: Takes lines of history.
    """

    __slots__ = ("_count", "_numbers", "_provider", "_tell")

    def __init__(
        self, provider: str, settings: BreakerSettings, tell: Callable[[Line], object]
    ) -> None:
        super().__init__(**settings.model_dump())
        self._provider = provider
        self._tell = tell
        self._numbers: dict[Ticket, int] = {}
        self._count = 0

    def admit(self, now: float) -> Ticket | None:
        """Do it, and tell."""
        ticket = super().admit(now)
        if ticket is not None:
            number = 0
            if ticket.probe:
                number = self._count = self._numbers[ticket] = self._count + 1
            self._tell(Admitted(now, self._provider, ticket.generation, number))
        return ticket

    def record(
        self,
        ticket: Ticket,
        verdict: Verdict,
        now: float,
        sent: float | None = None,
        request: Hashable = None,
    ) -> None:
        """Tell, and do it."""
        number = self._numbers.pop(ticket, 0) if ticket.probe else 0
        when = now if sent is None else sent
        self._tell(
            Judged(now, self._provider, ticket.generation, number, verdict, when)
        )
        super().record(ticket, verdict, now, sent, request)

    def ease_in(self) -> None:
        """Tell, and do it."""
        self._tell(Eased(anyio.current_time(), self._provider, begins=True))
        super().ease_in()

    def resume(self) -> None:
        """Tell, and do it."""
        self._tell(Eased(anyio.current_time(), self._provider, begins=False))
        super().resume()


class WatchedBudget(RetryBudget):
    """
    A retry budget that tells.

    Args:
        ratio: As the broker's own.
        tell: Takes lines of history.
    """

    __slots__ = ("_tell",)

    def __init__(self, ratio: float, tell: Callable[[Line], object]) -> None:
        super().__init__(ratio)
        self._tell = tell

    def withdraw(self, now: float) -> bool:
        """Do it, and tell."""
        granted = super().withdraw(now)
        if granted:
            self._tell(Withdrawn(now))
        return granted


class WatchedBucket(TokenBucket):
    """
    A bucket that tells.

    Args:
        limit: Whose it is.
        settings: As the limit's own.
        tell: Takes lines of history.
    """

    __slots__ = ("_count", "_limit", "_numbers", "_tell")

    def __init__(
        self, limit: str, settings: LimitSettings, tell: Callable[[Line], object]
    ) -> None:
        super().__init__(**settings.model_dump())
        self._limit = limit
        self._tell = tell
        self._numbers: dict[Reservation, int] = {}
        self._count = 0

    def take(self, cost: Cost, now: float) -> Reservation:
        """Do it, and tell."""
        reservation = super().take(cost, now)
        self._count = self._numbers[reservation] = self._count + 1
        self._tell(Taken(now, self._limit, self._count, *cost))
        return reservation

    def settle(self, reservation: Reservation, used: Cost, now: float) -> None:
        """Do it, and tell."""
        super().settle(reservation, used, now)
        number = self._numbers.pop(reservation)
        self._tell(Settled(now, self._limit, number, *used))


def watched_limit(
    name: str, settings: LimitSettings, tell: Callable[[Line], object]
) -> Limit:
    """Return a limit with a bucket that tells."""
    limit = Limit(name, settings)
    limit.bucket = WatchedBucket(name, settings, tell)
    return limit
