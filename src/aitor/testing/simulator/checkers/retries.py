"""
Checkers of retries: how often one request is tried, how often all, and at whose cost.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from aitor.broker.policy import POLICIES, Step
from aitor.laws.breaker import Verdict
from aitor.outcomes import Outcome
from aitor.testing.simulator.checkers.base import Violation
from aitor.testing.simulator.history import (
    Circuit,
    Ended,
    Finished,
    History,
    Judged,
    Replaced,
    Sent,
    Submitted,
    Withdrawn,
    name_of,
)

__all__ = ("Tries", "retries_are_paid", "the_budget_hides_nobody", "tries_are_bounded")


def the_budget_hides_nobody(history: History) -> Iterator[Violation]:
    """
    Rule 7: nobody fails for the retry budget while who is well was not asked.

    Well is whose circuit is closed and whose last verdict was no failure. Who may have
    the error of another, with the same question, is left out.
    """
    named = {name_of(one): one for one in reversed(history.providers)}
    may_ask: dict[int, set[str]] = {}
    wards = _Wards()
    for line in history.among(Submitted, Replaced, Sent, Circuit, Judged, Finished):
        if isinstance(line, Submitted) and line.question is None:
            names = line.sequence if line.only is None else (line.only,)
            may_ask[line.id] = {named[name] for name in names or named}
        elif isinstance(line, Replaced):
            named[name_of(line.provider)] = line.provider
        elif isinstance(line, Sent):
            may_ask.get(line.id, set()).discard(line.provider)
        elif isinstance(line, Circuit | Judged):
            wards.learn(line)
        elif isinstance(line, Finished):
            well = may_ask.pop(line.id, set()) - wards.ill
            if line.unpaid and line.attempts and well:
                what = f"request {line.id} failed, and {sorted(well)} were not asked"
                yield Violation(7, line.time, what)


class _Wards:
    """Who is ill, as far as circuits and verdicts tell."""

    def __init__(self) -> None:
        self.ill: set[str] = set()
        self._generations: dict[str, int] = defaultdict(int)

    def learn(self, line: Circuit | Judged) -> None:
        """Take account of *line*; a verdict from before the last change is none."""
        if isinstance(line, Circuit):
            self._generations[line.provider] += 1
            well: bool | None = None if line.new == "closed" else False
        elif line.generation == self._generations[line.provider]:
            well = WELL.get(line.verdict)
        else:
            well = None
        if well:
            self.ill.discard(line.provider)
        elif well is not None:
            self.ill.add(line.provider)


WELL = {Verdict.SUCCESS: True, Verdict.FAILURE: False, Verdict.DEAD: False}
"""What verdicts say about a provider; those that are left out say nothing."""


def tries_are_bounded(history: History) -> Iterator[Violation]:
    """
    Rules 33 and 34: nobody is asked too often, and nothing hopeless is repeated.

    `max_retries` of the provider bounds a request's tries there, but for one that has
    no deadline and waits, as often as a server asks. Where it is None, three are
    allowed, and more to a request that waits: as many as could fail in a row by chance,
    at the share of others that failed meanwhile. A parameter that is left out is no
    retry.
    """
    tries = Tries(history)
    for line in history.among(Submitted, Sent, Ended, Judged):
        if isinstance(line, Submitted):
            tries.requests[line.id] = line
        elif isinstance(line, Ended):
            tries.last[line.provider] = line
        elif isinstance(line, Judged):
            tries.judged(line)
        elif isinstance(line, Sent):
            key = (line.id, line.provider)
            if key in tries.hopeless:
                yield Violation(34, line.time, f"{key} was hopeless, and sent again")
            if key in tries.exhausted:
                yield Violation(33, line.time, f"{key} was tried too often")


class Tries:
    """Which requests may not be sent again to whom."""

    def __init__(self, history: History) -> None:
        self.requests: dict[int, Submitted] = {}
        self.hopeless: set[tuple[int, str]] = set()
        self.exhausted: set[tuple[int, str]] = set()
        self.last: dict[str, Ended] = {}  # the call that is judged next
        self._settings = history.providers
        self._failed: dict[tuple[int, str], int] = defaultdict(int)
        # By provider: how many were answered, and how many failed; and by request
        # both as they were when it first had failed there.
        self._counts: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self._first: dict[tuple[int, str], tuple[int, int]] = {}

    def judged(self, line: Judged) -> None:
        """Take account of the end of the last call."""
        ended = self.last.pop(line.provider, None)
        if ended is None:
            return
        request = self.requests.get(ended.id)
        limited = ended.outcome is Outcome.RATE_LIMITED
        late = request is not None and ended.time >= request.deadline
        if limited or (line.verdict is not Verdict.IGNORED and not late):
            answered, failed = self._counts[line.provider]
            well = line.verdict is Verdict.SUCCESS
            self._counts[line.provider] = answered + well, failed + (not well)
        key = (ended.id, ended.provider)
        waits = request is not None and request.persistent
        if to_be_retried(ended):
            self._first.setdefault(key, self._counts[line.provider])
            self._failed[key] += not (limited and self._is_endless(key[1], request))
            if self._given_up(key, waits=waits):
                self.exhausted.add(key)
        elif POLICIES[ended.outcome].step is not Step.AGAIN:
            self.hopeless.add(key)

    def _is_endless(self, provider: str, request: Submitted | None) -> bool:
        """Whether the server may ask to wait as often as it likes."""
        if request is None or not request.persistent:
            return False
        bounded = self._settings[provider].max_retries is not None
        return not bounded or request.deadline == math.inf

    def _given_up(self, key: tuple[int, str], *, waits: bool) -> bool:
        count, provider = self._failed[key], key[1]
        most = self._settings[provider].max_retries
        if most is not None or not waits:
            return count > (RETRIES if most is None else most)
        answered, failed = (
            now - then
            for now, then in zip(self._counts[provider], self._first[key], strict=True)
        )
        others = failed - (count - 1)
        share = min(max((others + 1) / (others + answered + 2), 0.1), 0.95)
        return share**count <= BY_CHANCE


RETRIES = 3
"""Those that a request has by default which does not wait."""

BY_CHANCE = 1e-9
"""So unlikely a row of failures is a request's own fault."""


def retries_are_paid(history: History) -> Iterator[Violation]:
    """
    Rule 33: all requests together retry no more than the retry budget allows.

    Each request pays in a part of one, each answer many, and time a little, up to what
    may be saved. What a server asked to wait for is not paid, nor is moving on to
    another provider.
    """
    owing: set[tuple[int, str]] = set()
    paid, balance = 0, INITIAL
    since: float | None = None
    for line in history.among(Submitted, Withdrawn, Sent, Ended):
        if since is not None:
            gained = (line.time - since) * PER_SECOND
            balance = min(balance + max(gained, 0.0), SAVED + SLACK)
        since = line.time if since is None else max(since, line.time)
        if isinstance(line, Submitted):
            balance = min(balance + history.retry_ratio, SAVED + SLACK)
        elif isinstance(line, Withdrawn):
            paid += 1
            balance -= 1.0
            if balance < -ROUNDING:
                what = f"{-balance:.1f} retries more than were allowed"
                yield Violation(33, line.time, what)
        elif isinstance(line, Sent) and (line.id, line.provider) in owing:
            owing.discard((line.id, line.provider))
            paid -= 1
            if paid < 0:
                yield Violation(33, line.time, f"request {line.id} paid for no retry")
        elif isinstance(line, Ended) and line.outcome is Outcome.ANSWER:
            balance = min(balance + PER_ANSWER, SAVED + SLACK)
        elif (
            isinstance(line, Ended)
            and to_be_retried(line)
            and line.outcome is not Outcome.RATE_LIMITED
        ):
            owing.add((line.id, line.provider))


INITIAL, PER_SECOND, PER_ANSWER, SAVED = 10.0, 0.5, 50.0, 100.0
"""What the retry budget begins with, what is added to it, and the most it holds."""

SLACK = 1.0
"""A request may pay in a moment after it came, when there is room for it again."""

ROUNDING = 1e-6


def to_be_retried(line: Ended) -> bool:
    # What looks cancelled to the provider may have been ended by a time limit.
    retry = POLICIES[line.outcome].step is Step.RETRY
    return retry or line.outcome is Outcome.CANCELLED
