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

Down and flaky are two things, and only the first is a matter for a circuit. A
provider that fails a part of its calls is asked on: retries get answers out of it, and
`aitor.laws.failure_rate` says who is asked first meanwhile. The circuit opens for one
that lets nothing through: *failures* calls in a row, none of them answered, over at
least *failing_seconds*. Where a provider used to answer one call in n, nine times n
failures in a row are asked for, which chance brings about once in ten thousand rows; a
row of failures alone would open it at random for a provider that fails often, and a
time alone for one that is asked rarely.

In a row means in the order in which calls were *sent*. Calls that hang end together,
long after others that were sent later had their answers; their failures say how the
provider was when they were sent, and what was answered since is the newer word.

It opens briefly at first, for *first_open_seconds*, because most outages are short, and
twice as long each time a probe fails, up to *open_seconds* (exponential backoff, as in
gRPC's connection backoff; a fixed time is either too long for the short outages or too
short for the long ones).
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

__all__ = ("BreakerSnapshot", "CircuitBreaker", "CircuitState", "Ticket", "Verdict")

WELL_AGAIN = 64
"""Successes after which a circuit that had been open is closed without reserve."""

CERTAIN = 8
"""
So many times *failures* in a row are enough whatever a provider used to answer, and
within this part of *failing_seconds*.
"""

ROWS = 9.2
"""So many times as many failures in a row as usual are no chance: exp(-9.2) = 1e-4."""

LEARN_MORE, LEARN_FEWER = 1 / 2, 1 / 16
"""How fast a longer row becomes usual, and how fast a shorter one does."""


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
        failures: Failures in a row, in the order in which calls were sent.
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
    the end of an outage need not become a stampede.

    Every ticket must come back through `record`, once.

    Args:
        failures: Failures in a row that open the circuit, at least.
        failing_seconds: For how long nothing got through by then, at least.
        first_open_seconds: How long it lets nothing through at first.
        open_seconds: How long at most, after probes that failed.
        probes: The most probes in flight at once.
        probe_seconds: A probe without a verdict for so long gives its place to
            another. Should its verdict come yet, it counts.
        dead_seconds: How long it lets nothing through after `Verdict.DEAD`.

    Raises:
        ValueError: If a setting is not in its range.
    """

    __slots__ = (
        "_answered",
        "_base",
        "_dead_seconds",
        "_ease_in",
        "_failed_probes",
        "_failing_seconds",
        "_failing_since",
        "_failures",
        "_failures_allowed",
        "_first_open_seconds",
        "_in_flight",
        "_limit",
        "_open_for",
        "_open_seconds",
        "_open_until",
        "_probe_seconds",
        "_probes",
        "_probing",
        "_state",
        "_successes",
        "_suspect",
        "_ticket",
        "_usual",
        "failing",
        "generation",
    )

    failing: bool
    """Whether the last verdict that counted was a failure."""

    generation: int
    """How often the state has changed: compare it to notice a change."""

    def __init__(
        self,
        failures: int = 20,
        failing_seconds: float = 2.0,
        first_open_seconds: float = 1.0,
        open_seconds: float = 30.0,
        probes: int = 1,
        probe_seconds: float = 60.0,
        dead_seconds: float = 300.0,
    ) -> None:
        for name, count in (("failures", failures), ("probes", probes)):
            if count < 1:
                raise ValueError(f"'{name}' must be at least 1, and is {count}")
        if not 0.0 <= failing_seconds < math.inf:
            raise ValueError(
                f"'failing_seconds' must be finite and at least 0, "
                f"and is {failing_seconds}"
            )
        for name, seconds in (
            ("first_open_seconds", first_open_seconds),
            ("open_seconds", open_seconds),
            ("probe_seconds", probe_seconds),
            ("dead_seconds", dead_seconds),
        ):
            if not 0.0 < seconds < math.inf:
                raise ValueError(
                    f"'{name}' must be finite and more than 0, and is {seconds}"
                )
        self._failures_allowed = failures
        self._failing_seconds = failing_seconds
        self._first_open_seconds = min(first_open_seconds, open_seconds)
        self._open_seconds = open_seconds
        self._probes = probes
        self._probe_seconds = probe_seconds
        self._dead_seconds = dead_seconds
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._successes = 0
        self._in_flight = 0
        self._open_until = -math.inf
        self._open_for = self._first_open_seconds  # when it opens the next time
        self._answered = -math.inf  # when the last call was sent that was answered
        self._failing_since = math.inf  # when the first of the row was sent
        self._usual = 1.0  # calls from one answer to the next
        self._failed_probes = 0  # since the circuit is half-open
        # The places of a half-open circuit: when each of its probes is given up.
        self._probing: dict[Ticket, float] = {}
        self.failing = False
        self.generation = 0
        # All calls of a closed circuit share a ticket. The most of them in flight at
        # once is no limit while all is well, and 0 while the circuit is not closed.
        self._ticket = Ticket(0, probe=False)
        self._limit: float = math.inf
        self._base: float = probes  # the limit when the slow start began
        self._ease_in = False  # whether the next call begins one
        self._suspect: Hashable = None  # the request that made the account suspect

    def ease_in(self) -> None:
        """Begin a slow start with the next call: a pause comes first."""
        self._ease_in = True

    def admit(self, now: float) -> Ticket | None:
        """Return the ticket for a call that starts *now*, None if none may."""
        if self._ease_in:
            self._ease_in = False
            if self._state is CircuitState.CLOSED:
                self._start_slowly()
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
    def has_room(self) -> bool:
        """Whether a closed circuit lets another call through just now."""
        return self._in_flight < self._limit

    @property
    def lets_through(self) -> bool:
        """Whether an answer came among the last calls, or could have."""
        return self._failures < self._failures_allowed

    @property
    def most_in_flight(self) -> float:
        """The most calls that it lets be in flight; infinity while all is well."""
        return self._limit or self._probes

    def record(
        self,
        ticket: Ticket,
        verdict: Verdict,
        now: float,
        sent: float | None = None,
        request: Hashable = None,
    ) -> None:
        """
        Take *ticket* back with the *verdict* on how its call ended.

        Args:
            ticket: What `admit` gave.
            verdict: What the end of the call says.
            now: The time.
            sent: When the call was sent; by default now.
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
        if sent is None:
            sent = now
        if verdict is Verdict.SUCCESS:
            self._succeeded(sent)
        elif verdict is Verdict.DEAD:
            self._open(now, self._dead_seconds)
        else:
            self._failed(sent, now)

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

    def expected_at(self, now: float, seconds: float) -> float:
        """
        Return when a call may be let through, as far as can be told.

        Args:
            now: The time.
            seconds: How long a probe takes, which is what everybody waits for while
                the circuit is half-open.
        """
        if self._state is CircuitState.HALF_OPEN and len(self._probing) >= self._probes:
            begun = min(self._probing.values()) - self._probe_seconds
            return max(now, min(begun + seconds, begun + self._probe_seconds))
        return self.retry_at(now)

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

    def _succeeded(self, sent: float) -> None:
        more = self._failures + self._failed_probes + 1.0 - self._usual
        self._usual += more * (LEARN_MORE if more > 0.0 else LEARN_FEWER)
        self._suspect = None
        self._failures = 0
        self._failing_since = math.inf
        self._answered = max(self._answered, sent)
        if self._state is CircuitState.HALF_OPEN:
            self._enter(CircuitState.CLOSED)
            self._start_slowly()
        elif self._limit != math.inf:
            self._successes += 1
            well = self._successes >= WELL_AGAIN
            self._limit = math.inf if well else self._base + self._successes
            if well:
                self._open_for = self._first_open_seconds

    def _start_slowly(self) -> None:
        # What is in flight was let through before, and goes on.
        self._base = self._limit = self._in_flight + self._probes
        self._successes = 0

    def resume(self) -> None:
        """Take `ease_in` back: there was no need for the pause."""
        self._ease_in = False

    def _failed(self, sent: float, now: float) -> None:
        if self._state is CircuitState.HALF_OPEN:
            # Of one that used to answer one call in n, n probes are asked.
            self._failed_probes += 1
            if self._failed_probes + 0.5 >= min(self._usual, self._failures_allowed):
                self._open_longer(now)
            return
        if sent < self._answered:
            # What was sent later got through: this one says nothing new.
            return
        self._failures += 1
        self._failing_since = min(self._failing_since, sent)
        least = self._failures_allowed
        most = CERTAIN * least
        seconds = self._failing_seconds
        if self._failures >= most:
            seconds /= CERTAIN
        enough = min(max(ROWS * (self._usual - 1.0), least), most)
        if self._failures >= enough and now - self._failing_since >= seconds:
            self._open_longer(now)

    def _open_longer(self, now: float) -> None:
        seconds = self._open_for
        self._open_for = min(2.0 * seconds, self._open_seconds)
        self._open(now, seconds)

    def _open(self, now: float, seconds: float) -> None:
        self._enter(CircuitState.OPEN)
        self._open_until = now + seconds
        self._limit = 0

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._failures = 0
        self._failing_since = math.inf
        self._failed_probes = 0
        self.generation += 1
        self._ticket = Ticket(self.generation, probe=False)
        self._probing.clear()
        self._in_flight = 0

    def _give_up_probes(self, now: float) -> None:
        for probe, until in list(self._probing.items()):
            if until <= now:
                del self._probing[probe]
