"""
Ten minutes at the highest rate with faults, and everything back where it began.

    make soak
    python -m tests.soak --minutes 3 --backend trio

A broker in this process asks three fake providers in processes of their own, over real
sockets. They fail in every way; callers come, leave, and flood the queues; providers
are put in and taken out. At the end nothing may be left: no request without its
outcome, no worker that is not free, no socket, no task, no thread, and no memory that
grew. The exit status is 0 if so, and 1 with the reasons if not. Needs Linux.
"""

import argparse
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio

from aitor import Broker, Limit
from aitor.providers.settings import LimitSettings

from .callers import Callers
from .providers import NAMES, WORKERS, books, make, running
from .readings import Reading, read

__all__ = ("main",)

GROWTH = 1.10
"""Memory under load may grow so much after the warm-up, and …"""

SLACK = 6.0
"""… by so many megabytes, whatever that is of all."""

COLUMNS = "{:>7} {:>8} {:>7} {:>7} {:>7} {:>8} {:>7} {:>7} {:>5} {:>6} {:>7}"


@dataclass(slots=True)
class Soak:
    """
    One soak.

    Args:
        options: Those of the command line.
        urls: Addresses of the fake providers, by name.
        say: Takes a line for whoever watches.
    """

    options: argparse.Namespace
    urls: dict[str, str]
    say: Callable[[str], None]

    async def run(self) -> list[str]:
        """Run it and return the reasons why it failed, none if it passed."""
        before = read(collect=True)
        broker = Broker(
            {name: make(name, self.urls[name], self._transport) for name in NAMES},
            limits={"acme": Limit("acme", LimitSettings(requests_per_minute=90_000))},
            tenants={"blue": 2.0},
            seed=self.options.seed,
        )
        async with broker:
            reasons = await self._load(broker)
            reasons += await self._probe(broker)
        reasons += await self._left(before)
        for name, url in self.urls.items():
            counted = await anyio.to_thread.run_sync(partial(books, url))
            # The one connection is that which asks.
            if counted["in_flight"] or counted["connections"] > 1:
                reasons.append(f"{name} still has connections: {counted}")
            self.say(f"{name}: {counted['requests']:,} requests, {counted['faults']}")
        return reasons

    @property
    def _transport(self) -> str:
        transport: str = self.options.transport
        return transport

    async def _load(self, broker: Broker) -> list[str]:
        options = self.options
        seconds = options.minutes * 60
        callers = Callers(broker, self.urls, self._transport, options.seed)
        self.say(
            COLUMNS.format(
                *("seconds", "answers", "failed", "left", "open", "waiting"),
                *("MB", "sockets", "tasks", "thread", "per s"),
            )
        )
        begin = anyio.current_time()
        warm: Reading | None = None
        last = read(broker)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(callers.run, options.callers, min(5.0, seconds / 8))
            answered = 0
            while (now := anyio.current_time() - begin) < seconds:
                await anyio.sleep(min(options.every, seconds - now))
                last = read(broker, collect=True)
                elapsed = anyio.current_time() - begin
                if warm is None and elapsed >= min(60.0, seconds / 3):
                    warm = last
                answered = self._sample(broker, last, elapsed, now, answered)
            callers.stop()
        self.say(f"outcomes: {dict(callers.outcomes.most_common())}")
        return [*_judge(broker, callers), *_grown(warm or last, last)]

    def _sample(
        self, broker: Broker, seen: Reading, now: float, before: float, answered: int
    ) -> int:
        known = broker.statistics()
        rate = (known.answered - answered) / max(now - before, 0.001)
        self.say(
            COLUMNS.format(
                *(f"{now:.0f}", known.answered, known.failed, known.cancelled),
                *(seen.open, seen.waiting, f"{seen.megabytes:.1f}", seen.sockets),
                *(seen.tasks, seen.threads, f"{rate:.0f}"),
            )
        )
        return known.answered

    async def _probe(self, broker: Broker) -> list[str]:
        """See that every worker is free: each provider takes as many at once."""
        for url in self.urls.values():
            await anyio.to_thread.run_sync(partial(_set_faults, url))
        await anyio.sleep(1.1)  # pauses and circuits end
        broker.set_failover(NAMES)
        reasons = []
        for name in NAMES:
            most, answers = 0, 0

            async def ask(name: str = name) -> None:
                nonlocal answers
                await broker.submit("Hi", provider=[name], timeout=10.0)
                answers += 1

            async with anyio.create_task_group() as tasks:
                for _ in range(2 * WORKERS):
                    tasks.start_soon(ask)
                while answers < 2 * WORKERS:
                    await anyio.sleep(0.01)
                    seen = broker.statistics().providers[name]
                    most = max(most, seen.in_flight)
            # A server that had no room for some is given fewer, but no fewer than that.
            if most < min(seen.concurrency, WORKERS):
                reasons.append(f"{name} has {most} free workers of {WORKERS}")
        return reasons

    async def _left(self, before: Reading) -> list[str]:
        """Return what is left of it after the broker closed."""
        await anyio.sleep(0.5)  # until the vendors know of the closed connections
        after = read(collect=True)
        self.say(f"before: {before}\nafter:  {after}")
        return [
            f"{what}: {now} at the end, {then} at the beginning"
            for what in ("sockets", "descriptors", "tasks")
            if (now := getattr(after, what)) > (then := getattr(before, what))
        ]


def _judge(broker: Broker, callers: Callers) -> list[str]:
    """Return what is wrong once all callers have ended."""
    known = broker.statistics()
    reasons = [f"unexpected: {each}" for each in sorted(set(callers.surprises))]
    if callers.begun != callers.ended:
        reasons.append(f"{callers.begun} began and {callers.ended} ended")
    if known.open:
        reasons.append(f"{known.open} requests have no outcome")
    for name, actor in known.providers.items():
        if actor.in_flight or actor.queued or actor.at_the_door:
            reasons.append(
                f"{name}: {actor.in_flight} in flight, {actor.queued} in the mailbox, "
                f"{actor.at_the_door} at its door"
            )
    if not callers.outcomes["answered"] or not callers.outcomes["row answered"]:
        reasons.append("nothing was answered")
    return reasons


def _grown(warm: Reading, last: Reading) -> list[str]:
    most = max(warm.megabytes * GROWTH, warm.megabytes + SLACK)
    if last.megabytes <= most:
        return []
    told = (
        f"memory: {last.megabytes:.1f} MB under load at the end, "
        f"{warm.megabytes:.1f} MB after the warm-up"
    )
    return [told]


def _threads_left(before: int) -> list[str]:
    """Wait until threads have ended; the event loop's own end with it."""
    patience = time.monotonic() + 15.0
    while (now := threading.active_count()) > before:
        if time.monotonic() > patience:
            return [f"threads: {now} at the end, {before} at the beginning"]
        time.sleep(0.1)
    return []


def _set_faults(url: str) -> None:
    from urllib.request import Request, urlopen

    # A worker is to be seen at work.
    body = b'["slow seconds=0.1"]'
    with urlopen(Request(f"{url}/_fake/faults", body, method="POST"), timeout=10):
        pass


def main(arguments: list[str] | None = None) -> int:
    """Run a soak, say what was seen, and return the exit status."""
    options = _options(arguments)
    reasons: list[str] = []

    def warned(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        reasons.append(f"{category.__name__}: {message}")

    def unraisable(what: Any) -> None:
        reasons.append(f"in a finalizer: {what.exc_value!r}, {what.object!r}")

    warnings.simplefilter("always")
    warnings.showwarning = warned
    sys.unraisablehook = unraisable
    with running(options.seed) as urls:
        soak = Soak(options, urls, _say)
        before = threading.active_count()
        reasons += anyio.run(soak.run, backend=options.backend)
        reasons += _threads_left(before)
    for reason in dict.fromkeys(reasons):
        _say(f"FAILED: {reason}")
    if not reasons:
        _say("passed: everything is where it began")
    return 1 if reasons else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, help="how long (default: 10)")
    add("--backend", choices=["asyncio", "trio"], default="asyncio")
    add("--transport", default="auto", help="who carries bytes (default: auto)")
    add("--callers", type=int, default=150, help="callers at once (default: 150)")
    add("--every", type=float, default=5.0, help="seconds between two samples")
    add("--seed", type=int, default=1, help="decides what is asked and what fails")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
