"""
From tables, as a file or a mapping holds them, to a `Configuration`.

Everything is read before anything is refused: all that is wrong is told together,
a line for each, with its table, its key, its value and what was expected. A value
that may be a secret is never quoted.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StrictBool

from aitor.config.configuration import Configuration, ConfiguredProvider
from aitor.config.defaults import complete, key_origin
from aitor.config.environment import look_up
from aitor.config.kinds import find_class
from aitor.errors import ConfigurationError
from aitor.providers.settings import Amount, LimitSettings, Number, Settings, load

__all__ = ("read_tables",)

S = TypeVar("S", bound=Settings)

REFERENCE = "env:"
"""A text that begins so names the environment variable that holds the value."""

GROUPS = ("providers", "limits")

BITS = 63
"""A number of TOML has no more, and a sign."""

UNSET = object()
"""Instead of a variable's value: leaves its key out, so that it is told once."""

Weight = Annotated[Number, Field(gt=0)]


class _General(Settings):
    """The keys outside every table, and the names of the groups of tables."""

    failover: Annotated[list[str], Field(min_length=1)] | None = None
    backend: Literal["asyncio", "trio"] = "asyncio"
    drain_timeout: Amount = 30.0
    retry_ratio: Amount = 0.2
    debug: StrictBool = False
    tenants: Mapping[str, Weight] = Field(default_factory=dict)
    # Checked table by table; named here so that a misspelt one is recognised.
    providers: Any = None
    limits: Any = None


def read_tables(
    document: Mapping[str, Any],
    source: str,
    environ: Mapping[str, str],
    *,
    keys: bool = True,
) -> Configuration:
    """
    Check *document* and return what it means.

    Args:
        document: Keys and tables, in the shape of `aitor.toml`.
        source: Where they come from: begins each problem's line.
        environ: Where `env:NAME`, and a key that is not given, are looked up.
        keys: Whether a provider needs its key, so that one that is missing is told
            along with what else is wrong.

    Raises:
        ConfigurationError: Telling everything that is wrong, one problem a line.
    """
    reader = _Reader(source, environ)
    configuration = reader.read(document)
    if keys and reader.problems:
        reader.check_others()
    if reader.problems or configuration is None:
        raise ConfigurationError("\n".join(reader.problems))
    return configuration


class _Reader:
    """
    Reads one document and collects what is wrong with it.

    A path is the tuple of keys that leads to a value; the last one is the key.
    """

    def __init__(self, source: str, environ: Mapping[str, str]) -> None:
        self.source = source
        self.environ = environ
        self.problems: list[str] = []
        self._providers: dict[str, ConfiguredProvider] = {}

    def read(self, document: Mapping[str, Any]) -> Configuration | None:
        """Return what *document* means, or None if something general is wrong."""
        document = self._resolve(document, ())
        keys = {key: None if key in GROUPS else document[key] for key in document}
        general = self._settings(_General, keys, ())
        limit_tables = self._group(document, "limits")
        provider_tables = self._group(document, "providers")
        if not document.get("providers"):
            self._complain((), "no provider is given: write a table [providers.NAME]")

        limits = {
            name: settings
            for name, table in limit_tables.items()
            if (settings := self._settings(LimitSettings, table, ("limits", name)))
        }
        providers = {
            name: provider
            for name, table in provider_tables.items()
            if (provider := self._provider(name, table))
        }
        self._providers = providers
        for name, provider in providers.items():
            self._check_limit(name, provider.settings.limits, limit_tables)
        self._check_failover(document.get("failover"), provider_tables)
        if general is None:
            return None
        return Configuration(
            source=self.source,
            providers=providers,
            failover=tuple(general.failover or providers),
            limits=limits,
            tenants=general.tenants,
            drain_timeout=general.drain_timeout,
            retry_ratio=general.retry_ratio,
            backend=general.backend,
            debug=general.debug,
        )

    def check_others(self) -> None:
        """Tell what is wrong with providers whose tables are right in themselves."""
        for name, provider in self._providers.items():
            table = self._where(("providers", name)).removesuffix("] ")
            wrong = (f"{table}]", f"{table}.")
            if not any(problem.startswith(wrong) for problem in self.problems):
                try:
                    provider.provider()
                except ConfigurationError as error:
                    self._complain(("providers", name), error.message)

    # Values.

    def _resolve(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, Mapping):
            pairs = (
                (key, self._resolve(each, (*path, str(key))))
                for key, each in value.items()
            )
            return {key: each for key, each in pairs if each is not UNSET}
        if isinstance(value, list | tuple):
            items = (self._resolve(each, path) for each in value)
            return [each for each in items if each is not UNSET]
        if isinstance(value, str) and value.startswith(REFERENCE):
            return self._variable(value.removeprefix(REFERENCE), path)
        if isinstance(value, int) and value.bit_length() > BITS:
            self._complain(
                path[:-1], f"'{path[-1]}' is a number of {value.bit_length()} bits"
            )
            return UNSET
        return value

    def _variable(self, name: str, path: tuple[str, ...]) -> Any:
        variable = look_up(self.environ, name)
        if variable is not None:
            return variable
        self._complain(
            path[:-1],
            f"'{path[-1]}' = '{REFERENCE}{name}': the environment variable "
            f"{name or '(no name)'} is not set",
        )
        return UNSET

    # Tables.

    def _group(
        self, document: Mapping[str, Any], group: str
    ) -> Mapping[str, Mapping[str, Any]]:
        tables = document.get(group, {})
        if not isinstance(tables, Mapping):
            self._complain((), f"'{group}' must be tables [{group}.NAME]")
            return {}
        named = {}
        for name, table in tables.items():
            if not isinstance(name, str) or not name:
                self._complain((group,), f"{name!r} is no name: write [{group}.NAME]")
            elif not isinstance(table, Mapping):
                self._complain((group,), f"'{name}' must be a table [{group}.{name}]")
            else:
                named[name] = table
        return named

    def _provider(
        self, name: str, table: Mapping[str, Any]
    ) -> ConfiguredProvider | None:
        path = ("providers", name)
        values = dict(table)
        kind = values.pop("kind", name)
        try:
            provider_class = find_class(kind)
        except ConfigurationError as error:
            told = f"'kind' = {kind!r}" if "kind" in table else "'kind' is not given"
            self._complain(path, f"{told}: {error.message}")
            return None
        values = complete(provider_class, values, self.environ)
        settings = self._settings(provider_class.Settings, values, path)
        if settings is None:
            return None
        origin = key_origin(values, self.source)
        return ConfiguredProvider(kind, provider_class, settings, origin)

    def _settings(
        self, model: type[S], values: Mapping[str, Any], path: tuple[str, ...]
    ) -> S | None:
        where = self._where(path)
        try:
            return load(model, values, where)
        except ConfigurationError as error:
            # One message for the table, each problem in it beginning with *where*.
            told = error.message.removeprefix(where)
            self.problems += [where + each for each in told.split(f"; {where}")]
            return None

    # What holds between tables.

    def _check_limit(
        self, provider: str, limit: str | None, known: Iterable[str]
    ) -> None:
        if limit is not None and limit not in known:
            self._complain(
                ("providers", provider),
                f"'limits' = {limit!r}: there is no table [limits.{limit}]"
                f"{_hint(limit, known)}",
            )

    def _check_failover(self, failover: Any, known: Iterable[str]) -> None:
        # As it was written: what else is wrong outside the tables is no reason to
        # tell this one later.
        names = failover if isinstance(failover, list) else []
        seen: set[str] = set()
        for name in (each for each in names if isinstance(each, str)):
            if name not in known:
                problem = f"no such provider{_hint(name, known)}"
            elif name in seen:
                problem = "named twice"
            else:
                problem = None
            seen.add(name)
            if problem:
                self._complain((), f"'failover' names {name!r}: {problem}")

    # Words.

    def _where(self, path: tuple[str, ...]) -> str:
        return f"{self.source}: [{'.'.join(path)}] " if path else f"{self.source}: "

    def _complain(self, path: tuple[str, ...], problem: str) -> None:
        self.problems.append(self._where(path) + problem)


def _hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that tells the nearest name, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean '{near[0]}'?"
    names = ", ".join(known)
    return f"; known: {names}" if names else ""
