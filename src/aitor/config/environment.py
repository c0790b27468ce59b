"""
Environment variables, and how a configuration takes values from them.

A value out of the environment may be a secret, so it travels as a `Variable`: a
text like any other for whoever uses it, whose `repr` tells the variable's name
instead. An error that quotes the value therefore quotes the name.

A variable set to nothing counts as unset, as shells and containers mean it.
"""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

from aitor.errors import ConfigurationError

__all__ = ("Environment", "Variable", "look_up", "veiled")


class Variable(str):
    """
    A text that came from an environment variable.

    Args:
        value: The text.
        name: The variable's name.
        origin: Where it was found, as an error or `aitor check` tells it.
        shown: True when the value is no secret, so that an error may quote it.
    """

    __slots__ = ("name", "origin", "shown")

    name: str
    origin: str
    shown: bool

    def __new__(
        cls, value: str, name: str, *, origin: str | None = None, shown: bool = False
    ) -> Self:
        """Make the text, which cannot be changed afterwards."""
        self = super().__new__(cls, value)
        self.name = name
        self.origin = origin or name
        self.shown = shown
        return self

    def __repr__(self) -> str:
        if self.shown:
            return f"{super().__repr__()} (from {self.origin})"
        return f"'env:{self.name}'"


class Environment(Mapping[str, str]):
    """
    The variables of the process, and behind them those of a file `.env`.

    The file is opened when a variable is asked for that the process does not have.
    Without python-dotenv, which reads it, that is an error: a key or an address that
    somebody wrote down must not be passed over in silence. Nothing is ever written to
    `os.environ`.

    Args:
        process: The variables that win; `os.environ` by default.
        path: The file; `.env` in the working directory by default.
    """

    def __init__(
        self, process: Mapping[str, str] | None = None, path: Path | None = None
    ) -> None:
        self._process = os.environ if process is None else process
        self._path = path or Path(".env")

    @cached_property
    def _file(self) -> Mapping[str, str]:
        if not self._path.is_file():
            return {}
        try:
            # Optional, and only needed here.
            from dotenv import dotenv_values
        except ModuleNotFoundError:
            raise ConfigurationError(
                f"{self._path} is there, but python-dotenv, which reads it, is not: "
                f"install it (it comes with the cli extra), or pass the environment "
                f"yourself"
            ) from None
        try:
            values = dotenv_values(self._path)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{self._path} cannot be read: {type(error).__name__}"
            ) from None
        return {name: value for name, value in values.items() if value is not None}

    def origin(self, name: str) -> str:
        """Return where *name* is set, in words."""
        return name if name in self._process else f"{name} in {self._path}"

    def __getitem__(self, name: str) -> str:
        try:
            return self._process[name]
        except KeyError:
            return self._file[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._file, **self._process})

    def __len__(self) -> int:
        return len({**self._file, **self._process})


class Veiled(Mapping[str, str]):
    """
    Variables that were handed over, which no traceback shows.

    Args:
        given: The variables.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def __getitem__(self, name: str) -> str:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def veiled(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return *environ*, by default that of the process, without a `repr` that tells."""
    if environ is None:
        return Environment()
    return environ if isinstance(environ, Environment) else Veiled(environ)


def look_up(
    environ: Mapping[str, str], name: str, *, shown: bool = False
) -> Variable | None:
    """Return the variable *name*, or None when it is unset or empty."""
    value = environ.get(name)
    if not value:
        return None
    origin = environ.origin(name) if isinstance(environ, Environment) else None
    return Variable(value, name, origin=origin, shown=shown)
