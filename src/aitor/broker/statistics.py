"""
Snapshots of the broker: what waits, what runs, and how things stand.

They are plain data: a snapshot can be pickled, and `Statistics.as_dict` makes JSON of
it, for an endpoint or a log.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from aitor.broker.ledger import Totals
from aitor.broker.prices import Bill
from aitor.broker.tenants import TenantStatistics
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
        last_error: What the last attempt failed with; None after an answer.
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
    last_error: str | None = None

    def __post_init__(self) -> None:
        # A view of a dictionary cannot be pickled.
        object.__setattr__(self, "levels", dict(self.levels))


@dataclass(frozen=True, slots=True, repr=False)
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
        cached: Requests that a cache answered; they are not among *submitted*.
        bill: What `cost` is reckoned from.
        tenants: Requests by tenant, of those that name one.
    """

    submitted: int
    answered: int
    failed: int
    cancelled: int
    open: int
    retry_budget: float
    providers: Mapping[str, ProviderStatistics]
    totals: Totals
    cached: int
    bill: Bill
    tenants: Mapping[str, TenantStatistics]

    @property
    def cost(self) -> Decimal | None:
        """
        US dollars for the usage that has a known price, by list prices.

        None where nothing has. The first one in a program takes a tenth of a second,
        to load the price list.
        """
        return self.bill.cost()[0]

    @property
    def unpriced(self) -> int:
        """Answers whose price is not known, or whose usage is guessed."""
        return self.bill.cost()[1]

    def as_dict(self) -> dict[str, Any]:
        """
        Return everything in words of JSON, with new dictionaries all the way down.

        A number that is not finite, such as the limit where there is none, is None;
        outcomes go by their names; the cost is a text, so that no cent is rounded.
        """
        plain: dict[str, Any] = _plain(self)
        del plain["bill"]
        cost, unpriced = self.bill.cost()
        return plain | {"cost": _plain(cost), "unpriced": unpriced}

    def __repr__(self) -> str:
        providers = "; ".join(
            f"{one.name}: {one.circuit}, {one.queued} queued, "
            f"{one.in_flight} of {one.workers} in flight"
            for one in self.providers.values()
        )
        return (
            f"Statistics(submitted={self.submitted}, answered={self.answered}, "
            f"failed={self.failed}, cancelled={self.cancelled}, open={self.open}, "
            f"cached={self.cached}, p50={_seconds(self.totals.p50)}, "
            f"p99={_seconds(self.totals.p99)}, providers=[{providers}])"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Bill):
        return None
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, Waits):
        return value._asdict()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f} s"
