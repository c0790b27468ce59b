# ruff: noqa: A005  # it is a module of this package only, and its command's name
"""
What does a call over HTTP cost, beside the peers?

One client process on one core, one upstream on the other, which answers a fixed chat
completion after a delay. So many callers each ask again as soon as they are answered;
in stages with a delay their beginnings are spread over it. Every peer encodes the
prompt and decodes the answer; "bytes over a socket" does neither, and with uvloop
stands for the upstream's own ceiling. aitor runs with all that is on by default:
mailbox, breaker, retry budget, ledger.

The slowest calls at 1,000 in flight are those that waited for a full pass of Python's
garbage collector; see the scale below.
"""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.suite import (
    Row,
    Run,
    Table,
    at_least,
    at_most,
    median,
    medians,
    number,
    rounds,
    spread,
)
from benchmarks.svg import bars
from benchmarks.upstream import Upstream, upstream
from benchmarks.workers import Workers

AITOR = (("aitor", "asyncio"), ("aitor", "trio"))
OPENAI = ("openai", "asyncio")
OPENAI_AIOHTTP = ("openai-aiohttp", "asyncio")
LITELLM = ("litellm", "asyncio")
TENSORZERO = ("tensorzero", "asyncio")
AIOHTTP = ("aiohttp", "asyncio")

LOADED = (*AITOR, TENSORZERO, AIOHTTP)
# Other clients alone are held against each other in `benchmarks.wires`.
ALONE = ("sockets", "pyqwest", "pyreqwest", "httpx2")
HTTP = tuple(
    (name, loop)
    for name, peer in PEERS.items()
    if not (name.endswith("-mock") or name in ALONE)
    for loop in peer.loops
)

Who = tuple[str, str]


@dataclass(frozen=True)
class Stage:
    """
    One load.

    Args:
        title: What the report calls it.
        in_flight: Callers.
        who: Peers and loops; the quick suite has those in `QUICK`.
        delay: Seconds before each answer.
        seconds: How long to measure.
        rounds: How often, for everybody.
        contested: Who is measured in so many `more` rounds, being close to a goal.
        more: How many.
        cold: Every caller asks once, and the time until the last answer counts.
        tls: Whether it goes over TLS.
        behaviour: More of the upstream.
        settings: More of the peers.
    """

    title: str
    in_flight: int
    who: tuple[Who, ...]
    delay: float = 0.0
    seconds: float = 0.7
    rounds: int = 1
    contested: tuple[Who, ...] = ()
    more: int = 0
    cold: bool = False
    tls: bool = False
    behaviour: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


QUICK = {
    *AITOR,
    OPENAI,
    ("openai", "trio"),
    LITELLM,
    TENSORZERO,
    AIOHTTP,
    ("floor", "uvloop"),
}

QUICK_STAGES = {"64", "1000-200ms", "cold"}

STAGES = {
    "64": Stage(
        "64 in flight, answered at once",
        64,
        HTTP,
        rounds=2,
        contested=(*AITOR, OPENAI, ("openai", "trio"), TENSORZERO, AIOHTTP),
        more=5,
    ),
    "1": Stage(
        "1 in flight, answered at once",
        1,
        (*LOADED, OPENAI, OPENAI_AIOHTTP, LITELLM),
        seconds=0.7,
    ),
    "1000-200ms": Stage(
        "1,000 in flight at 200 ms (5,000 a second possible)",
        1_000,
        (*LOADED, OPENAI, OPENAI_AIOHTTP, LITELLM),
        delay=0.2,
        seconds=1.0,
        contested=AITOR,
        more=2,
    ),
    "5000-200ms": Stage(
        "5,000 in flight at 200 ms (25,000 a second possible)",
        5_000,
        LOADED,
        delay=0.2,
        seconds=2.0,
    ),
    "1000-2s": Stage(
        "1,000 in flight at 2 s (500 a second possible)",
        1_000,
        (*AITOR, OPENAI),
        delay=2.0,
        seconds=4.0,
    ),
    "5000-2s": Stage(
        "5,000 in flight at 2 s (2,500 a second possible)",
        5_000,
        LOADED,
        delay=2.0,
        seconds=4.0,
    ),
    "cold": Stage(
        "5,000 calls of 2 s at once, cold",
        5_000,
        LOADED,
        delay=2.0,
        cold=True,
    ),
    "tls": Stage(
        "64 in flight over TLS, answered at once",
        64,
        (*AITOR, TENSORZERO, AIOHTTP, OPENAI),
        tls=True,
    ),
    "long": Stage(
        "64 in flight, prompts of 100 kB, answers of 20 kB",
        64,
        (*AITOR, TENSORZERO, AIOHTTP, OPENAI),
        behaviour={"text": 20_000},
        settings={"prompt": 100_000},
    ),
    "stream": Stage(
        "64 in flight, streamed in 20 pieces",
        64,
        (*AITOR, AIOHTTP, OPENAI),
        settings={
            "stream": True,
            # With such a limit aitor has its answers streamed.
            "provider": {"first_token_timeout": 30.0},
        },
    ),
}


def measure(run: Run) -> dict[str, Any]:
    """Put everybody under every load."""
    found = {}
    for name, stage in STAGES.items():
        if run.quick and name not in QUICK_STAGES:
            continue
        run.say(stage.title)
        try:
            with upstream(tls=stage.tls) as server:
                known = {"SSL_CERT_FILE": server.authority} if server.authority else {}
                with run.workers(known) as workers:
                    found[name] = _stage(run, stage, server, workers)
        except OSError as error:
            run.left_out[stage.title] = str(error)
    return {"samples": found}


def _stage(
    run: Run, stage: Stage, server: Upstream, workers: Workers
) -> dict[str, list[dict[str, Any]]]:
    def one(who: Who) -> dict[str, Any] | None:
        peer, loop = who
        url = server.behave(delay=stage.delay, **stage.behaviour)
        settings = {"urls": [url], "in_flight": stage.in_flight, **stage.settings}
        if stage.cold:
            return workers.load(
                "counted",
                peer,
                loop=loop,
                settings=settings,
                in_flight=stage.in_flight,
                calls=stage.in_flight,
            )
        return workers.load(
            "closed",
            peer,
            loop=loop,
            settings=settings,
            in_flight=stage.in_flight,
            seconds=stage.seconds,
            warmup=max(0.4, 1.5 * stage.delay),
            spread=stage.delay,
        )

    who = [one for one in stage.who if not run.quick or one in QUICK]
    if run.quick and stage.in_flight > 64:
        who = [AITOR[0], TENSORZERO]
    found = rounds(run.of(stage.rounds, 1), who, one)
    for name, more in rounds(run.of(stage.more, 0), stage.contested, one).items():
        found[name] += more
    return found


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold aitor against its peers and its goals."""
    samples = data["samples"]
    rates = {name: medians(some, "rate") for name, some in samples.items()}
    at64, at1000 = rates.get("64", {}), rates.get("1000-200ms", {})
    processor = medians(samples.get("64", {}), "processor_us")

    def times(rates: dict[str, float], one: Who, other: Who) -> float | None:
        ours, theirs = rates.get("/".join(one)), rates.get("/".join(other))
        return ours / theirs if ours and theirs else None

    found = [
        at_least(
            f"requests/s over HTTP, 64 in flight, against {title}",
            times(at64, AITOR[0], other),
            goal,
            unit=unit,
        )
        for title, other, goal, unit in (
            ("the plain openai client", OPENAI, 12, " times"),
            ("LiteLLM Router", LITELLM, 28, " times"),
            ("TensorZero embedded", TENSORZERO, 2, " times"),
            ("raw aiohttp", AIOHTTP, 0.65, ""),
        )
    ]
    found.append(
        at_least(
            "the same on trio, against the plain openai client on trio",
            times(at64, AITOR[1], ("openai", "trio")),
            8,
            unit=" times",
        )
    )
    found.append(
        at_least(
            "1,000 in flight at 200 ms: requests/s against the plain openai client",
            times(at1000, AITOR[0], OPENAI),
            15,
            unit=" times",
        )
    )
    for _, loop in AITOR:
        name = f"aitor/{loop}"
        large = median(samples.get("5000-200ms", {}).get(name), "processor_us")
        small = processor.get(name)
        late = median(samples.get("1000-200ms", {}).get(name), "p99_ms")
        possible = [
            (stage, rates.get(stage, {}).get(name)) for stage in ("1000-2s", "5000-2s")
        ]
        cold = median(samples.get("cold", {}).get(name), "seconds")
        memory = median(samples.get("5000-2s", {}).get(name), "peak_bytes")
        some = [
            at_most(
                f"5,000 in flight at 200 ms: processor time a call against 64, {loop}",
                large / small if large and small else None,
                2,
                unit=" times",
            ),
            at_most(
                f"1,000 in flight at 200 ms: p99 above 200 ms, {loop}",
                late - 200 if late else None,
                40,
                unit=" ms",
            ),
            *(
                at_least(
                    f"{STAGES[stage].title}: share of it, {loop}",
                    rate * STAGES[stage].delay / STAGES[stage].in_flight
                    if rate
                    else None,
                    0.98 if stage == "1000-2s" else 0.93,
                )
                for stage, rate in possible
            ),
            at_most(f"5,000 calls of 2 s at once, cold, {loop}", cold, 4.5, unit=" s"),
            at_most(
                f"resident memory at 5,000 in flight, {loop}",
                memory / 2**20 if memory else None,
                250,
                unit=" MiB",
            ),
        ]
        found += [row for row in some if row.reached is not None or loop == "asyncio"]
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """Show every load, the fastest first."""
    heads = (
        "who",
        "loop",
        "requests/s",
        "µs a call",
        "p50 ms",
        "p99 ms",
        "peak MiB",
        "threads",
    )
    return [
        Table(STAGES[name].title, heads, [_line(*one) for one in _ordered(samples)])
        for name, samples in data["samples"].items()
    ]


def pictures(data: dict[str, Any]) -> dict[str, str]:
    """Draw the rates."""
    found = {}
    for name in ("64", "1000-200ms", "5000-2s"):
        samples = data["samples"].get(name)
        if samples:
            lines = [
                (_title(who), median(some, "rate") or 0.0, who.startswith("aitor/"))
                for who, some in _ordered(samples)
            ]
            title = f"Requests a second: {STAGES[name].title}"
            found[f"http-{name}"] = bars(title, lines)
    return found


def _ordered(
    samples: dict[str, list[dict[str, Any]]],
) -> list[tuple[str, list[dict[str, Any]]]]:
    return sorted(samples.items(), key=lambda one: -(median(one[1], "rate") or 0))


def _title(who: str) -> str:
    peer, loop = who.split("/")
    title = PEERS[peer].title
    return title if loop == "asyncio" else f"{title}, {loop}"


def _line(who: str, some: list[dict[str, Any]]) -> tuple[str, ...]:
    peer, loop = who.split("/")
    failed = sum(sum(one["failures"].values()) for one in some)
    title = PEERS[peer].title + (f" ({failed:,} calls failed)" if failed else "")
    return (
        title,
        loop,
        spread(some, "rate"),
        spread(some, "processor_us"),
        number(median(some, "p50_ms") or 0),
        number(median(some, "p99_ms") or 0),
        number((median(some, "peak_bytes") or 0) / 2**20),
        number(median(some, "threads") or 0),
    )
