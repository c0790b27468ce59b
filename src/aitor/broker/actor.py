"""
An actor: one provider with its mailbox, limit, breaker and workers.

The actor decides and its callers carry out. Every decision (may this call start,
which one is next, what does that outcome mean) is a synchronous method that runs
between two awaits of whoever calls it, so nothing needs a lock. The exchange itself
runs in the task of the caller who asked for it. That is why cancelling a caller
cancels the work down to the socket and frees everything in the same tick, why a
crash in a provider's code can fail nobody else's request, and why an actor needs
no task of its own that could die or leak: whoever waits at the head of the
mailbox keeps the clock (`Call.ring_at`), and an idle actor does nothing at all.

Three rules hold everywhere here. Worker, circuit and tokens are taken together or
not at all (`_start`). They are given back in one place (`release`), which every
exit passes. And the mailbox is looked at again whenever something was given back.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import anyio

from aitor.broker import refusals
from aitor.broker.costs import Costs
from aitor.broker.crashes import crash_of
from aitor.broker.envelope import Call, State
from aitor.broker.ledger import Ledger
from aitor.broker.limit import Limit
from aitor.broker.mailbox import Mailbox
from aitor.broker.native import wakeup
from aitor.broker.policy import POLICIES
from aitor.broker.statistics import ProviderStatistics
from aitor.broker.throttle import RAMP_CODES, RAMP_FACTOR, RAMP_SECONDS, Throttle
from aitor.broker.waits import Cause, WaitClock
from aitor.broker.watch import Watch
from aitor.errors import (
    ConnectionFailedError,
    LLMError,
    OverloadedError,
    RateLimitError,
)
from aitor.events import (
    AttemptEnded,
    CircuitChanged,
    Event,
    ProviderPaused,
    ProviderRestarted,
)
from aitor.laws.adaptive_concurrency import AdaptiveConcurrency
from aitor.laws.backoff import Backoff
from aitor.laws.breaker import CircuitBreaker, CircuitState, Verdict
from aitor.laws.bucket import NO_COST, ONE_CALL, Cost
from aitor.laws.estimate import ServiceTimes
from aitor.laws.failure_rate import FailureRate
from aitor.laws.retry_after import LimitReader
from aitor.messages import Answer, Attempt, Waits
from aitor.outcomes import Outcome
from aitor.providers.base import Provider

if TYPE_CHECKING:
    from aitor.broker.envelope import Envelope
    from aitor.broker.route import Candidate
    from aitor.messages import Request

__all__ = ("Actor",)

FIRST = 64
"""So many of those who wait are looked at for one who could move elsewhere."""

UNKNOWN_SECONDS = 1e-3
"""Where no call has ended yet, nobody knows how long one takes; it is not nothing."""

FULL = frozenset({503, 529})
"""Statuses by which a server says that it has no room."""


class Actor:
    """
    One provider, asked by many callers.

    Args:
        name: The provider's name in the broker.
        provider: Who performs the exchange.
        limit: What the account may use.
        random: Where jitter comes from.
        emit: Takes events.
        each: Whether an event is wanted for each attempt, not only for what is rare.
        ledger: Takes every attempt.
        watch: Ends what takes too long.
        peers: The broker's actors, by name: what waits at one of them may move here.
        weights: Shares of the tenants that differ from 1.
        debug: Whether an error keeps what the provider's code raised.
    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        limit: Limit,
        *,
        random: Random,
        emit: Callable[[Event], None],
        each: bool,
        ledger: Ledger,
        watch: Watch,
        peers: Mapping[str, "Actor"] | None = None,
        weights: Mapping[str, float] | None = None,
        debug: bool = False,
    ) -> None:
        settings = provider.settings
        self.name = name
        self.provider = provider
        self.settings = settings
        self.limit = limit
        self.costs = Costs(provider)
        self.backoff = Backoff(
            settings.retry_delay, settings.backoff_factor, settings.max_retry_delay
        )
        self.breaker = CircuitBreaker(**dict(settings.breaker))
        self._emit = emit
        self._each = each
        self._ledger = ledger
        self._debug = debug
        self.watch = watch
        self._mailbox = Mailbox(settings.queue_size, weights or {})
        self._free = settings.workers
        self._running: set[Call] = set()
        self._times = ServiceTimes()
        self.failure_rate = FailureRate(settings.breaker.open_seconds)
        self._concurrency = AdaptiveConcurrency(settings.workers)
        self._throttle = Throttle(settings, random)
        self._limits_told = LimitReader()
        self._peers = peers if peers is not None else {}
        self._restarted = -math.inf
        self._aborted = False
        self._last_error: str | None = None
        self._circuit = CircuitState.CLOSED
        self._generation = self.breaker.generation
        self._clock = WaitClock()
        limit.join(self)
        provider.name = name
        provider.on_drop = emit

    # Asking.

    def open(self, now: float) -> bool:
        """Whether the circuit would let nothing through at *now*."""
        return self.breaker.retry_at(now) > now

    def worth_waiting(self, envelope: "Envelope", now: float) -> bool:
        """Whether the circuit closes, or may, while *envelope* has time to wait."""
        if not envelope.persistent:
            return False
        expected = self.breaker.expected_at(now, self._times.all.mean)
        return expected < envelope.deadline

    @property
    def full(self) -> bool:
        """Whether the mailbox has no room."""
        return self._mailbox.full

    def takes_first(self, now: float) -> bool:
        """
        Whether a request that could start here now is to go here before others.

        One that is degraded takes a probe from time to time.
        """
        rate = self.failure_rate
        return not rate.degraded or rate.probe(now)

    @property
    def _room(self) -> int:
        """How many more calls may be in flight."""
        return min(self._free, self._concurrency.limit - len(self._running))

    def predict(
        self, candidate: "Candidate", now: float, envelope: "Envelope"
    ) -> float:
        """
        Return when a call that came now would start, as far as can be told.

        Never later than what limit, pause, circuit and those who certainly go first
        make certain; where workers are the bound, the mean time of recent calls stands
        in for what is not known.
        """
        # Who has come back has the place of its first arrival.
        ahead = NO_COST
        if self._mailbox and now <= envelope.arrived:
            ahead = self._mailbox.ahead_of(envelope)
        start = self.limit.bucket.ready_at(self._cost_of(candidate), now, ahead)
        start = max(start, self.breaker.expected_at(now, self._times.all.mean))
        start = self._throttle.pace.ready_at(start)
        # A provider that has just come back, or is full, takes fewer calls at once.
        most = min(self._concurrency.limit, self.breaker.most_in_flight)
        # Those that were let through before the circuit opened count no more.
        closed = self._circuit is CircuitState.CLOSED
        if self._mailbox and ahead == NO_COST and now > envelope.arrived:
            # Who has come back has others ahead, and nobody knows how many.
            start = max(start, now + UNKNOWN_SECONDS)
        if self._room <= 0 or (closed and not self.breaker.has_room):
            turns = ahead.requests + 1
            each = self._times.all.mean or UNKNOWN_SECONDS
            start = max(start, now + turns * each / most)
        return start

    def least(self, request: "Request") -> float:
        """Return the seconds that *request* takes in all likelihood at least."""
        return self._times.of(self.costs.model_of(request)).least

    def enter(self, call: Call, now: float, *, wait_for_room: bool) -> None:
        """
        Start *call*, or give it a place in the mailbox; nothing is awaited.

        Args:
            call: Made by this actor's `call`.
            now: The time.
            wait_for_room: What to do when the mailbox is full: wait at its door,
                or refuse.

        Raises:
            BrokerClosedError: The broker is closed.
            DeadlineExceededError: It could not start before its deadline.
            QueueFullError: The mailbox is full.
        """
        if self._aborted:
            raise refusals.closed(self)
        envelope = call.envelope
        if envelope.deadline != math.inf:
            self._check_deadline(call, now)
        if self._room > 0 and not self._mailbox and self._start(call, now):
            if len(self._peers) > 1:
                self._take_from_peers(now)
            return
        if not wait_for_room and self._mailbox.full:
            raise refusals.mailbox_full(self)
        call.mark = self._clock.mark(now)
        call.wake = wakeup()
        head = self._mailbox.head()
        # Counted by its own caller now, lest it is done in somebody else's task.
        self._mailbox.put(call, self.limit.bucket.counted(call.candidate.cost))
        # By fairness a newcomer may put somebody else before all others.
        if self._mailbox.head() is not head:
            self._dispatch(now)

    # Waiting.

    async def start(self, call: Call) -> None:
        """
        Wait until *call*, which has a place in the mailbox, may start.

        Raises:
            LLMError: It may not, and why.
        """
        envelope = call.envelope
        try:
            while call.state is State.WAITING:
                wake = call.wake
                assert wake is not None  # noqa: S101  # it is what makes a call wait
                until = min(envelope.deadline, call.alarm)
                if until == math.inf:
                    call.untimed = True
                    await wake
                    call.untimed = False
                else:
                    with anyio.CancelScope(deadline=until) as call.scope:
                        await wake
                    call.scope = None
                if call.state is State.WAITING:
                    self._woken(call)
        except BaseException:
            self._withdraw(call)
            raise
        if call.refusal is not None:
            try:
                raise call.refusal
            finally:
                # It knows this frame, which knows the call.
                call.refusal = None

    def _woken(self, call: Call) -> None:
        # The deadline passed, the clock rang, or there is a clock to keep now.
        now = anyio.current_time()
        if now >= call.envelope.deadline:
            raise refusals.waited_too_long(self, now - call.envelope.arrived)
        if call.wake is not None and call.wake.done():
            call.wake = wakeup()
        call.alarm = math.inf
        self._dispatch(now)

    def _withdraw(self, call: Call) -> None:
        now = anyio.current_time()
        if call.state is State.WAITING:
            self._mailbox.remove(call)
        elif call.state is State.RUNNING:
            # It was let through in the very tick its caller left: nothing was sent.
            self._end(call, now)
            self.limit.bucket.cancel(call.reservation, now)
            self._record(call, Outcome.CANCELLED, None, None, now)
        call.state = State.ENDED
        self.limit.look_again(now)

    def _end(self, call: Call, now: float) -> None:
        """Give back the worker of *call*."""
        self._running.discard(call)
        self._free += 1
        self._concurrency.changed(len(self._running), now)

    def look_again(self, now: float) -> None:
        """Let whoever may start do so; something was given back."""
        if self._mailbox:
            self._dispatch(now)
            if self._mailbox and len(self._peers) > 1:
                self._offer_to_peers(now)
        else:
            self._rest(now)
            self._take_from_peers(now)

    def _rest(self, now: float) -> None:
        self._clock.stop(now)
        self.limit.leave_line(self, now)

    def _take_from_peers(self, now: float) -> None:
        """Let somebody move here who waits elsewhere and could start here now."""
        for peer in self._peers.values():
            if peer is not self and peer._mailbox and self._take_from(peer, now):
                return

    def _offer_to_peers(self, now: float) -> None:
        """Let somebody move away who waits here and could start elsewhere now."""
        for peer in self._peers.values():
            if peer is not self and not peer._mailbox and peer._take_from(self, now):
                return

    def _take_from(self, peer: "Actor", now: float) -> bool:
        """Let the first of those waiting at *peer* move here who could start now."""
        if self._room <= 0 or self._aborted or self.failure_rate.degraded:
            return False
        if self.open(now) or not self.breaker.has_room or self.breaker.failing:
            return False
        for call in peer._mailbox.first(FIRST):
            if (
                call.movable
                and call.route.may_ask(self)
                and self._could_start(call, now)
            ):
                peer._mailbox.remove(call)
                call.refuse(refusals.moved(self))
                # It may have been the first of them. Only one moves at a time: here it
                # starts in its own task, and then the next is looked for.
                if peer._mailbox:
                    peer._dispatch(now)
                else:
                    peer._rest(now)
                return True
        return False

    def _could_start(self, call: Call, now: float) -> bool:
        one = call.route.candidate_of(self)
        if one is None or one.silent or one.owes:
            # It would come back to where it waits.
            return False
        there, wait = call.actor, call.actor.settings.max_queue_wait
        if wait and there.predict(call.candidate, now, call.envelope) <= now + wait:
            return False
        return one.start(now, call.envelope) <= now

    def _dispatch(self, now: float) -> None:
        mailbox = self._mailbox
        while (call := mailbox.head()) is not None:
            if self._room <= 0:
                self.limit.leave_line(self, now)
                self._clock.wait_for(Cause.WORKER, now)
                return
            if self._is_too_late(call, now):
                mailbox.remove(call)
                call.refuse(refusals.too_late(self, call.envelope.deadline, now))
            elif self._start(call, now):
                mailbox.take(call)
                call.wake_up()
            else:
                return
        self._rest(now)

    def _is_too_late(self, call: Call, now: float) -> bool:
        """
        Whether the answer to *call* would come after its deadline, in all likelihood.

        Where more come than go, the first of them has always just too little time left.
        Among those who have waited for longer than they still can, it takes less to
        give up one for others who have the time.
        """
        envelope = call.envelope
        left = envelope.deadline - now
        times = self._times.of(self.costs.model_of(call.request))
        if left <= times.least:
            return True
        if left >= times.most or left > now - envelope.arrived:
            return False
        others = self._mailbox.first(FIRST)
        return any(one.envelope.deadline - now >= times.most for one in others)

    def _start(self, call: Call, now: float) -> bool:
        """Take a free worker, tokens and circuit for *call*, all of them or none."""
        bucket = self.limit.bucket
        cost = self._cost_of(call.candidate)
        ready = self._throttle.pace.ready_at(bucket.ready_at(cost, now))
        if ready > now or not self.limit.turn_of(self):
            self.limit.stand_in_line(self)
            cause = Cause.PAUSE if bucket.held_until > now else Cause.RATE
            return self._wait(call, cause, ready if ready > now else math.inf, now)
        ticket = self.breaker.admit(now)
        if ticket is None:
            # Where no time is known, the next call to end will tell.
            retry_at = self.breaker.retry_at(now)
            when = retry_at if retry_at > now else math.inf
            self.limit.leave_line(self, now)
            return self._wait(call, Cause.CIRCUIT, when, now)
        call.reservation = bucket.take(cost, now)
        call.ticket = ticket
        self._free -= 1
        self._running.add(call)
        self._concurrency.changed(len(self._running), now)
        self._throttle.pace.started(now)
        call.state = State.RUNNING
        call.started = now
        envelope = call.envelope
        if call.mark or envelope.backoff or envelope.paused:
            call.waits = self._clock.since(
                call.mark, now, envelope.backoff, envelope.paused
            )
            envelope.backoff = envelope.paused = 0.0
        if self.breaker.generation != self._generation:
            self._circuit_changed(now, None)
        self.limit.leave_line(self, now)
        return True

    def _cost_of(self, candidate: "Candidate") -> Cost:
        # Counting the tokens of a long conversation takes longer than all the rest,
        # so they are counted where they count: for a limit on them, or in a queue.
        return candidate.cost if self.limit.bucket.counts_tokens else ONE_CALL

    def _wait(self, call: Call, cause: Cause, until: float, now: float) -> bool:
        # A call that is not in the mailbox yet keeps no clock.
        self._clock.wait_for(cause, now)
        if call.wake is not None:
            call.ring_at(until)
        return False

    # Ending.

    def release(
        self, call: Call, answer: Answer | None, error: LLMError | None
    ) -> None:
        """
        Take everything back that *call* held, and learn from how it ended.

        Args:
            call: It was started, and is over.
            answer: What it brought.
            error: What it failed with; neither, if its caller left.
        """
        now = anyio.current_time()
        if answer is not None:
            outcome = Outcome.ANSWER
        else:
            outcome = Outcome.CANCELLED if error is None else error.outcome
        call.state = State.ENDED
        self._end(call, now)
        model = self.costs.model_of(call.request)
        used = self.costs.used(call, outcome, answer)
        self.limit.bucket.settle(call.reservation, used, now)
        source = answer if answer is not None else error
        if source is not None and source.headers:
            self._observe(source.headers, now)
        self._judge(call, outcome, error, now)
        if isinstance(error, RateLimitError):
            self._pause(call, error, now)
        elif answer is not None:
            if self._throttle.answered(call.started, now):
                self._end_pause(now)
            self._times.observe(model, now - call.started)
            self.costs.learn(call, model, answer)
        self._record(call, outcome, error, model, now)
        self._note(call, outcome, model, answer, error, now)
        # Last, when everything that the outcome means is known.
        self.limit.look_again(now)

    def _observe(self, headers: Mapping[str, str], now: float) -> None:
        # What the server says of its limits is an upper bound on what we allow. What a
        # provider of one's own takes for headers may be anything.
        with suppress(Exception):
            for seen in self._limits_told.read(headers, now, time.time()):
                self.limit.bucket.observe(
                    seen.dimension, seen.per_minute, seen.remaining, now, seen.period
                )

    def _judge(
        self, call: Call, outcome: Outcome, error: LLMError | None, now: float
    ) -> None:
        """Learn how often it fails, and how many calls it bears at once."""
        verdict = POLICIES[outcome].verdict
        limited = outcome is Outcome.RATE_LIMITED
        if limited or verdict is not Verdict.IGNORED:
            self.failure_rate.record(now, failed=verdict is not Verdict.SUCCESS)
        if outcome is Outcome.CANCELLED or outcome is Outcome.EXPIRED or limited:
            return
        first = call.first_byte
        self._concurrency.ended(
            call.started,
            now,
            refused=error is not None and _is_full(error),
            first_byte=None if first is None else first - call.started,
        )

    def _end_pause(self, now: float) -> None:
        """Others get through: the pause was meant for one call alone."""
        bucket = self.limit.bucket
        if now < bucket.held_until == self._throttle.held_until:
            bucket.end_hold(now)
            self.breaker.resume()

    def _pause(self, call: Call, error: RateLimitError, now: float) -> None:
        """Hold everybody, as the server asks."""
        if error.code in RAMP_CODES:
            self.limit.bucket.slow_down(RAMP_FACTOR, now + RAMP_SECONDS)
        seconds = self._throttle.pause_for(error, call.started, now)
        if not seconds:
            return
        self.limit.bucket.hold_until(now + seconds)
        self.breaker.ease_in()
        self._emit(ProviderPaused(self.name, seconds, error.code))
        for call in self._mailbox.waiting():
            if call.movable:
                self._mailbox.remove(call)
                call.refuse(refusals.paused(self, seconds))

    def _record(
        self,
        call: Call,
        outcome: Outcome,
        error: LLMError | None,
        model: str | None,
        now: float,
    ) -> None:
        verdict, asked = POLICIES[outcome].verdict, None
        if error is not None and error.suspected and verdict is Verdict.DEAD:
            # Who sends the same again is no second witness.
            verdict, asked = Verdict.SUSPECTED, _asked(call)
        if (
            outcome is Outcome.EXPIRED
            and call.first_byte is None
            and self._times.of(model).overdue(now - call.started)
        ):
            # Its caller gave up, but long after others had their answers: it hangs.
            verdict = Verdict.FAILURE
        self.breaker.record(call.ticket, verdict, now, call.started, asked)
        if self.breaker.generation != self._generation:
            self._circuit_changed(now, outcome)

    def _circuit_changed(self, now: float, cause: Outcome | None) -> None:
        old, self._circuit = self._circuit, self.breaker.state(now)
        self._generation = self.breaker.generation
        if old is not self._circuit:
            retry_in = max(0.0, self.breaker.retry_at(now) - now)
            self._emit(
                CircuitChanged(
                    self.name, old.value, self._circuit.value, retry_in, cause
                )
            )
        if self._circuit is CircuitState.CLOSED:
            # What was not used while it was down may not come on top now.
            self.limit.calm_down(now)
        if self._circuit is CircuitState.OPEN:
            for call in self._mailbox.waiting():
                # Others may wait, and could be taken by somebody else sooner.
                if call.movable or not self.worth_waiting(call.envelope, now):
                    self._mailbox.remove(call)
                    call.refuse(refusals.circuit_open(self, now))

    def _note(
        self,
        call: Call,
        outcome: Outcome,
        model: str | None,
        answer: Answer | None,
        error: LLMError | None,
        now: float,
    ) -> None:
        source = answer if answer is not None else error
        attempt = Attempt(
            self.name,
            model,
            outcome,
            now - call.started,
            call.waits,
            answer.usage if answer is not None else None,
            error.status if error is not None else None,
            error.code if error is not None else None,
            error.retry_after if error is not None else None,
            source.request_id if source is not None else None,
        )
        if error is not None:
            error.provider = self.name
            self._last_error = error.message
        elif answer is not None:
            self._last_error = None
        call.envelope.attempts += (attempt,)
        self._ledger.record(attempt)
        if self._each:
            self._emit(AttemptEnded(attempt))

    # Errors.

    def crashed(self, call: Call, error: BaseException) -> LLMError:
        """Return what *call* ends with where the provider's code raised *error*."""
        kind = type(error).__name__
        # Calls of the same generation may all crash on the same broken pool; one
        # fresh pool serves them all.
        if call.started >= self._restarted:
            self._restarted = anyio.current_time()
            # What is broken may be too broken to be renewed; its breaker sees to it.
            with suppress(Exception):
                self.provider.restart()
            self._emit(ProviderRestarted(self.name, kind))
        return crash_of(self.provider, error, debug=self._debug)

    def _check_deadline(self, call: Call, now: float) -> None:
        envelope = call.envelope
        deadline = envelope.deadline
        if deadline <= now:
            raise refusals.too_late(self, deadline, now)
        start = self.predict(call.candidate, now, envelope)
        # Where no worker is wanted by anybody else, trying costs nobody anything, and
        # is the only way to learn that the provider has become faster.
        busy = self._room <= 0 or self._mailbox
        least = self.least(call.request) if busy else 0.0
        if start + least > deadline:
            raise refusals.cannot_start(self, start, least, deadline, now)

    # Watching and closing.

    def statistics(self, now: float) -> ProviderStatistics:
        """Return a frozen snapshot."""
        return ProviderStatistics(
            name=self.name,
            queued=len(self._mailbox),
            at_the_door=self._mailbox.at_the_door,
            in_flight=len(self._running),
            workers=self.settings.workers,
            concurrency=self._concurrency.limit,
            failing_share=self.failure_rate.share,
            degraded=self.failure_rate.degraded,
            queue_size=self.settings.queue_size,
            circuit=self.breaker.state(now).value,
            retry_in=max(0.0, self.breaker.retry_at(now) - now),
            paused_for=max(0.0, self.limit.bucket.held_until - now),
            limit=self.limit.name,
            levels=self.limit.bucket.levels(now),
            waited=Waits(*self._clock.mark(now)),
            mean_seconds=self._times.all.mean,
            totals=self._ledger.of_provider(self.name),
            last_error=self._last_error,
        )

    def abort(self) -> None:
        """End everything that waits or runs, now."""
        for call in self._running:
            call.abort()
        self.stop()

    def stop(self) -> None:
        """End everything that waits, and start nothing more."""
        self._aborted = True
        for call in self._mailbox.waiting():
            self._mailbox.remove(call)
            call.refuse(refusals.closed(self))
        # Others may share the limit, of another broker too.
        self.look_again(anyio.current_time())

    def __repr__(self) -> str:
        return (
            f"Actor({self.name!r}, queued={len(self._mailbox)}, "
            f"in_flight={len(self._running)}, circuit={self._circuit.value})"
        )


def _is_full(error: LLMError) -> bool:
    """Whether the server had no room for the call."""
    if isinstance(error, ConnectionFailedError):
        return error.refused
    return isinstance(error, OverloadedError) or error.status in FULL


def _asked(call: Call) -> str:
    """Return what tells the request of *call* from others, whoever sends it."""
    try:
        return call.envelope.request.fingerprint()
    except LLMError:
        return str(call.envelope.sequence)
