"""
`python -m aitor.testing.simulator --seeds 0:1000`: run many seeds, and report.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from aitor.testing.simulator.checkers import RULES, Violation, check
from aitor.testing.simulator.history import History
from aitor.testing.simulator.script import KINDS, Script, make_script
from aitor.testing.simulator.shrink import shrink
from aitor.testing.simulator.world import RunawayError, run

__all__ = ("main",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds asked for, and return 1 if any broke a rule."""
    options = _parser().parse_args(arguments)
    begin, end = (int(part) for part in options.seeds.split(":"))
    broken, requests, started = 0, 0, time.process_time()
    for seed in range(begin, end):
        script = make_script(seed, options.requests, without=options.without)
        requests += len(script.plans)
        history, violations = _run(script, options.backend)
        if violations:
            broken += 1
            _report(script, history, violations, runs=options.shrink)
    seconds = time.process_time() - started
    sys.stdout.write(
        f"{end - begin} seeds, {requests} requests, {broken} seeds broke a rule; "
        f"{requests / max(seconds, 1e-9):.0f} requests a second of processor time\n"
    )
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aitor.testing.simulator")
    add = parser.add_argument
    add("--seeds", default="0:10", metavar="FIRST:END", help="which seeds to run")
    add("--requests", type=int, default=2_000, help="requests in each run")
    add("--backend", choices=("trio", "asyncio"), default="trio")
    add("--shrink", type=int, default=300, help="runs to spend on a smaller script")
    add(
        "--without",
        nargs="*",
        default=(),
        choices=(*KINDS, "close", "shared"),
        help="leave these out",
    )
    return parser


def _run(script: Script, backend: str) -> tuple[History | None, list[Violation]]:
    try:
        history = run(script, backend)
    except RunawayError as error:
        return None, [Violation(0, 0.0, str(error))]
    return history, check(history)


def _report(
    script: Script, history: History | None, violations: list[Violation], *, runs: int
) -> None:
    lines = [f"seed {script.seed} broke rules:"]
    lines += [f"  {violation}" for violation in violations[:MOST_SHOWN]]
    if runs:
        rule = violations[0].rule
        script = shrink(script, rule, runs=runs)
        lines += [f"the smallest script for rule {rule}, {RULES.get(rule, '')}:"]
        lines += [str(script)]
        smaller, violations = _run(script, "trio")
        lines += [f"  {violation}" for violation in violations[:MOST_SHOWN]]
        history = smaller or history
    if history is not None:
        lines += ["the last of its history:", history.last()]
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()


MOST_SHOWN = 8

if __name__ == "__main__":
    sys.exit(main())
