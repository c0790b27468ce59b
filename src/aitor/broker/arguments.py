"""
Arguments of a request that no type checker has seen, checked where they come in.
"""

import math
from collections.abc import Mapping

from aitor.broker.route import Model

__all__ = ("MOST_URGENT", "check_envelope", "deadline_after", "first_model")

MOST_URGENT = 1_000_000
"""The highest priority; what is beyond it could not be weighed against waiting."""


def check_envelope(
    priority: int, tenant: str | None, when_unavailable: str | None
) -> None:
    """
    Check how urgent a request is, whose, and what it does while nobody can be asked.

    Raises:
        ValueError: An argument is not what it has to be.
    """
    if not isinstance(priority, int) or not -MOST_URGENT <= priority <= MOST_URGENT:
        raise ValueError(
            f"'priority' must be a whole number from -{MOST_URGENT:,} to "
            f"{MOST_URGENT:,}, not {priority!r:.80}"
        )
    if tenant is not None and not isinstance(tenant, str):
        raise ValueError(f"'tenant' must be a name, not {tenant!r:.80}")
    if when_unavailable not in ("fail", "wait", None):
        raise ValueError(
            f"'when_unavailable' must be 'fail', 'wait' or None, "
            f"not {when_unavailable!r:.80}"
        )


def first_model(model: Model) -> str | None:
    """
    Return the model for the first provider of the sequence, if there is but one name.

    Raises:
        ValueError: It is neither a name nor names by provider.
    """
    if model is None or isinstance(model, str):
        return model
    if isinstance(model, Mapping):
        return None
    raise ValueError(
        f"'model' must be a name, or names by provider, not {type(model).__name__}"
    )


def deadline_after(now: float, timeout: float) -> float:
    """
    Return the time that is *timeout* seconds after *now*.

    Raises:
        ValueError: It is no number of seconds.
    """
    try:
        deadline = now + timeout
    except (TypeError, OverflowError):
        deadline = math.nan
    if math.isnan(deadline):
        raise ValueError(f"'timeout' must be a number of seconds, not {timeout!r:.80}")
    return deadline
