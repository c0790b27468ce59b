"""
A configuration without a file: the environment says what there is.

One key is enough. Every variable that is set is used, none is needed besides, and
one that is wrong is an error that names it: a default that was ignored silently is
how a program ends up asking the wrong provider.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aitor.config.configuration import Configuration
from aitor.config.environment import look_up, veiled
from aitor.config.files import load_configuration
from aitor.config.tables import read_tables
from aitor.errors import ConfigurationError

__all__ = ("CONFIG_VARIABLE", "FILE_NAME", "configuration_from_environment")

FILE_NAME = "aitor.toml"
CONFIG_VARIABLE = "AITOR_CONFIG"
DEFAULT_VARIABLE = "DEFAULT_LLM_PROVIDER"
LONELY_KEY, ITS_ADDRESS = "CUSTOM_LLM_API_KEY", "CUSTOM_LLM_BASE_URL"


@dataclass(frozen=True, slots=True)
class _Vendor:
    """
    A provider that variables describe, besides those that its class reads itself.

    Args:
        name: What it is called.
        kind: Its kind.
        signs: The variables of which one has to be set for it to be there.
        variables: The variable of each setting; none of them holds a secret.
    """

    name: str
    kind: str
    signs: tuple[str, ...]
    variables: Mapping[str, str]


VENDORS = (
    _Vendor(
        "openai",
        "openai",
        ("OPENAI_API_KEY",),
        {
            "model": "OPENAI_MODEL",
            "temperature": "OPENAI_TEMPERATURE",
            "max_tokens": "OPENAI_MAX_TOKENS",
        },
    ),
    _Vendor(
        "claude",
        "anthropic",
        ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        {
            "model": "ANTHROPIC_MODEL",
            "temperature": "ANTHROPIC_TEMPERATURE",
            "max_tokens": "ANTHROPIC_MAX_TOKENS",
        },
    ),
    _Vendor(
        "custom",
        "compatible",
        ("CUSTOM_LLM_BASE_URL",),
        {"model": "CUSTOM_LLM_MODEL"},
    ),
)
"""In the order in which they are asked."""


def configuration_from_environment(
    environ: Mapping[str, str] | None = None, *, keys: bool = True
) -> Configuration:
    """
    Return what the environment says.

    `AITOR_CONFIG` names a file that says it all. Without it each vendor whose key is
    set (`OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, `CUSTOM_LLM_BASE_URL`) is a provider,
    asked in this order, or `DEFAULT_LLM_PROVIDER` first.

    Args:
        environ: The variables; by default those of the process, and behind them
            those of a file `.env` in the working directory.
        keys: As for `load_configuration`.

    Raises:
        ConfigurationError: Naming each variable that is wrong, one a line, or the
            ways to go on if nothing is set.
    """
    environ = veiled(environ)
    if path := look_up(environ, CONFIG_VARIABLE):
        return load_configuration(str(path), environ, keys=keys)
    problems = []
    if look_up(environ, LONELY_KEY) and not look_up(environ, ITS_ADDRESS):
        problems.append(f"environment: {LONELY_KEY} is set, but {ITS_ADDRESS} is not")
    tables = {
        vendor.name: table for vendor in VENDORS if (table := _table(vendor, environ))
    }
    if not tables:
        problems.append(_ways_to_go_on())
        raise ConfigurationError("\n".join(problems))
    # Tables are asked in their order.
    tables = _default_first(tables, environ, problems)
    try:
        configuration = read_tables({"providers": tables}, "environment", environ)
    except ConfigurationError as error:
        problems.append(error.message)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return configuration


def _table(vendor: _Vendor, environ: Mapping[str, str]) -> dict[str, Any] | None:
    if not any(look_up(environ, sign) for sign in vendor.signs):
        return None
    values = {
        setting: value
        for setting, variable in vendor.variables.items()
        if (value := look_up(environ, variable, shown=True))
    }
    return {"kind": vendor.kind, **values}


def _default_first(
    tables: dict[str, Any], environ: Mapping[str, str], problems: list[str]
) -> dict[str, Any]:
    default = look_up(environ, DEFAULT_VARIABLE)
    if default is None:
        return tables
    word = default.strip().lower()
    name = next((each.name for each in VENDORS if each.kind == word), word)
    if name not in tables:
        problems.append(
            f"environment: {DEFAULT_VARIABLE} = {str(default)!r}: no such provider "
            f"is configured; known: {', '.join(tables)}"
        )
        return tables
    return {name: tables[name], **tables}


def _ways_to_go_on() -> str:
    signs = ", ".join(vendor.signs[0] for vendor in VENDORS)
    return (
        f"no provider is configured: write {FILE_NAME} with a table "
        f"[providers.NAME], or name such a file in {CONFIG_VARIABLE}, or set one of "
        f"{signs}; without a key: the table [providers.mock] answers by itself, and "
        f"'aitor fake-provider' is a provider on this machine, for which "
        f"{ITS_ADDRESS} is the address that it tells and CUSTOM_LLM_MODEL any name"
    )
