"""
What happened, as frozen records, for whoever listens.

The broker hands each record to its listeners and goes on; with no listener none
is made. A record holds names, numbers and times, never a prompt, an answer or a
key, so a listener may write all of it anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from aitor.messages import Attempt
from aitor.outcomes import Outcome

__all__ = (
    "AttemptEnded",
    "CircuitChanged",
    "Event",
    "Listener",
    "ParameterDropped",
    "ParameterRaised",
    "ProviderPaused",
    "ProviderRestarted",
    "RequestEnded",
)


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """
    One call on the wire ended.

    Args:
        attempt: All that the ledger keeps of it.
    """

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """
    A request got its one outcome.

    Args:
        outcome: What its caller got.
        provider: Who answered, or failed last; None if nobody was asked.
        attempts: Calls on the wire.
        seconds: From submit to outcome.
        tenant: On whose behalf.
        priority: As it was submitted.
    """

    outcome: Outcome
    provider: str | None
    attempts: int
    seconds: float
    tenant: str | None
    priority: int


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """
    A provider's circuit breaker changed its state.

    Args:
        provider: The provider's name.
        old: The state before: closed, open, half-open.
        new: The state now.
        retry_in: Seconds until the next probe, when open.
        cause: The outcome that brought it about; None for the passing of time.
    """

    provider: str
    old: str
    new: str
    retry_in: float
    cause: Outcome | None


@dataclass(frozen=True, slots=True)
class ProviderPaused:
    """
    A provider asked everybody to wait.

    Args:
        provider: The provider's name.
        seconds: How long from now.
        code: The provider's own code.
    """

    provider: str
    seconds: float
    code: str | None


@dataclass(frozen=True, slots=True)
class ParameterDropped:
    """
    A parameter that the model does not take was left out.

    Args:
        provider: The provider's name.
        model: The model.
        parameter: The parameter's name.
    """

    provider: str
    model: str
    parameter: str


@dataclass(frozen=True, slots=True)
class ParameterRaised:
    """
    A limit of the output was raised to the least that the API takes.

    Args:
        provider: The provider's name.
        model: The model.
        parameter: The parameter's name.
        asked: What was asked for, in tokens.
        sent: What was sent in its place.
    """

    provider: str
    model: str
    parameter: str
    asked: int
    sent: int


@dataclass(frozen=True, slots=True)
class ProviderRestarted:
    """
    A provider crashed and was given a fresh connection pool.

    Args:
        provider: The provider's name.
        error: The type of the exception that escaped its code.
    """

    provider: str
    error: str


Event: TypeAlias = (
    AttemptEnded
    | RequestEnded
    | CircuitChanged
    | ProviderPaused
    | ParameterDropped
    | ParameterRaised
    | ProviderRestarted
)

Listener: TypeAlias = Callable[[Event], None]
"""Called synchronously; what it raises is logged and goes no further."""
