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

RETRIES = 3
"""More tries at one provider, where neither settings nor a deadline bound them."""

LONGER = 2
"""So often a wait grows for one request, while others get through."""

SHORTEST_WAIT = 0.1
"""Seconds that a request waits at least for the retry budget to grow."""

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
        "paused",
        "request",
        "retries",
        "seen",
        "silent",
        "unpaid",
    )

    def __init__(self, actor: Actor, request: Request) -> None:
        self.actor = actor
        self.request = request
        self.failures = 0  # how often it was asked and did not answer
        self.retries = 0  # how many of the provider's `max_retries` are used
        self.not_before = -math.inf  # the earliest time to ask it again
        self.paused = False  # it said when to ask it again
        self.seen = (0, 0)  # its provider's answers and failures at the first of these
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

        The first in order whose circuit lets calls through, who can start it now or
        within its own `max_queue_wait`, and who has hardly ever taken longer than the
        deadline leaves. A degraded provider comes after those that are well, but for a
        probe. Where nobody can start it, who can soonest.

        Args:
            now: The time.
            wait_for_room: Whether a full mailbox will do when nobody else is left.
        """
        if len(self) <= 1:
            return self._only(now)
        best, soonest = None, math.inf
        degraded: Candidate | None = None  # could start now, and often fails
        down: Candidate | None = None  # the same, and nothing gets through
        for one in self._by_failures():
            if one.silent and (best is not None or degraded is not None):
                # Who said nothing until its timeout is the last resort.
                break
            if not self._usable(one, now):
                continue
            actor = one.actor
            start = one.start(now, self.envelope)
            if self._could_start(one, start, now):
                if actor.takes_first(now):
                    return one
                if actor.breaker.lets_through:
                    degraded = degraded or one
                else:
                    down = down or one
                continue
            if actor.full and not wait_for_room:
                start = math.inf
            if best is None or start < soonest:
                best, soonest = one, start
        return degraded or best or down

    def _only(self, now: float) -> Candidate | None:
        """Return the only one that is left, if it may be asked."""
        only = next(iter(self), None)
        return only if only is not None and self._usable(only, now) else None

    def _could_start(self, one: Candidate, start: float, now: float) -> bool:
        """Whether *one*, predicted to begin at *start*, is not to be waited for."""
        actor = one.actor
        latest = self.envelope.deadline - actor.least(one.request)
        latest = min(now + actor.settings.max_queue_wait, latest)
        return start <= latest and not actor.full and not actor.open(now)

    def may_ask(self, actor: Actor) -> bool:
        """Whether *actor* is among those that may still be asked."""
        if actor in self._actors[self._looked_at :]:
            return True
        return any(one.actor is actor for one in self._candidates)

    def candidate_of(self, actor: Actor) -> Candidate | None:
        """Return the candidate that *actor* is, if it may still be asked."""
        return next((one for one in self if one.actor is actor), None)

    def _usable(self, one: Candidate, now: float) -> bool:
        if one.unpaid:
            return False
        if not one.actor.open(now):
            return True
        return one.actor.worth_waiting(self.envelope, now)

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
        persistent = self.envelope.persistent
        most = settings.max_retries
        # With time left, a server may ask to wait as often as it likes.
        endless = most is None or self.envelope.deadline == math.inf
        if not (limited and persistent and endless):
            candidate.retries += 1
        rate = candidate.actor.failure_rate
        if candidate.failures == 1:
            candidate.seen = rate.answered, rate.failed
        if most is None and persistent:
            given_up = rate.is_its_own_fault(candidate.retries, *candidate.seen)
        else:
            given_up = candidate.retries > (RETRIES if most is None else most)
        if given_up:
            self._candidates.remove(candidate)
            return
        if isinstance(error, AttemptTimeoutError) and len(self) > 1:
            candidate.silent = True
        candidate.owes = not limited
        told = _told(error, settings.max_retry_after)
        candidate.paused = limited and told > 0.0
        if candidate.paused:
            candidate.not_before = now + told
        else:
            wait = max(self._backoff(candidate, now, chance), told)
            candidate.not_before = now + wait

    def _backoff(self, candidate: Candidate, now: float, chance: float) -> float:
        """Return the seconds of our own to wait before *candidate* is asked again."""
        actor = candidate.actor
        retry = candidate.failures - 1
        if actor.breaker.lets_through:
            # How much it gets is the actor's to bound; longer waits would not help it.
            retry = min(retry, LONGER)
        wait = actor.backoff.delay_for(retry, chance)
        left = self.envelope.deadline - now - actor.least(candidate.request)
        if self.envelope.persistent and wait > left > SHORTEST_WAIT:
            # Time for a further try: it is made.
            wait = left * chance
        return wait

    def put_off(self, candidate: Candidate, now: float, chance: float) -> None:
        """Ask *candidate* later: the retry budget allows no further try just now."""
        wait = max(self._backoff(candidate, now, chance), SHORTEST_WAIT)
        candidate.not_before = now + wait
        candidate.paused = False


def _told(error: LLMError, longest: float) -> float:
    """Return how many seconds a server asks to wait, within bounds; 0 for none."""
    seconds = error.retry_after
    if seconds is None or not seconds > 0.0:
        return 0.0
    return min(seconds, longest)


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
