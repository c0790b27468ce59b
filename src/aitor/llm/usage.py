"""
What went through a manager: requests, errors, tokens and what they cost.

Requests are counted once, whatever was done for them; providers are charged for every
call on the wire, a failover's included. Tokens are those that providers told, and
where one told none, a guess that is called a guess. A cost that is not known is the
word "unknown" and never zero.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aitor.broker.prices import Prices
from aitor.errors import LLMError
from aitor.messages import Attempt, Reply, Usage
from aitor.outcomes import Outcome

__all__ = ("Tally",)

UNKNOWN = "unknown"
MOST_UNPRICED = 1_000


@dataclass(slots=True)
class _Sums:
    """What one provider was asked and gave."""

    requests: int = 0
    errors: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: Decimal = Decimal(0)
    unpriced: int = 0

    def report(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "errors": self.errors,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "tokens_are_estimates": self.usage.estimated,
            "cost": UNKNOWN if self.unpriced else float(self.cost),
        }


class Tally:
    """Adds up requests as they end."""

    def __init__(self) -> None:
        self._providers: dict[str, _Sums] = {}
        self._unpriced: Counter[tuple[str, str, Usage]] = Counter()
        self._prices = Prices({})
        self.answered = 0
        self.failed = 0
        self.cached = 0

    def set_prices(self, prices: Prices) -> None:
        """Price answers by *prices* from now on."""
        self._price()
        self._prices = prices

    def add(self, reply: Reply) -> None:
        """Count a request that was answered."""
        self.answered += 1
        if reply.cached:
            self.cached += 1
            return
        self._attempts(reply.attempts)
        # Priced later: the library that knows prices takes a while to load.
        self._unpriced[reply.provider, reply.model, reply.usage] += 1
        if len(self._unpriced) >= MOST_UNPRICED:
            self._price()

    def add_error(self, error: LLMError, asked: str) -> None:
        """Count a request that failed, *asked* being whom it was for."""
        self.failed += 1
        self._attempts(error.attempts)
        if not error.attempts:
            self._of(error.provider or asked).errors += 1

    def _attempts(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            sums = self._of(attempt.provider)
            sums.requests += 1
            sums.errors += attempt.outcome not in (Outcome.ANSWER, Outcome.CANCELLED)
            if attempt.usage is not None:
                sums.usage += attempt.usage

    def _of(self, provider: str) -> _Sums:
        return self._providers.setdefault(provider, _Sums())

    def _price(self) -> None:
        for (provider, model, usage), count in self._unpriced.items():
            sums = self._of(provider)
            price = self._prices.price(provider, model, usage)
            if price is None:
                sums.unpriced += count
            else:
                sums.cost += price * count
        self._unpriced.clear()

    def report(self) -> dict[str, Any]:
        """Return everything as plain values; see `LLMManager.get_usage_report`."""
        self._price()
        providers = self._providers.values()
        usage = sum((sums.usage for sums in providers), Usage())
        total = self.answered + self.failed
        is_known = not any(sums.unpriced for sums in providers)
        return {
            "total_requests": total,
            "total_errors": self.failed,
            "success_rate": self.answered / total if total else 1.0,
            "cached_requests": self.cached,
            "estimated_tokens": usage.total_tokens,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "tokens_are_estimates": usage.estimated,
            "cost": (
                float(sum(sums.cost for sums in providers)) if is_known else UNKNOWN
            ),
            "by_provider": {
                name: sums.report() for name, sums in self._providers.items()
            },
        }
