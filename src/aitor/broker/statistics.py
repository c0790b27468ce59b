"""
Snapshots of the broker: what waits, what runs, and how things stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aitor.broker.ledger import Totals
from aitor.laws.bucket import Level
from aitor.messages import Waits

__all__ = ("ProviderStatistics", "Statistics")


@dataclass(frozen=True, slots=True)
class ProviderStatistics:
    """
    One provider at one instant.

    Args:
        name: The provider's name.
        queued: Requests in the mailbox.
        at_the_door: Callers that wait for room in it.
        in_flight: Calls on the wire.
        workers: Most calls in flight.
        concurrency: Most calls in flight as the provider was found to bear them.
        failing_share: Share of its recent calls that failed, 0 to 1.
        degraded: Whether others are asked first, because it fails too often.
        queue_size: Most requests in the mailbox.
        circuit: `closed`, `open` or `half-open`.
        retry_in: Seconds until the circuit lets something through.
        paused_for: Seconds until the pause that the server asked for is over.
        limit: Name of its limit.
        levels: What the limit still allows, by dimension.
        waited: Seconds, ever, that the first in the mailbox waited, by cause.
        mean_seconds: Mean time of recent answers.
        totals: Sums over all attempts at this provider.
    """

    name: str
    queued: int
    at_the_door: int
    in_flight: int
    workers: int
    concurrency: int
    failing_share: float
    degraded: bool
    queue_size: int
    circuit: str
    retry_in: float
    paused_for: float
    limit: str
    levels: Mapping[str, Level]
    waited: Waits
    mean_seconds: float
    totals: Totals


@dataclass(frozen=True, slots=True)
class Statistics:
    """
    The broker at one instant.

    Args:
        submitted: Requests taken, ever.
        answered: Requests that got a reply.
        failed: Requests that got an error, the refused and expired included.
        cancelled: Requests whose caller left.
        open: Requests that have no outcome yet.
        retry_budget: Further tries that the process allows itself just now.
        providers: By name.
        totals: Sums over all attempts.
    """

    submitted: int
    answered: int
    failed: int
    cancelled: int
    open: int
    retry_budget: float
    providers: Mapping[str, ProviderStatistics]
    totals: Totals
