"""
What a server that says "slow down" is given: a pause, and sometimes a slower pace.

A pause lasts as long as the server asks, within bounds. Where it does not say, we
guess: longer with each refusal in a row, with jitter, and never nothing. Calls that
were in flight together and are all refused are one refusal: only one that was sent
after the last pause began says that it was too short.
"""

import math
from random import Random

from aitor.errors import RateLimitError
from aitor.laws.backoff import Backoff
from aitor.providers.settings import ProviderSettings

__all__ = ("RAMP_CODES", "RAMP_FACTOR", "RAMP_SECONDS", "Throttle")

SHORTEST_PAUSE = 0.1
"""Seconds to wait at least when a server asks for a pause and does not say how long."""

RAMP_CODES = frozenset({"slow_down", "ramp_limit_exceeded"})
"""Codes by which a vendor says that traffic grew too fast, not that it is too much."""

RAMP_FACTOR = 0.5
RAMP_SECONDS = 300.0
"""Half the rate for five minutes: OpenAI asks for growth of at most 50 % in 15."""


class Throttle:
    """
    Says how long to pause.

    Args:
        settings: Bounds what a server may ask for.
        backoff: How a guess grows.
        random: Where jitter comes from.
    """

    def __init__(
        self, settings: ProviderSettings, backoff: Backoff, random: Random
    ) -> None:
        self._longest = settings.max_retry_after
        self._backoff = backoff
        self._random = random
        self._in_a_row = 0
        self._since = -math.inf  # when the last pause began

    def pause_for(self, error: RateLimitError, sent: float, now: float) -> float:
        """
        Return for how many seconds *error* asks, or else a guess.

        Args:
            error: The refusal.
            sent: When the call was sent that it refuses.
            now: The time.
        """
        seconds = error.retry_after
        if seconds is None or not seconds > 0.0:
            seconds = self._guess() if sent > self._since else 0.0
        if sent > self._since:
            self._in_a_row += 1
            self._since = now
        return min(seconds, self._longest)

    def _guess(self) -> float:
        chance = 0.5 + self._random.random() / 2
        guess = self._backoff.delay_for(self._in_a_row, 1.0)
        return max(guess * chance, SHORTEST_PAUSE)

    def calm_down(self) -> None:
        """Begin to guess anew: a call was answered."""
        self._in_a_row = 0
