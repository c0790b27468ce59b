"""
What an agent needs from whoever answers it: a manager, or a broker.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from aitor.broker.broker import Broker
from aitor.messages import Message, Reply
from aitor.providers.base import Provider
from aitor.providers.http import HTTPProvider

__all__ = ("Manager", "Source", "calls_tools", "names_in", "providers_asked")


class Manager(Protocol):
    """The part of `aitor.llm.LLMManager` that an agent uses."""

    @property
    def broker(self) -> Broker:
        """The broker behind it."""
        ...

    @property
    def default_provider(self) -> str | None:
        """Who is asked when nobody is named."""
        ...

    def get_available_providers(self) -> Sequence[str]:
        """Return the names of the providers."""
        ...

    async def submit(
        self,
        prompt: Sequence[Message],
        *,
        provider: str | None = None,
        **parameters: Any,
    ) -> Reply:
        """Have *prompt* answered, as `Broker.submit` does."""
        ...


Source = Broker | Manager


def names_in(source: Source) -> tuple[str, ...]:
    """Return the names of the providers of *source*."""
    if isinstance(source, Broker):
        return source.providers
    return tuple(source.get_available_providers())


def providers_asked(source: Source, name: str | None) -> dict[str, Provider]:
    """
    Return who may answer, by name, in the order in which they are asked.

    Raises:
        ConfigurationError: If there is no provider of that name.
    """
    if isinstance(source, Broker):
        broker = source
    else:
        broker, name = source.broker, name or source.default_provider
    return broker.sequence(name)


def calls_tools(provider: Provider) -> bool:
    """Return whether *provider* speaks an API that has tool calls of its own."""
    return isinstance(provider, HTTPProvider)
