"""
Break each guard of the library on purpose, and see which test notices.

`python -m tests.mutation` copies the source and the tests to a temporary folder, and
there breaks one guard at a time; the tree itself is never touched. It prints for each
mutation the test that failed, or SURVIVED, and writes the table to docs/mutation.md.
`python -m tests.mutation NAME…` tries some of them and writes nothing.
"""

import argparse
import importlib
import multiprocessing
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.mutation.mutation import ROOT, Mutation
from tests.mutation.table import MUTATIONS

FORKS = multiprocessing.get_context("fork")

HEAVY = ("anthropic", "anyio", "httpx2", "hypothesis", "openai", "pydantic", "trio")
"""Imported once, before the processes that run the tests are forked off."""

COPIED = ("src", "tests", "docs", "examples", "README.md", "pyproject.toml")

PAGE = ROOT / "docs" / "mutation.md"

SECONDS = 30.0
"""Time for the tests of one mutation, should pytest itself be stuck."""

ALL_SECONDS = 600.0
"""Time for all of them, once, with nothing broken."""

HANGING = ("-o", "timeout=10")
"""A test that does not end has noticed something too."""

FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+)", re.MULTILINE)

FAILURES = 1
"""What pytest exits with where tests have failed, and not where they cannot start."""

INTRODUCTION = (
    "# Broken on purpose\n\n"
    "A test that cannot fail shows nothing. So each guard of the library is broken on "
    "purpose, one at a time, in a\ncopy: a release that is left out, a bound that is "
    "not asked, a field that a hash forgets. Some test has to fail\nthen. This page is "
    "what `python -m tests.mutation` found; `tests/mutation/` has the table of what is "
    "broken and how.\n\n"
)


class Result(NamedTuple):
    """What became of one mutation; *test* is None if nobody noticed."""

    mutation: Mutation
    test: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("names", nargs="*", help="mutations; all by default")
    names = parser.parse_args(arguments).names
    known = {mutation.name: mutation for mutation in MUTATIONS}
    if unknown := [name for name in names if name not in known]:
        parser.error(
            f"there is no mutation {unknown[0]!r}; there are: {', '.join(known)}"
        )
    chosen = [known[name] for name in names] or list(MUTATIONS)
    if stale := [one.name for one in chosen if not one.fits()]:
        parser.error(f"not once in the source: {', '.join(stale)}")
    began = time.monotonic()
    for module in HEAVY:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = _copied(Path(folder))
        paths = dict.fromkeys(path for one in chosen for path in _paths(one))
        if test := _failing(copy, list(paths), ALL_SECONDS):
            say(f"{test} fails although nothing is broken")
            return 2
        results = [_tried(copy, mutation) for mutation in chosen]
    survived = [result for result in results if result.test is None]
    seconds = time.monotonic() - began
    say(f"{len(results)} mutations, {len(survived)} survived, {seconds:.0f} s")
    if not names:
        PAGE.write_text(_page(results), encoding="utf-8")
    return 1 if survived else 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _copied(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        elif source.exists():
            shutil.copy2(source, folder / name)
    return folder


def _tried(copy: Path, mutation: Mutation) -> Result:
    with _broken(copy, mutation):
        test = _failing(copy, shlex.split(mutation.tests))
    say(f"{mutation.name}: {f'found by {test}' if test else 'SURVIVED'}")
    return Result(mutation, test)


@contextmanager
def _broken(copy: Path, mutation: Mutation) -> Iterator[None]:
    path = copy / mutation.path
    text = path.read_text(encoding="utf-8")
    times = path.stat()
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        # With its old time, by which Python knows that its compiled file is good.
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _failing(
    copy: Path, arguments: Sequence[str], seconds: float = SECONDS
) -> str | None:
    """Return the first test that fails, None if all pass."""
    output = copy / "output.txt"
    process = FORKS.Process(target=_run_pytest, args=(copy, arguments, output))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        return f"no end within {seconds:g} s"
    if process.exitcode == 0:
        return None
    text = output.read_text(encoding="utf-8", errors="replace")
    if process.exitcode != FAILURES:
        raise SystemExit(f"pytest {shlex.join(arguments)}: {process.exitcode}\n{text}")
    found = FAILED.search(text)
    if found is None:
        raise SystemExit(f"pytest {shlex.join(arguments)}:\n{text}")
    return found[1]


def _run_pytest(copy: Path, arguments: Sequence[str], output: Path) -> None:
    with output.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.chdir(copy)
    # For this process, and for those that tests start.
    sys.path[:0] = [str(copy / "src"), str(copy)]
    os.environ["PYTHONPATH"] = str(copy / "src")
    quiet = "ignore::pytest.PytestAssertRewriteWarning"  # what is imported already
    options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-W", quiet]
    sys.exit(pytest.main([*options, *HANGING, *arguments]))


def _paths(mutation: Mutation) -> list[str]:
    return [part for part in shlex.split(mutation.tests) if part.startswith("tests/")]


def _page(results: Sequence[Result]) -> str:
    lines = []
    for room in dict.fromkeys(result.mutation.path.parts[2] for result in results):
        title = room.removesuffix(".py")
        lines += [
            f"## {title}",
            "",
            "| broken | the promise | found by |",
            "|---|---|---|",
        ]
        for mutation, test in results:
            if mutation.path.parts[2] == room:
                told = f"`{test.removeprefix('tests/')}`" if test else "**nothing**"
                lines.append(f"| {mutation.name} | {mutation.promise} | {told} |")
        lines.append("")
    found = sum(result.test is not None for result in results)
    total = f"{len(results)} guards broken, {found} of them noticed.\n\n"
    return INTRODUCTION + total + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
