"""
A configuration for a forecast: it needs neither keys nor addresses.

Nothing is sent, so a variable that would bring a key, a header or an address may be
unset; something stands in for it. All else is read and checked as ever.
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aitor.config import Configuration, find_configuration
from aitor.config.environment import Environment, look_up
from aitor.config.from_environment import CONFIG_VARIABLE, FILE_NAME
from aitor.config.tables import REFERENCE

__all__ = ("find_without_keys",)

STAND_INS = {
    "api_key": "not-needed",
    "auth_token": "not-needed",
    "base_url": "http://127.0.0.1",
    "headers": "not-needed",
}
"""What an unset variable is taken to hold, by the setting that names it."""


def find_without_keys(path: str | os.PathLike[str] | None = None) -> Configuration:
    """
    Return the first configuration there is, as `find_configuration` does.

    Args:
        path: A file that was asked for by name.

    Raises:
        ConfigurationError: If it is wrong, or there is none.
    """
    environ = Environment()
    file = path or look_up(environ, CONFIG_VARIABLE) or FILE_NAME
    unset = {
        name: value for name, value in _stand_ins(Path(file)) if not environ.get(name)
    }
    return find_configuration(path, Environment({**os.environ, **unset}), keys=False)


def _stand_ins(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the variables that *path* names for what is not needed, with stand-ins."""
    try:
        providers = tomllib.loads(path.read_text("utf-8-sig")).get("providers")
    except (OSError, ValueError):
        # What is wrong with it is said when it is read in earnest.
        return
    for table in providers.values() if isinstance(providers, dict) else ():
        for setting, stand_in in STAND_INS.items():
            for text in _texts(table, setting):
                if text.startswith(REFERENCE):
                    yield text.removeprefix(REFERENCE), stand_in


def _texts(table: Any, setting: str) -> Iterator[str]:
    value = table.get(setting) if isinstance(table, dict) else None
    values = value.values() if isinstance(value, dict) else [value]
    yield from (each for each in values if isinstance(each, str))
