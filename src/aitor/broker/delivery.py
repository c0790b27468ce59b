"""
The trip of one request, from its envelope to its one outcome.

It runs in the task of the caller. It asks the route whom to try next, the actor to
try, and the retry budget where trying again would burden a provider that fails; and
it reads from top to bottom in `Delivery.deliver`.
"""

from collections.abc import Callable
from random import Random

import anyio
from anyio.lowlevel import checkpoint

from aitor.broker.envelope import Call, Envelope
from aitor.broker.exchange import exchange
from aitor.broker.refusals import cannot_start, nobody
from aitor.broker.route import Candidate, Route
from aitor.errors import BrokerClosedError, DeadlineExceededError, LLMError
from aitor.events import RequestEnded
from aitor.laws.budget import RetryBudget
from aitor.messages import Answer, Reply
from aitor.outcomes import Outcome

__all__ = ("Delivery",)


class Delivery:
    """
    Delivers envelopes and counts what became of them.

    Args:
        budget: Bounds further tries, for the whole process.
        random: Where jitter comes from.
        tell: Takes an event for each request; None when nobody listens.
    """

    def __init__(
        self,
        budget: RetryBudget,
        random: Random,
        tell: Callable[[RequestEnded], None] | None,
    ) -> None:
        self.budget = budget
        self.submitted = 0
        self.answered = 0
        self.failed = 0
        self.cancelled = 0
        self._random = random
        self._tell = tell
        self._backing_off: set[anyio.CancelScope] = set()
        self._idle: anyio.Event | None = None
        self._aborted = False

    @property
    def open(self) -> int:
        """Requests that have no outcome yet."""
        return self.submitted - self.answered - self.failed - self.cancelled

    def begin(self, route: Route) -> Call:
        """
        Put the request in a mailbox at once; `deliver` does the rest.

        Raises:
            LLMError: If no mailbox takes it. Then it does not count as submitted.
        """
        now = route.envelope.arrived
        call = self._first(route, now, wait_for_room=False)
        self.submitted += 1
        return call

    async def deliver_later(self, route: Route) -> Reply:
        """
        Do what `deliver` does, for a request that has waited for something else.

        Raises:
            LLMError: As `deliver` does.
        """
        return await self.deliver(route, now=anyio.current_time())

    async def deliver(
        self, route: Route, call: Call | None = None, *, now: float | None = None
    ) -> Reply:
        """
        Bring the request to its outcome.

        Args:
            route: Whom to ask.
            call: What `begin` returned, if the request was begun.
            now: The time; by default that of the request's arrival.

        Raises:
            LLMError: With every attempt made.
        """
        envelope = route.envelope
        outcome = Outcome.CANCELLED
        fresh = call is None
        if call is None:
            self.submitted += 1
        try:
            self.budget.deposit(envelope.arrived)
            if call is None:
                now = envelope.arrived if now is None else now
                call = self._first(route, now, wait_for_room=True)
            while True:
                try:
                    if call.wake is not None:
                        await call.actor.start(call)
                        fresh = False
                    answer = await exchange(call, fresh=fresh)
                except LLMError as error:
                    following = await self._next(route, call, error)
                else:
                    outcome = Outcome.ANSWER
                    self.budget.answered()
                    return _reply(call.actor.name, answer, envelope)
                if following is None:
                    raise envelope.last or _nobody(route)
                call, fresh = following, True
        except LLMError as error:
            error.attempts = envelope.attempts
            outcome = error.outcome
            if not error.attempts:
                # Nothing was awaited: a caller who asks again in a loop must not
                # keep everybody else from running.
                await checkpoint()
            raise
        finally:
            self._ended(envelope, outcome)
            # Its traceback knows this frame, which knows the envelope: a circle, which
            # only the garbage collector would find.
            envelope.last = None

    async def drain(self) -> None:
        """Wait until every request has its outcome."""
        while self.open:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()

    def abort(self) -> None:
        """End every wait between two tries."""
        self._aborted = True
        for scope in list(self._backing_off):
            scope.cancel()

    @staticmethod
    def _first(route: Route, now: float, *, wait_for_room: bool) -> Call:
        """Choose who is asked first and put the request in its mailbox."""
        candidate = route.choose(now, wait_for_room=wait_for_room)
        if candidate is None:
            raise _nobody(route)
        call = Call(candidate, route.envelope, route)
        candidate.actor.enter(call, now, wait_for_room=wait_for_room)
        return call

    async def _next(self, route: Route, call: Call, error: LLMError) -> Call | None:
        """
        Choose who is asked after *call* and put the request in its mailbox.

        Returns:
            The next call; None if nobody is asked any more.

        Raises:
            LLMError: If the mailbox does not take it, or the broker closed.
        """
        envelope = route.envelope
        now = anyio.current_time()
        # One that was refused while it waited only asks who is sooner now.
        if error.outcome is not Outcome.REFUSED:
            envelope.last = error
            if not route.cut(call.actor, error, now, self._random.random()):
                return None
        last = envelope.last
        route.reconsider()
        while (candidate := route.choose(now)) is not None:
            if candidate.not_before > now:
                if last is not None and candidate.not_before > envelope.deadline:
                    last.cut_short = True
                    if candidate.paused:
                        raise _cannot_wait(candidate, envelope.deadline, now)
                    return None
                await self._back_off(candidate, envelope, now)
                now = anyio.current_time()
                route.reconsider()
            elif last is None or self._may_try(candidate, route, now):
                return self._enter(candidate, route, now)
        if last is not None and route.is_unpaid:
            last.add_note("the retry budget allowed no further try")
        return None

    @staticmethod
    def _enter(candidate: Candidate, route: Route, now: float) -> Call | None:
        call = Call(candidate, route.envelope, route)
        try:
            candidate.actor.enter(call, now, wait_for_room=True)
        except DeadlineExceededError:
            last = route.envelope.last
            if last is None or candidate.paused:
                raise
            # What kept it from being answered says more than that time is up.
            last.cut_short = True
            return None
        return call

    def _may_try(self, candidate: Candidate, route: Route, now: float) -> bool:
        # Moving on to a provider that is well is no burden on anybody. Asking again
        # one that fails is, and in an outage everybody would: the budget bounds it.
        if not (candidate.owes or candidate.actor.breaker.failing):
            return True
        if self.budget.withdraw(now):
            candidate.owes = False
            return True
        if route.envelope.persistent:
            route.put_off(candidate, now, self._random.random())
        else:
            candidate.unpaid = True
        return False

    async def _back_off(
        self, candidate: Candidate, envelope: Envelope, now: float
    ) -> None:
        until = candidate.not_before
        with anyio.CancelScope() as scope:
            self._backing_off.add(scope)
            if self._aborted:
                scope.cancel()
            try:
                await anyio.sleep_until(until)
            finally:
                self._backing_off.discard(scope)
        if self._aborted:
            raise BrokerClosedError("the broker closed")
        if candidate.paused:
            envelope.paused += until - now
        else:
            envelope.backoff += until - now

    def _ended(self, envelope: Envelope, outcome: Outcome) -> None:
        if outcome is Outcome.ANSWER:
            self.answered += 1
        elif outcome is Outcome.CANCELLED:
            self.cancelled += 1
        else:
            self.failed += 1
        if self._tell is not None:
            attempts = envelope.attempts
            self._tell(
                RequestEnded(
                    outcome=outcome,
                    provider=attempts[-1].provider if attempts else None,
                    attempts=len(attempts),
                    seconds=anyio.current_time() - envelope.arrived,
                    tenant=envelope.tenant,
                    priority=envelope.priority,
                )
            )
        if self._idle is not None and not self.open:
            self._idle.set()
            self._idle = None


def _cannot_wait(candidate: Candidate, deadline: float, now: float) -> LLMError:
    """Return the error for a request that a server asks to wait for too long."""
    actor = candidate.actor
    least = actor.least(candidate.request)
    return cannot_start(actor, candidate.not_before, least, deadline, now)


def _nobody(route: Route) -> LLMError:
    return nobody([one.actor for one in route], anyio.current_time())


def _reply(provider: str, answer: Answer, envelope: Envelope) -> Reply:
    return Reply(
        text=answer.text,
        provider=provider,
        model=answer.model,
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        attempts=envelope.attempts,
        request_id=answer.request_id,
        body=answer.body,
        message=answer.message,
    )
