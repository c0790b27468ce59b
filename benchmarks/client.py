"""
The measured process: it takes jobs, and does each one in a fork of itself.

Before the first job it imports what is to be measured; so a job begins with warm
imports, a new event loop and an empty pool, and ends by vanishing, whatever is still
in flight. It runs in the environment of the one it measures, so this module and
`benchmarks.load` need nothing but the standard library.
"""

# ruff: noqa: TID251  # the loops themselves are what is compared

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.job import finish, hand_over_to
from benchmarks.machine import CLIENT_CORE, pin, raise_limits

__all__ = ("run_on",)


def run_on(loop: str, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """
    Run *main* on `asyncio`, `uvloop` or `trio`, or by `asyncio.run`.

    The first two go by way of `anyio.run` where it is installed, for every peer alike:
    whoever asks there which event loop runs, as all do that are built on anyio, is told
    and need not find out.
    """
    if loop == "trio":
        import trio

        return trio.run(main)
    import asyncio

    try:
        import anyio
    except ImportError:
        return asyncio.run(main())
    if loop == "asyncio.run":
        return asyncio.run(main())
    return anyio.run(main, backend_options={"use_uvloop": loop == "uvloop"})


def _carry_out(job: dict[str, Any]) -> Any:
    module, _, name = job["function"].partition(":")
    function = getattr(importlib.import_module(module), name)

    async def main() -> Any:
        return await function(**job["arguments"])

    try:
        return run_on(job["loop"], main)
    except BaseException as error:  # noqa: BLE001  # it is told, then the fork ends
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _forked(job: dict[str, Any]) -> Any:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        hand_over_to(os.fdopen(writer, "w", encoding="utf-8"))
        finish(_carry_out(job))
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"error": "the process died"}


def main() -> None:
    """Do every job of the standard input."""
    pin(CLIENT_CORE)
    raise_limits()
    # What others print on the way is no answer of ours.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        for module in sys.argv[1:]:
            importlib.import_module(module)
        hello: dict[str, Any] = {"python": sys.version.split()[0]}
    except Exception as error:  # noqa: BLE001  # the peer is left out
        hello = {"error": f"{type(error).__name__}: {error}"[:500]}
    print(json.dumps(hello), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
