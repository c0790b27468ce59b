"""
A checker of pauses: every wait that was asked for, and who is to wait.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from aitor.laws.breaker import Verdict
from aitor.outcomes import Outcome
from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.history import (
    Admitted,
    Ended,
    History,
    Judged,
    Paused,
    Sent,
)

__all__ = ("pauses_hold",)


class _Pauses:
    """
    What a provider's rejections ask for, and whether they mean everybody.

    As soon as half as many calls are answered as rejected, at least two, of those that
    were sent after the first one that the last pause is for, the pause is void, and
    what is rejected then has to wait by itself.
    """

    def __init__(self) -> None:
        self.until = -math.inf
        self._began = -math.inf
        self._first = math.inf
        self._rejected = 0.0
        self._answered = 0.0

    def rejected(self, sent: float, until: float, now: float) -> None:
        """Take account of a call that is told to wait until a time, if to any."""
        if sent >= self._first:
            self._rejected += 1.0
            if self._void:
                return
        if sent > self._began:
            self._began, self._first = now, sent
            self._rejected, self._answered = 1.0, 0.0
        self.until = max(self.until, until)

    def answered(self, sent: float) -> None:
        """Take account of an answer to a call that was sent then."""
        if sent > self._first:
            self._answered += 1.0
            if self._answered + self._rejected > MANY:
                # The older ones come to count half.
                self._answered /= 2.0
                self._rejected /= 2.0
            if self._void:
                self.until = -math.inf

    @property
    def _void(self) -> bool:
        return self._answered >= max(FEW, LEAST * self._rejected)


FEW, LEAST, MANY = 2, 0.5, 64


def pauses_hold(history: History) -> Iterator[Violation]:
    """
    Rule 19: nothing leaves before the latest of the waits that were asked for.

    A wait holds all that share the limit, until it is void: see `_Pauses`. Always it
    holds the request that was rejected.
    """
    waits = _Waits(history)
    for line in history.among(Ended, Paused, Judged, Admitted, Sent):
        if isinstance(line, Sent):
            left = waits.own.pop((line.id, line.provider), -math.inf) - line.time
            if left > 0.0:
                what = f"request {line.id} was to wait {left} s longer"
                yield Violation(19, line.time, f"{what} at {line.provider}")
        elif isinstance(line, Ended):
            waits.ended(line)
        elif isinstance(line, Paused):
            waits.paused(line)
        elif isinstance(line, Judged):
            waits.judged(line)
        elif isinstance(line, Admitted):
            left = waits.until(line.provider) - line.time
            if left > 0.0:
                what = f"{line.provider} was to pause {left} s longer"
                yield Violation(19, line.time, what)


class _Waits:
    """Who has to wait until when: all that share a limit, and single requests."""

    def __init__(self, history: History) -> None:
        self.own: dict[tuple[int, str], float] = {}
        self._settings = history.providers
        self._limit_of = history.limit_of
        # By limit and provider.
        self._pauses: dict[str, dict[str, _Pauses]] = defaultdict(
            lambda: defaultdict(_Pauses)
        )
        # Of the call that is judged next: whether it was rejected, and until when.
        self._last: dict[str, tuple[bool, float]] = {}

    def ended(self, line: Ended) -> None:
        """Take account of what the server asks for."""
        until, wait = -math.inf, line.retry_after
        limited = line.outcome is Outcome.RATE_LIMITED
        if limited and wait is not None and wait > 0.0:
            until = line.time + min(wait, self._settings[line.provider].max_retry_after)
            self.own[line.id, line.provider] = until
        self._last[line.provider] = limited, until

    def paused(self, line: Paused) -> None:
        """Take account of what was guessed, where the server does not say."""
        limited, until = self._last.get(line.provider, (True, -math.inf))
        self._last[line.provider] = limited, max(until, line.time + line.seconds)

    def judged(self, line: Judged) -> None:
        """Take account of what the last call means for others."""
        limited, until = self._last.pop(line.provider, (False, -math.inf))
        pauses = self._pauses[self._limit_of[line.provider]][line.provider]
        if limited:
            pauses.rejected(line.sent, until, line.time)
        elif line.verdict is Verdict.SUCCESS:
            pauses.answered(line.sent)

    def until(self, provider: str) -> float:
        """Return when *provider* may be asked again."""
        pauses = self._pauses[self._limit_of[provider]].values()
        return max((one.until for one in pauses), default=-math.inf)
