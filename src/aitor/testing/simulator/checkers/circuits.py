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
from aitor.testing.simulator.history import Admitted, Circuit, Ended, History, Judged

__all__ = ("circuits_obey", "failing_providers_are_spared", "verdicts_are_right")

SLOW_START = 64


class _Model:
    """What a breaker has to be like, and what it may do next."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.state = "closed"
        self.generation = 0
        self.failures = 0
        self.successes: int | None = None  # None: no slow start
        self.running = 0
        self.probes: dict[int, float] = {}
        self.open_until = -math.inf

    def admitted(self, line: Admitted) -> tuple[int, str] | None:
        """Take account of *line*, and return the rule it breaks, if it does."""
        if line.ticket == 0:
            if self.state != "closed":
                return 29, f"let a call through while {self.state}"
            self.running += 1
            most = math.inf
            if self.successes is not None:
                most = self.settings.probes + self.successes
            if self.running > most:
                return 25, f"{self.running} calls of {most} in the slow start"
        else:
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
        if line.generation != self.generation:
            return 26, f"generation {line.generation}, not {self.generation}"
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
            self._failed(line.time)
        elif line.verdict is Verdict.SUCCESS:
            self._succeeded()

    def _failed(self, now: float) -> None:
        self.failures += 1
        if self.state == "half-open" or self.failures >= self.settings.failures:
            self._open(now + self.settings.open_seconds)
        elif self.successes is not None:
            self.successes = 0

    def _succeeded(self) -> None:
        self.failures = 0
        if self.state == "half-open":
            self._enter("closed")
            self.successes = 0
        elif self.successes is not None:
            self.successes += 1
            if self.successes >= SLOW_START:
                self.successes = None

    def _open(self, until: float) -> None:
        self._enter("open")
        self.open_until = until

    def _enter(self, state: str) -> None:
        self.state = state
        self.generation += 1
        self.running = 0
        self.probes.clear()


def circuits_obey(history: History) -> Iterator[Violation]:
    """
    Rules 24 to 29: legal transitions, so many probes, each in its generation.

    The events that the broker tells of are those changes and no others.
    """
    models = {name: _Model(one.breaker) for name, one in history.providers.items()}
    told = dict.fromkeys(history.providers, "closed")
    for line in history.among(Admitted, Judged, Circuit):
        if isinstance(line, Admitted):
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

    From the opening of a circuit to its closing, at most its probes in each
    `open_seconds`.
    """
    opened: dict[str, float] = {}
    failed: dict[str, int] = {}
    for line in history.among(Circuit, Judged):
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
            rounds = seconds / breaker.open_seconds + seconds / breaker.probe_seconds
            most = breaker.probes * (1.0 + rounds)
            if failed[line.provider] > most:
                yield Violation(
                    30,
                    line.time,
                    f"{failed[line.provider]} failures at {line.provider} in "
                    f"{seconds} s, of {most}",
                )
