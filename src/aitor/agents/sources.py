"""
What an agent needs from whoever answers it: a manager, or a broker.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from aitor.broker.broker import Broker
from aitor.errors import (
    ConfigurationError,
    LLMError,
    UnsupportedParameterError,
    UnsupportedSchemaError,
    UnsupportedToolsError,
)
from aitor.llm.learned import Learned, model_at
from aitor.messages import Message, Reply
from aitor.outcomes import Outcome
from aitor.providers.base import Provider
from aitor.providers.http import HTTPProvider

__all__ = (
    "Manager",
    "Protocols",
    "Source",
    "calls_tools",
    "check_protocol",
    "learn_refusals",
    "names_in",
    "providers_asked",
)

Protocols: TypeAlias = (
    Literal["tools", "text"] | Mapping[str, Literal["tools", "text"]] | None
)
"""How tools are called: in the vendor's API, or in plain text; or by provider."""

PROTOCOLS = ("tools", "text", None)
TOOL_PARAMETERS = ("tools", "tool_choice", "functions", "parallel_tool_calls")
_calls_tools: Learned[bool] = Learned()
"""False for the models that are known to take none."""


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


def calls_tools(
    asked: Mapping[str, Provider], model: Any, protocol: "Protocols"
) -> dict[str, bool]:
    """
    Return by name whether each of *asked* is given tools in its own API.

    Args:
        asked: Who may answer, in order.
        model: As `Broker.submit` takes it.
        protocol: What was chosen; where nothing was, whoever has an API with tool
            calls is asked in it, unless a model that may answer takes none: one
            request goes to all of them.
    """
    chosen = {name: _chosen(protocol, name) for name in asked}
    with_tools = {
        name: isinstance(provider, HTTPProvider)
        for name, provider in asked.items()
        if chosen[name] != "text"
        and _calls_tools.get(provider, model_at(asked, name, model)) is None
    }
    refused = any(
        isinstance(provider, HTTPProvider) and name not in with_tools
        for name, provider in asked.items()
    )
    return {
        name: chosen[name] == "tools" or (with_tools.get(name, False) and not refused)
        for name in asked
    }


def learn_refusals(
    outcome: LLMError | Reply,
    asked: Mapping[str, Provider],
    model: Any,
    protocol: "Protocols",
) -> bool:
    """
    Remember whose model took no tools, and return whether that is news.

    Where a protocol was chosen, it stays.

    Args:
        outcome: What came of a request with tools.
        asked: Who could answer, in order.
        model: As `Broker.submit` takes it.
        protocol: What was chosen.
    """
    names = {
        attempt.provider
        for attempt in outcome.attempts
        if attempt.outcome is Outcome.UNSUPPORTED
    }
    if isinstance(outcome, LLMError) and _is_about_tools(outcome):
        names.add(outcome.provider or "")
    news = False
    for name in names & asked.keys():
        at = model_at(asked, name, model)
        if (
            _chosen(protocol, name) is None
            and _calls_tools.get(asked[name], at) is None
        ):
            _calls_tools.set(asked[name], at, fact=False)
            news = True
    return news


def _chosen(protocol: Protocols, name: str) -> str | None:
    return protocol.get(name) if isinstance(protocol, Mapping) else protocol


def _is_about_tools(error: LLMError) -> bool:
    if isinstance(error, UnsupportedSchemaError | UnsupportedParameterError):
        return error.parameter in TOOL_PARAMETERS
    return isinstance(error, UnsupportedToolsError)


def check_protocol(protocol: object, known: Sequence[str]) -> None:
    """
    Check what was chosen as `protocol`.

    Raises:
        ConfigurationError: If it is no protocol, or for a provider that is not there.
    """
    chosen = protocol if isinstance(protocol, Mapping) else {"": protocol}
    for name, each in chosen.items():
        if each not in PROTOCOLS:
            of = f" of {name!r}" if name else ""
            raise ConfigurationError(
                f"'protocol'{of} must be 'tools', 'text' or None, not {each!r:.80}"
            )
        if name and name not in known:
            raise ConfigurationError(
                f"'protocol': there is no provider {name!r}; "
                f"there are: {', '.join(known) or 'none'}"
            )
