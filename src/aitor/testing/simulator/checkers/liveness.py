"""
Checkers of liveness: answers whenever they can be had.

The others say what must never happen; these say what has to go on.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from aitor.outcomes import Outcome
from aitor.providers.settings import BreakerSettings
from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.checkers.retries import Tries
from aitor.testing.simulator.history import (
    Admitted,
    Circuit,
    Closing,
    Ended,
    Finished,
    History,
    Idle,
    Judged,
    Phased,
    Replaced,
    Sent,
    Submitted,
    name_of,
)

__all__ = (
    "goodput_keeps_up",
    "nobody_fails_in_vain",
    "nobody_waits_in_vain",
    "the_rate_comes_back",
)


def nobody_fails_in_vain(history: History) -> Iterator[Violation]:
    """
    Rule 51: who has time for a further attempt does not fail while one could succeed.

    That is where a provider that it may still ask has answered somebody in the last
    seconds and lets calls through.
    """
    world = _World(history)
    kinds = (Submitted, Replaced, Ended, Judged, Circuit, Sent, Closing, Finished)
    for line in history.among(*kinds):
        if isinstance(line, Closing):
            return
        if isinstance(line, Finished):
            could = world.could_answer(line)
            if could:
                left = world.requests[line.id].deadline - line.time
                what = f"request {line.id} failed with {line.outcome} ({line.error})"
                what = f"{what}, {left} s before its deadline, while {could} answered"
                yield Violation(51, line.time, what)
        else:
            world.learn(line)


class _World:
    """What is known of providers and requests."""

    def __init__(self, history: History) -> None:
        self.requests: dict[int, Submitted] = {}
        self._may_ask: dict[int, list[str]] = {}
        self._named = {name_of(one): one for one in reversed(history.providers)}
        self._answered: dict[str, float] = defaultdict(lambda: -math.inf)
        self._closed = dict.fromkeys(history.providers, True)
        self._not_before: dict[tuple[int, str], float] = {}
        self._tries = Tries(history)
        self._settings = history.providers

    def learn(self, line: object) -> None:
        """Take account of *line*."""
        if isinstance(line, Submitted):
            self.requests[line.id] = line
            names = line.sequence if line.only is None else (line.only,)
            self._may_ask[line.id] = [self._named[one] for one in names or self._named]
            self._tries.requests[line.id] = line
        elif isinstance(line, Replaced):
            self._named[name_of(line.provider)] = line.provider
        elif isinstance(line, Circuit):
            self._closed[line.provider] = line.new == "closed"
        elif isinstance(line, Judged):
            self._tries.judged(line)
        elif isinstance(line, Ended):
            self._ended(line)

    def _ended(self, line: Ended) -> None:
        self._tries.last[line.provider] = line
        if line.outcome is Outcome.ANSWER:
            self._answered[line.provider] = line.time
        wait = line.retry_after
        if wait is not None and wait > 0.0:
            most = self._settings[line.provider].max_retry_after
            self._not_before[line.id, line.provider] = line.time + min(wait, most)

    def could_answer(self, line: Finished) -> list[str]:
        """Return who could still have answered a request that failed."""
        request = self.requests.get(line.id)
        if line.outcome not in FAILED and line.error != "CircuitOpenError":
            return []
        if request is None or not request.persistent or request.question is not None:
            return []
        return [
            one
            for one in self._may_ask.pop(line.id)
            if self._closed[one]
            and line.time - self._answered[one] <= LATELY
            and (line.id, one) not in self._tries.hopeless | self._tries.exhausted
            and max(line.time, self._not_before.get((line.id, one), line.time)) + ENOUGH
            < request.deadline
        ]


FAILED = frozenset(
    {
        Outcome.SERVER,
        Outcome.CONNECTION,
        Outcome.TIMEOUT,
        Outcome.TRUNCATED,
        Outcome.MALFORMED,
        Outcome.RATE_LIMITED,
    }
)
"""Outcomes after which a further attempt may succeed."""

LATELY, ENOUGH = 1.0, 5.0
"""Seconds since an answer, and that are time for a further attempt."""


def nobody_waits_in_vain(history: History) -> Iterator[Violation]:
    """
    Rule 52: nobody waits while a provider that would take the call is idle.

    That is where it was seen idle twice, started nothing in between, and a call ended
    at either: whom time alone lets start elsewhere moves at the next such event.
    """
    seen: dict[str, dict[int, float]] = defaultdict(dict)
    ended: dict[str, float] = defaultdict(lambda: -math.inf)
    for line in history.among(Idle, Admitted, Judged):
        if isinstance(line, Admitted):
            seen[line.provider].clear()
        elif isinstance(line, Judged):
            ended[line.provider] = line.time
        elif isinstance(line, Idle):
            first = seen[line.provider].setdefault(line.number, line.time)
            event = max(ended[line.provider], ended[line.elsewhere])
            if first < event < line.time:
                what = f"call {line.number} waits at {line.elsewhere} for "
                what += f"{line.time - first} s, while {line.provider} is idle"
                yield Violation(52, line.time, what)


def goodput_keeps_up(history: History) -> Iterator[Violation]:
    """
    Rule 53: in any ten seconds, and in all, at least 0.9 of a plain client's answers.

    What a Poisson process of the plain client's mean falls short of 0.9 of that mean by
    four standard deviations is no violation: where counts are small, chance decides.
    Ten seconds that a total outage touches, or its end, are left out.
    """
    if history.plain is None:
        return
    ours = [line.time for line in history.of(Finished) if _answered(line)]
    outages = [(begin, end + until) for begin, end, until in _outages(history)]
    total, plain = 0, 0
    for second in range(math.floor(history.calm - WINDOW) + 1):
        begin, end = float(second), second + WINDOW
        if any(begin < until and since < end for since, until in outages):
            continue
        count, theirs = _between(ours, begin, end), _between(history.plain, begin, end)
        total += count
        plain += theirs
        if _falls_short(count, theirs):
            what = f"{count} answers in {WINDOW:.0f} s, and a plain client has {theirs}"
            yield Violation(53, begin, what)
    if _falls_short(total / WINDOW, plain / WINDOW):
        what = f"{total / WINDOW} answers in all, a plain client {plain / WINDOW}"
        yield Violation(53, history.calm, what)


def the_rate_comes_back(history: History) -> Iterator[Violation]:
    """
    Rule 54: after an outage the former rate is back within the open time.

    In ten seconds from then on, and some for the slow start, as many are answered as
    come, less a tenth and four standard deviations.
    """
    came = [line.time for line in history.of(Submitted)]
    ours = [line.time for line in history.of(Finished) if _answered(line)]
    phases = [line.time for line in history.of(Phased) if line.begins]
    for _, over, until in _outages(history):
        begin = over + until
        end = begin + WINDOW
        following = min((one for one in phases if one >= over), default=math.inf)
        if end > min(following, history.calm):
            continue
        count, wanted = _between(ours, begin, end), _between(came, begin, end)
        if _falls_short(count, wanted):
            what = f"{count} answers in {WINDOW:.0f} s after an outage, of {wanted}"
            yield Violation(54, begin, what)


WINDOW, PART, DEVIATIONS = 10.0, 0.9, 4.0

SLOW_START = 5.0
"""Seconds that a slow start takes where a call takes half a second."""


def _outages(history: History) -> Iterator[tuple[float, float, float]]:
    """Yield when everybody was dead, when not any more, and how long to allow then."""
    if history.plain is None:
        return
    begun = 0.0
    for line in history.of(Phased):
        if line.kind != "all_dead":
            continue
        if line.begins:
            begun = line.time
        else:
            allowed = max(
                min(
                    one.breaker.open_seconds, _last_open(one.breaker, line.time - begun)
                )
                for one in history.providers.values()
            )
            yield begun, line.time, allowed + SLOW_START


def _last_open(breaker: BreakerSettings, seconds: float) -> float:
    """Return for how long a circuit is open at the end of so many seconds, at most."""
    # Each time is twice the one before, so the last is no longer than all before it.
    first: float = breaker.first_open_seconds
    return seconds + first


def _answered(line: Finished) -> bool:
    return line.outcome is Outcome.ANSWER


def _between(times: Sequence[float], begin: float, end: float) -> int:
    return bisect_left(times, end) - bisect_left(times, begin)


def _falls_short(count: float, other: float) -> bool:
    return count < PART * other - DEVIATIONS * math.sqrt(other)
