"""
From a word and a dictionary to a provider of the broker.
"""

import inspect
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from aitor.config.defaults import complete
from aitor.config.environment import Environment, look_up
from aitor.config.kinds import find_class
from aitor.errors import ConfigurationError
from aitor.llm.adapter import CustomProvider
from aitor.llm.provider import LLMProvider
from aitor.providers import provider_class
from aitor.providers.base import Provider
from aitor.providers.concealed import concealed, revealed

__all__ = ("AnyClass", "check_class", "concealed_config", "make")

AnyClass = type[LLMProvider] | type[Provider]

REFERENCE = "env:"


def check_class(kind: str, given: object) -> None:
    """
    Refuse what cannot be registered as *kind*.

    Raises:
        ConfigurationError: If *given* is no class for a provider, or *kind* is taken.
    """
    if not (isinstance(given, type) and issubclass(given, LLMProvider | Provider)):
        raise ConfigurationError(
            f"the class for {kind!r} must be a subclass of aitor.llm.LLMProvider"
        )
    if inspect.isabstract(given):
        missing = ", ".join(sorted(given.__abstractmethods__))
        raise ConfigurationError(f"the class for {kind!r} has no {missing}")
    try:
        provider_class(kind)
    except ConfigurationError:
        return
    raise ConfigurationError(f"the kind {kind!r} is taken: choose another word")


def make(provider: Any, config: Any, classes: Mapping[str, AnyClass]) -> Provider:
    """
    Return the provider that *provider* and *config* mean.

    Args:
        provider: A kind, or a class, or a provider that is there already.
        config: The keys of its configuration.
        classes: What kinds mean, before those of aitor.

    Raises:
        ConfigurationError: Naming key, value and what was expected.
    """
    values = config = concealed_config(config)
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"'config' must be a dictionary, not {_kind(config)}")
    if isinstance(provider, Provider):
        if values:
            raise ConfigurationError("a provider that is made takes no 'config'")
        return provider
    if isinstance(provider, LLMProvider):
        return CustomProvider(provider, values)
    if isinstance(provider, str):
        found: Any = classes.get(provider) or _known(provider, classes)
    else:
        found = provider
    environ = Environment()
    values = {key: _resolved(key, each, environ) for key, each in values.items()}
    if isinstance(found, type) and issubclass(found, Provider):
        return found(**complete(found, values, environ))
    if isinstance(found, type) and issubclass(found, LLMProvider):
        return CustomProvider(_made(found, values), values)
    raise ConfigurationError(
        f"'provider' is a kind such as 'openai', or a provider, "
        f"not {type(provider).__name__}"
    )


def _kind(config: object) -> str:
    return "str" if isinstance(config, str) else type(config).__name__


def _known(kind: str, classes: Mapping[str, AnyClass]) -> type[Provider]:
    try:
        return find_class(kind)
    except ConfigurationError as error:
        also = f"; registered here: {', '.join(classes)}" if classes else ""
        raise ConfigurationError(f"'provider' = {kind!r}: {error}{also}") from None


def concealed_config(config: Any) -> Any:
    """Return *config*, a dataclass as its keys, with texts that no traceback shows."""
    if is_dataclass(config) and not isinstance(config, type):
        config = asdict(config)
    return concealed({} if config is None else config)


def _resolved(key: str, value: Any, environ: Mapping[str, str]) -> Any:
    if not (isinstance(value, str) and value.startswith(REFERENCE)):
        return value
    name = value.removeprefix(REFERENCE)
    found = look_up(environ, name)
    if found is None:
        raise ConfigurationError(f"'{key}': the environment variable {name} is not set")
    return found


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, str) else v for k, v in values.items()}


def _made(found: type[LLMProvider], values: dict[str, Any]) -> LLMProvider:
    try:
        # To a class that knows nothing of ours, a text is a text.
        return found(_plain(revealed(values)))
    except ConfigurationError:
        raise
    except KeyError as error:
        problem = f"{found.__name__} wants the key {error}"
    except Exception as error:  # noqa: BLE001  # whatever its code does
        problem = f"{found.__name__}(config) raised {type(error).__name__}"
    # Outside the handler: the text of an unknown exception may quote a key.
    raise ConfigurationError(problem)
