"""
The file `aitor.toml`, and mappings of the same shape.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from aitor.config.configuration import Configuration
from aitor.config.environment import veiled
from aitor.config.tables import read_tables
from aitor.errors import ConfigurationError
from aitor.providers.concealed import concealed

__all__ = ("Source", "load_configuration")

Source: TypeAlias = str | os.PathLike[str] | Mapping[str, Any]
"""A file's name, or the keys and tables themselves."""


def load_configuration(
    source: Source, environ: Mapping[str, str] | None = None, *, keys: bool = True
) -> Configuration:
    """
    Read *source*, check it, and return what it means.

    Args:
        source: A TOML file's name, or a mapping of the same shape.
        environ: Where `env:NAME` is looked up; by default the variables of the
            process, and behind them those of a file `.env` in the working directory.
        keys: Whether the providers need their keys; a forecast does not.

    Raises:
        ConfigurationError: Telling everything that is wrong, one problem a line,
            each with file, table, key, value and what was expected.
    """
    name = "configuration" if isinstance(source, Mapping) else str(Path(source))
    source, environ = concealed(source, f"{name}: "), veiled(environ)
    try:
        if isinstance(source, Mapping):
            return read_tables(source, name, environ, keys=keys)
        return read_tables(
            concealed(_parse(Path(source)), f"{name}: "), name, environ, keys=keys
        )
    except RecursionError:
        raise ConfigurationError(f"{name}: it is nested too deep") from None


def _parse(path: Path) -> dict[str, Any]:
    try:
        # Editors on Windows put a byte order mark at the front, which is no TOML.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path}: byte {error.start} is not UTF-8, which TOML has to be"
        ) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The parser puts the place last; who has to look for it wants it first.
        told = re.fullmatch(r"(.*) \(at (.*)\)", str(error), re.DOTALL)
        what, place = told.groups() if told else (str(error), "somewhere")
        problem = f"{path}, {place}: {what}"
    except ValueError:
        # Python's own limit, which the parser does not know.
        problem = f"{path}: a number has thousands of digits, and TOML's have 64 bits"
    finally:
        # Neither this frame nor the parser's, which has it, goes along with the error.
        del text
    raise ConfigurationError(problem)
