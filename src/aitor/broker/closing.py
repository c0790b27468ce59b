"""
Closing providers, at nobody else's cost, and ending what waits for something else.

What runs here is a provider's own code, in the middle of somebody else's business: a
closing broker with more providers to close, or a request to the provider that took
the place of this one. So an error ends here, and so does waiting.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import anyio

from aitor.broker.host import Host
from aitor.logs import report_not_closed
from aitor.providers.base import Provider

__all__ = ("CLOSE_SECONDS", "Scopes", "close_all")

CLOSE_SECONDS = 5.0
"""How long closing a provider may take at most."""

GRACE_SECONDS = 0.5
"""How long a provider may take to end after that, when it is cancelled."""


class Scopes:
    """Cancel scopes of those who wait where closing an actor does not reach them."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._aborted = False

    @contextmanager
    def until(self, deadline: float) -> Iterator[anyio.CancelScope]:
        """Run what is within until *deadline*, or until the broker closes."""
        with anyio.CancelScope(deadline=deadline) as scope:
            self._scopes.add(scope)
            if self._aborted:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def abort(self) -> None:
        """End everything that is within one, now and from now on."""
        self._aborted = True
        for scope in list(self._scopes):
            scope.cancel()


async def close_all(providers: Iterable[Provider]) -> None:
    """Close *providers*, all at the same time; never raise, whatever is broken."""
    # One may have several names.
    closing = {id(one): one for one in providers}
    if not closing:
        return
    # Not in a task group, which would wait for one that ignores its cancellation.
    host = Host()
    for provider in closing.values():
        host.start_soon(_close, provider, closing)
    await host.join(CLOSE_SECONDS + GRACE_SECONDS)
    for provider in closing.values():
        report_not_closed(provider.name, TimeoutError.__name__)


async def _close(provider: Provider, closing: dict[int, Provider]) -> None:
    error = TimeoutError.__name__
    with anyio.move_on_after(CLOSE_SECONDS):
        try:
            await provider.aclose()
        except Exception as caught:  # noqa: BLE001  # whatever a provider's code does
            # Its class alone: its text may hold anything.
            error = type(caught).__name__
        else:
            error = ""
    # Whoever takes longer than all that was told of already.
    if closing.pop(id(provider), None) is not None and error:
        report_not_closed(provider.name, error)
