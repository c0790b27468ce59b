"""
`python -m aitor.testing.simulator --seeds 0:1000`: run many seeds, and report.
"""

import argparse
import itertools
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from aitor.testing.simulator.examine import Examination
from aitor.testing.simulator.proof import Proof
from aitor.testing.simulator.script import WITHOUT

__all__ = ("main",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds asked for, and return 1 if any broke a rule."""
    options = _parser().parse_args(arguments)
    seeds: Iterable[int]
    if options.lifecycles is None:
        seeds = range(*(int(part) for part in options.seeds.split(":")))
    else:
        seeds = itertools.count(options.start)
    proof = Proof(
        seeds,
        Examination(
            options.requests, options.backend, tuple(options.without), options.shrink
        ),
        options.lifecycles,
        options.jobs,
        _say,
    )
    return 1 if proof.run(options.record).broken else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aitor.testing.simulator",
        description="Run the whole broker in virtual time under faults, and check "
        "its promises. See docs/simulator.md.",
    )
    add = parser.add_argument
    add(
        "--seeds",
        default="0:10",
        metavar="FIRST:END",
        help="which seeds to run (default: %(default)s)",
    )
    add(
        "--lifecycles",
        type=int,
        metavar="N",
        help="instead of --seeds: run seeds from --start on until N requests have "
        "had their outcome",
    )
    add("--start", type=int, default=0, metavar="SEED", help="(default: %(default)s)")
    add("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    add(
        "--record",
        type=Path,
        metavar="FILE",
        help="add the result to this file, as a line of JSON",
    )
    add("--requests", type=int, help="in each run; by default the seed decides")
    add("--backend", choices=("trio", "asyncio"), default="trio")
    add(
        "--shrink",
        type=int,
        default=300,
        metavar="RUNS",
        help="runs to spend on a smaller script (default: %(default)s)",
    )
    add(
        "--without",
        nargs="*",
        default=(),
        metavar="KIND",
        choices=WITHOUT,
        help=f"what to leave out: {', '.join(WITHOUT)}",
    )
    return parser


if __name__ == "__main__":
    # A `kill` is told and recorded as ctrl-C is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
