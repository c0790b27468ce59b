"""
Settings on their way to be checked, in a form that no traceback shows.

Until a value was checked nobody knows whether it is a secret: a key may have a
misspelt name, stand in an address, or belong to a class of the user's own. So each
function that is handed settings wraps them first, in place of what it was handed, and
no frame of ours has them as they came. `load` unwraps them, where they are checked.
"""

from collections.abc import Mapping
from typing import Any

from aitor.errors import ConfigurationError

__all__ = ("Concealed", "concealed", "revealed")

PLAIN = frozenset({"kind", "failover"})
"""Names of classes and of providers: an error quotes them before they are checked."""


class Concealed(str):
    """A text whose `repr` does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


def concealed(values: Any, where: str = "") -> Any:
    """
    Return a copy of *values* whose texts hide themselves, in mappings and lists too.

    What hides itself already stays as it is.

    Args:
        values: What was handed over.
        where: What to put before a problem, such as a file's name.

    Raises:
        ConfigurationError: If they are nested without end.
    """
    try:
        return _concealed(values)
    except RecursionError:
        pass
    del values
    raise ConfigurationError(f"{where}it is nested too deep, or contains itself")


def _concealed(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {
            key: value if key in PLAIN else _concealed(value)
            for key, value in values.items()
        }
    if isinstance(values, list | tuple):
        return [_concealed(each) for each in values]
    # Not one of a class that has a `repr` of its own.
    return Concealed(values) if type(values) is str else values


def revealed(values: Any) -> Any:
    """Return *values* as they came."""
    if isinstance(values, Mapping):
        return {key: revealed(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [revealed(each) for each in values]
    return str(values) if type(values) is Concealed else values
