"""
How long does it take until an outage is over for the callers too?

One provider, 64 callers, answers after 20 ms; from the second to the sixth second it
answers 500. Told by the upstream's own count: how many calls it got while it was out,
and how long after its return the first was answered, and nine tenths of the former
rate were reached. aitor's circuit is set to stay open for one second at most (by
default 30); its callers wait for that (`when_unavailable`). By hand: tenacity with
random exponential waits up to 10 s. LiteLLM's Router: a cooldown of one second, and
callers that ask again at once.
"""

import statistics
from collections import Counter
from typing import Any

from benchmarks.suite import Row, Run, Table, at_most, number
from benchmarks.upstream import Counts, upstream

BEGIN, END, LAST = 2.0, 6.0, 11.0
BIN = 0.25

WHO: dict[str, tuple[str, dict[str, Any]]] = {
    "aitor": (
        "aitor",
        {
            "provider": {"breaker": {"open_seconds": 1.0}},
            "submit": {"when_unavailable": "wait"},
        },
    ),
    "by hand": ("by-hand", {"attempts": 1_000, "longest_wait": 10.0}),
    "LiteLLM Router": ("litellm", {"router": {"cooldown_time": 1, "num_retries": 2}}),
}


def measure(run: Run) -> dict[str, Any]:
    """Put everybody through the same outage."""
    found = {}
    with upstream() as server, run.workers() as workers:
        for name in run.of(list(WHO), ["aitor"]):
            peer, more = WHO[name]
            url = server.behave(delay=0.02, outage=(BEGIN, END))
            result = workers.load(
                "closed",
                peer,
                settings={"urls": [url], "in_flight": 64, **more},
                in_flight=64,
                seconds=run.of(LAST, 9.0),
                warmup=0.0,
            )
            if result is not None:
                found[name] = _judge(server.counts())
    return {"who": found}


def _judge(counts: Counts) -> dict[str, Any]:
    first = counts.arrivals[0]
    served = [arrival - first for arrival in counts.served()]
    bins = Counter(int(at / BIN) for at in served)
    # The first half second is for connections and imports.
    before = statistics.median(bins[n] for n in range(int(0.5 / BIN), int(BEGIN / BIN)))
    back = next((at - END for at in served if at >= END), None)
    full = next(
        (
            (n + 1) * BIN - END
            for n in range(int(END / BIN), max(bins, default=0) + 1)
            if bins[n] >= 0.9 * before
        ),
        None,
    )
    return {
        "before": before / BIN,
        "wasted": counts.statuses.count(500),
        "first": back,
        "full": full,
    }


def rows(data: dict[str, Any]) -> list[Row]:
    """Tell how long it takes."""
    ours = data["who"].get("aitor", {})
    return [
        at_most(
            "after an outage: until the first answer, circuit open for 1 s",
            ours.get("first"),
            1.5,
            unit=" s",
        ),
        at_most(
            "after an outage: until nine tenths of the former rate",
            ours.get("full"),
            3,
            unit=" s",
        ),
        Row("calls sent during an outage of 4 s", number(ours.get("wasted", 0))),
    ]


def tables(data: dict[str, Any]) -> list[Table]:
    """Show the peers."""

    def seconds(value: float | None) -> str:
        return "not within the run" if value is None else number(value)

    out = [
        (
            name,
            number(one["before"]),
            number(one["wasted"]),
            seconds(one["first"]),
            seconds(one["full"]),
        )
        for name, one in data["who"].items()
    ]
    heads = ("who", "requests/s before", "calls during it", "first answer, s")
    return [Table("An outage of 4 s", (*heads, "nine tenths, s"), out)]
