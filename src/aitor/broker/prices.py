"""
What an answer cost, in US dollars, where that is known.

The prices are those of genai-prices, which is optional and is loaded when the first
answer is priced. They are looked up by where the provider is, not by the model's
name alone: a model of a known name on one's own machine has no known price. What is
unknown is None, never zero.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from aitor.messages import Reply, Usage

if TYPE_CHECKING:
    from aitor.providers.base import Provider

__all__ = ("Cost", "Prices")

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

    @classmethod
    def of(cls, providers: Mapping[str, "Provider"]) -> "Prices":
        """Return the prices of *providers*, given by their names."""
        addresses = {
            name: getattr(provider.settings, "base_url", None)
            for name, provider in providers.items()
        }
        return cls({name: address for name, address in addresses.items() if address})

    @cached_property
    def _library(self) -> Any:
        try:
            import genai_prices  # optional, and slow to load
        except ModuleNotFoundError:
            return None
        return genai_prices

    def __call__(self, reply: Reply) -> Decimal | None:
        """Return what *reply* cost; None where that is unknown."""
        return self.price(reply.provider, reply.model, reply.usage)

    def price(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        """Return what *usage* of *model* costs at *provider*; None where unknown."""
        address = self._addresses.get(provider)
        if address is None or self._library is None or usage.estimated:
            return None
        tokens = self._library.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )
        try:
            price = self._library.calc_price(tokens, model, provider_api_url=address)
        except (LookupError, ValueError):
            return None
        total: Decimal = price.total_price
        return total
