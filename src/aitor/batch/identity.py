"""
What of a configuration can change an answer.

A journal keeps it as hashes, so that answers got with one model are not mixed with
those of another because a file was edited between two runs. How requests travel is
left out: a batch may go on with more workers, another key or a longer timeout.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aitor.providers.base import Provider

__all__ = ("identity",)


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
        settings |= {f"{name}.{key}": value for key, value in provider.identity.items()}
    return settings
