"""
Run the fuzzer over every target, one after the other, and say what it found.

    make fuzz                                  # a minute for each target
    make fuzz ARGS="answers --seconds 600"

Inputs that brought something new are kept in `out/fuzz/TARGET/corpus`, where the next
run begins; findings, with their tracebacks, in `out/fuzz/TARGET`. An input that was a
finding goes into `tests/fuzz/test_found.py` once it is mended.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz.seeds import SEEDS

__all__ = ("main",)

EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
ARTIFACTS = ("found-?", "found-??", "found-???", "crash-*", "oom-*", "timeout-*")


@dataclass(frozen=True, slots=True)
class Ran:
    """
    What became of one target.

    Args:
        name: The target's name.
        runs: How many inputs it got.
        seconds: How long it ran.
        findings: The files that hold what was found.
    """

    name: str
    runs: int
    seconds: float
    findings: tuple[Path, ...]


def main() -> int:
    """Run what is asked for and return 1 if anything was found."""
    options = _arguments()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("atheris is not installed here: run `make fuzz`\n")
        return 2
    sys.stdout.write(f"{'target':12} {'runs':>10} {'seconds':>8}  findings\n")
    found = 0
    for name in options.targets or SEEDS:
        ran = _run(name, options.seconds, options.out / name)
        found += len(ran.findings)
        files = ", ".join(str(file) for file in ran.findings) or "none"
        line = f"{ran.name:12} {ran.runs:10,} {ran.seconds:8.0f}  {files}\n"
        sys.stdout.write(line)
        sys.stdout.flush()
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help=f"what to fuzz, by default everything: {', '.join(SEEDS)}",
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument(
        "--out", type=Path, default=Path("out/fuzz"), help="where inputs are kept"
    )
    options = parser.parse_args()
    for name in options.targets:
        if name not in SEEDS:
            parser.error(f"there is no target {name!r}; there are: {', '.join(SEEDS)}")
    return options


def _run(name: str, seconds: int, folder: Path) -> Ran:
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    for file in _found(folder):
        file.unlink()
    begin = time.monotonic()
    command = [sys.executable, "-m", "fuzz.worker", name, str(seconds), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")  # noqa: S603
    (folder / "log.txt").write_text(ended.stderr)
    executed = EXECUTED.search(ended.stderr)
    findings = _found(folder)
    if executed is None and not findings:
        sys.stderr.write(ended.stderr[-2_000:])
        raise SystemExit(f"{name}: the fuzzer did not run")
    return Ran(
        name,
        int(executed[1]) if executed else 0,
        time.monotonic() - begin,
        tuple(sorted(findings)),
    )


def _found(folder: Path) -> set[Path]:
    return {file for pattern in ARTIFACTS for file in folder.glob(pattern)}


if __name__ == "__main__":
    sys.exit(main())
