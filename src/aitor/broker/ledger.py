"""
The ledger: every call on the wire, added up.

An attempt that failed may still be billed, so the ledger takes all of them, not
only those that brought an answer. It keeps sums, which are small however many
calls there are; whoever wants each attempt listens to the events.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from aitor.messages import Attempt, Usage, Waits
from aitor.outcomes import Outcome

__all__ = ("Ledger", "Totals")


@dataclass(frozen=True, slots=True)
class Totals:
    """
    Sums over attempts.

    Args:
        attempts: Calls on the wire, by outcome.
        usage: Tokens, as far as providers told them.
        seconds: Time on the wire.
        waits: Time before it, by cause.
    """

    attempts: dict[Outcome, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    waits: Waits = field(default_factory=Waits)

    @property
    def sent(self) -> int:
        """All calls on the wire."""
        return sum(self.attempts.values())

    @property
    def answered(self) -> int:
        """Those that brought an answer."""
        return self.attempts.get(Outcome.ANSWER, 0)


class _Sums:
    """What `Totals` shows, while it grows; plain numbers, since every call adds."""

    __slots__ = ("attempts", "seconds", "usage", "waits")

    def __init__(self) -> None:
        self.attempts: Counter[Outcome] = Counter()
        self.usage = [0, 0, 0, 0, 0]
        self.seconds = 0.0
        self.waits = [0.0, 0.0, 0.0, 0.0, 0.0]

    def add(self, attempt: Attempt) -> None:
        self.attempts[attempt.outcome] += 1
        self.seconds += attempt.seconds
        if (used := attempt.usage) is not None:
            usage = self.usage
            usage[0] += used.input_tokens
            usage[1] += used.output_tokens
            usage[2] += used.cached_tokens
            usage[3] += used.cache_write_tokens
            usage[4] += used.reasoning_tokens
        waited = attempt.waits
        if any(waited):
            waits = self.waits
            waits[0] += waited.worker
            waits[1] += waited.rate
            waits[2] += waited.pause
            waits[3] += waited.circuit
            waits[4] += waited.backoff

    def totals(self) -> Totals:
        return Totals(
            dict(self.attempts),
            _usage(*self.usage),
            self.seconds,
            Waits(*self.waits),
        )


class Ledger:
    """Adds up attempts by provider and model."""

    def __init__(self) -> None:
        self.cached = 0
        """Requests that a cache answered, for which there was no call."""
        self._sums: dict[tuple[str, str | None], _Sums] = {}

    def record(self, attempt: Attempt) -> None:
        """Add *attempt*."""
        key = (attempt.provider, attempt.model)
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = _Sums()
        sums.add(attempt)

    def entries(self) -> dict[tuple[str, str | None], Totals]:
        """Return the sums by provider and model."""
        return {key: sums.totals() for key, sums in self._sums.items()}

    def by_provider(self) -> dict[str, Totals]:
        """Return the sums over all models of each provider."""
        names = dict.fromkeys(provider for provider, _ in self._sums)
        return {name: self.of_provider(name) for name in names}

    def of_provider(self, name: str) -> Totals:
        """Return the sums over all models of one provider."""
        return add_up(
            sums.totals()
            for (provider, _), sums in self._sums.items()
            if provider == name
        )

    def total(self) -> Totals:
        """Return the sums over everything."""
        return add_up(sums.totals() for sums in self._sums.values())


def _usage(
    inputs: int, outputs: int, cached: int, cache_write: int, reasoning: int
) -> Usage:
    return Usage(inputs, outputs, cached, cache_write, reasoning)


def add_up(parts: Iterable[Totals]) -> Totals:
    """Return the sum of *parts*."""
    attempts: Counter[Outcome] = Counter()
    usage, seconds, waits = Usage(), 0.0, Waits()
    for part in parts:
        attempts.update(part.attempts)
        usage += part.usage
        seconds += part.seconds
        waits += part.waits
    return Totals(dict(attempts), usage, seconds, waits)
