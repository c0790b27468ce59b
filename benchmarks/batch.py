"""
How fast is a batch, and does its memory stay flat?

Rows come from a JSONL file and their records go to another, with the journal on, as
`aitor batch` does it: first through the mock, which answers at once, then over HTTP on
this machine, where it is held against `map` over the same prompts without any file.

An upstream that answers at once leaves nothing to wait for, so that the difference is
the work that a row adds: the journal about a third of it, reading the row and its
fingerprint a quarter, its record a fifth, and the rest for counting and for handing
rows and records between the event loop and a thread.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.suite import Row, Run, Table, at_least, at_most, median, rounds, spread
from benchmarks.svg import lines
from benchmarks.upstream import upstream

IMPORTS = (
    "aitor.batch",
    "aitor.broker.broker",
    "aitor.providers.mock",
    "aitor.providers.compatible",
    "aitor.wire.sockets",
)
WAYS = ("mapped", "batch")


def measure(run: Run) -> dict[str, Any]:
    """Run batches of several sizes, then one over HTTP."""
    sizes = run.of((10_000, 1_000_000), (10_000,))
    found = {}
    with upstream() as server, run.workers() as workers:
        for size in sizes:
            run.say(f"{size:,} rows")
            found[str(size)] = workers.run(
                "benchmarks.batch:batch", imports=IMPORTS, prompts=size, url=None
            )
        run.say("over HTTP")

        def one(way: str) -> dict[str, Any]:
            return workers.run(
                f"benchmarks.batch:{way}",
                imports=IMPORTS,
                prompts=run.of(10_000, 4_000),
                url=server.behave(),
            )

        return {"sizes": found, "http": rounds(run.of(3, 1), WAYS, one)}


def _broker(url: str | None) -> Any:
    from aitor import Broker
    from aitor.providers.compatible import CompatibleProvider
    from aitor.providers.mock import MockProvider

    if url is None:
        return Broker([MockProvider()])
    return Broker([CompatibleProvider(base_url=url, api_key="none", model="bench")])


def _prompts(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"Say hello to number {number}, and to everybody who waits behind it."


def _write(rows: Path, count: int) -> None:
    with rows.open("w", encoding="utf-8") as file:
        for prompt in _prompts(count):
            file.write(json.dumps({"prompt": prompt}) + "\n")


async def mapped(*, prompts: int, url: str | None) -> dict[str, Any]:
    """Have prompts answered and forgotten."""
    from benchmarks.load import peak_memory

    async with _broker(url) as broker:
        # Connections are made before the clock runs, here and below.
        async for _ in broker.map(_prompts(200)):
            pass
        began, answered = time.perf_counter(), 0
        async for result in broker.map(_prompts(prompts)):
            answered += result.reply is not None
        seconds = time.perf_counter() - began
    return {"rate": answered / seconds, "peak": peak_memory(), "memory": []}


async def batch(*, prompts: int, url: str | None) -> dict[str, Any]:
    """Have the rows of a file answered and stored."""
    import anyio

    from aitor.batch import Summary, run_batch
    from benchmarks.load import peak_memory, processor_seconds, resident_memory

    memory: list[tuple[int, int]] = []
    summary = Summary()

    async def watch() -> None:
        while True:
            memory.append((summary.succeeded, resident_memory()))
            await anyio.sleep(0.5)

    with tempfile.TemporaryDirectory() as folder:
        rows, records = Path(folder, "rows.jsonl"), Path(folder, "records.jsonl")
        _write(rows, prompts)
        async with _broker(url) as broker, anyio.create_task_group() as tasks:
            async for _ in broker.map(_prompts(200)):
                pass
            tasks.start_soon(watch)
            began, used = time.perf_counter(), processor_seconds()
            await run_batch(broker, rows, records, summary=summary)
            seconds = time.perf_counter() - began
            used = processor_seconds() - used
            tasks.cancel_scope.cancel()
    assert summary.succeeded == prompts
    return {
        "rate": prompts / seconds,
        "peak": peak_memory(),
        "processor_us": used * 1e6 / prompts,
        "memory": memory[:: len(memory) // 50 + 1],
    }


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold rates and memory against their goals."""
    found = []
    for size, one in data["sizes"].items():
        what = f"a batch of {int(size):,} rows through the mock, journal on"
        found.append(Row(f"{what}: rows/s", f"{one['rate']:,.0f}"))
        peak = one["peak"] / 1e6
        found.append(at_most(f"{what}: resident memory", peak, 250, unit=" MB"))
    memory = data["sizes"].get("1000000", {}).get("memory", [])
    if memory:
        half = len(memory) // 2
        early = max(size for _, size in memory[half // 2 : half])
        late = max(size for _, size in memory[half:])
        growth = (late - early) / 1e6
        found.append(
            at_most("the same: growth in its second half", growth, 10, unit=" MB")
        )
    ours = median(data["http"].get("batch"), "rate")
    bare = median(data["http"].get("mapped"), "rate")
    found.append(
        at_least(
            "batch rows a second over loopback HTTP, journal on, "
            "against the broker's own rate",
            ours / bare if ours and bare else None,
            0.8,
        )
    )
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """Show the rates over HTTP."""
    names = {"mapped": "`map` alone", "batch": "batch, journal on"}
    out = [
        (names[way], spread(some, "rate"), f"{(median(some, 'peak') or 0) / 1e6:.0f}")
        for way, some in data["http"].items()
    ]
    heads = ("what", "rows/s", "peak MB")
    return [Table("Over HTTP on this machine, 64 in flight", heads, out)]


def pictures(data: dict[str, Any]) -> dict[str, str]:
    """Draw the memory of the largest batch."""
    size = max(data["sizes"], key=int)
    points = [(done, used / 1e6) for done, used in data["sizes"][size]["memory"]]
    title = f"Resident memory of a batch of {int(size):,} rows"
    series = [("memory", points[:: len(points) // 6 + 1] + points[-1:])]
    return {"batch": lines(title, series, across="rows", up="MB")}
