"""
Checkers of what callers see: outcomes, deadlines, attempts, and the end.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from aitor.outcomes import Outcome
from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.history import (
    Closed,
    Closing,
    Ended,
    Final,
    Finished,
    History,
    Leapt,
    Rest,
    Sent,
    Struck,
    Stuck,
    Submitted,
    name_of,
)

__all__ = (
    "attempts_are_told",
    "crashes_stay_alone",
    "deadlines_hold",
    "everything_is_given_back",
    "nobody_holds_after_leaving",
    "nothing_is_held_at_rest",
    "one_outcome_each",
    "only_known_errors",
    "recovery",
    "refusals_are_at_once",
    "waiting_ends",
)

CLOSE_SLACK = 5.001
"""Seconds that closing may take after the drain timeout."""


def one_outcome_each(history: History) -> Iterator[Violation]:
    """Rule 1: every request has exactly one outcome, and it is its own answer."""
    open_: dict[int, float] = {}
    answers: dict[int, str] = {}
    for line in history.among(Submitted, Finished, Stuck):
        if isinstance(line, Submitted):
            if line.id in answers:
                yield Violation(1, line.time, f"request {line.id} was submitted twice")
            own = line.question is None
            answers[line.id] = str(line.id) if own else f"q{line.question}"
            open_[line.id] = line.time
        elif isinstance(line, Finished):
            if open_.pop(line.id, None) is None:
                yield Violation(
                    1, line.time, f"request {line.id} has an outcome too many"
                )
            if line.text is not None and line.text != answers.get(line.id):
                yield Violation(
                    1, line.time, f"request {line.id} got the answer of {line.text}"
                )
        elif isinstance(line, Stuck):
            yield Violation(
                1, line.time, f"nothing moves, and {sorted(open_)[:10]} are open"
            )
    for number, time in open_.items():
        yield Violation(1, time, f"request {number} has no outcome")


def refusals_are_at_once(history: History) -> Iterator[Violation]:
    """Rule 2: what is refused is refused at once, and nothing of it is sent."""
    submitted: dict[int, float] = {}
    sent: set[int] = set()
    for line in history.among(Submitted, Sent, Finished):
        if isinstance(line, Submitted):
            submitted[line.id] = line.time
        elif isinstance(line, Sent):
            sent.add(line.id)
        elif isinstance(line, Finished) and line.refused:
            if line.time != submitted.get(line.id, line.time):
                yield Violation(2, line.time, f"request {line.id} was refused late")
            if line.id in sent:
                yield Violation(
                    2, line.time, f"request {line.id} was sent, yet refused"
                )


def deadlines_hold(history: History) -> Iterator[Violation]:
    """
    Rules 3 and 11: no outcome after the deadline, and no send at it or after.

    Of what came due while the clock leapt, the outcome comes when it has landed.
    """
    deadlines: dict[int, float] = {}
    leapt = Leapt(-math.inf, -math.inf)
    for line in history.among(Submitted, Finished, Sent, Leapt):
        if isinstance(line, Submitted):
            deadlines[line.id] = line.deadline
        elif isinstance(line, Finished):
            deadline = deadlines.get(line.id, math.inf)
            late = line.time - deadline
            landed = line.time == leapt.time and deadline >= leapt.since
            if late > 0.0 and not landed:
                yield Violation(3, line.time, f"request {line.id} ended {late} s late")
        elif isinstance(line, Sent):
            late = line.time - deadlines.get(line.id, math.inf)
            if late >= 0.0:
                yield Violation(
                    11, line.time, f"request {line.id} was sent {late} s too late"
                )
        elif isinstance(line, Leapt):
            leapt = line


def waiting_ends(history: History) -> Iterator[Violation]:
    """
    Rule 4: who waits when all is well has an outcome before long.

    That is some minutes, and as long as those who wait may take one after another.
    """
    waiting: dict[int, float] = {}
    at_calm: int | None = None
    for line in history.among(Submitted, Finished):
        if line.time > history.calm and at_calm is None:
            at_calm = len(waiting)
        if isinstance(line, Submitted):
            waiting[line.id] = line.time
        elif isinstance(line, Finished):
            since = max(waiting.pop(line.id, line.time), history.calm)
            most = SETTLING + EACH * (at_calm or 0)
            if line.time - since > most:
                what = f"request {line.id} waited {line.time - since} s"
                yield Violation(4, line.time, f"{what} though all was well")


SETTLING, EACH = 600.0, 61.0
"""Seconds that pauses and circuits take, and a request larger than its limit."""


def nothing_is_held_at_rest(history: History) -> Iterator[Violation]:
    """Rule 5: when all have their outcomes, nobody holds anything."""
    for line in history.of(Rest):
        held = {name: value for name, value in line._asdict().items() if value}
        held.pop("time", None)
        if held:
            yield Violation(5, line.time, f"this is held for nobody: {held}")


def only_known_errors(history: History) -> Iterator[Violation]:
    """Rule 6: callers get the library's own exceptions only."""
    for line in history.of(Finished):
        if line.outcome is None:
            yield Violation(6, line.time, f"request {line.id} raised {line.error}")


def crashes_stay_alone(history: History) -> Iterator[Violation]:
    """Rule 8: a crash fails no other request."""
    # Those who asked the same learn what became of it.
    asked: dict[int, int | str] = {}
    crashed: set[int | str | None] = set()
    for line in history.among(Submitted, Ended, Struck, Finished):
        if isinstance(line, Submitted):
            own = line.question is None
            asked[line.id] = line.id if own else f"q{line.question}"
        elif isinstance(line, Finished):
            mine = asked.get(line.id, line.id)
            if line.outcome is Outcome.CRASH and mine not in crashed:
                yield Violation(8, line.time, f"request {line.id} never crashed")
        elif isinstance(line, Ended | Struck) and _crashed(line):
            crashed.add(asked.get(line.id))


def _crashed(line: Ended | Struck) -> bool:
    # A provider's code raised while it answered, or while it only looked.
    if isinstance(line, Ended):
        return line.outcome is Outcome.CRASH
    return line.kind == "blind"


def nobody_holds_after_leaving(history: History) -> Iterator[Violation]:
    """Rule 13: who has an outcome holds no place, no worker and no call."""
    open_ = 0
    for line in history.among(Submitted, Finished):
        if isinstance(line, Submitted):
            open_ += 1
        elif isinstance(line, Finished):
            open_ -= 1
            if line.held > open_:
                yield Violation(
                    13,
                    line.time,
                    f"{line.held} calls are held for {open_} requests, "
                    f"when request {line.id} is over",
                )


def everything_is_given_back(history: History) -> Iterator[Violation]:
    """Rule 15: closing takes no longer than it may, and leaves nothing."""
    begun: Closing | None = None
    closed = False
    leapt = 0.0
    for line in history.among(Closing, Closed, Final, Leapt):
        if isinstance(line, Closing):
            begun = line
            leapt = 0.0
        elif isinstance(line, Leapt):
            leapt += line.time - line.since
        elif isinstance(line, Closed):
            closed = True
            if begun is None:
                yield Violation(15, line.time, "closed, and nobody wanted it")
            elif line.time > begun.time + begun.drain_timeout + CLOSE_SLACK + leapt:
                took = line.time - begun.time
                yield Violation(
                    15, line.time, f"closing took {took} s, of {begun.drain_timeout} s"
                )
        elif isinstance(line, Final):
            left = {name: value for name, value in line._asdict().items() if value}
            left.pop("time", None)
            if left:
                yield Violation(15, line.time, f"this was left: {left}")
    if not closed:
        yield Violation(15, math.inf, "the broker never closed")


def recovery(history: History) -> Iterator[Violation]:
    """Rule 32: when all is well again, every provider answers."""
    wanted: set[int] = set()
    for line in history.among(Submitted, Finished):
        if isinstance(line, Submitted) and line.recovery:
            wanted.add(line.id)
        elif (
            isinstance(line, Finished)
            and line.id in wanted
            and line.outcome is not Outcome.ANSWER
        ):
            yield Violation(
                32, line.time, f"request {line.id} got {line.outcome} ({line.error})"
            )


def attempts_are_told(history: History) -> Iterator[Violation]:
    """Rule 36: reply and error name every attempt, in its order."""
    sent: dict[int, list[tuple[str, Outcome]]] = defaultdict(list)
    shared: set[int] = set()
    for line in history.among(Submitted, Ended, Finished):
        if isinstance(line, Submitted):
            if line.question is not None:
                shared.add(line.id)
        elif isinstance(line, Ended):
            sent[line.id].append((name_of(line.provider), line.outcome))
        elif isinstance(line, Finished):
            real = sent.pop(line.id, [])
            if line.outcome in (None, Outcome.CANCELLED):
                continue
            if not real and line.id in shared:
                continue  # Another asked for it, and its attempts are told.
            if len(real) != len(line.attempts) or not all(
                told == seen or (told[0] == seen[0] and seen[1] is Outcome.CANCELLED)
                for told, seen in zip(line.attempts, real, strict=True)
            ):
                yield Violation(
                    36, line.time, f"request {line.id}: {line.attempts} for {real}"
                )
