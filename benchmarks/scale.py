"""
Does a call cost more when there is more of everything?

Through the mock: requests that wait in the mailbox, providers in the failover
sequence, workers (all of them busy), and messages in a conversation. The goal is set
for the largest against the smallest of each. Memory is that of a request which waits,
beyond a task that has such a request and waits for something else.

What grows with workers and with what is queued is the time of Python's garbage
collector: of what is alive a call's share is some twenty objects, and it looks at each
of them half a dozen times. A program with thousands of calls in flight does well to
say `gc.set_threshold(10_000, 20, 20)`; a library should not decide it. Both are shown.
Of a request that waits a third is the event of the event loop, most of the rest frames
of coroutines.
"""

import gc
from functools import partial
from typing import Any

from benchmarks.suite import Row, Run, Table, at_most, median, number, rounds, spread
from benchmarks.svg import lines
from benchmarks.workers import Workers

SCALES: dict[str, tuple[int, ...]] = {
    "queued": (10, 100, 1_000, 10_000, 100_000),
    "providers": (1, 4, 16, 64),
    "workers": (1, 10, 100, 1_000, 5_000),
    "messages": (1, 10, 50, 200),
}
PATIENT = (10_000, 20, 20)
"""Thresholds of the garbage collector for a program with thousands in flight."""

COLLECTED = ("queued", "workers")
"""Scales on which the collector is what grows."""

ENOUGH = 1_000_000
HELD = 20_000
KINDS = ("task", "queued")


def measure(run: Run) -> dict[str, Any]:
    """Go up each scale, and weigh what waits."""
    found = {}
    with run.workers() as workers:
        for scale, sizes in SCALES.items():
            run.say(scale)
            most = run.of(ENOUGH, 10_000)
            known = [str(size) for size in sizes if size <= most]
            ends = known[0], known[-1]
            one = partial(_one, workers, scale)
            found[scale] = rounds(1, run.of(known, ends), one)
            for size, more in rounds(run.of(2, 1), ends, one).items():
                found[scale][size] += more
            if scale in COLLECTED and not run.quick:
                one = partial(_one, workers, scale, collector=PATIENT)
                found[f"{scale}, gc.set_threshold{PATIENT}"] = rounds(1, ends, one)
        run.say("memory")

        def weigh(kind: str) -> dict[str, Any]:
            return workers.run(
                "benchmarks.scale:held",
                imports=("aitor.broker.broker", "aitor.providers.mock"),
                kind=kind,
                count=HELD,
            )

        held = rounds(run.of(3, 1), KINDS, weigh)
    return {"scales": found, "held": held}


def _one(
    workers: Workers,
    scale: str,
    size: str,
    collector: tuple[int, int, int] | None = None,
) -> dict[str, Any] | None:
    settings, in_flight = _load(scale, int(size))
    return workers.load(
        "closed",
        "aitor-mock",
        settings={"in_flight": in_flight, **settings},
        in_flight=in_flight,
        # Everybody in a long queue has to have a turn.
        seconds=max(0.6, in_flight * 40e-6),
        warmup=0.2,
        collector=collector,
    )


def _load(scale: str, size: int) -> tuple[dict[str, Any], int]:
    """Return settings and callers for *size* on *scale*."""
    if scale == "queued":
        return {"mocks": [{"workers": 8, "queue_size": ENOUGH}]}, size + 8
    if scale == "workers":
        return {"mocks": [{"workers": size, "queue_size": ENOUGH}]}, size
    mock = {"workers": 100}
    if scale == "providers":
        return {"mocks": [mock] * size}, 100
    # Or else it would count the tokens of all the messages, which takes its time.
    usage = {"input_tokens": 100, "output_tokens": 10}
    return {"mocks": [{**mock, "usage": usage}], "history": size}, 100


async def held(*, kind: str, count: int) -> dict[str, Any]:
    """Return the bytes of memory that each of *count* waiting things takes."""
    import anyio

    from aitor import Broker, Request
    from aitor.providers.mock import MockProvider
    from benchmarks.load import resident_memory

    mock = MockProvider(workers=1, delay=3_600.0, queue_size=ENOUGH)
    event = anyio.Event()
    async with Broker([mock], drain_timeout=0.0) as broker:

        async def wait() -> None:
            request = Request.of("Say hello to everybody who waits.")
            if kind == "task":
                await event.wait()
            await broker.submit(request)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.1)
            gc.collect()
            before = resident_memory()
            for _ in range(count):
                tasks.start_soon(wait)
            await anyio.sleep(0.1)
            gc.collect()
            grown = resident_memory() - before
            tasks.cancel_scope.cancel()
    return {"bytes": grown / count}


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold the largest against the smallest."""
    found = []
    for scale, samples in data["scales"].items():
        sizes = sorted(samples, key=int)
        small = median(samples[sizes[0]], "processor_us")
        large = median(samples[sizes[-1]], "processor_us")
        name, _, how = scale.partition(", ")
        found.append(
            at_most(
                f"cost a call, {name} {int(sizes[0]):,} to {int(sizes[-1]):,}"
                + (f", with {how}" if how else ""),
                large / small if large and small else None,
                1.25,
                unit=" times",
            )
        )
    task, queued = (median(data["held"].get(kind), "bytes") for kind in KINDS)
    found.append(
        at_most(
            "memory for a queued request, beyond its own data and its task",
            queued - task if queued and task else None,
            1_500,
            unit=" bytes",
        )
    )
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """Show every step."""
    out = [
        (scale, f"{int(size):,}", spread(some, "processor_us"))
        for scale, samples in data["scales"].items()
        for size, some in samples.items()
    ]
    held = [(kind, number(median(data["held"][kind], "bytes") or 0)) for kind in KINDS]
    return [
        Table("Processor time a call", ("scale", "size", "µs a call"), out),
        Table("Memory of what waits", ("what", "bytes each"), held),
    ]


def pictures(data: dict[str, Any]) -> dict[str, str]:
    """Draw the costs."""
    series = [
        (
            scale,
            [
                (float(size), median(samples[size], "processor_us") or 0.0)
                for size in sorted(samples, key=int)
            ],
        )
        for scale, samples in data["scales"].items()
    ]
    title = "Processor time a call, as everything grows"
    return {"scale": lines(title, series, across="size", up="µs", logarithmic=True)}
