"""
A circuit breaker: whether work may go to a provider at all.

Closed, all of it may. Open, none may. Half-open, a few probes find out whether the
provider is well again. The breaker hands out a ticket for every call that may go and
takes it back with a verdict; it never waits and never reads a clock.

Every ticket bears the generation it was handed out in, and each change of state
begins a new one. A verdict counts only in its own generation: a call that started
before an outage says nothing about the provider after it. That is what breakers
without generations get wrong, together with probes that are lost: here a probe that
ends without a verdict gives its place back, and one that never ends is given up.

It opens after a number of failures *in a row*, and not at a share of the calls in
a window, because calls to language models are few and slow: a share says nothing
until a window has enough of them, and a window worth the name is minutes long. An
outage ends every row of successes, so it is noticed after as many calls as anybody
cares to lose. A provider that fails every other call is for retries to deal with.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

__all__ = ("BreakerSnapshot", "CircuitBreaker", "CircuitState", "Ticket", "Verdict")

WELL_AGAIN = 64
"""Successes after which a circuit that had been open is closed without reserve."""


class CircuitState(Enum):
    """What a breaker lets through."""

    CLOSED = "closed"
    """Everything."""

    OPEN = "open"
    """Nothing."""

    HALF_OPEN = "half-open"
    """A few probes."""


class Verdict(Enum):
    """What the end of a call says about the provider's health."""

    SUCCESS = "success"
    """It answered."""

    FAILURE = "failure"
    """It failed."""

    IGNORED = "ignored"
    """Nothing: the caller left, or the request itself was at fault."""

    DEAD = "dead"
    """Nothing will pass for long: a bad key, an account without credit."""

    SUSPECTED = "suspected"
    """The same by a status alone: it takes a second request to believe it."""


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """
    Permission for one call, or for each of many in a closed circuit.

    Args:
        generation: When it was handed out.
        probe: Whether it is one of the few of a half-open circuit.
    """

    generation: int
    probe: bool


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """
    A breaker at one instant.

    Args:
        state: What it lets through.
        generation: How often its state has changed.
        failures: Failures in a row.
        in_flight: Calls let through in this generation that have not ended.
        limit: The most of them; infinity for no limit.
        retry_at: When it is worth asking.
    """

    state: CircuitState
    generation: int
    failures: int
    in_flight: int
    limit: float
    retry_at: float


class CircuitBreaker:
    """
    Keeps work from a provider that fails, and lets it return little by little.

    One success of a probe closes the circuit: more would keep callers waiting for
    what the slow start does anyway. As TCP does after a loss, it lets *probes* calls
    be in flight, and one more for each success, until `WELL_AGAIN` of them show that
    the end of an outage need not become a stampede. A failure begins it again.

    Every ticket must come back through `record`, once.

    Args:
        failures: Failures in a row that open the circuit.
        open_seconds: How long it lets nothing through then.
        probes: The most probes in flight at once.
        probe_seconds: A probe without a verdict for so long gives its place to
            another. Should its verdict come yet, it counts.
        dead_seconds: How long it lets nothing through after `Verdict.DEAD`.

    Raises:
        ValueError: If a setting is not in its range.
    """

    __slots__ = (
        "_dead_seconds",
        "_failures",
        "_failures_allowed",
        "_in_flight",
        "_limit",
        "_open_seconds",
        "_open_until",
        "_probe_seconds",
        "_probes",
        "_probing",
        "_state",
        "_successes",
        "_suspect",
        "_ticket",
        "failing",
        "generation",
    )

    failing: bool
    """Whether the last verdict that counted was a failure."""

    generation: int
    """How often the state has changed: compare it to notice a change."""

    def __init__(
        self,
        failures: int = 5,
        open_seconds: float = 30.0,
        probes: int = 1,
        probe_seconds: float = 60.0,
        dead_seconds: float = 300.0,
    ) -> None:
        for name, count in (("failures", failures), ("probes", probes)):
            if count < 1:
                raise ValueError(f"'{name}' must be at least 1, and is {count}")
        for name, seconds in (
            ("open_seconds", open_seconds),
            ("probe_seconds", probe_seconds),
            ("dead_seconds", dead_seconds),
        ):
            if not 0.0 < seconds < math.inf:
                raise ValueError(
                    f"'{name}' must be finite and more than 0, and is {seconds}"
                )
        self._failures_allowed = failures
        self._open_seconds = open_seconds
        self._probes = probes
        self._probe_seconds = probe_seconds
        self._dead_seconds = dead_seconds
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._successes = 0
        self._in_flight = 0
        self._open_until = -math.inf
        # The places of a half-open circuit: when each of its probes is given up.
        self._probing: dict[Ticket, float] = {}
        self.failing = False
        self.generation = 0
        # All calls of a closed circuit share a ticket. The most of them in flight at
        # once is no limit while all is well, and 0 while the circuit is not closed.
        self._ticket = Ticket(0, probe=False)
        self._suspect: Hashable = None  # the request that made the account suspect
        self._limit = math.inf

    def admit(self, now: float) -> Ticket | None:
        """Return the ticket for a call that starts *now*, None if none may."""
        if self._in_flight < self._limit:
            self._in_flight += 1
            return self._ticket
        if self._state is CircuitState.CLOSED or now < self.retry_at(now):
            return None
        if self._state is CircuitState.OPEN:
            self._enter(CircuitState.HALF_OPEN)
        self._give_up_probes(now)
        probe = Ticket(self.generation, probe=True)
        self._probing[probe] = now + self._probe_seconds
        return probe

    @property
    def most_in_flight(self) -> float:
        """The most calls that it lets be in flight; infinity while all is well."""
        return self._limit or self._probes

    def record(
        self, ticket: Ticket, verdict: Verdict, now: float, request: Hashable = None
    ) -> None:
        """
        Take *ticket* back with the *verdict* on how its call ended.

        Args:
            ticket: What `admit` gave.
            verdict: What the end of the call says.
            now: The time.
            request: What was asked, for `Verdict.SUSPECTED`: equal for equal requests.
        """
        if ticket.generation != self.generation:
            return
        if ticket.probe:
            self._probing.pop(ticket, None)
        else:
            self._in_flight -= 1
        if verdict is Verdict.SUSPECTED:
            # What one request meets may be meant for it alone, by a firewall perhaps.
            known = self._suspect
            self._suspect = request if known is None else known
            verdict = Verdict.IGNORED if known in (None, request) else Verdict.DEAD
        if verdict is Verdict.IGNORED:
            return
        self.failing = verdict is not Verdict.SUCCESS
        if verdict is Verdict.SUCCESS:
            self._succeeded()
        elif verdict is Verdict.DEAD:
            self._open(now + self._dead_seconds)
        else:
            self._failed(now)

    def state(self, now: float) -> CircuitState:
        """Return what an `admit` that came *now* would find."""
        if self._state is CircuitState.OPEN and now >= self._open_until:
            return CircuitState.HALF_OPEN
        return self._state

    def retry_at(self, now: float) -> float:
        """
        Return when it is worth asking, *now* if it is now.

        It may be sooner if a probe ends. In the slow start, where the end of any
        call makes room for another, no time is known, and asking costs nothing.
        """
        if self._state is CircuitState.OPEN:
            return max(now, self._open_until)
        if len(self._probing) < self._probes:
            return now
        return max(now, min(self._probing.values()))

    def snapshot(self, now: float) -> BreakerSnapshot:
        """Return how things stand, for statistics."""
        state = self.state(now)
        probing = state is CircuitState.HALF_OPEN
        return BreakerSnapshot(
            state=state,
            generation=self.generation,
            failures=self._failures,
            in_flight=len(self._probing) if probing else self._in_flight,
            limit=self._probes if probing else self._limit,
            retry_at=self.retry_at(now),
        )

    def _succeeded(self) -> None:
        self._suspect = None
        self._failures = 0
        if self._state is CircuitState.HALF_OPEN:
            self._enter(CircuitState.CLOSED)
            self._limit = self._probes
            self._successes = 0
        elif self._limit != math.inf:
            self._successes += 1
            well = self._successes >= WELL_AGAIN
            self._limit = math.inf if well else self._probes + self._successes

    def _failed(self, now: float) -> None:
        self._failures += 1
        probing = self._state is CircuitState.HALF_OPEN
        if probing or self._failures >= self._failures_allowed:
            self._open(now + self._open_seconds)
        elif self._limit != math.inf:
            self._limit = self._probes
            self._successes = 0

    def _open(self, until: float) -> None:
        self._enter(CircuitState.OPEN)
        self._open_until = until
        self._limit = 0

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self.generation += 1
        self._ticket = Ticket(self.generation, probe=False)
        self._probing.clear()
        self._in_flight = 0

    def _give_up_probes(self, now: float) -> None:
        for probe, until in list(self._probing.items()):
            if until <= now:
                del self._probing[probe]
