"""
What a provider gets that its table does not say.

A key or an address that is not given comes from the environment, as with the vendors'
own SDKs. But where a vendor has no address of its own, a key from the environment
goes only to the address that came from there with it.
"""

from collections.abc import Mapping
from typing import Any

from aitor.config.environment import Variable, look_up
from aitor.providers.base import Provider

__all__ = ("complete", "key_origin")

SECRETS = ("api_key", "auth_token")
"""Settings that say who asks; one is enough, the first before the second."""

SECRET_HEADERS = frozenset({"api-key", "authorization", "x-api-key"})

DEFAULT_MODELS = {"openai": "gpt-5.4", "anthropic": "claude-sonnet-5-5"}
"""
Asked at the vendor's own address when nobody names a model, by kind.

As of November 2026: OpenAI's newest that takes a temperature, and Anthropic's newest
of its middle size. Neither has a date of retirement.
"""


def complete(
    provider_class: type[Provider],
    values: Mapping[str, Any],
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """
    Return *values* and what is known besides.

    Args:
        provider_class: Whose settings they are.
        values: Settings that were given.
        environ: Where others are looked up.
    """
    given = {name: value for name, value in values.items() if value is not None}
    values = {**_found(provider_class, given, environ), **given}
    default = DEFAULT_MODELS.get(getattr(provider_class, "kind", ""))
    if default and not values.keys() & {"base_url", "model"}:
        values["model"] = default
    return values


def _found(
    provider_class: type[Provider],
    values: Mapping[str, Any],
    environ: Mapping[str, str],
) -> dict[str, Variable]:
    variables: Mapping[str, str] = getattr(provider_class, "variables", {})
    if "base_url" in values and getattr(provider_class, "home", None) is None:
        return {}
    found = {
        name: variable
        for name in variables
        if name not in values and (variable := look_up(environ, variables[name]))
    }
    if values.keys() & set(SECRETS):
        unneeded: tuple[str, ...] = SECRETS
    else:
        unneeded = tuple(name for name in SECRETS if name in found)[1:]
    return {name: found[name] for name in found if name not in unneeded}


def key_origin(values: Mapping[str, Any], source: str) -> str | None:
    """Return where the key in *values*, which are of *source*, comes from."""
    for name in SECRETS:
        key = values.get(name)
        if key is not None:
            return key.origin if isinstance(key, Variable) else source
    headers = values.get("headers")
    if isinstance(headers, Mapping) and SECRET_HEADERS & {*map(str.lower, headers)}:
        return f"the headers in {source}"
    return None
