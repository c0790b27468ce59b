"""
Providers: one class a kind, and the registry of kinds.

Classes are imported when they are first asked for. No vendor's SDK is imported by any
of this: that happens only for `transport = "sdk"`.
"""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aitor.errors import ConfigurationError

if TYPE_CHECKING:
    from aitor.providers.anthropic import AnthropicProvider
    from aitor.providers.base import Provider
    from aitor.providers.compatible import CompatibleProvider
    from aitor.providers.http import HTTPProvider
    from aitor.providers.mock import MockProvider
    from aitor.providers.openai import OpenAIProvider

__all__ = (
    "AnthropicProvider",
    "CompatibleProvider",
    "HTTPProvider",
    "MockProvider",
    "OpenAIProvider",
    "Provider",
    "provider_class",
    "register",
)

_HOME = {
    "AnthropicProvider": "aitor.providers.anthropic",
    "CompatibleProvider": "aitor.providers.compatible",
    "HTTPProvider": "aitor.providers.http",
    "MockProvider": "aitor.providers.mock",
    "OpenAIProvider": "aitor.providers.openai",
    "Provider": "aitor.providers.base",
}

_KINDS = {
    "anthropic": "AnthropicProvider",
    "compatible": "CompatibleProvider",
    "mock": "MockProvider",
    "openai": "OpenAIProvider",
}

_registered: "dict[str, type[Provider]]" = {}


def register(kind: str, provider: "type[Provider]") -> None:
    """
    Let *kind* mean the class *provider* in every configuration from now on.

    Raises:
        ConfigurationError: If the word is taken, or the class is no provider.
    """
    from aitor.providers.base import Provider

    if not (isinstance(provider, type) and issubclass(provider, Provider)):
        raise ConfigurationError(
            f"the class for {kind!r} must be a subclass of aitor.providers.Provider"
        )
    if kind in _KINDS or _registered.get(kind, provider) is not provider:
        raise ConfigurationError(f"the kind {kind!r} is taken: choose another word")
    _registered[kind] = provider


def provider_class(kind: str) -> "type[Provider]":
    """
    Return the class that *kind* means.

    Raises:
        ConfigurationError: If it means none, with all that would.
    """
    if kind in _registered:
        return _registered[kind]
    if kind in _KINDS:
        found: type[Provider] = __getattr__(_KINDS[kind])
        return found
    known = sorted({*_KINDS, *_registered})
    near = difflib.get_close_matches(kind, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    words = ", ".join(f"'{word}'" for word in known)
    raise ConfigurationError(f"must be one of {words}{hint}")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'aitor.providers' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
