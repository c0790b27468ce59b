"""
Makes up scripts: whatever settings, requests and faults a seed comes to.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from random import Random
from typing import Any, Literal

from aitor.testing.simulator.compare import make_compared, make_phase
from aitor.testing.simulator.script import (
    EVERYWHERE,
    KINDS,
    SIZES,
    Closing,
    Phase,
    Plan,
    Replacement,
    Script,
)

__all__ = ("make_script",)

COMPARED = 0.3
"""Of so many seeds the script is one for comparison with a plain client."""

RECOVERY_SECONDS = 100.0
"""After the last fault: longer than any circuit, pause or attempt lasts here."""


def make_script(
    seed: int, requests: int | None = None, *, without: Collection[str] = ()
) -> Script:
    """
    Make up a run.

    Args:
        seed: Decides everything.
        requests: How many; by default the seed decides.
        without: What to leave out, of `WITHOUT`.
    """
    random = Random(seed)  # noqa: S311  # a simulation, no secret
    if random.random() < COMPARED and "compared" not in without:
        return make_compared(seed, random, requests, without)
    size = random.choice(SIZES)
    requests = size if requests is None else requests
    names = ["a", "b", "c", "d"][: random.choice((1, 2, 2, 3, 3, 4))]
    shared = random.random() < 0.3 and "shared" not in without
    providers = {name: _provider(random, name, shared=shared) for name in names}
    limits = {
        str(one["limits"]): _limit(random, busy=random.random() < 0.5)
        for one in providers.values()
    }
    capacity = sum(one["workers"] / one["latency"] for one in providers.values())
    capacity = min(capacity, sum(_most(limit) for limit in limits.values()))
    rate = min(capacity, 400.0) * random.uniform(0.3, 1.5)
    seconds = requests / rate
    phases = _phases(random, names, seconds, without)
    questions = _questions(random) if "cache" not in without else ()
    plans = _plans(random, names, requests, rate, phases, questions)
    calm = max([plans[-1].at, *(phase.end for phase in phases)])
    closing = None
    if random.random() < 0.25 and "close" not in without:
        closing = Closing(random.uniform(0.2, 1.0) * calm, random.choice((0.0, 3.0)))
    else:
        plans += _recovery(names, len(plans), calm + RECOVERY_SECONDS)
    replacements: tuple[Replacement, ...] = ()
    if "replace" not in without:
        replacements = _replacements(random, providers, calm)
    return Script(
        seed,
        providers,
        limits,
        tuple(plans),
        tuple(phases),
        calm,
        closing,
        replacements,
        random.choice((0.0, 0.2, 0.2)),
    )


def _provider(random: Random, name: str, *, shared: bool) -> dict[str, Any]:
    pick = random.choice
    settings: dict[str, Any] = {
        "latency": pick((0.05, 0.2, 0.5, 1.0, 2.0)),
        "limits": "shared" if shared else f"limit-{name}",
        "workers": pick((1, 2, 4, 16, 64)),
        "queue_size": pick((1, 2, 8, 64, 500)),
        "max_queue_wait": pick((0.0, 0.0, 0.5, 2.0)),
        "timeout": pick((5.0, 15.0, 30.0)),
        "max_retries": pick((None, None, 0, 1, 3)),
        "retry_delay": pick((0.0, 0.5, 1.0)),
        "max_retry_delay": 8.0,
        "max_retry_after": pick((5.0, 30.0)),
        "breaker": {
            "failures": pick((1, 2, 5, 20, 50)),
            "failing_seconds": pick((0.0, 0.5, 2.0)),
            "first_open_seconds": pick((0.5, 1.0, 5.0)),
            "open_seconds": pick((2.0, 10.0)),
            "probes": pick((1, 1, 3)),
            "probe_seconds": pick((3.0, 20.0)),
            "dead_seconds": pick((10.0, 30.0)),
        },
    }
    if random.random() < 0.3:
        settings["first_token_timeout"] = pick((2.0, 4.0))
    if random.random() < 0.3:
        settings["idle_timeout"] = pick((1.0, 3.0))
    return settings


def _limit(random: Random, *, busy: bool) -> dict[str, Any]:
    if not busy:
        return {}
    limit: dict[str, Any] = {"burst": random.choice((0.01, 0.1, 0.5))}
    if random.random() < 0.8:
        limit["requests_per_minute"] = random.choice((30, 200, 1_000, 6_000))
    if random.random() < 0.4:
        limit["tokens_per_minute"] = random.choice((20_000, 300_000, 2_000_000))
    elif random.random() < 0.4:
        limit["input_tokens_per_minute"] = random.choice((20_000, 300_000))
        limit["output_tokens_per_minute"] = random.choice((20_000, 300_000))
    return limit


def _most(limit: Mapping[str, Any]) -> float:
    """Return requests per second that *limit* lets through, roughly."""
    per_minute: float = min(
        limit.get("requests_per_minute", math.inf),
        limit.get("tokens_per_minute", math.inf) / MEAN_TOKENS,
        limit.get("input_tokens_per_minute", math.inf) / MEAN_TOKENS,
        limit.get("output_tokens_per_minute", math.inf) / MEAN_TOKENS,
    )
    return per_minute / 60.0


MEAN_TOKENS = 100.0


def _phases(
    random: Random, names: list[str], seconds: float, without: Collection[str]
) -> list[Phase]:
    kinds = [kind for kind in KINDS if kind not in without]
    phases = []
    for _ in range(random.randint(2, 8) if kinds else 0):
        kind = random.choice(kinds)
        begin = random.uniform(0.0, 0.8) * seconds
        end = begin + random.uniform(0.02, 0.3) * seconds
        provider = None if kind in EVERYWHERE else random.choice(names)
        phases.append(make_phase(random, kind, begin, end, provider))
    return sorted(phases, key=lambda phase: phase.begin)


def _replacements(
    random: Random, providers: Mapping[str, Mapping[str, Any]], calm: float
) -> tuple[Replacement, ...]:
    count = random.choice((0, 0, 1, 3))
    times = sorted(random.uniform(0.0, calm) for _ in range(count))
    made = []
    for at in times:
        name = random.choice(list(providers))
        shared = providers[name]["limits"] == "shared"
        made.append(Replacement(at, name, _provider(random, name, shared=shared)))
    return tuple(made)


def _questions(random: Random) -> tuple[dict[str, Any], ...]:
    """Make up what requests with the same question have in common."""
    return tuple(
        {
            "question": number,
            "input_tokens": _size(random),
            "output_tokens": _size(random),
            "max_tokens": random.choice((0, 1_000)),
        }
        for number in range(random.choice((0, 0, 0, 1, 2, 5)))
    )


def _plans(
    random: Random,
    names: list[str],
    requests: int,
    rate: float,
    phases: list[Phase],
    questions: tuple[dict[str, Any], ...],
) -> list[Plan]:
    tenants = [None, "red", "green", "blue"][: random.randint(1, 4)]
    priorities = random.choice(((0,), (0, 0, 0, 1), (-1, 0, 5)))
    streams = random.choice((0, 0, 1, 2))
    style = [random.random() for _ in range(8)]
    plans, now = [], 0.0
    for number in range(requests):
        active = {
            phase.kind: phase for phase in phases if phase.begin <= now < phase.end
        }
        now += random.expovariate(rate * (10.0 if "flood" in active else 1.0))
        how = "nowait" if random.random() < style[0] * 0.5 else "submit"
        if streams and random.random() < style[1] * 0.5:
            how = f"map{random.randrange(streams)}"
        plain = how.startswith("map")
        leaves = 0.02 * style[2]
        if (storm := active.get("cancel_storm")) is not None:
            leaves = storm.chance
        plan = Plan(
            number,
            now,
            how,
            timeout=_timeout(random, style[3]),
            priority=0 if plain else random.choice(priorities),
            tenant=None if plain else random.choice(tenants),
            when_unavailable=_when_unavailable(random, style[4])
            if how == "submit"
            else None,
            input_tokens=_size(random),
            output_tokens=_size(random),
            cancel_after=random.choice((0.0, random.expovariate(1.0)))
            if not plain and random.random() < leaves
            else None,
            only=random.choice(names)
            if not plain and random.random() < style[5] * 0.5
            else None,
        )
        if random.random() < 0.3:
            bound = plan.output_tokens * random.choice((1, 1, 1, 4, 1_000))
            plan = replace(plan, max_tokens=bound)
        if not plain and plan.only is None and random.random() < style[6] * 0.3:
            some = random.sample(names, random.randint(1, len(names)))
            plan = replace(plan, sequence=tuple(some))
        if questions and how == "submit" and random.random() < style[7]:
            plan = replace(plan, **random.choice(questions))
        plans.append(plan)
    return plans


def _timeout(random: Random, often: float) -> float | None:
    if random.random() > often:
        return None
    return random.choice((0.0, 0.5, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0))


def _when_unavailable(random: Random, often: float) -> Literal["fail", "wait"] | None:
    if random.random() < 0.5:
        return None
    return "wait" if random.random() < often else "fail"


def _size(random: Random) -> int:
    if random.random() < 0.002:
        return random.choice((0, 5_000, 50_000))
    return int(random.expovariate(2.0 / MEAN_TOKENS)) + 1


def _recovery(names: list[str], first: int, at: float) -> list[Plan]:
    return [
        Plan(
            first + number,
            at + number * 1.0,
            when_unavailable="wait",
            only=name,
            recovery=True,
        )
        for number, name in enumerate(name for _ in range(4) for name in names)
    ]
