"""
Where the command line looks for its configuration.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from aitor.config.configuration import Configuration
from aitor.config.environment import look_up, veiled
from aitor.config.files import load_configuration
from aitor.config.from_environment import (
    CONFIG_VARIABLE,
    FILE_NAME,
    configuration_from_environment,
)

__all__ = ("find_configuration",)


def find_configuration(
    path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    keys: bool = True,
) -> Configuration:
    """
    Return the first configuration there is.

    In this order: the file *path*; the file that `AITOR_CONFIG` names; `aitor.toml`
    in the working directory; the environment.

    Args:
        path: A file that was asked for by name.
        environ: The variables; by default as for `load_configuration`.
        keys: As for `load_configuration`.

    Raises:
        ConfigurationError: If it is wrong, or there is none.
    """
    environ = veiled(environ)
    if path is not None:
        return load_configuration(path, environ, keys=keys)
    if not look_up(environ, CONFIG_VARIABLE) and Path(FILE_NAME).is_file():
        return load_configuration(FILE_NAME, environ, keys=keys)
    return configuration_from_environment(environ, keys=keys)
