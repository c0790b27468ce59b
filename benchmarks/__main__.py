"""
`python -m benchmarks [--quick] [NAME …]`, and `python -m benchmarks report`.
"""

import argparse
import importlib
import json
import sys
import time
import traceback
from typing import Any

from benchmarks.environments import versions
from benchmarks.machine import describe
from benchmarks.report import RESULTS, write_report
from benchmarks.suite import Run

BENCHMARKS = (
    "core",
    "http",
    "wires",
    "dead",
    "partial",
    "limit",
    "overload",
    "backpressure",
    "scale",
    "recovery",
    "batch",
    "start",
)


def main() -> int:
    """Run what was asked for, and report."""
    options = _arguments()
    names = options.names or list(BENCHMARKS)
    broken = []
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        try:
            if name != "report":
                _run(name, quick=options.quick)
        except Exception:  # noqa: BLE001  # what the others measure is worth as much
            traceback.print_exc()
            broken.append(name)
    page, missed = write_report(BENCHMARKS)
    print(f"{page}: {missed} goals missed" if missed else f"{page}: all goals reached")
    if broken:
        print(f"broken: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*BENCHMARKS, "report", []],
        metavar="NAME",
        help=f"{', '.join(BENCHMARKS)}; or report alone",
    )
    parser.add_argument("--quick", action="store_true", help="all smaller: for a look")
    return parser.parse_args()


def _run(name: str, *, quick: bool) -> None:
    module: Any = importlib.import_module(f"benchmarks.{name}")
    question = module.__doc__.strip().partition("\n")[0]
    print(f"{name}: {question}", file=sys.stderr, flush=True)
    run = Run(quick=quick, log=RESULTS / f"{name}.log")
    (RESULTS / f"{name}.log").unlink(missing_ok=True)
    before, began = describe(), time.time()
    data = module.measure(run)
    result = {
        "benchmark": name,
        "quick": quick,
        "machine": {**before, "load_after": describe()["load"]},
        "began": time.strftime("%Y-%m-%d %H:%M", time.gmtime(began)),
        "seconds": round(time.time() - began, 1),
        "versions": {"main": versions("main"), **run.versions},
        "left_out": run.left_out,
        "data": data,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
