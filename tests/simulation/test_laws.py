"""
What limits and circuits are for, as numbers: in whole worlds, with several actors.

Shared limits, retries, cancelled calls, clocks that leap; whoever calls does not slow
down because the broker does.
"""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from aitor.testing.simulator import History, Phase, Plan, Script, check, run
from aitor.testing.simulator.history import (
    Circuit,
    Finished,
    Leapt,
    Sent,
    Submitted,
    Taken,
)


def plans(random: Random, rate: float, seconds: float, **same: Any) -> tuple[Plan, ...]:
    """Callers at *rate*, of whom one in five leaves early."""
    made: list[Plan] = []
    now = 0.0
    while now < seconds:
        now += random.expovariate(rate)
        leaves = random.expovariate(0.1) if random.random() < 0.2 else None
        made.append(Plan(len(made), now, cancel_after=leaves, **same))
    return tuple(made)


def world(random: Random, limit: dict[str, Any], **settings: Any) -> Script:
    """Make one to three providers, which share a limit or have the same each."""
    names = "abc"[: random.choice((1, 2, 3))]
    shared = random.random() < 0.5
    providers = {
        name: {"limits": "shared" if shared else name, "workers": 64, **settings}
        for name in names
    }
    limits = {str(one["limits"]): limit for one in providers.values()}
    return Script(random.getrandbits(32), providers, limits, ())


# Rate limits.

BEGIN, END = 60.0, 180.0
"""The minutes looked at: the first one has its burst."""

LIMITS: list[tuple[dict[str, Any], float]] = [
    ({"requests_per_minute": 300}, 5.0),
    ({"requests_per_minute": 600, "burst": 0.1}, 10.0),
    ({"tokens_per_minute": 6_000}, 5.0),
    ({"requests_per_minute": 450, "input_tokens_per_minute": 3_000}, 5.0),
]
"""With the requests a second that they let through: each puts in 10 tokens."""


def loaded(seed: int) -> Script:
    """Half as much again as all limits allow, with more patience than there is room."""
    random = Random(seed)
    settings = {
        "latency": random.choice((0.2, 1.0)),
        "queue_size": 100,
        "retry_delay": 0.5,
        "breaker": {"failures": 1_000_000},
    }
    limit, rate = LIMITS[seed % len(LIMITS)]
    made = world(random, limit, **settings)
    rate *= 1.5 * len(made.limits)
    return replace(
        made,
        plans=plans(random, rate, END, when_unavailable="wait", timeout=30.0),
        phases=(
            Phase("errors", 30.0, 90.0, None, 0.2),
            Phase("spikes", 80.0, 120.0, None, 0.3),
            Phase("leap", 140.0, 150.0),
        ),
        calm=END,
    )


def utilisation(history: History, limit: str) -> float:
    """Return the share that was used of what *limit* allowed while the clock ran."""
    settings = history.limits[limit]
    leapt = sum(line.time - line.since for line in history.of(Leapt))
    minutes = (END - BEGIN - leapt) / 60.0
    taken = [
        line
        for line in history.of(Taken)
        if line.limit == limit and BEGIN <= line.time < END
    ]
    shares = {
        settings.requests_per_minute: sum(line.requests for line in taken),
        settings.tokens_per_minute: sum(
            line.input_tokens + line.output_tokens for line in taken
        ),
        settings.input_tokens_per_minute: sum(line.input_tokens for line in taken),
    }
    return max(
        used / (allowed * minutes)
        for allowed, used in shares.items()
        if allowed is not None
    )


@pytest.mark.parametrize("seed", range(4))
def test_sends_stay_within_burst_and_rate_and_use_99_percent_of_it(seed: int) -> None:
    """In every window sends <= burst + rate * window; under load they are >= 99 %."""
    history = run(loaded(seed))
    assert not check(history)
    for limit in history.limits:
        assert utilisation(history, limit) >= 0.99


# A total outage.

DEAD, WELL, OVER = 20.0, 80.0, 110.0


def outage(seed: int, *, waiting: float = 0.7, **settings: Any) -> Script:
    random = Random(seed)
    per_minute = random.choice((300, 900))
    settings = {"latency": random.choice((1.0, 2.0)), "queue_size": 100, **settings}
    made = world(random, {"requests_per_minute": per_minute}, **settings)
    rate = per_minute / 60.0 * len(made.limits) * random.uniform(0.5, 0.9)
    asked = tuple(
        replace(plan, when_unavailable="wait" if random.random() < waiting else "fail")
        for plan in plans(random, rate, OVER)
    )
    dead = Phase("all_dead", DEAD, WELL)
    return replace(made, plans=asked, phases=(dead,), calm=OVER)


def sends_after_reopening(history: History) -> list[tuple[str, int]]:
    """Return, for each circuit that closed, its limit and its next second's sends."""
    return [
        (
            history.limit_of[closed.provider],
            sum(
                closed.time < sent.time <= closed.time + 1.0
                and history.limit_of[sent.provider] == history.limit_of[closed.provider]
                for sent in history.of(Sent)
            ),
        )
        for closed in history.of(Circuit)
        if closed.new == "closed"
    ]


def calls_in_the_outage(history: History) -> int:
    return sum(DEAD <= line.time < WELL for line in history.of(Sent))


def requests_in_the_outage(history: History) -> int:
    """Count those that came in the outage or were open when it began."""
    came = sum(line.time < WELL for line in history.of(Submitted))
    return came - sum(line.time < DEAD for line in history.of(Finished))


@pytest.mark.parametrize("latency", [1.0, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_in_an_outage_a_request_costs_at_most_1_2_calls_and_nobody_stampedes_after_it(
    seed: int, latency: float
) -> None:
    """The second after a circuit closes carries no more than the steady rate."""
    history = run(outage(seed, latency=latency))
    assert not check(history)
    assert calls_in_the_outage(history) <= 1.2 * requests_in_the_outage(history)
    reopened = sends_after_reopening(history)
    assert reopened
    for limit, sends in reopened:
        per_minute = history.limits[limit].requests_per_minute
        assert per_minute is not None
        assert sends <= per_minute / 60.0


@pytest.mark.parametrize("seed", range(2))
def test_without_circuits_the_retry_budget_bounds_the_calls(seed: int) -> None:
    """A fifth of a call for each request, what was saved, and half a one a second."""
    script = outage(seed, waiting=0.0, breaker={"failures": 1_000_000})
    history = run(script)
    assert not check(history)
    # Whoever finds the next provider dead before that is known moves there freely.
    moved = 64 * (len(script.providers) - 1)
    saved = 100.0 + 0.5 * (WELL - DEAD)
    most = 1.2 * requests_in_the_outage(history) + saved + moved
    assert calls_in_the_outage(history) <= most
