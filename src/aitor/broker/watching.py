"""
Watching a broker: what its statistics and its events are made of.
"""

from collections.abc import Sequence

import anyio
from anyio import from_thread

from aitor.broker.ledger import Ledger
from aitor.broker.lifecycle import Lifecycle
from aitor.broker.prices import addresses_of
from aitor.broker.statistics import Statistics
from aitor.broker.tenants import Tenants
from aitor.events import Event, Listener
from aitor.logs import log_events, report_broken_listener
from aitor.providers.base import Provider

__all__ = ("Watched",)


class Watched(Lifecycle):
    """
    The part of a broker that tells how things stand.

    Args:
        listeners: Called with every event; without any, what is rare is logged.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        super().__init__()
        self._listeners = tuple(listeners)
        self._ledger = Ledger()
        self._seen = Tenants()

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the providers."""
        return tuple(self._roster.actors)

    def sequence(
        self, provider: str | Sequence[str] | None = None
    ) -> dict[str, Provider]:
        """
        Return who is asked, by name, in the order in which they are asked.

        Args:
            provider: As for `submit`.

        Raises:
            ConfigurationError: If a name is unknown or given twice.
        """
        return {actor.name: actor.provider for actor in self._roster.sequence(provider)}

    @property
    def ledger(self) -> Ledger:
        """Sums over every call on the wire."""
        return self._ledger

    def statistics(self) -> Statistics:
        """
        Return a frozen snapshot of everything; costs no request anything.

        May be called from a thread other than the broker's, where the broker is open
        or the thread is one of anyio's, and then waits for the event loop.
        """
        host = self._residence.host
        if host is not None and not host.is_this_thread:
            self._residence.check_process()
            return host.call(self._look)
        try:
            return self._snapshot(anyio.current_time())
        except anyio.NoEventLoopError:
            return from_thread.run(self._look)

    async def _look(self) -> Statistics:
        return self._snapshot(anyio.current_time())

    def _snapshot(self, now: float) -> Statistics:
        delivery, ledger = self._delivery, self._ledger
        actors = self._roster.actors.items()
        addresses = addresses_of({name: actor.provider for name, actor in actors})
        return Statistics(
            submitted=delivery.submitted,
            answered=delivery.answered,
            failed=delivery.failed,
            cancelled=delivery.cancelled,
            open=delivery.open,
            retry_budget=delivery.budget.balance(now),
            providers={name: actor.statistics(now) for name, actor in actors},
            totals=ledger.total(),
            cached=ledger.cached,
            bill=ledger.bill(addresses),
            tenants=self._seen.statistics(),
        )

    def _emit(self, event: Event) -> None:
        for listener in self._listeners or (log_events,):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  # an observer breaks no call
                report_broken_listener(listener, error)
