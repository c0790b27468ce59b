"""
Checkers of mailboxes and workers: bounds, order, and nobody idle without reason.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.history import (
    Admitted,
    Depth,
    Ended,
    Finished,
    History,
    Judged,
    Sent,
    Settled,
    Startable,
    Submitted,
    Taken,
)

__all__ = (
    "decisions_are_of_the_present",
    "first_come_first_served",
    "mailboxes_are_bounded",
    "nothing_idles",
    "workers_are_bounded",
)


def mailboxes_are_bounded(history: History) -> Iterator[Violation]:
    """Rule 9: no mailbox holds more than its size."""
    for line in history.of(Depth):
        size = history.providers[line.provider].queue_size
        if line.queued > size:
            yield Violation(
                9, line.time, f"{line.queued} wait at {line.provider} of {size}"
            )


def workers_are_bounded(history: History) -> Iterator[Violation]:
    """Rule 10: no provider has more calls on the wire than workers."""
    running: dict[str, int] = defaultdict(int)
    for line in history.among(Sent, Ended):
        if isinstance(line, Sent):
            running[line.provider] += 1
            workers = history.providers[line.provider].workers
            if running[line.provider] > workers:
                yield Violation(
                    10,
                    line.time,
                    f"{running[line.provider]} calls at {line.provider} of {workers}",
                )
        elif isinstance(line, Ended):
            running[line.provider] -= 1


def first_come_first_served(history: History) -> Iterator[Violation]:
    """
    Rule 12: equals of one tenant leave in the order they came.

    Of those that only one provider may answer, which therefore never move, and on
    their first try; those who first wait for the answer of another are left out. What
    leaves at one and the same time has no order.
    """
    arrived: dict[int, tuple[int, Submitted]] = {}
    # By provider, tenant and priority: the latest to come of those that have left
    # before now, and of those that leave now.
    before: dict[tuple[str, str | None, int], tuple[float, int, int]] = {}
    lines = history.among(Submitted, Finished, Sent)
    for number, line in enumerate(lines):
        if isinstance(line, Submitted) and line.only and line.question is None:
            arrived[line.id] = (number, line)
        elif isinstance(line, Finished):
            arrived.pop(line.id, None)
        elif isinstance(line, Sent) and line.id in arrived:
            came, request = arrived.pop(line.id)
            flow = (line.provider, request.tenant, request.priority)
            now, earlier, latest = before.get(flow, (-math.inf, -1, -1))
            if line.time > now:
                now, earlier = line.time, latest
            if came < earlier:
                yield Violation(
                    12, line.time, f"request {line.id} was overtaken at {line.provider}"
                )
            before[flow] = (now, earlier, max(latest, came))


def nothing_idles(history: History) -> Iterator[Violation]:
    """
    Rules 14 and 21: what may start does, at the very time.

    A call that was seen with nothing missing, and is seen so again later, idled.
    """
    seen: dict[tuple[str, int], float] = {}
    for line in history.of(Startable):
        first = seen.setdefault((line.provider, line.number), line.time)
        if line.time > first:
            yield Violation(
                21,
                line.time,
                f"call {line.number} could have started at {line.provider} "
                f"{line.time - first} s ago",
            )


def decisions_are_of_the_present(history: History) -> Iterator[Violation]:
    """Rule 20: circuits and limits decide at the time it is, and at none before."""
    present = -math.inf
    for line in history.lines:
        if isinstance(line, Submitted | Sent | Ended | Finished):
            present = line.time
        elif not isinstance(line, Admitted | Judged | Taken | Settled):
            continue
        elif line.time < present:
            what = f"{type(line).__name__} {present - line.time} s ago"
            yield Violation(20, line.time, what)
