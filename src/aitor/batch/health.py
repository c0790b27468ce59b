"""
How the providers of a batch are, read from the broker's statistics.

It says what is wrong while it is wrong, how many calls are on the wire, and whether
there is anybody at all. A batch waits for a provider that has gone: that is an outage,
and outages end. One that never got through to anybody has a wrong address or a dead
key, and nothing is gained by waiting for that.
"""

import math
from collections.abc import Callable, Collection

import anyio

from aitor.batch.errors import UnreachableError
from aitor.broker.broker import Broker
from aitor.broker.statistics import ProviderStatistics, Statistics
from aitor.outcomes import Outcome

__all__ = ("at_stake", "on_the_wire", "reached", "tell_changes", "troubles", "until")

LOOK = 0.5
"""Seconds between two looks."""

LONG_PAUSE = 5.0
"""Seconds of a pause that is worth telling; shorter ones come with every limit."""

NOT_THROUGH = frozenset({Outcome.CONNECTION, Outcome.ACCOUNT, Outcome.CANCELLED})
"""Ends of calls by which no provider is known to have taken any."""

NO_ANSWER = NOT_THROUGH | {Outcome.TIMEOUT}
"""And those that say so once the circuit is open, since nothing else ever came."""


def on_the_wire(statistics: Statistics) -> int:
    """Return how many calls have been sent and have not ended."""
    return sum(each.in_flight for each in statistics.providers.values())


def at_stake(statistics: Statistics) -> int:
    """
    Return for how many of the calls on the wire somebody may be paid.

    Not for those at a provider that none ever got through to.
    """
    return sum(
        each.in_flight
        for each in statistics.providers.values()
        if not each.totals.attempts or each.totals.attempts.keys() - NOT_THROUGH
    )


def reached(provider: ProviderStatistics) -> bool | None:
    """Return whether *provider* ever took a call; None while that is not known."""
    ended = provider.totals.attempts.keys() - {Outcome.CANCELLED}
    if ended - NO_ANSWER:
        return True
    if Outcome.TIMEOUT in ended and provider.circuit == "closed":
        return None
    return False if ended else None


def troubles(statistics: Statistics) -> dict[str, str]:
    """Return what is wrong with each provider that something is wrong with."""
    found = {}
    for name, each in statistics.providers.items():
        if each.circuit != "closed":
            found[name] = _sentence(each, "circuit open", "next try", each.retry_in)
        elif each.paused_for >= LONG_PAUSE:
            found[name] = _sentence(each, "paused", "goes on", each.paused_for)
        elif reached(each) is False:
            found[name] = f"{name}: {each.last_error}, not reached so far"
    return found


def _sentence(each: ProviderStatistics, state: str, then: str, seconds: float) -> str:
    reason = f"{each.last_error}, " if each.last_error else ""
    when = f"in {math.ceil(seconds)} s" if seconds > 0 else "now"
    return f"{each.name}: {reason}{state}, {then} {when}"


async def tell_changes(broker: Broker, tell: Callable[[str], None]) -> None:
    """
    Tell each change for the worse or the better, until cancelled.

    Args:
        broker: Whose providers are looked at.
        tell: Takes a line.
    """
    before: set[str] = set()
    while True:
        now = troubles(broker.statistics())
        for name in now.keys() - before:
            tell(now[name])
        for name in before - now.keys():
            tell(f"{name}: is asked again")
        before = set(now)
        await anyio.sleep(LOOK)


async def until(broker: Broker, names: Collection[str], seconds: float) -> None:
    """
    Return once one of the providers *names* was reached.

    Raises:
        UnreachableError: None was for so many seconds after each was tried.
    """
    since: float | None = None
    while True:
        providers = broker.statistics().providers
        asked = [providers[name] for name in names if name in providers]
        found = [reached(each) for each in asked]
        if any(found):
            return
        now = anyio.current_time()
        if None in found or since is None:
            since = None if None in found else now
        elif now >= since + seconds:
            reasons = "; ".join(f"{each.name}: {each.last_error}" for each in asked)
            raise UnreachableError(
                f"no provider was reached for {seconds:g} s ({reasons}); no row was "
                f"answered and none has failed: see to that, and run the same command "
                f"again (see --give-up-after)"
            )
        await anyio.sleep(min(LOOK, seconds) if seconds > 0 else LOOK)
