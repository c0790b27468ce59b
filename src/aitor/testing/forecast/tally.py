"""
What a run counts: outcomes as they come, and the broker's own books.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache

from aitor.broker.mapping import MapResult
from aitor.broker.prices import Prices
from aitor.broker.statistics import ProviderStatistics, Statistics
from aitor.config import Configuration
from aitor.errors import AccountError
from aitor.events import CircuitChanged, Event
from aitor.messages import Usage
from aitor.outcomes import Outcome
from aitor.testing.forecast.assumptions import Assumption
from aitor.testing.forecast.history import CIRCUITS, Sums

__all__ = ("Tally",)

MILLION = 1_000_000


class Tally:
    """
    Counts one run.

    Args:
        configuration: Whose models and addresses have list prices.
        assumptions: Prices that are given instead, by provider.
    """

    def __init__(
        self, configuration: Configuration, assumptions: Mapping[str, Assumption]
    ) -> None:
        self.stopped: str | None = None
        """Why `aitor batch` would stop here; None while it would not."""
        self._cost = _costs(configuration, assumptions)
        self._sums: Counter[tuple[str, str]] = Counter()
        self._dollars = dict.fromkeys(configuration.providers, 0.0)
        self._worst: dict[str, str] = {}

    def count(self, result: MapResult) -> None:
        """Count the outcome of one request."""
        reply, error = result.reply, result.error
        if reply is not None:
            name, usage = reply.provider, reply.usage
            cost = self._cost(
                name, reply.model, usage.input_tokens, usage.output_tokens
            )
            self._sums[name, "answers"] += 1
            self._sums[name, "unpriced"] += cost is None
            self._dollars[name] += cost or 0.0
        elif isinstance(error, AccountError) and all(
            attempt.outcome is Outcome.ACCOUNT for attempt in error.attempts
        ):
            self.stopped = str(error)
        else:
            self._sums["", type(error).__name__] += 1

    def listen(self, event: Event) -> None:
        """Note how bad a circuit became."""
        if isinstance(event, CircuitChanged):
            name, new = event.provider, event.new
            self._sums[name, "openings"] += new == "open"
            worst = self._worst.get(name, CIRCUITS[0])
            self._worst[name] = max(worst, new, key=CIRCUITS.index)

    def circuits(self, now: Mapping[str, str]) -> dict[str, str]:
        """Return the worst state of each circuit since this was last asked."""
        worst = {
            name: max(state, self._worst.get(name, state), key=CIRCUITS.index)
            for name, state in now.items()
        }
        self._worst.clear()
        return worst

    def sums(self, seen: Statistics) -> Sums:
        """Return everything that was counted so far; *seen* are the broker's books."""
        sums: Sums = dict(self._sums)
        for name, provider in seen.providers.items():
            for key in ("answers", "unpriced", "openings"):
                sums.setdefault((name, key), 0.0)
            sums[name, "cost"] = self._dollars[name]
            sums.update({(name, key): value for key, value in _books(provider).items()})
        return sums


def _books(provider: ProviderStatistics) -> dict[str, float]:
    totals = provider.totals
    books = {
        "calls": totals.sent,
        "input_tokens": totals.usage.input_tokens,
        "output_tokens": totals.usage.output_tokens,
        "seconds": totals.seconds,
    }
    for outcome, count in totals.attempts.items():
        if outcome is not Outcome.ANSWER:
            books[f"failed.{outcome.value}"] = count
    for cause, seconds in provider.waited._asdict().items():
        books[f"standing.{cause}"] = seconds
    for cause, seconds in totals.waits._asdict().items():
        books[f"waits.{cause}"] = seconds
    return books


def _costs(
    configuration: Configuration, assumptions: Mapping[str, Assumption]
) -> Callable[[str, str, int, int], float | None]:
    """Return what tells the cost of an answer, by provider, model and tokens."""
    prices = Prices(
        {
            name: address
            for name, one in configuration.providers.items()
            if (address := getattr(one.settings, "base_url", None))
            or (address := getattr(one.provider_class, "home", None))
        }
    )

    # Looking up a list price costs more than all the rest of a simulated request.
    @lru_cache(maxsize=100_000)
    def cost(name: str, model: str, inputs: int, outputs: int) -> float | None:
        price = assumptions[name].price
        if price is None:
            listed = prices.price(name, model, Usage(inputs, outputs))
            return None if listed is None else float(listed)
        dollars = inputs * price.input_tokens + outputs * price.output_tokens
        return dollars / MILLION

    return cost
