"""
The connection pools of a provider: one for each run of an event loop.

Connections cannot be used in another loop than the one that made them, and a program
may start several, one after the other or in several threads at once. So a pool is
opened inside the loop where it is first needed, and found again by that loop alone.
With the loop it ends, whoever opened what: nobody need close a broker that was never
opened.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

import anyio
from anyio.lowlevel import RunVar

from aitor.wire import Wire

__all__ = ("Line", "Pools")

PATIENCE = 5.0
"""Seconds that closing a retired pool may take."""


class Line:
    """
    A pool in use.

    Args:
        wire: The pool.
        lines: Where it belongs.
    """

    __slots__ = ("exchanges", "lines", "wire")

    def __init__(self, wire: Wire, lines: "_Lines") -> None:
        self.wire = wire
        self.lines = lines
        self.exchanges = 0
        """Calls on it at this moment."""


class _Lines:
    """The pools of one run of an event loop."""

    __slots__ = ("_end", "current", "retired")

    def __init__(self) -> None:
        self.current: Line | None = None
        self.retired: list[Line] = []
        self._end = self._close_at_the_end()
        # It runs to its `yield` and awaits nothing there. From now on the loop knows
        # it, and will close it, as it closes every generator, when it ends itself.
        with suppress(StopIteration):
            anext(self._end).__await__().send(None)

    def retire(self) -> None:
        """Let the next call open a new pool."""
        if self.current is not None:
            self.retired.append(self.current)
            self.current = None

    async def _close_at_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.retire()
            await _close(self.retired[:], self.retired)


class Pools:
    """
    Opens pools when they are needed, and closes those that are no longer.

    Args:
        open_pool: Opens one, in the loop that runs.
    """

    def __init__(self, open_pool: Callable[[], Wire]) -> None:
        self._open = open_pool
        self._runs: RunVar[_Lines] = RunVar("aitor.providers.pools")

    def take(self) -> Line:
        """Return the current pool, which is to be given back."""
        lines = self._lines()
        if lines.current is None or lines.current.wire.stale:
            self.retire()
            lines.current = Line(self._open(), lines)
        lines.current.exchanges += 1
        return lines.current

    def give_back(self, line: Line) -> bool:
        """Give back what was taken; return whether `tidy` has something to close."""
        line.exchanges -= 1
        return bool(line.lines.retired)

    async def tidy(self) -> None:
        """Close the retired pools that nobody uses any more."""
        retired = self._lines().retired
        await _close([old for old in retired if not old.exchanges], retired)

    def retire(self) -> None:
        """Let the next call open a new pool; those on the old one keep it."""
        self._lines().retire()

    async def aclose(self) -> None:
        """Close every pool of this loop; closing twice does nothing."""
        self.retire()
        retired = self._lines().retired
        await _close(retired[:], retired)

    def _lines(self) -> _Lines:
        try:
            return self._runs.get()
        except LookupError:
            lines = _Lines()
            self._runs.set(lines)
            return lines


async def _close(lines: list[Line], retired: list[Line]) -> None:
    """Close *lines*, some of the *retired*."""
    for line in lines:
        # Removed first, so that nobody else closes it meanwhile.
        retired.remove(line)
    with anyio.move_on_after(PATIENCE, shield=True):
        for line in lines:
            await line.wire.aclose()
