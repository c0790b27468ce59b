"""
What was found out about the models of a provider, by what they refused.

It is remembered with the provider, for everybody who asks it, and forgotten with it.
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from aitor.providers.base import Provider

__all__ = ("Learned", "model_at")

MOST_MODELS = 256
"""Models that are remembered for a provider; then it is asked anew."""

Fact = TypeVar("Fact")


class Learned(Generic[Fact]):
    """Facts by provider and model."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Provider, dict[str | None, Fact]]
        self._known = WeakKeyDictionary()

    def get(self, provider: Provider, model: str | None) -> Fact | None:
        """Return what is known of *model* at *provider*."""
        return self._known.get(provider, {}).get(model)

    def set(self, provider: Provider, model: str | None, *, fact: Fact) -> None:
        """Remember *fact* of *model* at *provider*."""
        facts = self._known.setdefault(provider, {})
        if len(facts) >= MOST_MODELS:
            facts.clear()
        facts[model] = fact


def model_at(asked: Mapping[str, Provider], name: str, model: Any) -> str | None:
    """
    Return the model that is asked at the provider *name* of *asked*.

    Args:
        asked: Who may answer, in order.
        name: One of them.
        model: As `Broker.submit` takes it.
    """
    given = model.get(name) if isinstance(model, Mapping) else None
    if isinstance(model, str) and name == next(iter(asked)):
        given = model
    own: str | None = given or asked[name].settings.model
    return own
