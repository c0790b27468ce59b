"""
What a server that says "too many" is given: a pause, or only the call that it refused.

A pause lasts as long as the server asks, within bounds, and holds everybody. Where it
does not say, we guess: briefly at first, longer with each in a row, with jitter. Calls
that were in flight together and are all refused are one refusal: only one that was sent
after the last pause began says that it was too short.

A server that refuses some calls and answers others, sent later, does not mean all of
them. Then the pause is over at once; the call that was refused waits by itself, and
others go on as long as a third of them is answered, at the pace of `AdaptivePace`.
"""

import math
from random import Random

from aitor.errors import RateLimitError
from aitor.laws.adaptive_pace import AdaptivePace
from aitor.laws.backoff import Backoff
from aitor.providers.settings import ProviderSettings

__all__ = ("RAMP_CODES", "RAMP_FACTOR", "RAMP_SECONDS", "Throttle")

SHORTEST_PAUSE = 0.1
"""Seconds to wait at first when a server asks for a pause and does not say how long."""

RAMP_CODES = frozenset({"slow_down", "ramp_limit_exceeded"})
"""Codes by which a vendor says that traffic grew too fast, not that it is too much."""

RAMP_FACTOR = 0.5
RAMP_SECONDS = 300.0
"""Half the rate for five minutes: OpenAI asks for growth of at most 50 % in 15."""

FEW = 2
"""Answers at least that show that a refusal does not mean everybody."""

LEAST = 0.5
"""Answers at least for each refusal, if it does not mean everybody."""

MANY = 64
"""Outcomes of which the older ones come to count half."""


class Throttle:
    """
    Says how long to pause, when a pause is void, and how fast to go on.

    Args:
        settings: Bounds what a server may ask for.
        random: Where jitter comes from.

    Attributes:
        pace: The rate that the server was found to let through.
        held_until: When the last pause that it asked for ends or ended.
    """

    pace: AdaptivePace
    held_until: float

    def __init__(self, settings: ProviderSettings, random: Random) -> None:
        self._longest = settings.max_retry_after
        self._guesses = Backoff(SHORTEST_PAUSE, 2.0, settings.max_retry_delay)
        self._random = random
        self._in_a_row = 0
        self._since = -math.inf  # when the last pause began
        # Of calls that were sent after the first one that the last pause is for:
        self._sent = math.inf
        self._refused = 0.0
        self._answered = 0.0
        self.held_until = -math.inf
        self.pace = AdaptivePace()

    def pause_for(self, error: RateLimitError, sent: float, now: float) -> float:
        """
        Return for how many seconds everybody is to pause, 0 for not at all.

        Args:
            error: What the server said.
            sent: When the call was sent that it refuses.
            now: The time.
        """
        self.pace.refused(sent, now)
        if sent >= self._sent:
            self._refused += 1.0
            if self._selective:
                return 0.0
        seconds = error.retry_after
        if seconds is None or not seconds > 0.0:
            seconds = self._guess() if sent > self._since else 0.0
        seconds = min(seconds, self._longest)
        if sent > self._since:
            self._in_a_row += 1
            self._since = now
            self._sent = sent
            self._refused, self._answered = 1.0, 0.0
            self.pace.paused(now)
        if seconds:
            self.held_until = max(self.held_until, now + seconds)
        return seconds

    def answered(self, sent: float, now: float) -> bool:
        """
        Learn that a call was answered; return whether the pause is void by that.

        Args:
            sent: When it was sent.
            now: The time.
        """
        self._in_a_row = 0
        self.pace.answered(sent, now)
        if sent <= self._sent:
            return False
        self._answered += 1.0
        if self._answered + self._refused > MANY:
            self._answered /= 2.0
            self._refused /= 2.0
        return self._selective

    @property
    def _selective(self) -> bool:
        """Whether it refuses some calls, and answers others that were sent later."""
        return self._answered >= max(FEW, LEAST * self._refused)

    def _guess(self) -> float:
        chance = 0.5 + self._random.random() / 2
        guess = self._guesses.delay_for(self._in_a_row, 1.0)
        return max(guess * chance, SHORTEST_PAUSE)
