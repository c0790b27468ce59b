"""
What becomes of requests when more arrive than can be served?

A provider that takes 50 ms and bears 20 at once serves 400 a second. Requests arrive at
random, whether or not those before are answered, each with a deadline of one second.
One in ten is urgent; two tenants share the rest, 60 to 40. Goodput is what was answered
in time, of what could be. Beside the broker: a semaphore and a timeout, by hand, which
know neither priorities nor tenants. Jain's index is taken of each tenant's share of
what would be fair (nobody gets more than they ask for, the rest is split evenly).
"""

from typing import Any

from benchmarks.load import percentile
from benchmarks.suite import Row, Run, Table, at_least, number
from benchmarks.svg import lines

DELAY, WORKERS, DEADLINE = 0.05, 20, 1.0
TARDY = 0.02
"""Seconds past its deadline at which an answer counts as late: a timer is no razor."""
CAPACITY = WORKERS / DELAY
LOADS = (0.5, 0.9, 1.1, 2.0)

CLASSES: list[dict[str, Any]] = [
    {"weight": 54, "tenant": "a", "priority": 0},
    {"weight": 6, "tenant": "a", "priority": 5},
    {"weight": 36, "tenant": "b", "priority": 0},
    {"weight": 4, "tenant": "b", "priority": 5},
]
WHO: dict[str, tuple[str, dict[str, Any]]] = {
    "aitor": (
        "aitor-mock",
        {"mocks": [{"delay": DELAY, "workers": WORKERS}], "in_flight": WORKERS},
    ),
    "by hand": ("by-hand-mock", {"delay": DELAY, "workers": WORKERS}),
}


def measure(run: Run) -> dict[str, Any]:
    """Offer each load to each."""
    seconds = run.of(4.0, 3.0)
    found: dict[str, Any] = {}
    with run.workers() as workers:
        for load in run.of(LOADS, (1.1, 2.0)):
            for name, (peer, settings) in WHO.items():
                result = workers.load(
                    "arriving",
                    peer,
                    settings=settings,
                    rate=load * CAPACITY,
                    seconds=seconds,
                    classes=[{**one, "timeout": DEADLINE} for one in CLASSES],
                    grace=DEADLINE + 0.5,
                )
                if result is not None:
                    found[f"{name}/{load:g}"] = _judge(result)
    return {"loads": found}


def _judge(result: dict[str, Any]) -> dict[str, Any]:
    # The first second fills the queue, and what ends after the last arrival was
    # served without competition: neither says anything of the load.
    begin, end = DEADLINE, result["seconds"]
    came = [kind for kind, at, _, _ in result["became"] if begin <= at < end]
    answered = [
        (kind, ended - at)
        for kind, at, ended, error in result["became"]
        if not error and begin <= ended < end
    ]
    good = [one for one in answered if one[1] <= DEADLINE + TARDY]
    waits = {
        level: sorted(
            max(0.0, latency - DELAY)
            for kind, latency in good
            if CLASSES[kind]["priority"] == level
        )
        for level in (0, 5)
    }
    possible = min(CAPACITY * (end - begin), float(len(came)))
    asked = _by_tenant(came)
    given = _by_tenant([kind for kind, _ in good])
    fair = _fair(asked, possible)
    shares = [given[tenant] / fair[tenant] for tenant in fair]
    total = sum(share * share for share in shares)
    return {
        "offered": result["offered"],
        "goodput": len(good) / possible,
        "late": len(answered) - len(good),
        "waits_ms": {
            str(level): [percentile(some, 0.5) * 1e3, percentile(some, 0.99) * 1e3]
            for level, some in waits.items()
        },
        "jain": sum(shares) ** 2 / (len(shares) * total) if total else 0.0,
        "asked": asked,
        "given": given,
    }


def _by_tenant(kinds: list[int]) -> dict[str, int]:
    tenants = [CLASSES[kind]["tenant"] for kind in kinds]
    return {tenant: tenants.count(tenant) for tenant in ("a", "b")}


def _fair(asked: dict[str, int], whole: float) -> dict[str, float]:
    """Return the fair share of each: the modest get all, the others the rest."""
    fair: dict[str, float] = {}
    for tenant in sorted(asked, key=lambda one: asked[one]):
        fair[tenant] = min(float(asked[tenant]), whole / (len(asked) - len(fair)))
        whole -= fair[tenant]
    return fair


def rows(data: dict[str, Any]) -> list[Row]:
    """Tell the goodput, and what is late."""
    found = []
    for load in LOADS:
        ours = data["loads"].get(f"aitor/{load:g}")
        if ours:
            what = f"{load:g} times the capacity: goodput of what is possible"
            found.append(at_least(what, ours["goodput"], 0.95))
    late = [one["late"] for name, one in data["loads"].items() if "aitor" in name]
    jain = data["loads"].get("aitor/2", {}).get("jain")
    found.append(
        Row("answers after their deadline", number(sum(late)), "0", not any(late))
    )
    found.append(at_least("2 times the capacity: Jain's index of tenants", jain, 0.99))
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """Show the loads."""
    out = []
    for name, one in data["loads"].items():
        who, load = name.split("/")
        waits = [
            number(wait) for level in ("0", "5") for wait in one["waits_ms"][level]
        ]
        out.append(
            (
                who,
                load,
                number(one["offered"]),
                f"{one['goodput']:.3f}",
                number(one["late"]),
                *waits,
                f"{one['jain']:.3f}",
            )
        )
    heads = (
        *("who", "load", "offered", "goodput", "late"),
        *("wait p50 ms", "p99", "urgent: p50", "p99", "Jain"),
    )
    return [Table("Arrivals at random, deadline of 1 s", heads, out)]


def pictures(data: dict[str, Any]) -> dict[str, str]:
    """Draw the goodput."""
    series = [
        (
            who,
            [
                (load, data["loads"][f"{who}/{load:g}"]["goodput"])
                for load in LOADS
                if f"{who}/{load:g}" in data["loads"]
            ],
        )
        for who in WHO
    ]
    title = "Goodput under overload"
    return {"overload": lines(title, series, across="load", up="of what is possible")}
