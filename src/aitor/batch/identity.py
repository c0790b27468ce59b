"""
What of a configuration can change an answer.

A journal keeps it as hashes, so that answers got with one model are not mixed with
those of another because a file was edited between two runs. How requests travel is
left out: a batch may go on with more workers, another key or a longer timeout.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aitor.providers.settings import HTTPSettings, ProviderSettings

if TYPE_CHECKING:
    from aitor.providers.base import Provider

__all__ = ("identity",)

ANSWER = {
    "model",
    "base_url",
    "on_unsupported",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
}
"""What can, of the settings that all providers share; all that one adds of its own."""

DELIVERY = {*ProviderSettings.model_fields, *HTTPSettings.model_fields} - ANSWER


def identity(
    providers: Mapping[str, "Provider"], sequence: Iterable[str]
) -> dict[str, Any]:
    """
    Return by name every setting that can change an answer.

    Args:
        providers: By name.
        sequence: The names of those that are asked, in their order.
    """
    names = list(sequence)
    settings: dict[str, Any] = {"failover": names}
    for name in names:
        provider = providers[name]
        settings[f"{name}.kind"] = provider.kind
        given = provider.settings.model_dump(
            mode="json", exclude=DELIVERY, exclude_defaults=True
        )
        settings |= {f"{name}.{key}": value for key, value in given.items()}
    return settings
