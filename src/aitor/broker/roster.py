"""
The providers of a broker, by name, and the order in which they are asked.

A name given in a call begins the sequence there: whoever stands before it is left
out, and whoever stands behind it still takes over. Names that are not known are told
with those that are, since most of them are typing errors.

An actor whose place another has taken lives on in the routes of requests that came
before, and in nothing else. One that waits between two tries may still come back to
it, so its provider is closed only when no route knows the actor any more.
"""

from collections.abc import Callable, Mapping, Sequence
from weakref import ref

from aitor.broker.actor import Actor
from aitor.errors import ConfigurationError
from aitor.providers.base import Provider

__all__ = ("Roster", "by_name")


class Roster:
    """
    Knows every actor.

    Args:
        make: Makes the actor for a provider of this name.
    """

    def __init__(self, make: Callable[[str, Provider], Actor]) -> None:
        self.actors: dict[str, Actor] = {}
        self.failover: tuple[Actor, ...] = ()
        self.unused: list[Provider] = []
        """Those that were replaced and that nobody comes back to."""
        self._replaced: dict[ref[Actor], Provider] = {}
        self._make = make

    def add(self, name: str, provider: Provider) -> None:
        """Add *provider*, or put it in the place of the one called *name*."""
        actor = self._make(name, provider)
        if (old := self.actors.get(name)) is not None:
            self._replaced[ref(old, self._forget)] = old.provider
        self.actors[name] = actor
        self.failover = tuple(self.actors[one.name] for one in self.failover)

    def set_failover(self, names: Sequence[str]) -> None:
        """
        Ask in the order of *names* from now on.

        Raises:
            ConfigurationError: If a name is unknown or given twice.
        """
        self.failover = self._named(names, "failover")

    def sequence(self, provider: str | Sequence[str] | None) -> Sequence[Actor]:
        """
        Return who is asked, in order; see `Broker.submit` for *provider*.

        Raises:
            ConfigurationError: If a name is unknown or given twice.
        """
        if provider is None:
            return self.failover
        if not isinstance(provider, str):
            return self._named(provider, "provider")
        (actor,) = self._named([provider], "provider")
        if actor in self.failover:
            return self.failover[self.failover.index(actor) :]
        return (actor,)

    def take_unused(self) -> list[Provider]:
        """Return, once, those that were replaced and that nobody comes back to."""
        taken = [self.unused.pop() for _ in range(len(self.unused))]
        # One may have come back under another name.
        used = {id(actor.provider) for actor in self.everybody()}
        return [provider for provider in taken if id(provider) not in used]

    def everybody(self) -> list[Actor]:
        """Return all actors, those that were replaced and are in use as well."""
        replaced = [actor for one in self._replaced if (actor := one()) is not None]
        return [*self.actors.values(), *replaced]

    def _forget(self, actor: ref[Actor]) -> None:
        self.unused.append(self._replaced.pop(actor))

    def _named(self, names: Sequence[str], setting: str) -> tuple[Actor, ...]:
        if not names or len(set(names)) < len(names):
            raise ConfigurationError(
                f"'{setting}' names each provider once and at least one, "
                f"not {list(names)!r}"
            )
        for name in names:
            if name not in self.actors:
                known = ", ".join(self.actors)
                raise ConfigurationError(
                    f"'{setting}' names {name!r}, which is no provider here; "
                    f"there are: {known}"
                )
        return tuple(self.actors[name] for name in names)


def by_name(
    providers: Mapping[str, Provider] | Sequence[Provider],
) -> dict[str, Provider]:
    """
    Return *providers* by their names; those without go by their kind.

    Raises:
        ConfigurationError: If there is none, or two have one name.
    """
    if isinstance(providers, Mapping):
        named = dict(providers)
    else:
        named = {getattr(one, "kind", "?"): one for one in providers}
        if len(named) < len(providers):
            raise ConfigurationError(
                "two providers of one kind need names: give a mapping of names "
                "to providers"
            )
    if not named:
        raise ConfigurationError("a broker needs at least one provider")
    for name, provider in named.items():
        if not isinstance(provider, Provider):
            raise ConfigurationError(
                f"provider {name!r} is to be an instance of Provider, "
                f"not {type(provider).__name__}"
            )
    return named
