"""
How much of a limit is used, and is it kept?

600 requests a minute are allowed and ten times as many are offered, at random times.
What counts is the upstream's own count: it refills evenly, bears 20 at once, and
answers 429 beyond that. "Used" is what was served in the last part of the run, so
that a burst at its beginning is no merit. All run at the same time, each against an
upstream of its own; none needs much of the processor.
"""

from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.suite import Row, Run, Table, at_least, at_most, number
from benchmarks.upstream import Counts, upstream

PER_MINUTE = 600
OFFERED = 10

WHO: dict[str, tuple[str, dict[str, Any]]] = {
    "aitor": ("aitor", {"provider": {"requests_per_minute": PER_MINUTE}}),
    "aiolimiter(600, 60)": ("by-hand", {"limiter": (PER_MINUTE, 60), "attempts": 1}),
    "aiolimiter(10, 1)": ("by-hand", {"limiter": (PER_MINUTE / 60, 1), "attempts": 1}),
    "LiteLLM Router, rpm": (
        "litellm",
        {
            "model": {"rpm": PER_MINUTE},
            "router": {"routing_strategy": "usage-based-routing-v2"},
        },
    ),
}


def measure(run: Run) -> dict[str, Any]:
    """Offer everybody ten times the limit at once."""
    seconds = run.of(66.0, 11.0)
    last = run.of(60.0, 8.0)
    names = list(WHO)
    with upstream(ports=len(names)) as server:

        def one(port: int) -> dict[str, Any] | None:
            peer, more = WHO[names[port]]
            url = server.behave(port, delay=0.1, per_minute=PER_MINUTE)
            with run.workers() as workers:
                result = workers.load(
                    "arriving",
                    peer,
                    settings={"urls": [url], "in_flight": 10_000, **more},
                    rate=OFFERED * PER_MINUTE / 60,
                    seconds=seconds,
                )
            if result is None:
                return None
            found = _judge(server.counts(port), last)
            refused = sum(1 for *_, error in result["became"] if error)
            return {**found, "offered": result["offered"], "refused": refused}

        with ThreadPoolExecutor(len(names)) as pool:
            results = pool.map(one, range(len(names)))
        found = dict(zip(names, results, strict=True))
    return {"seconds": seconds, "last": last, "who": found}


def _judge(counts: Counts, last: float) -> dict[str, Any]:
    arrivals, served = counts.arrivals, counts.served()
    if not arrivals:
        return {"sent": 0, "served": 0, "refused_429": 0, "used": 0.0, "most": 0}
    recent = len(served) - bisect_left(served, arrivals[-1] - last)
    most = max(
        number + 1 - bisect_left(arrivals, arrival - 60)
        for number, arrival in enumerate(arrivals)
    )
    return {
        "sent": len(arrivals),
        "served": len(served),
        "refused_429": counts.statuses.count(429),
        "used": recent / (last * PER_MINUTE / 60),
        "most": most,
    }


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold aitor against its goals."""
    ours = data["who"].get("aitor") or {}
    used = ours.get("used")
    return [
        at_least(
            f"limit of 600 a minute, offered 6,000: used, last {data['last']:.0f} s",
            100 * used if used is not None else None,
            99,
            unit=" %",
        ),
        at_most("the same: most requests in any 60 s", ours.get("most"), PER_MINUTE),
        at_most("the same: 429s from the upstream", ours.get("refused_429"), 0),
    ]


def tables(data: dict[str, Any]) -> list[Table]:
    """Show the peers."""
    lines = []
    for name, found in data["who"].items():
        if found:
            keys = ("offered", "sent", "served", "refused_429", "most", "refused")
            figures = [number(found[key]) for key in keys]
            lines.append((name, *figures, f"{100 * found['used']:.1f} %"))
    heads = ("who", "offered", "sent", "served", "429s", "most in 60 s", "failed")
    title = f"Ten times the limit for {data['seconds']:.0f} s"
    return [Table(title, (*heads, "used"), lines)]
