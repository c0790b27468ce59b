"""
What is to be run, as a value: from a file, a mapping or the environment.

`load_configuration` reads a file or a mapping, `configuration_from_environment` the
variables, `find_configuration` whatever there is. All of them check everything and
send nothing, and tell all that is wrong together.
"""

from aitor.config.configuration import Configuration, ConfiguredProvider
from aitor.config.files import load_configuration
from aitor.config.from_environment import configuration_from_environment
from aitor.config.search import find_configuration

__all__ = (
    "Configuration",
    "ConfiguredProvider",
    "configuration_from_environment",
    "find_configuration",
    "load_configuration",
)
