"""
Makes up scripts in which a broker has to do as well as a plain client would.

No limits, room for all, callers who wait, and a provider that fails a part of its calls
or bears a part of them: days on which a client with a few retries gets its answers, so
that a broker in its place has to get as many.
"""

import math
from collections.abc import Collection
from dataclasses import replace
from random import Random
from typing import Any

from aitor.testing.simulator.script import Phase, Plan, Script

__all__ = ("make_compared", "make_phase")

PARTIAL = (
    "flaky",
    "runs",
    "bursts",
    "hang_together",
    "busy",
    "busy_queue",
    "rate_limited",
    "lying_limits",
    "slow_under_load",
)
"""Faults of a part of the calls."""

SECONDS = (20.0, 40.0, 60.0)
"""For how long a fault lasts."""

QUIET = 10.0
"""Seconds before the fault, and between it and the next."""


def make_phase(
    random: Random, kind: str, begin: float, end: float, provider: str | None
) -> Phase:
    """Make up how much of a fault there is."""
    if kind in ("flaky", "runs", "bursts"):
        chance = random.uniform(0.01, 0.95)
    elif kind == "hang_together":
        chance = random.choice((0.05, 0.3, 0.8))
    elif kind in PARTIAL:
        chance = 1.0
    else:
        chance = random.choice((0.05, 0.3, 0.8, 1.0))
    amount = random.choice((2, 5, 10, 20, 50))
    seconds = random.choice((0.5, 1.0, 1.9))
    return Phase(kind, begin, end, provider, chance, amount, seconds)


def make_compared(
    seed: int, random: Random, requests: int | None, without: Collection[str]
) -> Script:
    """
    Make up such a script.

    Args:
        seed: Of the script.
        random: Decides.
        requests: How many; by default as many as come while there are faults.
        without: Kinds of faults to leave out.
    """
    names = ["a", "b"][: random.choice((1, 1, 2))]
    latency = random.choice((0.05, 0.2, 0.5))
    settings: dict[str, Any] = {
        "latency": latency,
        "limits": "none",
        "workers": random.choice((16, 64)),
        "queue_size": 5_000,
    }
    if random.random() < 0.3:
        settings["timeout"] = max(1.0, 10.0 * latency)
    rate = random.uniform(0.1, 0.5) * min(settings["workers"] / latency, 100.0)
    if requests is not None:
        rate = min(rate, requests / 100.0)
    kinds = [kind for kind in (*PARTIAL, "all_dead") if kind not in without]
    phases: list[Phase] = []
    now = QUIET
    for _ in range(random.choice((1, 2)) if kinds else 0):
        kind = random.choice(kinds)
        end = now + random.choice(SECONDS)
        provider = None if kind == "all_dead" else "a"
        phase = make_phase(random, kind, now, end, provider)
        if kind in LIMITED:
            # It bears what comes: whom to give up where it does not is another law.
            places = rate * (latency if kind in BY_PLACES else 1.0)
            phase = replace(phase, amount=math.ceil(random.choice(ROOM) * places) + 1)
        if kind == "all_dead":
            phase = Phase(kind, now, end)
        phases.append(phase)
        now = end + 6.0 * QUIET
    timeout = random.choice((10.0, 30.0, 60.0))
    plans: list[Plan] = []
    at = random.expovariate(rate)
    while at < now:
        plans.append(
            Plan(
                len(plans), at, timeout=timeout, when_unavailable=random.choice(WAITING)
            )
        )
        at += random.expovariate(rate)
    return Script(
        seed,
        dict.fromkeys(names, settings),
        {"none": {}},
        tuple(plans),
        tuple(phases),
        now,
        compared=True,
    )


BY_PLACES = frozenset({"busy", "busy_queue"})
LIMITED = BY_PLACES | {"rate_limited"}
ROOM = (1.3, 2.0, 4.0)
"""How many times what comes a server bears that says when it is full."""

WAITING: tuple[Any, ...] = ("wait", None)
