"""
The report: from the JSON of the last run of each benchmark to a page and pictures.
"""

import importlib
import inspect
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite import Row, Table

__all__ = ("RESULTS", "write_report")

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGE, PICTURES = DOCS / "benchmarks.md", DOCS / "benchmarks"
README, BEGIN, END = ROOT / "README.md", "<!-- measured -->", "<!-- measured: end -->"

INTRODUCTION = """\
# Benchmarks

This page is written by `python -m benchmarks report` from what `make bench` measured;
no figure on it was typed. Rates and times are medians of several rounds, in brackets
from where to where. Each measured process has one core to itself and the upstream the
other one. A result depends on the machine: run `make bench` on yours.
"""

PEERS = (
    "aiohttp",
    "aiolimiter",
    "anyio",
    "httpx2",
    "litellm",
    "openai",
    "httptools",
    "pyqwest",
    "pyreqwest",
    "tenacity",
    "tensorzero",
    "trio",
    "uvloop",
)
"""Distributions whose versions are worth a line."""


def write_report(names: Sequence[str]) -> tuple[Path, int]:
    """
    Write the page and the pictures, and what had a goal into the README.

    Args:
        names: The benchmarks, in order; those without a result are left out.

    Returns:
        The page, and how many goals were missed.
    """
    PICTURES.mkdir(parents=True, exist_ok=True)
    sections = [INTRODUCTION]
    judged: list[tuple[Row, str]] = []
    shown: list[str] = []
    for name in names:
        path = RESULTS / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            module: Any = importlib.import_module(f"benchmarks.{name}")
            rows = [
                (row, _command(name, result)) for row in module.rows(result["data"])
            ]
            sections.append(_section(module, rows, result))
            judged += [(row, how) for row, how in rows if _is_judged(row)]
            shown += getattr(module, "IN_README", ())
    PAGE.write_text("\n".join(sections), encoding="utf-8")
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    charts = "".join(f"![{one}](docs/benchmarks/{one}.svg)\n\n" for one in shown)
    measured = f"{BEGIN}\n\n{charts}{_results(judged)}\n{END}"
    README.write_text(before + measured + after, encoding="utf-8")
    return PAGE, sum(row.reached is False for row, _ in judged)


def _is_judged(row: Row) -> bool:
    return bool(row.goal) and row.reached is not None


def _command(name: str, result: dict[str, Any]) -> str:
    return f"python -m benchmarks {name}" + (" --quick" if result["quick"] else "")


def _results(rows: Iterable[tuple[Row, str]]) -> str:
    return _markdown(
        ("what", "measured", "goal", "command"),
        [(row.what, row.measured, _goal(row), f"`{command}`") for row, command in rows],
    )


def _section(
    module: Any, rows: Sequence[tuple[Row, str]], result: dict[str, Any]
) -> str:
    question, _, about = inspect.cleandoc(module.__doc__).partition("\n")
    parts = [f"## {question}\n", f"{about.strip()}\n", _results(rows)]
    if hasattr(module, "pictures"):
        for file, picture in module.pictures(result["data"]).items():
            (PICTURES / f"{file}.svg").write_text(picture, encoding="utf-8")
            parts.append(f"![{file}](benchmarks/{file}.svg)\n")
    if hasattr(module, "tables"):
        parts.extend(map(_details, module.tables(result["data"])))
    parts += [f"Left out: {who}: {why}\n" for who, why in result["left_out"].items()]
    parts.append(_circumstances(result))
    return "\n".join(parts)


def _goal(row: Row) -> str:
    if not row.goal or row.reached is None:
        return row.goal
    return f"{row.goal}: {'reached' if row.reached else '**missed**'}"


def _details(table: Table) -> str:
    return f"**{table.title}**\n\n{_markdown(table.heads, table.rows)}"


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _circumstances(result: dict[str, Any]) -> str:
    machine, found = result["machine"], result["versions"]
    seen: dict[str, set[str]] = {}
    for packages in found.values():
        for name in PEERS:
            if name in packages:
                seen.setdefault(name, set()).add(packages[name])
    listed = ", ".join(f"{name} {'/'.join(sorted(of))}" for name, of in seen.items())
    return (
        f"<sub>{result['began']} UTC, {result['seconds']:.0f} s, "
        f"{machine['cores']} cores of {machine['processor']}, {machine['system']}, "
        f"Python {machine['python']}, load {machine['load'][0]} before and "
        f"{machine['load_after'][0]} after. {listed}.</sub>\n"
    )
