"""
The event loop that a command runs on: uvloop under asyncio where it is installed.

uvloop halves what a call over HTTP costs. Only commands choose it; a program that uses
the library chooses its own loop.
"""

import importlib.util
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ("run",)

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]], backend: str) -> T:
    """Run *main* on *backend*, `asyncio` or `trio`, and return what it returns."""
    fast = backend == "asyncio" and importlib.util.find_spec("uvloop") is not None
    options = {"use_uvloop": True} if fast else {}
    return anyio.run(main, backend=backend, backend_options=options)
