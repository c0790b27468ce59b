"""
What an answer cost, in US dollars, where that is known.

The prices are those of genai-prices, which is optional. It is loaded when this is
made, not when the first answer is there: by then the system may have no descriptor left
to read it with. They are looked up by where the provider is, not by the model's name
alone: a model of a known name on one's own machine has no known price. What is unknown
is None, never zero, and whatever fails here costs nobody an answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from aitor.messages import Reply, Usage

if TYPE_CHECKING:
    from aitor.providers.base import Provider

__all__ = ("Bill", "Calls", "Cost", "Prices")

PART_TOKENS = 20_000
"""A number of tokens that costs the same a token as any smaller one, at any vendor."""

Cost: TypeAlias = Callable[[Reply], Decimal | None]
"""Tells what an answer cost, in US dollars; None where it is unknown."""


class Prices:
    """
    The vendors' list prices.

    Args:
        addresses: Where each provider is, by its name; one that is absent has no
            known price.
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._library = _library() if addresses else None

    @classmethod
    def of(cls, providers: Mapping[str, "Provider"]) -> "Prices":
        """Return the prices of *providers*, given by their names."""
        return cls(addresses_of(providers))

    def __call__(self, reply: Reply) -> Decimal | None:
        """Return what *reply* cost; None where that is unknown."""
        return self.price(reply.provider, reply.model, reply.usage)

    def price(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        """Return what *usage* of *model* costs at *provider*; None where unknown."""
        address = self._addresses.get(provider)
        if address is None or self._library is None or usage.estimated:
            return None
        return _price(self._library, usage, model, address)

    def of_calls(
        self, provider: str, model: str | None, usage: Usage, calls: int
    ) -> Decimal | None:
        """
        Return what *calls* cost that used *usage* together; None where unknown.

        Some models cost more where a prompt is long, so they are not priced as one
        large call, but in parts of not much more than `PART_TOKENS`.
        """
        if model is None or not calls:
            return None
        tokens = usage.input_tokens + usage.output_tokens
        parts = max(1, min(calls, tokens // PART_TOKENS))
        part = Usage(
            round(usage.input_tokens / parts),
            round(usage.output_tokens / parts),
            round(usage.cached_tokens / parts),
            round(usage.cache_write_tokens / parts),
        )
        price = self.price(provider, model, part)
        return None if price is None else price * parts


def _library() -> Any:
    try:
        import genai_prices  # optional, and slow to load
    except Exception:  # noqa: BLE001  # it is not there, or it cannot be read
        return None
    # What it loads with its first price is loaded with this one.
    _price(genai_prices, Usage(1, 1), "gpt-4o", "https://api.openai.com/v1")
    return genai_prices


def _price(library: Any, usage: Usage, model: str, address: str) -> Decimal | None:
    try:
        tokens = library.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )
        price = library.calc_price(tokens, model, provider_api_url=address)
    except Exception:  # noqa: BLE001  # it knows no price, for whatever reason
        return None
    total: Decimal = price.total_price
    return total


def addresses_of(providers: Mapping[str, "Provider"]) -> dict[str, str]:
    """Return where each of *providers* is that has an address."""
    addresses = {
        name: getattr(provider.settings, "base_url", None)
        for name, provider in providers.items()
    }
    return {name: address for name, address in addresses.items() if address}


class Calls(NamedTuple):
    """
    The answers of one model at one provider.

    Args:
        provider: The provider's name.
        model: The model; None where the provider has but one.
        usage: What providers told, of all of them together.
        told: Answers with such a usage.
        answers: All answers.
    """

    provider: str
    model: str | None
    usage: Usage
    told: int
    answers: int


@dataclass(frozen=True, slots=True)
class Bill:
    """
    What can be priced, once somebody asks: the price list is large and slow to load.

    Args:
        addresses: Where each provider is, by its name.
        calls: By provider and model.
    """

    addresses: Mapping[str, str]
    calls: tuple[Calls, ...]

    def cost(self, prices: Prices | None = None) -> tuple[Decimal | None, int]:
        """
        Return what all of it cost, and how many answers are not in that.

        What has no known price counts for nothing; where nothing has one, the cost is
        None.

        Args:
            prices: What usage costs; by default the vendors' list prices.
        """
        prices = prices or Prices(self.addresses)
        known, unpriced = [], 0
        for provider, model, usage, told, answers in self.calls:
            price = prices.of_calls(provider, model, usage, told)
            if price is not None:
                known.append(price)
            unpriced += answers - (0 if price is None else told)
        return sum(known, Decimal()) if known else None, unpriced
