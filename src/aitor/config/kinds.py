"""
Which class a `kind` means: one of ours by its word, or a user's by its path.
"""

import importlib

from aitor.errors import ConfigurationError
from aitor.providers import provider_class
from aitor.providers.base import Provider

__all__ = ("find_class",)


def find_class(kind: object) -> type[Provider]:
    """
    Return the class that *kind* means.

    Args:
        kind: A kind of ours, or `package.module:Class` for a subclass of `Provider`.

    Raises:
        ConfigurationError: Saying what is wrong with *kind*, without quoting it.
    """
    if not isinstance(kind, str):
        raise ConfigurationError("must be a text")
    module, colon, name = kind.partition(":")
    return _import(module, name) if colon else provider_class(kind)


def _import(module: str, name: str) -> type[Provider]:
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ConfigurationError("a class is named as package.module:Class")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"there is no module '{error.name}'") from None
    except Exception as error:
        # A user's module may raise anything.
        raise ConfigurationError(
            f"importing '{module}' raised {type(error).__name__}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Provider)):
        raise ConfigurationError(
            f"'{module}' has no class '{name}' that is a subclass of "
            f"aitor.providers.Provider"
        )
    return found
