"""
What does a dead first provider cost?

Two upstreams, in the order of failover. Dead means that every call gets a 500; flapping
that it is well and dead in turns, half a second each. Wasted calls are those that the
dead upstream counted. aitor runs with its default settings; "tuned" is LiteLLM's Router
told to cool down after one failure for half a minute, and not to retry. The processor
time that an open circuit adds is measured through mocks, where it is not lost in that
of a call over HTTP.

Most of what a dead provider costs here is paid once: the calls that were in flight
before the first had failed, and as many new connections to the second provider, whose
handshakes a run of a thousand calls does not make up for: a first call that fails and
moves on takes some 220 µs of processor time more than one that is answered, a third of
it for connecting, and 64 of them are a tenth of such a run.
"""

from typing import Any

from benchmarks.suite import (
    Row,
    Run,
    Table,
    at_least,
    at_most,
    median,
    number,
    rounds,
    spread,
)
from benchmarks.upstream import Upstream, upstream
from benchmarks.workers import Workers

IN_FLIGHT = 64
CALLS = 1_000
SLOW = {"LiteLLM Router": 300, "LiteLLM Router, tuned": 300}
"""Calls for those who would take half a minute for more."""

CALLERS = 200

TUNED = {"num_retries": 0, "allowed_fails": 1, "cooldown_time": 30}
WHO: dict[str, tuple[str, dict[str, Any]]] = {
    "aitor": ("aitor", {}),
    "by hand": ("by-hand", {}),
    "TensorZero": ("tensorzero", {}),
    "LiteLLM Router": ("litellm", {}),
    "LiteLLM Router, tuned": ("litellm", {"router": TUNED}),
}
STATES: dict[str, dict[str, Any]] = {
    "healthy": {},
    "dead": {"status": 500},
    "flapping": {"flap": 0.5},
}


def measure(run: Run) -> dict[str, Any]:
    """Count what is wasted, then look at latencies, then at processor time."""
    with upstream(ports=3) as server, run.workers() as workers:
        run.say("wasted calls")
        wasted = _wasted(run, server, workers)
        run.say("latency")
        latency = _latency(run, server, workers)
        run.say("open circuit")
        return {
            "wasted": wasted,
            "latency": latency,
            "open": _open(run, workers),
        }


def _wasted(
    run: Run, server: Upstream, workers: Workers
) -> dict[str, list[dict[str, Any]]]:
    def one(who: tuple[str, str]) -> dict[str, Any] | None:
        name, state = who
        peer, more = WHO[name]
        calls = run.of(SLOW.get(name, CALLS), 200)
        urls = [server.behave(0, **STATES[state]), server.behave(1)]
        sample = workers.load(
            "counted",
            peer,
            settings={"urls": urls, "in_flight": IN_FLIGHT, **more},
            in_flight=IN_FLIGHT,
            calls=calls,
            warm=server.behave(2),
        )
        if sample is not None:
            sample["wasted"] = server.counts(0).statuses.count(500)
            sample["failed"] = sum(sample["failures"].values())
        return sample

    names = run.of(list(WHO), ["aitor", "by hand", "TensorZero"])
    ours = [("aitor", "healthy"), ("aitor", "dead")]
    rest = [(name, state) for name in names[1:] for state in ("healthy", "dead")]
    found = rounds(run.of(9, 3), ours, one)
    return {**found, **rounds(1, rest, one)}


def _latency(
    run: Run, server: Upstream, workers: Workers
) -> dict[str, list[dict[str, Any]]]:
    def one(who: tuple[str, str]) -> dict[str, Any] | None:
        name, state = who
        urls = [
            server.behave(0, delay=0.02, **STATES[state]),
            server.behave(1, delay=0.02),
        ]
        sample = workers.load(
            "closed",
            WHO[name][0],
            settings={"urls": urls, "in_flight": 8, **WHO[name][1]},
            in_flight=8,
            seconds=2.0,
            spread=0.02,
        )
        if sample is not None:
            sample["wasted"] = server.counts(0).statuses.count(500)
        return sample

    names = run.of(["aitor", "by hand", "TensorZero"], ["aitor"])
    return rounds(1, [(name, state) for name in names for state in STATES], one)


def _open(run: Run, workers: Workers) -> dict[str, list[dict[str, Any]]]:
    def one(who: str) -> dict[str, Any] | None:
        mocks: list[dict[str, Any]] = [{"workers": CALLERS}, {"workers": CALLERS}]
        if who == "open":
            mocks[0]["dead"] = True
        return workers.load(
            "closed",
            "aitor-mock",
            settings={"mocks": mocks, "in_flight": CALLERS},
            in_flight=CALLERS,
            seconds=run.of(0.7, 0.4),
            warmup=0.2,
        )

    return rounds(run.of(7, 3), ("closed", "open"), one)


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold aitor against its goals."""
    wasted, opened = data["wasted"], data["open"]
    dead = wasted.get("aitor/dead")
    slow, fast = median(dead, "rate"), median(wasted.get("aitor/healthy"), "rate")
    with_open = median(opened.get("open"), "processor_us")
    without = median(opened.get("closed"), "processor_us")
    calls = dead[0]["calls"] + dead[0]["failed"] if dead else 0
    return [
        at_most(
            f"first provider dead, {calls:,} calls, 64 in flight: wasted calls to it, "
            f"default settings",
            median(dead, "wasted"),
            64,
            shown=spread(dead, "wasted"),
        ),
        at_most("the same: calls that failed", median(dead, "failed"), 0),
        at_least(
            "the same: requests/s against both providers healthy",
            slow / fast if slow and fast else None,
            0.9,
        ),
        at_most(
            "first provider dead, circuit open: added processor time a call",
            with_open - without if with_open and without else None,
            10,
            unit=" µs",
        ),
    ]


def tables(data: dict[str, Any]) -> list[Table]:
    """Show the peers."""
    heads = ("who", "first provider", "wasted calls", "failed calls", "requests/s")
    first = [
        (
            *name.split("/"),
            number(some[0]["calls"] + some[0]["failed"]),
            spread(some, "wasted"),
            spread(some, "failed"),
            spread(some, "rate"),
        )
        for name, some in data["wasted"].items()
    ]
    second = [
        (
            *name.split("/"),
            *(
                number(median(some, key) or 0)
                for key in ("p50_ms", "p99_ms", "max_ms", "wasted", "rate")
            ),
        )
        for name, some in data["latency"].items()
    ]
    return [
        Table(
            "So many calls, 64 in flight, answered at once",
            (*heads[:2], "calls", *heads[2:]),
            first,
        ),
        Table(
            "8 in flight, answered after 20 ms",
            (*heads[:2], "p50 ms", "p99 ms", "longest ms", "wasted", "requests/s"),
            second,
        ),
    ]
