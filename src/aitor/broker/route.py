"""
The route of one request: which provider next, and not before when.

Retry and failover are one thing here: a list of candidates, each with the earliest
time it may be asked again, cut by what happened. A pass asks each candidate at most
once, in the order of the failover sequence; a failure moves on to the next at once
and comes back to this one later, after its backoff. Nothing in here waits or
sends: the broker asks `choose` and does what it says.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

from aitor.broker.actor import Actor
from aitor.broker.envelope import Envelope
from aitor.broker.policy import POLICIES, Step
from aitor.errors import (
    AttemptTimeoutError,
    BadRequestError,
    LLMError,
    RateLimitError,
    UnsupportedParameterError,
)
from aitor.laws.bucket import Cost
from aitor.messages import Request
from aitor.outcomes import Outcome

__all__ = ("Candidate", "Model", "Route")

Model: TypeAlias = str | Mapping[str, str] | None
"""A model's name for the first provider asked, or names by provider."""

TOO_MANY = 429
"""The status of a limit: of requests, or of tokens that one request may take."""


class Candidate:
    """
    One provider that may answer the request.

    Args:
        actor: Its actor.
        request: The request as this provider is asked, with its model.
    """

    __slots__ = (
        "_cost",
        "actor",
        "failures",
        "guess",
        "left_out",
        "not_before",
        "owes",
        "request",
        "retries",
        "silent",
        "unpaid",
    )

    def __init__(self, actor: Actor, request: Request) -> None:
        self.actor = actor
        self.request = request
        self.failures = 0  # how often it was asked and did not answer
        self.retries = 0  # how many of the provider's `max_retries` are used
        self.not_before = -math.inf  # the earliest time to ask it again
        self.silent = False  # it said nothing until its timeout
        self.owes = False  # asking it again is paid from the retry budget
        self.unpaid = False  # the budget did not allow that a moment ago
        self.left_out: tuple[str, ...] = ()  # parameters it was found not to take
        self.guess = 0.0  # its input tokens, as the provider guesses them
        self._cost: Cost | None = None

    @property
    def cost(self) -> Cost:
        """What a call is expected to take; counted when it is first needed."""
        if self._cost is None:
            self.guess, self._cost = self.actor.costs.expected(self.request)
        return self._cost

    def start(self, now: float, envelope: Envelope) -> float:
        """Return when a call would start, as far as can be told."""
        return max(self.not_before, self.actor.predict(self, now, envelope))


class Route:
    """
    The candidates for one request, in the order of the failover sequence.

    Each is made when it is first looked at: where the first provider is well, those
    behind it cost nothing, however many they are.

    Args:
        actors: Who may be asked, at least one.
        envelope: How the request is delivered.
        model: Which model is asked for, if the request's caller says so.
    """

    __slots__ = ("_actors", "_candidates", "_looked_at", "_model", "envelope")

    def __init__(
        self, actors: Sequence[Actor], envelope: Envelope, model: Model
    ) -> None:
        self.envelope = envelope
        self._model = model
        self._actors = actors
        self._looked_at = 0  # how many of the actors
        self._candidates: list[Candidate] = []  # for these, as far as still in question

    def __len__(self) -> int:
        """Return how many may still be asked."""
        return len(self._candidates) + len(self._actors) - self._looked_at

    def __iter__(self) -> Iterator[Candidate]:
        """Iterate over who may still be asked, in the order of the sequence."""
        return chain(self._candidates[:], self._new())

    def choose(self, now: float, *, wait_for_room: bool = True) -> Candidate | None:
        """
        Return whom to ask next, or None when nobody is left.

        The first in order whose circuit lets calls through, whose wait is within its
        own `max_queue_wait`, and who has hardly ever taken longer than the deadline
        leaves; without such a one, who can start soonest.

        Args:
            now: The time.
            wait_for_room: Whether a full mailbox will do when nobody else is left.
        """
        left = len(self)
        if left == 1:
            only = self._candidates[0] if self._candidates else self._look_at_next()
            return only if self._usable(only, now) else None
        if not left:
            return None
        envelope = self.envelope
        best, soonest = None, math.inf
        for one in self._by_failures():
            if one.silent and best is not None:
                # Who said nothing until its timeout is the last resort.
                break
            if not self._usable(one, now):
                continue
            start = one.start(now, envelope)
            latest = envelope.deadline - one.actor.least(one.request)
            latest = min(now + one.actor.settings.max_queue_wait, latest)
            if start <= latest and not one.actor.full and not one.actor.open(now):
                return one
            if one.actor.full and not wait_for_room:
                start = math.inf
            if start < soonest or best is None:
                best, soonest = one, start
        return best

    def _usable(self, one: Candidate, now: float) -> bool:
        if one.unpaid:
            return False
        return self.envelope.patient or not one.actor.open(now)

    def reconsider(self) -> None:
        """Ask also those again for whom the retry budget had nothing."""
        for one in self._candidates:
            one.unpaid = False

    @property
    def is_unpaid(self) -> bool:
        """Whether somebody is not asked for want of a retry budget."""
        return any(one.unpaid for one in self._candidates)

    def _by_failures(self) -> Iterator[Candidate]:
        """Iterate over them, those without a failure first, the silent last."""
        known = self._candidates
        if not known:
            return self._new()
        failed = [one for one in known if one.failures]
        failed.sort(key=lambda one: (one.silent, one.failures))
        well = [one for one in known if not one.failures]
        return chain(well, self._new(), failed)

    def _new(self) -> Iterator[Candidate]:
        """Make candidates of those not looked at yet, one by one."""
        while self._looked_at < len(self._actors):
            yield self._look_at_next()

    def _look_at_next(self) -> Candidate:
        first = not self._looked_at
        actor = self._actors[self._looked_at]
        self._looked_at += 1
        request = _addressed(self.envelope.request, actor, self._model, first=first)
        candidate = Candidate(actor, request)
        self._candidates.append(candidate)
        return candidate

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
        candidate = next(one for one in self._candidates if one.actor is actor)
        if step is Step.AGAIN:
            self._learn(candidate, error)
        elif step is Step.OVER or error.final:
            self._candidates.remove(candidate)
            # Of an account that is too small for it, another one may be larger.
            if error.outcome is Outcome.TOO_LONG and error.status != TOO_MANY:
                self._keep_larger(candidate)
        else:
            self._retry_later(candidate, error, now, chance)
        return len(self) > 0

    def _learn(self, candidate: Candidate, error: LLMError) -> None:
        # Once for each parameter: a provider that names one again did not learn.
        name = error.parameter if isinstance(error, UnsupportedParameterError) else ""
        if name in candidate.left_out:
            self._candidates.remove(candidate)
        candidate.left_out += (name,)

    def _keep_larger(self, than: Candidate) -> None:
        # Only a larger window helps; where a window is unknown, asking tells.
        window = than.actor.costs.window(than.request)
        if window is not None:
            self._candidates = [
                one
                for one in self
                if (its := one.actor.costs.window(one.request)) is None or its > window
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
            self._candidates.remove(candidate)
            return
        if isinstance(error, AttemptTimeoutError) and len(self) > 1:
            candidate.silent = True
        if not limited:
            # A pause is kept by the actor, for everybody; this wait is our own.
            wait = candidate.actor.backoff.delay_for(candidate.retries - 1, chance)
            told = min(error.retry_after or 0.0, settings.max_retry_after)
            candidate.not_before = now + max(wait, told)
            candidate.owes = True


def _addressed(request: Request, actor: Actor, model: Model, *, first: bool) -> Request:
    """Return *request* with the model that *actor* is to be asked for."""
    if model is None or isinstance(model, str):
        if first or actor.settings.model is None:
            return request
        named = None
    else:
        named = model.get(actor.name)
        if named is not None and not isinstance(named, str):
            raise BadRequestError(
                f"'model' names models by provider: for {actor.name!r} it is to be a "
                f"name, not {type(named).__name__}"
            )
    if named == request.model:
        return request
    return Request(request.messages, named, request.parameters)
