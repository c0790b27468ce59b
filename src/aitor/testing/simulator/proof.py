"""
A proof: seed after seed, in several processes, until enough requests have lived.

What was done is told honestly also when it is broken off: only runs that came to
their end and were judged are counted.
"""

import gc
import json
import platform
import signal
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

from aitor.testing.simulator.examine import Examination, Findings

__all__ = ("Proof",)

PROGRESS_SECONDS = 60.0

_Examined: TypeAlias = Generator[Findings, None, None]


@dataclass(frozen=True, slots=True)
class Proof:
    """
    Runs seeds and adds up what they come to.

    Args:
        seeds: Which, in order; may be endless.
        examination: How each is examined.
        lifecycles: Stop when there were so many; None for all seeds.
        jobs: Processes; 1 for this one.
        say: Takes lines for people.
    """

    seeds: Iterable[int]
    examination: Examination
    lifecycles: int | None
    jobs: int
    say: Callable[[str], object]

    def run(self, record: Path | None = None) -> Findings:
        """
        Run until the end, or until interrupted from the keyboard; say what came of it.

        Args:
            record: Where a line of JSON with the result is added.
        """
        begin = last = time.monotonic()
        total, interrupted = Findings(), False
        examined = self._one_by_one() if self.jobs == 1 else self._side_by_side()
        try:
            for findings in examined:
                total += findings
                if findings.report:
                    self.say(findings.report + "\n")
                if time.monotonic() - last >= PROGRESS_SECONDS:
                    last = time.monotonic()
                    self.say(_line(total, last - begin))
                if self.lifecycles is not None and total.lifecycles >= self.lifecycles:
                    break
        except (KeyboardInterrupt, BrokenProcessPool):
            # By the second, somebody ended the other processes.
            interrupted = True
        examined.close()
        seconds = time.monotonic() - begin
        self.say(_line(total, seconds) + (", interrupted" if interrupted else ""))
        if record is not None:
            facts = _facts(total, seconds, self.jobs, interrupted=interrupted)
            with record.open("a") as file:
                file.write(json.dumps(facts) + "\n")
        return total

    def _one_by_one(self) -> _Examined:
        collecting = gc.isenabled()
        _stop_collector()
        try:
            for seed in self.seeds:
                yield _examine(self.examination, seed)
        finally:
            gc.unfreeze()
            if collecting:
                gc.enable()

    def _side_by_side(self) -> _Examined:
        seeds = iter(self.seeds)
        # Fresh processes, in which no thread can have been in the middle of anything.
        with ProcessPoolExecutor(self.jobs, get_context("spawn"), _prepare) as pool:
            running: set[Future[Findings]] = set()
            try:
                while True:
                    wanted = 2 * self.jobs - len(running)
                    running |= {
                        pool.submit(_examine, self.examination, seed)
                        for seed in islice(seeds, wanted)
                    }
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """Make a process ready for many runs."""
    # The first process hears of an interrupt too, and ends the others in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stop_collector()


def _stop_collector() -> None:
    # A history only grows, and whoever looks through it for garbage finds none, at
    # a fifth of the cost of a run. There is garbage, but it can wait for its end.
    gc.freeze()
    gc.disable()


def _examine(examination: Examination, seed: int) -> Findings:
    findings = examination(seed)
    gc.collect()
    return findings


def _line(total: Findings, seconds: float) -> str:
    faults = ", ".join(f"{kind} {many}" for kind, many in total.faults.most_common())
    return (
        f"{total.seeds} seeds, {total.lifecycles} lifecycles, "
        f"{total.attempts} attempts, {total.cancelled} cancelled, "
        f"{sum(total.faults.values())} faults ({faults}), "
        f"{len(total.broken)} seeds broke a rule, {seconds:.0f} s"
    )


def _facts(
    total: Findings, seconds: float, jobs: int, *, interrupted: bool
) -> dict[str, object]:
    return {
        "seeds": total.seeds,
        "lifecycles": total.lifecycles,
        "attempts": total.attempts,
        "cancelled": total.cancelled,
        "faults": dict(total.faults.most_common()),
        "violations": {str(seed): rules for seed, rules in total.broken.items()},
        "seconds": round(seconds, 1),
        "jobs": jobs,
        "interrupted": interrupted,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("aitor", "anyio", "trio")},
        },
    }
