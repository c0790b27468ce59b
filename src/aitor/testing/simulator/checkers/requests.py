"""
Checkers of what callers see: outcomes, deadlines, attempts, and the end.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from aitor.broker.policy import POLICIES, Step
from aitor.outcomes import Outcome
from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.history import (
    Circuit,
    Closed,
    Closing,
    Ended,
    Final,
    Finished,
    History,
    Leapt,
    Paused,
    Sent,
    Stuck,
    Submitted,
)

__all__ = (
    "attempts_are_told",
    "circuits_refuse_at_once",
    "crashes_stay_alone",
    "deadlines_hold",
    "everything_is_given_back",
    "nobody_holds_after_leaving",
    "one_outcome_each",
    "only_known_errors",
    "recovery",
    "refusals_are_at_once",
    "retries_are_paid",
    "tries_are_bounded",
)

CLOSE_SLACK = 5.001
"""Seconds that closing may take after the drain timeout."""


def one_outcome_each(history: History) -> Iterator[Violation]:
    """Rule 1: every request has exactly one outcome, and it is its own answer."""
    open_: dict[int, float] = {}
    seen: set[int] = set()
    for line in history.among(Submitted, Finished, Stuck):
        if isinstance(line, Submitted):
            if line.id in seen:
                yield Violation(1, line.time, f"request {line.id} was submitted twice")
            seen.add(line.id)
            open_[line.id] = line.time
        elif isinstance(line, Finished):
            if open_.pop(line.id, None) is None:
                yield Violation(
                    1, line.time, f"request {line.id} has an outcome too many"
                )
            if line.text is not None and line.text != str(line.id):
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


def only_known_errors(history: History) -> Iterator[Violation]:
    """Rule 6: callers get the library's own exceptions only."""
    for line in history.of(Finished):
        if line.outcome is None:
            yield Violation(6, line.time, f"request {line.id} raised {line.error}")


def crashes_stay_alone(history: History) -> Iterator[Violation]:
    """Rule 8: a crash fails no other request."""
    crashed: set[int] = set()
    for line in history.among(Ended, Finished):
        if isinstance(line, Ended) and line.outcome is Outcome.CRASH:
            crashed.add(line.id)
        elif (
            isinstance(line, Finished)
            and line.outcome is Outcome.CRASH
            and line.id not in crashed
        ):
            yield Violation(8, line.time, f"request {line.id} never crashed")


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


def circuits_refuse_at_once(history: History) -> Iterator[Violation]:
    """
    Rule 31: who finds all circuits open is told at once, and when to come back.

    At once is when it comes, when a circuit changes, or when a pause moves it on.
    """
    submitted: dict[int, Submitted] = {}
    changed = -math.inf
    for line in history.among(Submitted, Circuit, Paused, Finished):
        if isinstance(line, Submitted):
            submitted[line.id] = line
        elif isinstance(line, Circuit | Paused):
            changed = line.time
        elif isinstance(line, Finished) and line.error == "CircuitOpenError":
            request = submitted.get(line.id)
            if line.retry_after is None or not 0.0 <= line.retry_after < math.inf:
                yield Violation(
                    31, line.time, f"request {line.id}: again in {line.retry_after} s"
                )
            if request is None or line.attempts or request.how == "nowait":
                continue
            if request.patient:
                yield Violation(31, line.time, f"request {line.id} was patient")
            elif line.time not in (request.time, changed):
                yield Violation(
                    31,
                    line.time,
                    f"request {line.id} waited {line.time - request.time} s",
                )


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


def tries_are_bounded(history: History) -> Iterator[Violation]:
    """
    Rules 33 and 34: nobody is asked too often, and nothing hopeless is repeated.

    `max_retries` of the provider bounds a request's tries there, but for those that
    wait as often as a server asks. A parameter that is left out is no retry.
    """
    patient: set[int] = set()
    failed: dict[tuple[int, str], int] = defaultdict(int)
    hopeless: set[tuple[int, str]] = set()
    for line in history.among(Submitted, Sent, Ended):
        if isinstance(line, Submitted) and line.patient:
            patient.add(line.id)
        elif isinstance(line, Sent):
            key = (line.id, line.provider)
            if key in hopeless:
                yield Violation(34, line.time, f"{key} was hopeless, and sent again")
            if failed[key] > history.providers[line.provider].max_retries:
                yield Violation(33, line.time, f"{key} was tried too often")
        elif isinstance(line, Ended):
            key = (line.id, line.provider)
            if _to_be_retried(line):
                limited = line.outcome is Outcome.RATE_LIMITED
                failed[key] += not (limited and line.id in patient)
            elif POLICIES[line.outcome].step is not Step.AGAIN:
                hopeless.add(key)


def retries_are_paid(history: History) -> Iterator[Violation]:
    """
    Rule 33: all requests together retry no more than the retry budget allows.

    What a server asked to wait for is not paid, nor is moving on to another provider.
    """
    owing: set[tuple[int, str]] = set()
    paid, balance = 0, INITIAL
    since: float | None = None
    for line in history.among(Submitted, Sent, Ended):
        if isinstance(line, Submitted):
            since = line.time if since is None else since
            balance += history.retry_ratio
        elif isinstance(line, Sent) and (line.id, line.provider) in owing:
            owing.discard((line.id, line.provider))
            paid += 1
            allowed = balance + (line.time - (since or 0.0)) * PER_SECOND
            if paid > allowed + ROUNDING:
                what = f"{paid} retries of {allowed:.1f} allowed"
                yield Violation(33, line.time, what)
        elif (
            isinstance(line, Ended)
            and _to_be_retried(line)
            and line.outcome is not Outcome.RATE_LIMITED
        ):
            owing.add((line.id, line.provider))


INITIAL, PER_SECOND = 10.0, 0.5
"""What the retry budget begins with, and what time adds to it."""

ROUNDING = 1e-6


def _to_be_retried(line: Ended) -> bool:
    # What looks cancelled to the provider may have been ended by a time limit.
    retry = POLICIES[line.outcome].step is Step.RETRY
    return retry or line.outcome is Outcome.CANCELLED


def attempts_are_told(history: History) -> Iterator[Violation]:
    """Rule 36: reply and error name every attempt, in its order."""
    sent: dict[int, list[tuple[str, Outcome]]] = defaultdict(list)
    for line in history.among(Ended, Finished):
        if isinstance(line, Ended):
            sent[line.id].append((line.provider, line.outcome))
        elif isinstance(line, Finished):
            real = sent.pop(line.id, [])
            if line.outcome in (None, Outcome.CANCELLED):
                continue
            if len(real) != len(line.attempts) or not all(
                told == seen or (told[0] == seen[0] and seen[1] is Outcome.CANCELLED)
                for told, seen in zip(line.attempts, real, strict=True)
            ):
                yield Violation(
                    36, line.time, f"request {line.id}: {line.attempts} for {real}"
                )
