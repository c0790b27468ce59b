"""
What does the wire alone cost, and does a cancelled call leave?

HTTP clients without a broker: a prompt is encoded, an answer decoded, and that is all.
First the cost, in processor time of all threads of the process. Then calls that are
cancelled while the upstream works on them, half of them over TLS: it counts how many
connections it sees closed, and how many answers it sends all the same. Last, calls
after the upstream has hung up on every idle connection: some before the client's event
loop had a moment to hear of it, some a moment later. All speak HTTP/1.1.
"""

# ruff: noqa: TID251  # the loops themselves are what is compared

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from benchmarks.job import finish
from benchmarks.load import nursery, sleep_on
from benchmarks.peers import PEERS, Call, open_peer
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
from benchmarks.svg import bars
from benchmarks.upstream import Upstream, upstream
from benchmarks.workers import Workers

Who = tuple[str, str]
Samples = dict[str, list[dict[str, Any]]]

OURS: tuple[Who, ...] = (
    ("sockets", "asyncio"),
    ("sockets", "uvloop"),
    ("sockets", "trio"),
)
ALL: tuple[Who, ...] = (
    *OURS,
    ("pyqwest", "asyncio"),
    ("pyqwest", "trio"),
    ("aiohttp", "asyncio"),
    ("aiohttp", "uvloop"),
    ("pyreqwest", "asyncio"),
    ("httpx2", "asyncio"),
    ("httpx2", "trio"),
)
QUICK = tuple(who for who in ALL if who in OURS or who[1] == "asyncio")
MANY: tuple[Who, ...] = (
    OURS[0],
    OURS[2],
    ("pyqwest", "asyncio"),
    ("aiohttp", "asyncio"),
    ("pyreqwest", "asyncio"),
)
"""Those that bear thousands of calls at once."""

CALLS = 64
"""Calls that are cancelled, or find their connections closed."""

SOON, LATE = 0.1, 1.0
"""Seconds after the cancellation at which closed connections are counted."""

WORK = 2.0
"""Seconds that the upstream would work on a call that is going to be cancelled."""


class Stage(NamedTuple):
    """
    One load.

    Args:
        title: What the report calls it.
        in_flight: Calls at once.
        who: Peers and loops.
        rounds: How often everybody is measured.
        delay: Seconds before each answer; with one, every caller asks once.
        tls: Whether it goes over TLS.
    """

    title: str
    in_flight: int
    who: tuple[Who, ...]
    rounds: int = 1
    delay: float = 0.0
    tls: bool = False


STAGES = {
    "64": Stage("64 in flight, answered at once", 64, ALL, rounds=2),
    "64-tls": Stage("64 in flight over TLS, answered at once", 64, ALL, tls=True),
    "5000": Stage("5,000 calls of 2 s at once, none connected", 5_000, MANY, delay=2.0),
    "1000-tls": Stage(
        "1,000 calls of 2 s at once over TLS, none connected",
        1_000,
        MANY[:4],
        delay=2.0,
        tls=True,
    ),
}


def measure(run: Run) -> dict[str, Any]:
    """Put everybody under every load, cancel their calls, and hang up on them."""
    with upstream() as plain, upstream(tls=True) as secure:
        assert secure.authority is not None
        with run.workers({"SSL_CERT_FILE": secure.authority}) as workers:
            loads = {}
            for name in run.of(list(STAGES), ["64"]):
                stage = STAGES[name]
                run.say(stage.title)
                loads[name] = _load(run, stage, secure if stage.tls else plain, workers)
            run.say("cancelled, and hung up on")
            who = run.of(ALL, QUICK)
            left = rounds(1, who, lambda one: _leave(one, (plain, secure), workers))
            stale = rounds(1, who, lambda one: _stale(one, plain, workers))
    return {"loads": loads, "left": left, "stale": stale}


def _load(run: Run, stage: Stage, server: Upstream, workers: Workers) -> Samples:
    def one(who: Who) -> dict[str, Any] | None:
        peer, loop = who
        in_flight = stage.in_flight
        url = server.behave(delay=stage.delay)
        settings = {"urls": [url], "in_flight": in_flight}
        if stage.delay:
            return workers.load(
                "counted",
                peer,
                loop=loop,
                settings=settings,
                in_flight=in_flight,
                calls=in_flight,
            )
        return workers.load(
            "closed",
            peer,
            loop=loop,
            settings=settings,
            in_flight=in_flight,
            seconds=0.3,
            warmup=0.15,
        )

    return rounds(run.of(stage.rounds, 1), run.of(stage.who, QUICK), one)


def _leave(
    who: Who, servers: tuple[Upstream, ...], workers: Workers
) -> dict[str, Any] | None:
    for server in servers:
        server.behave(delay=WORK)
    result = _job("leave", who, servers, workers)
    if result is None:
        return None
    found = {"ended_ms": result["ended"] * 1e3}
    for server, name in zip(servers, ("plain", "tls"), strict=True):
        counts = server.counts()
        after = [closed - result["cancelled"] for closed in counts.closed]
        found[f"asked_{name}"] = len(counts.arrivals)
        found[f"soon_{name}"] = sum(0 <= seconds <= SOON for seconds in after)
        found[f"late_{name}"] = sum(0 <= seconds <= LATE for seconds in after)
        found[f"answered_{name}"] = counts.answered
    return found


def _stale(who: Who, server: Upstream, workers: Workers) -> dict[str, Any] | None:
    # Long enough that every call needs a connection of its own.
    server.behave(delay=0.05)
    return _job("stale", who, (server,), workers)


def _job(
    function: str, who: Who, servers: tuple[Upstream, ...], workers: Workers
) -> dict[str, Any] | None:
    peer, loop = who
    known = PEERS[peer]
    if f"{known.title} ({loop})" in workers.left_out:
        return None
    return workers.run(
        f"benchmarks.wires:{function}",
        environment=known.environment,
        imports=known.imports,
        loop=loop,
        peer=peer,
        servers=[(server.ports, server.authority) for server in servers],
        native=loop != "trio",
    )


# In the measured process.


async def leave(*, peer: str, servers: list[Any], native: bool) -> None:
    """
    Cancel calls to each of *servers* at one moment, and finish when all have left, or
    else when the upstream would have answered them.

    Args:
        peer: Who calls.
        servers: The arguments of `Upstream`.
        native: Whether the loop is asyncio's, whose tasks are cancelled one by one.
    """
    sleep = sleep_on()
    upstreams = [Upstream(*given) for given in servers]

    async def arrival() -> None:
        while any(len(one.counts().arrivals) < CALLS for one in upstreams):
            await sleep(SOON)

    async with AsyncExitStack() as stack:
        opened = [
            open_peer(peer, {"urls": one.urls, "in_flight": CALLS}) for one in upstreams
        ]
        calls = [await stack.enter_async_context(one) for one in opened] * CALLS
        cancel = _cancel_tasks if native else _cancel_nursery
        cancelled = await cancel(calls, arrival)
        ended = time.perf_counter() - cancelled
        await sleep(SOON)
        if any(len(one.counts().closed) < CALLS for one in upstreams):
            await sleep(WORK + SOON)
        finish({"cancelled": cancelled, "ended": ended})


async def _cancel_tasks(
    calls: list[Call], arrival: Callable[[], Awaitable[None]]
) -> float:
    import asyncio

    tasks = [asyncio.create_task(call()) for call in calls]
    await arrival()
    now = time.perf_counter()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return now


async def _cancel_nursery(
    calls: list[Call], arrival: Callable[[], Awaitable[None]]
) -> float:
    import trio

    async with trio.open_nursery() as opened:
        for call in calls:
            opened.start_soon(call)
        await arrival()
        now = time.perf_counter()
        opened.cancel_scope.cancel()
    return now


async def stale(*, peer: str, servers: list[Any], native: bool) -> None:
    """
    Fill the pool, have the upstream hang up, call again, and finish with what failed.

    Args:
        peer: Who calls.
        servers: The arguments of one `Upstream`.
        native: Of no interest here.
    """
    found = {}
    sleep = sleep_on()
    (server,) = (Upstream(*given) for given in servers)
    async with open_peer(peer, {"urls": server.urls, "in_flight": CALLS}) as call:
        for name, moment in (("at_once", 0.0), ("later", 0.1)):
            await _together(call, sleep)
            found[f"closed_{name}"] = server.hang_up()
            # The upstream's farewell arrives while this loop hears nothing.
            time.sleep(0.03)  # noqa: ASYNC251
            if moment:
                await sleep(moment)
            found[f"failed_{name}"] = await _together(call, sleep)
        finish(found)


async def _together(call: Call, sleep: Callable[[float], Awaitable[None]]) -> int:
    """Call `CALLS` times at once, and return how many calls failed."""
    failed, running = 0, CALLS

    async def one() -> None:
        nonlocal failed, running
        try:
            await call()
        except Exception:  # noqa: BLE001  # whatever a peer raises
            failed += 1
        running -= 1

    async with nursery() as tasks:
        for _ in range(CALLS):
            tasks.start_soon(one)
        while running:
            await sleep(0.01)
    return failed


# What is told.


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold ours against what a cancellation and a stale connection should be."""
    found = []
    for who in map("/".join, OURS):
        loop = who.partition("/")[2]
        left, stale = data["left"].get(who), data["stale"].get(who)
        for name, words in (("plain", "plain"), ("tls", "over TLS")):
            found.append(
                at_least(
                    f"{CALLS} calls cancelled, {words}: connections closed within "
                    f"{SOON:g} s, {loop}",
                    median(left, f"soon_{name}"),
                    CALLS,
                )
            )
        failed = median(stale, "failed_at_once")
        found.append(
            at_most(
                f"{CALLS} calls on connections that were just closed: failed, {loop}",
                failed,
                0,
            )
        )
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """Show every load, the cheapest first, and what became of the calls."""
    heads = ("who", "loop", "µs a call", "requests/s", "p99 ms", "peak MiB", "threads")
    found = [
        Table(STAGES[name].title, heads, [_line(*one) for one in _ordered(samples)])
        for name, samples in data["loads"].items()
    ]
    found.append(
        Table(
            f"{CALLS} calls cancelled, and {CALLS} over TLS",
            (
                "who",
                "loop",
                "arrived",
                f"closed within {SOON:g} s",
                f"closed within {LATE:g} s",
                "answered all the same",
                "calls ended after, ms",
            ),
            [
                (
                    *_names(who),
                    *(
                        f"{some[0][f'{what}_plain']}, TLS {some[0][f'{what}_tls']}"
                        for what in ("asked", "soon", "late", "answered")
                    ),
                    number(some[0]["ended_ms"]),
                )
                for who, some in data["left"].items()
            ],
        )
    )
    found.append(
        Table(
            f"{CALLS} calls after the upstream hung up: failed",
            ("who", "loop", "before the loop could hear of it", "0.1 s later"),
            [
                (
                    *_names(who),
                    f"{some[0]['failed_at_once']}",
                    f"{some[0]['failed_later']}",
                )
                for who, some in data["stale"].items()
            ],
        )
    )
    return found


def pictures(data: dict[str, Any]) -> dict[str, str]:
    """Draw the cost."""
    samples = data["loads"].get("64", {})
    lines = [
        (", ".join(_names(who)), median(some, "processor_us") or 0.0, _is_ours(who))
        for who, some in _ordered(samples)
    ]
    title = f"Processor time a call, µs: {STAGES['64'].title}"
    return {"wires-64": bars(title, lines)} if lines else {}


def _ordered(samples: Samples) -> list[tuple[str, list[dict[str, Any]]]]:
    return sorted(
        samples.items(), key=lambda one: median(one[1], "processor_us") or 0.0
    )


def _is_ours(who: str) -> bool:
    return who.startswith("sockets/")


def _names(who: str) -> tuple[str, str]:
    peer, loop = who.split("/")
    return PEERS[peer].title, loop


def _line(who: str, some: list[dict[str, Any]]) -> tuple[str, ...]:
    title, loop = _names(who)
    failed = sum(sum(one["failures"].values()) for one in some)
    return (
        title + (f" ({failed:,} calls failed)" if failed else ""),
        loop,
        spread(some, "processor_us"),
        spread(some, "rate"),
        number(median(some, "p99_ms") or 0),
        number((median(some, "peak_bytes") or 0) / 2**20),
        number(median(some, "threads") or 0),
    )
