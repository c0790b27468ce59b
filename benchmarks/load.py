"""
Load: callers that ask a peer, and what they see.

Four kinds. `closed`: so many callers, each asking again as soon as it is answered;
the rate is what the peer makes of it. `counted`: so many calls and no more. `arriving`:
requests come at a rate of their own, whether or not the ones before are answered.
`streamed`: the peer reads prompts as it likes and gives the results as they come.
"""

# ruff: noqa: TID251  # the loops themselves are what is compared

import contextlib
import gc
import random
import resource
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol

from benchmarks.job import finish
from benchmarks.peers import Call, open_peer

__all__ = (
    "Meter",
    "arriving",
    "closed",
    "counted",
    "nursery",
    "peak_memory",
    "percentile",
    "processor_seconds",
    "resident_memory",
    "sleep_on",
    "streamed",
)

PATIENCE = 5.0
"""Longest time, in seconds, to wait until every caller has been answered once."""


class Nursery(Protocol):
    """Where tasks are started."""

    def start_soon(self, function: Callable[..., Awaitable[Any]], *given: Any) -> None:
        """Start a task."""


class _Tasks:
    """The same for asyncio; nobody waits for its tasks."""

    def __init__(self) -> None:
        self._tasks: set[Any] = set()

    def start_soon(self, function: Callable[..., Any], *given: Any) -> None:
        import asyncio

        task = asyncio.get_running_loop().create_task(function(*given))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _on_asyncio() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextlib.asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """Give a nursery of whichever loop runs."""
    if _on_asyncio():
        yield _Tasks()
        return
    import trio

    async with trio.open_nursery() as opened:
        yield opened


def sleep_on() -> Callable[[float], Awaitable[None]]:
    """Return the `sleep` of whichever loop runs."""
    if _on_asyncio():
        import asyncio

        return asyncio.sleep
    import trio

    return trio.sleep


def processor_seconds() -> float:
    """Return the processor time of this process so far, all its threads included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_memory() -> int:
    """Return the bytes of memory that this process occupies."""
    return _status("VmRSS") * 1024


def peak_memory() -> int:
    """Return the most that it has occupied."""
    return _status("VmHWM") * 1024


def _status(name: str) -> int:
    with Path("/proc/self/status").open(encoding="ascii") as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1])
    raise LookupError(name)


def percentile(ordered: "list[float] | array[float]", share: float) -> float:
    """Return the value below which that *share* of *ordered* lies; 0 if it is empty."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Meter:
    """
    Counts calls between `start` and `stop`, and what the process spent on them.
    """

    def __init__(self) -> None:
        self.running = False
        self.latencies: array[float] = array("d")
        self.failures: Counter[str] = Counter()
        self.done = 0  # ever

    def start(self) -> None:
        """Begin to count."""
        self.latencies = array("d")
        self.failures.clear()
        self.running = True
        self._wall = time.perf_counter()
        self._processor = processor_seconds()

    def stop(self) -> dict[str, Any]:
        """Count no more, and return the result."""
        processor = processor_seconds() - self._processor
        seconds = time.perf_counter() - self._wall
        self.running = False
        ordered = sorted(self.latencies)
        calls = len(ordered)
        return {
            "calls": calls,
            "seconds": seconds,
            "rate": calls / seconds,
            "processor_us": processor * 1e6 / calls if calls else None,
            "busy": processor / seconds,
            "p50_ms": percentile(ordered, 0.5) * 1e3,
            "p90_ms": percentile(ordered, 0.9) * 1e3,
            "p99_ms": percentile(ordered, 0.99) * 1e3,
            "max_ms": (ordered[-1] if ordered else 0.0) * 1e3,
            "peak_bytes": peak_memory(),
            "threads": _status("Threads"),
            "failures": dict(self.failures.most_common(3)),
        }

    async def time(self, call: Call) -> None:
        """Make one call."""
        begin = time.perf_counter()
        try:
            await call()
        except Exception as error:  # noqa: BLE001  # whatever a peer raises
            self.count(0.0, error)
        else:
            self.count(time.perf_counter() - begin)

    def count(self, latency: float, error: Exception | None = None) -> None:
        """Count a call that ended, with or without an error."""
        if error is not None:
            self.failures[f"{type(error).__name__}: {error}"[:200]] += 1
        elif self.running:
            self.latencies.append(latency)
        self.done += 1


async def closed(
    *,
    peer: str,
    settings: dict[str, Any],
    in_flight: int,
    seconds: float,
    warmup: float = 0.5,
    spread: float = 0.0,
    collector: tuple[int, int, int] | None = None,
) -> NoReturn:
    """
    Keep *in_flight* calls going, and finish with what was measured.

    Args:
        peer: Who is asked.
        settings: How it is made.
        in_flight: How many callers.
        seconds: How long to measure.
        warmup: How long to run before that, at least; every caller has had an
            answer then, if that is possible within reason.
        spread: Over how many seconds the callers' beginnings are spread, so that
            they do not go on in one wave.
        collector: Thresholds of Python's garbage collector; by default its own.
    """
    if collector is not None:
        gc.set_threshold(*collector)
    meter, sleep = Meter(), sleep_on()
    answered = 0

    async def caller(number: int, call: Call) -> None:
        nonlocal answered
        await sleep(spread * number / in_flight)
        await meter.time(call)
        answered += 1
        while True:
            await meter.time(call)

    async with open_peer(peer, settings) as call, nursery() as tasks:
        begin = time.perf_counter()
        for number in range(in_flight):
            tasks.start_soon(caller, number, call)
        await sleep(max(warmup, spread))
        while answered < in_flight and time.perf_counter() - begin < PATIENCE:
            await sleep(0.05)
        meter.start()
        await sleep(seconds)
        finish(meter.stop())


async def counted(
    *,
    peer: str,
    settings: dict[str, Any],
    in_flight: int,
    calls: int,
    warm: str | None = None,
    longest: float = 3_600.0,
) -> NoReturn:
    """
    Make so many *calls*, and finish with what was measured.

    Args:
        peer: Who is asked.
        settings: How it is made.
        in_flight: How many callers.
        calls: How many calls in all.
        warm: An address for some calls through another instance of the peer before,
            so that lazy imports are done and the measured instance is still new.
        longest: Seconds after which the calls that are left are not waited for.
    """
    if warm is not None:
        async with open_peer(peer, {**settings, "urls": [warm]}) as call:
            for _ in range(20):
                await call()
    meter = Meter()
    left, running = calls, in_flight
    sleep = sleep_on()

    async def caller(call: Call) -> None:
        nonlocal left, running
        while left:
            left -= 1
            await meter.time(call)
        running -= 1
        if not running:
            finish(meter.stop())

    async with open_peer(peer, settings) as call, nursery() as tasks:
        meter.start()
        for _ in range(in_flight):
            tasks.start_soon(caller, call)
        await sleep(longest)
        finish(meter.stop())


async def streamed(
    *,
    peer: str,
    settings: dict[str, Any],
    seconds: float,
    calls: int | None = None,
    warmup: float = 0.0,
) -> NoReturn:
    """
    Have a stream of prompts answered, and finish with what was measured.

    Args:
        peer: Who answers: it gives a function that takes the number of prompts, None
            for a stream without an end, and gives an error or None for each.
        settings: How it is made.
        seconds: How long to measure, at most.
        calls: How many prompts.
        warmup: How long to run before that.

    There are no latencies: when a prompt was read is the peer's own affair.
    """
    meter, sleep = Meter(), sleep_on()

    async def take(results: Call) -> None:
        async for error in results(calls):
            meter.count(0.0, error)
        finish(meter.stop())

    async with open_peer(peer, settings) as results, nursery() as tasks:
        meter.start()
        tasks.start_soon(take, results)
        if warmup:
            await sleep(warmup)
            meter.start()
        await sleep(seconds)
        finish(meter.stop())


async def arriving(
    *,
    peer: str,
    settings: dict[str, Any],
    rate: float,
    seconds: float,
    seed: int = 1,
    classes: list[dict[str, Any]] | None = None,
    grace: float = 0.0,
) -> NoReturn:
    """
    Let requests arrive at *rate* a second, at random, and finish with what became
    of each.

    Args:
        peer: Who is asked.
        settings: How it is made.
        rate: Arrivals a second.
        seconds: How long they come.
        seed: Of the arrivals.
        classes: Arguments of calls, with a `weight` each; chosen at random.
        grace: Seconds to wait for what is left at the end.

    Of each request the result has its class, when it came and when it ended, in
    seconds from the beginning, and the error's name, empty for an answer.
    """
    sleep, chance = sleep_on(), random.Random(seed)
    kinds = classes or [{}]
    weights = [kind.pop("weight", 1.0) for kind in kinds]
    became: list[tuple[int, float, float, str]] = []

    async def one(call: Call, number: int) -> None:
        begin = time.perf_counter()
        try:
            await call(**kinds[number])
        except Exception as error:  # noqa: BLE001  # whatever a peer raises
            word = type(error).__name__
        else:
            word = ""
        became.append((number, begin - first, time.perf_counter() - first, word))

    async with open_peer(peer, settings) as call, nursery() as tasks:
        first = due = time.perf_counter()
        offered = 0
        while due < first + seconds:
            while due <= time.perf_counter():
                (number,) = chance.choices(range(len(kinds)), weights)
                tasks.start_soon(one, call, number)
                offered += 1
                due += chance.expovariate(rate)
            await sleep(max(0.0, due - time.perf_counter()))
        await sleep(grace)
        finish({"offered": offered, "seconds": seconds, "became": became})
