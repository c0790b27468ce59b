"""
Checkers of circuits: a second breaker, written apart from the first, follows along.
"""

import math
from collections.abc import Iterator

from aitor.broker.policy import POLICIES
from aitor.laws.breaker import Verdict
from aitor.outcomes import Outcome
from aitor.providers.settings import BreakerSettings
from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.history import (
    Admitted,
    Circuit,
    Eased,
    Ended,
    Finished,
    History,
    Judged,
    Paused,
    Submitted,
)

__all__ = (
    "circuits_obey",
    "circuits_refuse_at_once",
    "failing_providers_are_spared",
    "verdicts_are_right",
)

SLOW_START = 64
"""Answers that complete a slow start."""

CERTAIN = 8
"""So many times `failures` in a row are enough, and in that part of the time."""

ROWS = 9.2
"""So many times the usual row of failures is no chance: once in ten thousand rows."""

MOST_DOUBLED = 64


class _Model:
    """What a breaker has to be like, and what it may do next."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.state = "closed"
        self.generation = 0
        self.row: list[float] = []  # when those in a row were sent that failed
        self.answered = -math.inf  # when the latest was sent that was answered
        self.successes: int | None = None  # None: no slow start
        self.base = 0  # in flight when it began, and the probes
        self.easing = False  # whether the next call begins one
        self.running = 0
        self.openings = 0  # in a row, without a slow start that was completed
        self.usual = 1.0  # calls from one answer to the next
        self.failed_probes = 0  # since it is half-open
        self.probes: dict[int, float] = {}
        self.open_until = -math.inf

    def admitted(self, line: Admitted) -> tuple[int, str] | None:
        """Take account of *line*, and return the rule it breaks, if it does."""
        broken = self._probes(line) if line.ticket else self._lets_through()
        if broken is None and line.generation != self.generation:
            return 26, f"generation {line.generation}, not {self.generation}"
        return broken

    def _lets_through(self) -> tuple[int, str] | None:
        if self.state != "closed":
            return 29, f"let a call through while {self.state}"
        if self.easing:
            self._start_slowly()
        self.running += 1
        most = math.inf
        if self.successes is not None:
            most = self.base + self.successes
        if self.running > most:
            return 25, f"{self.running} calls of {most} in the slow start"
        return None

    def _probes(self, line: Admitted) -> tuple[int, str] | None:
        if self.state == "closed":
            return 24, "a probe through a closed circuit"
        if self.state == "open":
            if line.time < self.open_until:
                early = self.open_until - line.time
                return 29, f"a probe {early} s before the circuit is half-open"
            self._enter("half-open")
        self.probes = {
            number: until
            for number, until in self.probes.items()
            if until > line.time or len(self.probes) < self.settings.probes
        }
        self.probes[line.ticket] = line.time + self.settings.probe_seconds
        if len(self.probes) > self.settings.probes:
            return 25, f"{len(self.probes)} probes of {self.settings.probes}"
        return None

    def judged(self, line: Judged) -> None:
        """Take account of *line*."""
        if line.generation != self.generation:
            return
        if line.ticket:
            self.probes.pop(line.ticket, None)
        else:
            self.running -= 1
        if line.verdict is Verdict.DEAD:
            self._open(line.time + self.settings.dead_seconds)
        elif line.verdict is Verdict.FAILURE:
            self._failed(line.sent, line.time)
        elif line.verdict is Verdict.SUCCESS:
            self._succeeded(line.sent)

    def _failed(self, sent: float, now: float) -> None:
        least = self.settings.failures
        if self.state == "closed":
            if sent < self.answered:
                return  # What was sent after it got through.
            self.row.append(sent)
            # Of one that used to answer one call in n, nine times n are no chance.
            enough = max(min(ROWS * (self.usual - 1.0), CERTAIN * least), least)
            certain = len(self.row) >= CERTAIN * least
            seconds = self.settings.failing_seconds / (CERTAIN if certain else 1)
            if len(self.row) < enough or now - min(self.row) < seconds:
                return
        else:
            self.failed_probes += 1
            if self.failed_probes < self.probes_to_fail:
                return
        self._open(now + _open_for(self.settings, self.openings))
        self.openings += 1

    @property
    def probes_to_fail(self) -> int:
        """How many of a half-open circuit fail until it is open again."""
        return max(math.ceil(min(self.usual, self.settings.failures) - 0.5), 1)

    def _succeeded(self, sent: float) -> None:
        more = len(self.row) + self.failed_probes + 1 - self.usual
        self.usual += more / (2 if more > 0.0 else 16)
        self.row.clear()
        self.answered = max(self.answered, sent)
        if self.state == "half-open":
            self._enter("closed")
            self._start_slowly()
        elif self.successes is not None:
            self.successes += 1
            if self.successes >= SLOW_START:
                self.successes = None
                self.openings = 0

    def _start_slowly(self) -> None:
        self.easing = False
        self.base = self.running + self.settings.probes
        self.successes = 0

    def _open(self, until: float) -> None:
        self._enter("open")
        self.open_until = until

    def _enter(self, state: str) -> None:
        self.state = state
        self.generation += 1
        self.running = 0
        self.row.clear()
        self.failed_probes = 0
        self.probes.clear()


def _open_for(settings: BreakerSettings, openings: int) -> float:
    """Return for how long a circuit opens that has been open *openings* times."""
    doubled: float = settings.first_open_seconds * 2.0 ** min(openings, MOST_DOUBLED)
    return min(doubled, settings.open_seconds)


def circuits_obey(history: History) -> Iterator[Violation]:
    """
    Rules 24 to 29: legal transitions, so many probes, each in its generation.

    The events that the broker tells of are those changes and no others.
    """
    models = {name: _Model(one.breaker) for name, one in history.providers.items()}
    told = dict.fromkeys(history.providers, "closed")
    for line in history.among(Admitted, Judged, Eased, Circuit):
        if isinstance(line, Eased):
            models[line.provider].easing = line.begins
        elif isinstance(line, Admitted):
            broken = models[line.provider].admitted(line)
            if broken is not None:
                rule, what = broken
                yield Violation(rule, line.time, f"{line.provider}: {what}")
        elif isinstance(line, Judged):
            models[line.provider].judged(line)
        elif isinstance(line, Circuit):
            model = models[line.provider]
            step = (line.old, line.new)
            if step not in LEGAL or line.old != told[line.provider]:
                yield Violation(24, line.time, f"{line.provider}: {step} is not legal")
            elif line.new != model.state:
                yield Violation(
                    24, line.time, f"{line.provider}: {step} while {model.state}"
                )
            told[line.provider] = line.new


LEGAL = {
    ("closed", "open"),
    ("open", "half-open"),
    ("half-open", "closed"),
    ("half-open", "open"),
}


def verdicts_are_right(history: History) -> Iterator[Violation]:
    """Rule 27: what says nothing about a provider's health does not count."""
    ended: dict[str, Outcome] = {}
    for line in history.among(Ended, Judged):
        if isinstance(line, Ended):
            ended[line.provider] = line.outcome
        elif isinstance(line, Judged):
            outcome = ended.pop(line.provider, None)
            allowed = {Verdict.IGNORED}
            if outcome is Outcome.CANCELLED:
                # By its caller, or by a time limit.
                allowed = {Verdict.IGNORED, Verdict.FAILURE}
            elif outcome is not None:
                allowed = {POLICIES[outcome].verdict}
            if line.verdict not in allowed:
                yield Violation(
                    27,
                    line.time,
                    f"{line.provider}: {outcome} was judged {line.verdict.value}",
                )


def failing_providers_are_spared(history: History) -> Iterator[Violation]:
    """
    Rule 30: few calls reach a provider that always fails.

    From the opening of a circuit to its closing, at most its probes each time that it
    is open, and of one that used to answer one call in n so many: briefly at first, and
    twice as long each time, up to `open_seconds`.
    """
    opened: dict[str, float] = {}
    failed: dict[str, int] = {}
    models = {name: _Model(one.breaker) for name, one in history.providers.items()}
    for line in history.among(Admitted, Judged, Eased, Circuit):
        if isinstance(line, Admitted):
            models[line.provider].admitted(line)
        elif isinstance(line, Judged):
            models[line.provider].judged(line)
        if isinstance(line, Circuit):
            if line.new == "closed":
                opened.pop(line.provider, None)
            elif line.provider not in opened:
                opened[line.provider] = line.time
                failed[line.provider] = 0
        elif (
            isinstance(line, Judged)
            and line.ticket
            and line.verdict in (Verdict.FAILURE, Verdict.DEAD)
            and line.provider in opened
        ):
            failed[line.provider] += 1
            breaker = history.providers[line.provider].breaker
            seconds = line.time - opened[line.provider]
            # A probe that was given up may fail yet, after another was let through.
            rounds = _openings(breaker, seconds) + seconds / breaker.probe_seconds
            rounds += seconds / breaker.dead_seconds
            each = breaker.probes - 1 + models[line.provider].probes_to_fail
            most = each * (1.0 + rounds)
            if failed[line.provider] > most:
                yield Violation(
                    30,
                    line.time,
                    f"{failed[line.provider]} failures at {line.provider} in "
                    f"{seconds} s, of {most}",
                )


def _openings(settings: BreakerSettings, seconds: float) -> float:
    """Return how often a circuit can have opened in *seconds*, one after another."""
    count = 0
    while (each := _open_for(settings, count)) < settings.open_seconds:
        seconds -= each
        if seconds < 0.0:
            return count
        count += 1
    return count + seconds / each


def circuits_refuse_at_once(history: History) -> Iterator[Violation]:
    """
    Rule 31: who finds all circuits open is told at once, and when to come back.

    At once is when it comes, when a circuit changes, or when a pause moves it on. Who
    waits is told so only where its deadline comes before any circuit is half-open.
    """
    submitted = {line.id: line for line in history.of(Submitted)}
    changed = -math.inf
    for line in history.among(Circuit, Paused, Finished):
        if isinstance(line, Circuit | Paused):
            changed = line.time
        elif isinstance(line, Finished) and line.error == "CircuitOpenError":
            request = submitted.get(line.id)
            if line.retry_after is None or not 0.0 <= line.retry_after < math.inf:
                yield Violation(
                    31, line.time, f"request {line.id}: again in {line.retry_after} s"
                )
            if request is None or line.attempts or request.how == "nowait":
                continue
            if request.persistent:
                again = line.time + (line.retry_after or 0.0)
                wrong = again < request.deadline - ROUNDING
            else:
                # Who asks what others ask may have waited for the answer of another.
                at_once = line.time in (request.time, changed)
                wrong = not at_once and request.question is None
            if wrong:
                what = f"request {line.id} came at {request.time}, {request.deadline=}"
                yield Violation(31, line.time, what)


ROUNDING = 1e-6
