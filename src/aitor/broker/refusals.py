"""
What a request is told that was not sent: how long it is about, and what to change.

Every refusal is a number of seconds or places and the setting to look at, so that
whoever reads it knows whether to wait, to ask for more, or to give more.
"""

from typing import TYPE_CHECKING

from aitor.errors import (
    BrokerClosedError,
    CircuitOpenError,
    DeadlineExceededError,
    PausedError,
    QueueFullError,
    RefusedError,
)

if TYPE_CHECKING:
    from aitor.broker.actor import Actor

__all__ = (
    "cannot_start",
    "circuit_open",
    "closed",
    "mailbox_full",
    "moved",
    "nobody",
    "paused",
    "too_late",
    "waited_too_long",
)


def closed(actor: "Actor") -> BrokerClosedError:
    """Return the error for a request that finds the broker closed."""
    return BrokerClosedError("the broker is closed", provider=actor.name)


def mailbox_full(actor: "Actor") -> QueueFullError:
    """Return the error for a request that will not wait for room."""
    settings = actor.settings
    return QueueFullError(
        f"all {settings.queue_size} places in the mailbox are taken "
        f"and all {settings.workers} workers have work "
        f"(see 'queue_size' and 'workers')",
        provider=actor.name,
    )


def cannot_start(
    actor: "Actor", start: float, least: float, deadline: float, now: float
) -> DeadlineExceededError:
    """Return the error for a request whose turn would come too late."""
    return DeadlineExceededError(
        f"the request could start in {start - now:.3f} s at the earliest and "
        f"takes {least:.3f} s at least, but its deadline is in {deadline - now:.3f} s",
        provider=actor.name,
        retry_after=start - now,
    )


def too_late(actor: "Actor", deadline: float, now: float) -> DeadlineExceededError:
    """Return the error for a request whose turn has come too late."""
    return DeadlineExceededError(
        f"no answer can be here before the deadline, which is in "
        f"{deadline - now:.3f} s; nothing was sent",
        provider=actor.name,
    )


def waited_too_long(actor: "Actor", seconds: float) -> DeadlineExceededError:
    """Return the error for a request whose turn has not come."""
    return DeadlineExceededError(
        f"the deadline passed after {seconds:.3f} s, "
        f"while the request waited to be sent",
        provider=actor.name,
    )


def paused(actor: "Actor", seconds: float) -> PausedError:
    """Return the error that lets a request move on while a provider pauses."""
    return PausedError(
        f"the provider pauses for {seconds:.3f} s",
        provider=actor.name,
        retry_after=seconds,
    )


def moved(to: "Actor") -> RefusedError:
    """Return the error that lets a waiting request move to *to*, which is free."""
    return RefusedError(f"{to.name} can start the request now")


def circuit_open(actor: "Actor", now: float) -> CircuitOpenError:
    """Return the error for a request that waited when the circuit opened."""
    seconds = max(0.0, actor.breaker.retry_at(now) - now)
    return CircuitOpenError(
        f"the circuit is open after failures; the next probe is due in "
        f"{seconds:.3f} s (see 'breaker.open_seconds')",
        provider=actor.name,
        retry_after=seconds,
    )


def nobody(actors: "list[Actor]", now: float) -> CircuitOpenError:
    """Return the error for a request that none of *actors* may be asked."""
    first = min(actors, key=lambda actor: actor.breaker.retry_at(now))
    seconds = max(0.0, first.breaker.retry_at(now) - now)
    names = ", ".join(actor.name for actor in actors)
    return CircuitOpenError(
        f"the circuits of all providers are open ({names}); the first, "
        f"{first.name}, is tried again in {seconds:.3f} s",
        retry_after=seconds,
    )
