"""
The ledger: every call on the wire, added up.

An attempt that failed may still be billed, so the ledger takes all of them, not
only those that brought an answer. It keeps sums, which are small however many
calls there are; whoever wants each attempt listens to the events.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aitor.broker.prices import Bill, Calls
from aitor.laws.quantiles import Histogram
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
        guessed: The part of *usage* that no provider told and that we guessed.
        p50: Seconds on the wire that half of the answers did not exceed, within 5 %;
            None while there is no answer.
        p90: The same of 90 %.
        p99: The same of 99 %.
    """

    attempts: dict[Outcome, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    waits: Waits = field(default_factory=Waits)
    guessed: Usage = field(default_factory=Usage)
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None

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

    __slots__ = ("attempts", "guessed", "guesses", "seconds", "times", "usage", "waits")

    def __init__(self) -> None:
        self.attempts: Counter[Outcome] = Counter()
        self.usage = [0, 0, 0, 0, 0]
        self.guessed = [0, 0, 0, 0, 0]
        self.guesses = 0
        self.seconds = 0.0
        self.waits = [0.0, 0.0, 0.0, 0.0, 0.0]
        self.times = Histogram()

    def add(self, attempt: Attempt) -> None:
        self.attempts[attempt.outcome] += 1
        self.seconds += attempt.seconds
        if attempt.outcome is Outcome.ANSWER:
            self.times.add(attempt.seconds)
        if (used := attempt.usage) is not None:
            _add_usage(self.usage, used)
            if used.estimated:
                _add_usage(self.guessed, used)
                self.guesses += 1
        waited = attempt.waits
        if any(waited):
            waits = self.waits
            waits[0] += waited.worker
            waits[1] += waited.rate
            waits[2] += waited.pause
            waits[3] += waited.circuit
            waits[4] += waited.backoff

    def told(self) -> tuple[Usage, int]:
        """Return the usage that providers told, and by how many answers."""
        parts = zip(self.usage, self.guessed, strict=True)
        told = (whole - guessed for whole, guessed in parts)
        return _usage(*told), self.times.total - self.guesses

    def add_all(self, other: "_Sums") -> None:
        self.attempts.update(other.attempts)
        self.seconds += other.seconds
        self.guesses += other.guesses
        self.times.add_all(other.times)
        for place in range(5):
            self.usage[place] += other.usage[place]
            self.guessed[place] += other.guessed[place]
            self.waits[place] += other.waits[place]

    def totals(self) -> Totals:
        return Totals(
            dict(self.attempts),
            _usage(*self.usage),
            self.seconds,
            Waits(*self.waits),
            _usage(*self.guessed),
            *(self.times.quantile(share) for share in (0.5, 0.9, 0.99)),
        )


def _add_usage(sums: list[int], used: Usage) -> None:
    sums[0] += used.input_tokens
    sums[1] += used.output_tokens
    sums[2] += used.cached_tokens
    sums[3] += used.cache_write_tokens
    sums[4] += used.reasoning_tokens


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
        return _added_up(
            sums for (provider, _), sums in self._sums.items() if provider == name
        )

    def total(self) -> Totals:
        """Return the sums over everything."""
        return _added_up(self._sums.values())

    def bill(self, addresses: Mapping[str, str]) -> Bill:
        """Return what can be priced, where providers are at *addresses* by name."""
        calls = (
            Calls(provider, model, *sums.told(), sums.times.total)
            for (provider, model), sums in self._sums.items()
        )
        return Bill(addresses, tuple(calls))

    def __repr__(self) -> str:
        total = self.total()
        return (
            f"Ledger(sent={total.sent}, answered={total.answered}, "
            f"cached={self.cached}, input_tokens={total.usage.input_tokens}, "
            f"output_tokens={total.usage.output_tokens})"
        )


def _usage(
    inputs: int, outputs: int, cached: int, cache_write: int, reasoning: int
) -> Usage:
    return Usage(inputs, outputs, cached, cache_write, reasoning)


def _added_up(parts: Iterable[_Sums]) -> Totals:
    whole = _Sums()
    for part in parts:
        whole.add_all(part)
    return whole.totals()
