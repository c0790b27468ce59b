"""
An examination: one seed is run and judged, and what is wrong made small enough to read.
"""

from collections import Counter
from dataclasses import dataclass, field

from aitor.outcomes import Outcome
from aitor.testing.simulator.checkers import RULES, Violation, check
from aitor.testing.simulator.generate import make_script
from aitor.testing.simulator.history import Finished, History, Phased, Sent, Struck
from aitor.testing.simulator.script import UNSTRUCK, Script
from aitor.testing.simulator.shrink import shrink
from aitor.testing.simulator.watchdog import RunawayError
from aitor.testing.simulator.world import run

__all__ = ("Examination", "Findings")

MOST_SHOWN = 8

TWICE = 50
"""Of so many seeds one is run twice: rule 38."""


@dataclass(frozen=True, slots=True)
class Findings:
    """
    What one seed, or many, came to.

    Args:
        seeds: How many.
        lifecycles: Requests, each from its submit to its outcome.
        attempts: Calls on the wire.
        cancelled: Requests whose caller left.
        faults: How often each kind of fault struck: calls, and for those that strike
            no call, times.
        broken: Seeds with violations, and the rules they broke.
        report: What a person has to know about these.
    """

    seeds: int = 0
    lifecycles: int = 0
    attempts: int = 0
    cancelled: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    broken: dict[int, tuple[int, ...]] = field(default_factory=dict)
    report: str = ""

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.seeds + other.seeds,
            self.lifecycles + other.lifecycles,
            self.attempts + other.attempts,
            self.cancelled + other.cancelled,
            self.faults + other.faults,
            self.broken | other.broken,
        )


@dataclass(frozen=True, slots=True)
class Examination:
    """
    How seeds are examined.

    Args:
        requests: In each run; None for as many as the seed says.
        backend: `trio` or `asyncio`.
        without: Kinds of faults to leave out.
        shrinking: Runs to spend on a smaller script.
    """

    requests: int | None = None
    backend: str = "trio"
    without: tuple[str, ...] = ()
    shrinking: int = 300

    def __call__(self, seed: int) -> Findings:
        """Run *seed* and judge it."""
        script = make_script(seed, self.requests, without=self.without)
        history, violations = self._run(script)
        if history is None:
            history = History({}, {}, {})
        elif not violations and seed % TWICE == 0 and self.backend == "trio":
            violations = _repeat(script, history)
        rules = tuple(sorted({violation.rule for violation in violations}))
        return Findings(
            1,
            sum(1 for _ in history.of(Finished)),
            sum(1 for _ in history.of(Sent)),
            sum(line.outcome is Outcome.CANCELLED for line in history.of(Finished)),
            _faults(script, history),
            {seed: rules} if rules else {},
            self._report(script, history, violations) if rules else "",
        )

    def _run(self, script: Script) -> tuple[History | None, list[Violation]]:
        try:
            history = run(script, self.backend)
        except RunawayError as error:
            return None, [Violation(23, 0.0, str(error))]
        return history, check(history)

    def _report(
        self, script: Script, history: History, violations: list[Violation]
    ) -> str:
        lines = [f"seed {script.seed} broke rules:"]
        lines += [f"  {violation}" for violation in violations[:MOST_SHOWN]]
        rule = violations[0].rule
        # Shrinking is done on trio, where a run can be repeated.
        if self.shrinking and rule != REPEATS and self.backend == "trio":
            script = shrink(script, rule, runs=self.shrinking)
            lines += [f"the smallest script for rule {rule}, {RULES[rule]}:"]
            lines += [str(script)]
            smaller, violations = self._run(script)
            lines += [f"  {violation}" for violation in violations[:MOST_SHOWN]]
            history = smaller or history
        lines += ["the last of its history:", history.last()]
        return "\n".join(lines)


REPEATS = 38


def _repeat(script: Script, history: History) -> list[Violation]:
    again = run(script)
    if again.digest() == history.digest():
        return []
    pairs = zip(history.lines, again.lines, strict=False)
    time = next((one.time for one, other in pairs if one != other), 0.0)
    return [Violation(REPEATS, time, "the same seed gave another history")]


def _faults(script: Script, history: History) -> Counter[str]:
    faults = Counter(line.kind for line in history.of(Struck))
    faults.update(
        line.kind
        for line in history.of(Phased)
        if line.begins and line.kind in UNSTRUCK
    )
    faults.update(["close"] if script.closing is not None else [])
    return faults
