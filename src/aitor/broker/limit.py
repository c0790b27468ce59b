"""
A limit: what one account may use in a minute, shared by all who name it.

Models under one key share the vendor's limits, so a limit is a resource of its own
and an actor reserves against it, never against a bucket it owns. The bucket is built
for one who waits; where several actors share a limit they take turns, first come
first served, so that neither the one with the small requests nor the one whose clock
rings first gets all of it.
"""

from typing import Protocol
from weakref import ref

from aitor.broker.native import UNKNOWN_RUN
from aitor.laws.bucket import TokenBucket
from aitor.providers.settings import LimitSettings

__all__ = ("Limit", "Sharer")


class Sharer(Protocol):
    """Who reserves against a limit."""

    def look_again(self, now: float) -> None:
        """Let whoever may start do so; something was given back, or it is its turn."""
        ...


class Limit:
    """
    A token bucket with a name, for one or several actors.

    Args:
        name: What it is called in the configuration.
        settings: How much a minute allows.
    """

    def __init__(self, name: str, settings: LimitSettings | None = None) -> None:
        self.name = name
        self._settings = settings or LimitSettings()
        self._run = UNKNOWN_RUN
        self._renew()
        # Weakly, and never taken out: who is known to no broker and to no request
        # any more has nothing to start.
        self._sharers: list[ref[Sharer]] = []

    def go_by(self, run: object | None) -> None:
        """
        Begin anew if the clock is another one, with nothing used and nobody waiting.

        Args:
            run: See `clock_of_its_own`.
        """
        if self._run is not run and self._run is not UNKNOWN_RUN:
            self._renew()
        self._run = run

    def _renew(self) -> None:
        settings = self._settings
        self.bucket = TokenBucket(
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            input_tokens_per_minute=settings.input_tokens_per_minute,
            output_tokens_per_minute=settings.output_tokens_per_minute,
            burst=settings.burst,
        )
        self._line: dict[Sharer, None] = {}  # who waits for a turn, in order

    def join(self, sharer: Sharer) -> None:
        """Let *sharer* reserve against this limit, as long as there is one."""
        there = [one for one in self._sharers if one() is not None]
        self._sharers = [*there, ref(sharer)]

    def turn_of(self, sharer: Sharer) -> bool:
        """Whether nobody else waits before *sharer*."""
        return not self._line or next(iter(self._line)) is sharer

    def stand_in_line(self, sharer: Sharer) -> None:
        """Keep *sharer*'s place until it leaves the line."""
        self._line[sharer] = None

    def leave_line(self, sharer: Sharer, now: float) -> None:
        """Give up *sharer*'s place, and let the next in line look again."""
        if self._line and sharer in self._line:
            del self._line[sharer]
            if self._line:
                next(iter(self._line)).look_again(now)

    def calm_down(self, now: float) -> None:
        """
        Let nothing go at once that was kept for later: an outage has ended.

        Where somebody waits for tokens none is kept, and what a large request has
        saved up stays its own.
        """
        if not self._line:
            self.bucket.drop_burst(now)

    def look_again(self, now: float) -> None:
        """Let everybody look whether somebody may start; something was given back."""
        for one in self._sharers:
            if (sharer := one()) is not None:
                sharer.look_again(now)

    def __repr__(self) -> str:
        return f"Limit({self.name!r})"
