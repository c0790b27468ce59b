"""
Does a producer that is a hundred times too fast fill the memory?

A source gives prompts of 4 kB as fast as it is asked, to `map` over a provider that
serves 2,000 a second. Depth is how many prompts were read and not handed out, at
most. Beside it what many write first: a task for each prompt behind a semaphore.
"""

import gc
from collections.abc import Iterator
from typing import Any

from benchmarks.suite import Row, Run, Table, at_most, number

WORKERS, DELAY = 64, 0.032
SIZE = 4_000
MIB = 2**20


def measure(run: Run) -> dict[str, Any]:
    """Stream a few prompts and many, both ways."""
    few, many = run.of((1_000, 10_000), (500, 2_500))
    found = {}
    with run.workers() as workers:
        for prompts in (few, many):
            for name in ("mapped", "gather"):
                found[f"{name}/{prompts}"] = workers.run(
                    f"benchmarks.backpressure:{name}",
                    imports=("aitor.broker.broker", "aitor.providers.mock"),
                    prompts=prompts,
                )
    return {"found": found}


class Source:
    """Prompts, counted as they are read."""

    def __init__(self, prompts: int) -> None:
        self.read = 0
        self.depth = 0
        self.out = 0
        self._prompts = prompts

    def __iter__(self) -> Iterator[str]:
        for count in range(self._prompts):
            self.read += 1
            self.depth = max(self.depth, self.read - self.out)
            yield f"{count} " + "x" * SIZE


async def mapped(*, prompts: int) -> dict[str, Any]:
    """Let the broker pull."""
    from aitor import Broker
    from aitor.providers.mock import MockProvider
    from benchmarks.load import peak_memory, resident_memory

    source = Source(prompts)
    gc.collect()
    before = resident_memory()
    async with Broker([MockProvider(delay=DELAY, workers=WORKERS)]) as broker:
        async for _ in broker.map(source):
            source.out += 1
    return {"depth": source.depth, "grown": peak_memory() - before, "out": source.out}


async def gather(*, prompts: int) -> dict[str, Any]:
    """Start a task for each prompt."""
    # ruff: noqa: TID251  # people write this for asyncio
    import asyncio

    from benchmarks.load import peak_memory, resident_memory

    source = Source(prompts)
    gc.collect()
    before = resident_memory()
    semaphore = asyncio.Semaphore(WORKERS)

    async def one(_: str) -> None:
        async with semaphore:
            await asyncio.sleep(DELAY)
        source.out += 1

    await asyncio.gather(*(one(prompt) for prompt in source))
    return {"depth": source.depth, "grown": peak_memory() - before, "out": source.out}


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold depth and memory against what is in flight."""
    ours = [(n, one) for n, one in data["found"].items() if n.startswith("mapped/")]
    (_, few), (name, many) = ours
    prompts = f"{int(name.partition('/')[2]):,} prompts of 4 kB"
    return [
        at_most(
            f"{prompts}: most read and not handed out, 64 workers", many["depth"], 65
        ),
        at_most(
            f"{prompts}: memory beyond that for a tenth as many"
            if many["out"] == 10 * few["out"]
            else f"{prompts}: memory beyond that for {few['out']:,}",
            max(0.0, (many["grown"] - few["grown"]) / MIB),
            2,
            unit=" MiB",
        ),
    ]


def tables(data: dict[str, Any]) -> list[Table]:
    """Show both ways."""
    out = []
    for name, one in data["found"].items():
        way, prompts = name.removeprefix("mapped").split("/")
        out.append(
            (
                way or "`map`",
                f"{int(prompts):,}",
                number(one["depth"]),
                number(one["grown"] / MIB),
            )
        )
    heads = ("way", "prompts", "depth", "memory grown by MiB")
    return [Table("A source without end", heads, out)]
