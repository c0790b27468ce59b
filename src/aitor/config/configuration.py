"""
A configuration: checked, frozen, and ready to become a broker.

It is a value and holds nothing open. Providers are made when a broker is, so that
one configuration can be looked at without a socket and can make several brokers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aitor.broker.broker import Broker
from aitor.broker.limit import Limit
from aitor.errors import ConfigurationError
from aitor.events import Listener
from aitor.providers.base import Provider
from aitor.providers.concealed import concealed
from aitor.providers.settings import LimitSettings, ProviderSettings

__all__ = ("Configuration", "ConfiguredProvider")


@dataclass(frozen=True, slots=True)
class ConfiguredProvider:
    """
    One provider, before it is made.

    Args:
        kind: The word the configuration has for its class.
        provider_class: The class.
        settings: Its settings, checked. They keep a key secret.
        key_origin: Where its key comes from, in words; None when it has none.
    """

    kind: str
    provider_class: type[Provider]
    settings: ProviderSettings
    key_origin: str | None = None

    def provider(self) -> Provider:
        """
        Make the provider.

        Raises:
            ConfigurationError: If its class refuses the settings.
        """
        settings = self.settings
        # Only what was given: a default that a class takes from elsewhere, such as
        # the environment, must not be overruled by our None.
        names = settings.model_fields_set
        given = concealed({name: getattr(settings, name) for name in names})
        return self.provider_class(**given)


@dataclass(frozen=True, slots=True)
class Configuration:
    """
    All that a broker needs to know.

    Args:
        source: Where it comes from, in words: a file's name, or the environment.
        providers: By name, in the order given.
        failover: Names in the order in which they are asked.
        limits: Limits that providers share, by name.
        tenants: Shares of the tenants that differ from 1.
        drain_timeout: Seconds that requests have to finish when the broker closes.
        retry_ratio: Retries allowed for each request of the process.
        backend: What the command line runs on: `asyncio` or `trio`.
        debug: Whether an error keeps what a provider's own code raised; see `Broker`.
    """

    source: str
    providers: Mapping[str, ConfiguredProvider]
    failover: tuple[str, ...]
    limits: Mapping[str, LimitSettings] = field(default_factory=dict)
    tenants: Mapping[str, float] = field(default_factory=dict)
    drain_timeout: float = 30.0
    retry_ratio: float = 0.2
    backend: str = "asyncio"
    debug: bool = False

    def make_providers(self) -> dict[str, Provider]:
        """
        Make every provider, by name.

        Raises:
            ConfigurationError: Naming each that refuses its settings, one a line.
        """
        providers, problems = {}, []
        for name, configured in self.providers.items():
            try:
                providers[name] = configured.provider()
            except ConfigurationError as error:
                problems.append(f"{self.source}: [providers.{name}] {error}")
        if problems:
            raise ConfigurationError("\n".join(problems))
        return providers

    def broker(self, *, listeners: Sequence[Listener] = ()) -> Broker:
        """
        Make a broker; enter it to start.

        Args:
            listeners: Take the broker's events.

        Raises:
            ConfigurationError: If a provider's class refuses its settings.
        """
        return Broker(
            self.make_providers(),
            failover=self.failover,
            limits={name: Limit(name, given) for name, given in self.limits.items()},
            tenants=self.tenants,
            drain_timeout=self.drain_timeout,
            retry_ratio=self.retry_ratio,
            listeners=listeners,
            debug=self.debug,
        )
