"""
What each outcome means, as one table.

Every attempt ends with an `Outcome`, decided once. What follows from it (does the
request move on, does the circuit breaker count it, what becomes of the tokens
that were reserved) is read here and nowhere else.
"""

from enum import Enum
from typing import NamedTuple

from aitor.laws.breaker import Verdict
from aitor.outcomes import Outcome

__all__ = ("POLICIES", "Charge", "Policy", "Step")


class Step(Enum):
    """Where a request goes next."""

    STOP = "stop"
    """Nowhere: its caller gets this outcome."""

    OVER = "over"
    """To another provider; this one would say the same again."""

    AGAIN = "again"
    """To the same provider at once: it has learned what to leave out."""

    RETRY = "retry"
    """To another provider, and later to this one."""


class Charge(Enum):
    """What becomes of the tokens that an attempt had reserved."""

    USED = "used"
    """What was really used stays taken, the rest is given back."""

    RESERVED = "reserved"
    """All of it stays taken: the provider may have done the work."""

    REQUEST = "request"
    """The request counts, its tokens are given back."""

    NOTHING = "nothing"
    """All of it is given back."""


class Policy(NamedTuple):
    """One row: the next step, the breaker's verdict, and the charge."""

    step: Step
    verdict: Verdict
    charge: Charge


POLICIES: dict[Outcome, Policy] = {
    Outcome.ANSWER: Policy(Step.STOP, Verdict.SUCCESS, Charge.USED),
    # The request's fault says nothing about the provider.
    Outcome.BAD_REQUEST: Policy(Step.STOP, Verdict.IGNORED, Charge.NOTHING),
    Outcome.CONTENT_FILTER: Policy(Step.STOP, Verdict.IGNORED, Charge.NOTHING),
    Outcome.TOO_LONG: Policy(Step.OVER, Verdict.IGNORED, Charge.NOTHING),
    Outcome.PARAMETER: Policy(Step.AGAIN, Verdict.IGNORED, Charge.NOTHING),
    Outcome.UNSUPPORTED: Policy(Step.OVER, Verdict.IGNORED, Charge.NOTHING),
    Outcome.DECLINED: Policy(Step.OVER, Verdict.IGNORED, Charge.NOTHING),
    Outcome.MODEL: Policy(Step.OVER, Verdict.IGNORED, Charge.NOTHING),
    # Nothing passes until a human acts, so nobody else need find that out.
    Outcome.ACCOUNT: Policy(Step.OVER, Verdict.DEAD, Charge.NOTHING),
    # A provider that asks for a pause is well: it speaks, and the pause is kept.
    Outcome.RATE_LIMITED: Policy(Step.RETRY, Verdict.IGNORED, Charge.REQUEST),
    # The provider's fault.
    Outcome.SERVER: Policy(Step.RETRY, Verdict.FAILURE, Charge.REQUEST),
    Outcome.MALFORMED: Policy(Step.RETRY, Verdict.FAILURE, Charge.RESERVED),
    Outcome.TRUNCATED: Policy(Step.RETRY, Verdict.FAILURE, Charge.RESERVED),
    Outcome.CONNECTION: Policy(Step.RETRY, Verdict.FAILURE, Charge.RESERVED),
    Outcome.TIMEOUT: Policy(Step.RETRY, Verdict.FAILURE, Charge.RESERVED),
    # A bug in the provider's code would most likely strike again on this request.
    Outcome.CRASH: Policy(Step.OVER, Verdict.FAILURE, Charge.RESERVED),
    # Our own refusals never reach the wire; the route knows what they mean.
    Outcome.REFUSED: Policy(Step.RETRY, Verdict.IGNORED, Charge.NOTHING),
    # The caller's choice says nothing about the provider; a deadline that passed long
    # after an answer was due is another matter, which the actor sees to.
    Outcome.CANCELLED: Policy(Step.STOP, Verdict.IGNORED, Charge.RESERVED),
    Outcome.EXPIRED: Policy(Step.STOP, Verdict.IGNORED, Charge.RESERVED),
}
