"""
How long until it is there?

A new interpreter each time: the bare one, the imports, the command's help, and a first
answer through the mock. Beside them the imports of the peers, each in an environment
of its own. Time is that of the process from its start to its end.
"""

import os
import resource
import subprocess
import time
from typing import Any

from benchmarks.environments import interpreter
from benchmarks.suite import Row, Run, Table, at_most, median, rounds, spread

FIRST = (
    "import anyio\n"
    "from aitor import Broker\n"
    "from aitor.providers.mock import MockProvider\n"
    "async def main():\n"
    "    async with Broker([MockProvider()]) as broker:\n"
    "        await broker.submit('hello')\n"
    "anyio.run(main)\n"
)

WHAT: dict[str, tuple[str, tuple[str, ...]]] = {
    "python": ("main", ("-c", "pass")),
    "import aitor": ("main", ("-c", "import aitor")),
    "from aitor import Broker": ("main", ("-c", "from aitor import Broker")),
    "aitor, a first answer from the mock": ("main", ("-c", FIRST)),
    "aitor --help": ("main", ("-m", "aitor", "--help")),
    "import openai": ("clients", ("-c", "import openai")),
    "import tensorzero": ("tensorzero", ("-c", "import tensorzero")),
    "import litellm": ("litellm", ("-c", "import litellm")),
}


def measure(run: Run) -> dict[str, Any]:
    """Start everything some times in turn."""

    def one(name: str) -> dict[str, Any] | None:
        environment, arguments = WHAT[name]
        try:
            python = interpreter(environment)
        except OSError as error:
            run.left_out[name] = str(error)
            return None
        began, used = time.perf_counter(), _children()
        subprocess.run(
            [python, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )
        seconds, processor = time.perf_counter() - began, _children() - used
        return {"ms": seconds * 1e3, "processor_ms": processor * 1e3}

    return {"samples": rounds(run.of(4, 2), list(WHAT)[: run.of(None, -1)], one)}


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold the command's help against what one bears to wait for."""
    samples = data["samples"]
    return [
        at_most(
            f"{name}: until it has ended",
            median(samples.get(name), "ms"),
            goal,
            unit=" ms",
            shown=spread(samples.get(name), "ms", " ms"),
        )
        for name, goal in (("import aitor", 100), ("aitor --help", 500))
    ]


def tables(data: dict[str, Any]) -> list[Table]:
    """Show everything."""
    out = [
        (name, spread(some, "ms"), spread(some, "processor_ms"))
        for name, some in data["samples"].items()
    ]
    return [Table("Starts", ("what", "ms", "processor ms"), out)]
