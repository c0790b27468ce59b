"""
A limit against a list of what was started: bucket, reservations, holds, and turns.

The model looks at every start anew each time. So it says exactly when the next may
start, but for starts that the bucket takes together: 60 ms of a minute at most.
"""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aitor.broker.limit import Limit
from aitor.laws.bucket import Cost, Reservation
from aitor.providers.settings import LimitSettings

REQUESTS, TOKENS, SHARE = 6.0, 600.0, 0.2
"""In a minute, and the share of it that is kept for later."""

MINUTE, TOGETHER, ROUNDING = 60.001, 0.061, 1e-6


@dataclass
class Started:
    """A start, with what it has used as far as is known."""

    time: float
    requests: float
    tokens: float


@dataclass
class Pace:
    """What there was at the last start, and what came back since."""

    limit: float
    level: float = 0.0
    since: float = -math.inf
    returned: float = 0.0

    def ready_at(self, amount: float) -> float:
        missing = min(amount, self.limit) - self.level - self.returned
        return self.since + max(missing, 0.0) * MINUTE / self.limit

    def take(self, amount: float, now: float) -> None:
        amount = min(amount, self.limit)
        most = max(self.limit * SHARE, 1.0, amount, self.level)
        came = (now - self.since) * self.limit / MINUTE
        self.level = min(self.level + came, most) + self.returned - amount
        self.since, self.returned = now, 0.0

    def change(self, difference: float) -> None:
        self.returned += max(-difference, 0.0)
        if difference > 0.0:
            self.level = max(self.level - difference, -self.limit)


class Bucket(RuleBasedStateMachine):
    """Six requests and 600 tokens a minute."""

    def __init__(self) -> None:
        super().__init__()
        limit = LimitSettings(
            requests_per_minute=REQUESTS, tokens_per_minute=TOKENS, burst=SHARE
        )
        self.bucket = Limit("limit", limit).bucket
        self.now = 0.0
        self.held = 0.0
        self.starts: list[Started] = []
        self.open: list[tuple[Reservation, Started]] = []
        self.requests, self.tokens = Pace(REQUESTS), Pace(TOKENS)

    def room_at(self, cost: Cost) -> float:
        """When the minute before has room, by trying every end of a start's minute."""
        times = [-math.inf, *sorted(one.time + MINUTE for one in self.starts)]
        for time in times:
            recent = [one for one in self.starts if one.time + MINUTE > time]
            requests = sum(one.requests for one in recent) + 1
            tokens = sum(one.tokens for one in recent) + min(cost.input_tokens, TOKENS)
            if requests <= REQUESTS and tokens <= TOKENS + ROUNDING:
                return time
        return times[-1]

    def ready_at(self, cost: Cost) -> float:
        paces = (self.requests.ready_at(1), self.tokens.ready_at(cost.input_tokens))
        return max(self.now, self.held, self.room_at(cost), *paces)

    @rule(seconds=st.sampled_from([0.0, 0.5, 9.0, 31.0, 100.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    @rule(tokens=st.sampled_from([0, 1, 50, 150, 400, 600, 2_000]))
    def start(self, tokens: int) -> None:
        cost = Cost(1, tokens, 0)
        ready, expected = self.bucket.ready_at(cost, self.now), self.ready_at(cost)
        assert expected - ROUNDING <= ready <= expected + TOGETHER
        if ready > self.now:
            with pytest.raises(ValueError, match="not ready"):
                self.bucket.take(cost, math.nextafter(ready, self.now))
        self.now = ready
        started = Started(self.now, 1, tokens)
        self.open.append((self.bucket.take(cost, self.now), started))
        self.starts.append(started)
        self.requests.take(1, self.now)
        self.tokens.take(tokens, self.now)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.5, 1.0, 3.0, 1e4]))
    def settle(self, data: st.DataObject, share: float) -> None:
        reservation, started = self.open.pop(
            data.draw(st.integers(0, len(self.open) - 1))
        )
        used = Cost(1, started.tokens * share, 0)
        self.bucket.settle(reservation, used, self.now)
        # Either counts as the limit at most.
        self.tokens.change(min(used.input_tokens, TOKENS) - min(started.tokens, TOKENS))
        started.tokens = used.input_tokens

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        reservation, started = self.open.pop(
            data.draw(st.integers(0, len(self.open) - 1))
        )
        self.bucket.cancel(reservation, self.now)
        self.requests.change(-1)
        self.tokens.change(-min(started.tokens, TOKENS))
        started.requests = started.tokens = 0.0
        with pytest.raises(ValueError, match="not open"):
            self.bucket.cancel(reservation, self.now)

    @rule(seconds=st.sampled_from([1.0, 45.0]))
    def hold(self, seconds: float) -> None:
        self.held = max(self.held, self.now + seconds)
        self.bucket.hold_until(self.now + seconds)

    @invariant()
    def what_is_reserved_is_what_is_open(self) -> None:
        tokens = sum(started.tokens for _, started in self.open)
        assert self.bucket.reserved == (len(self.open), tokens, 0)


TestABucketAgainstTheModel = Bucket.TestCase
TestABucketAgainstTheModel.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)


@dataclass(eq=False)
class Sharer:
    """Counts how often it was told to look again."""

    looked: list[float] = field(default_factory=list)

    def look_again(self, now: float) -> None:
        self.looked.append(now)


class Turns(RuleBasedStateMachine):
    """Three sharers, whose line is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = Limit("shared")
        self.sharers = [Sharer() for _ in range(3)]
        for sharer in self.sharers:
            self.limit.join(sharer)
        self.line: list[Sharer] = []
        self.now = 0.0

    def looks(self) -> list[int]:
        return [len(sharer.looked) for sharer in self.sharers]

    @rule(which=st.integers(0, 2))
    def stand(self, which: int) -> None:
        sharer = self.sharers[which]
        self.limit.stand_in_line(sharer)
        if sharer not in self.line:
            self.line.append(sharer)

    @rule(which=st.integers(0, 2))
    def leave(self, which: int) -> None:
        sharer = self.sharers[which]
        self.now += 1.0
        self.limit.leave_line(sharer, self.now)
        if sharer in self.line:
            self.line.remove(sharer)
            # The next one is told, for it may have waited for nothing but its turn.
            assert not self.line or self.line[0].looked[-1:] == [self.now]

    @rule()
    def give_back(self) -> None:
        before = self.looks()
        self.limit.look_again(self.now)
        assert self.looks() == [count + 1 for count in before]

    @invariant()
    def it_is_the_turn_of_the_first(self) -> None:
        for sharer in self.sharers:
            first = not self.line or self.line[0] is sharer
            assert self.limit.turn_of(sharer) == first


TestTurnsAgainstTheModel = Turns.TestCase
TestTurnsAgainstTheModel.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None
)
