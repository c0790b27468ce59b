"""
The route of one request: which provider next, and not before when.

Retry and failover are one thing here: a list of candidates, each with the earliest
time it may be asked again, cut by what happened. A pass asks each candidate at most
once, in the order of the failover sequence; a failure moves on to the next at once
and comes back to this one later, after its backoff. Nothing in here waits or
sends: the broker asks `choose` and does what it says.
"""

import math

from aitor.broker.actor import Actor
from aitor.broker.envelope import Call, Envelope
from aitor.broker.policy import POLICIES, Step
from aitor.errors import (
    AttemptTimeoutError,
    LLMError,
    RateLimitError,
    UnsupportedParameterError,
)
from aitor.laws.bucket import Cost
from aitor.messages import Request
from aitor.outcomes import Outcome

__all__ = ("Candidate", "Route")


class Candidate:
    """
    One provider that may answer the request.

    Args:
        actor: Its actor.
        request: The request as this provider is asked, with its model.
    """

    __slots__ = (
        "_cost",
        "_guess",
        "actor",
        "failures",
        "left_out",
        "not_before",
        "owes",
        "request",
        "retries",
        "silent",
    )

    def __init__(self, actor: Actor, request: Request) -> None:
        self.actor = actor
        self.request = request
        self.failures = 0  # how often it was asked and did not answer
        self.retries = 0  # how many of the provider's `max_retries` are used
        self.not_before = -math.inf  # the earliest time to ask it again
        self.silent = False  # it said nothing until its timeout
        self.owes = False  # asking it again is paid from the retry budget
        self.left_out: tuple[str, ...] = ()  # parameters it was found not to take
        self._guess = 0.0
        self._cost: Cost | None = None

    @property
    def cost(self) -> Cost:
        """What a call is expected to take; estimated when it is first needed."""
        if self._cost is None:
            self._guess, self._cost = self.actor.costs.expected(self.request)
        return self._cost

    def call(self, route: "Route") -> Call:
        """Return a try of the request of *route* at this provider."""
        cost = self.cost
        return Call(
            self.actor,
            route.envelope,
            self.request,
            self._guess,
            cost,
            movable=len(route.candidates) > 1,
        )

    def start(self, now: float, priority: int) -> float:
        """Return when a call would start, as far as can be told."""
        predicted = self.actor.predict(self.cost, now, priority=priority)
        return max(self.not_before, predicted)


class Route:
    """
    The candidates for one request, in the order of the failover sequence.

    Args:
        candidates: At least one.
        envelope: How the request is delivered.
    """

    __slots__ = ("candidates", "envelope")

    def __init__(self, candidates: list[Candidate], envelope: Envelope) -> None:
        self.candidates = candidates
        self.envelope = envelope

    def choose(self, now: float) -> Candidate | None:
        """
        Return whom to ask next, or None when nobody is left.

        The first in order whose wait is within its own `max_queue_wait`; where all
        have to wait longer, the one that can start soonest.
        """
        usable = self.candidates
        if not self.envelope.patient:
            usable = [one for one in usable if not one.actor.open(now)]
        if len(usable) > 1:
            # Who said nothing until its timeout is asked again only as a last resort.
            usable = [one for one in usable if not one.silent] or usable
        if len(usable) <= 1:
            return usable[0] if usable else None
        priority = self.envelope.priority
        starts: list[tuple[float, Candidate]] = []
        for one in sorted(usable, key=lambda one: one.failures):
            start = one.start(now, priority)
            latest = min(
                now + one.actor.settings.max_queue_wait, self.envelope.deadline
            )
            if start <= latest and not one.actor.full:
                return one
            starts.append((start, one))
        return min(starts, key=lambda pair: pair[0])[1]

    def cut(self, actor: Actor, error: LLMError, now: float, chance: float) -> bool:
        """
        Take account of *error* at *actor*.

        Args:
            actor: Who was asked.
            error: What came of it.
            now: The time.
            chance: A random number from 0 to 1, for the jitter.

        Returns:
            False when the request ends with this error, whoever is left.
        """
        step = POLICIES[error.outcome].step
        if step is Step.STOP:
            return False
        candidate = next(one for one in self.candidates if one.actor is actor)
        if step is Step.AGAIN:
            self._learn(candidate, error)
        elif step is Step.OVER:
            self.candidates.remove(candidate)
            if error.outcome is Outcome.TOO_LONG:
                self._keep_larger(candidate)
        else:
            self._retry_later(candidate, error, now, chance)
        return bool(self.candidates)

    def _learn(self, candidate: Candidate, error: LLMError) -> None:
        # Once for each parameter: a provider that names one again did not learn.
        name = error.parameter if isinstance(error, UnsupportedParameterError) else ""
        if name in candidate.left_out:
            self.candidates.remove(candidate)
        candidate.left_out += (name,)

    def _keep_larger(self, than: Candidate) -> None:
        # Only a larger window helps; where a window is unknown, asking tells.
        window = than.actor.provider.window(than.request)
        if window is not None:
            self.candidates = [
                one
                for one in self.candidates
                if (its := one.actor.provider.window(one.request)) is None
                or its > window
            ]

    def _retry_later(
        self, candidate: Candidate, error: LLMError, now: float, chance: float
    ) -> None:
        settings = candidate.actor.settings
        candidate.failures += 1
        limited = isinstance(error, RateLimitError)
        # The patient wait as long as a server asks them to, as often as it asks.
        if not (limited and self.envelope.patient):
            candidate.retries += 1
        if candidate.retries > settings.max_retries:
            self.candidates.remove(candidate)
            return
        if isinstance(error, AttemptTimeoutError) and len(self.candidates) > 1:
            candidate.silent = True
        if not limited:
            # A pause is kept by the actor, for everybody; this wait is our own.
            wait = candidate.actor.backoff.delay_for(candidate.retries - 1, chance)
            told = min(error.retry_after or 0.0, settings.max_retry_after)
            candidate.not_before = now + max(wait, told)
            candidate.owes = True
