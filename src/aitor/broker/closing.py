"""
Closing providers, at nobody else's cost.

What runs here is a provider's own code, in the middle of somebody else's business: a
closing broker with more providers to close, or a request to the provider that took
the place of this one. So an error ends here, and so does waiting.
"""

from collections.abc import Iterable

import anyio

from aitor.logs import report_not_closed
from aitor.providers.base import Provider

__all__ = ("CLOSE_SECONDS", "close_all")

CLOSE_SECONDS = 5.0
"""How long closing a provider may take at most."""


async def close_all(providers: Iterable[Provider]) -> None:
    """Close *providers*, all at the same time; never raise, whatever is broken."""
    async with anyio.create_task_group() as tasks:
        # One may have several names.
        for provider in {id(one): one for one in providers}.values():
            tasks.start_soon(_close, provider)


async def _close(provider: Provider) -> None:
    error = TimeoutError.__name__
    # Shielded, so that a caller that is cancelled itself leaves no socket open.
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        try:
            await provider.aclose()
        except Exception as caught:  # noqa: BLE001  # whatever a provider's code does
            # Its class alone: its text may hold anything.
            error = type(caught).__name__
        else:
            return
    report_not_closed(provider.name, error)
