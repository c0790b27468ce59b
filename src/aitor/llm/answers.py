"""
Answers that are handed out before they are there.

Whoever puts `functools.lru_cache` before an asynchronous method keeps coroutines,
which can be awaited once. Here the outcome of each is remembered for as long as
somebody keeps it, so the second to ask gets what the first one got.
"""

from collections.abc import Awaitable
from typing import Any
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import current_token

__all__ = ("settled",)


class _Outcome:
    """What came of an awaitable, for everybody who asks."""

    def __init__(self) -> None:
        self.run = current_token()
        self.done = anyio.Event()
        self.answer: Any = None
        self.failed = True


_outcomes: "WeakKeyDictionary[Awaitable[Any], _Outcome]" = WeakKeyDictionary()


async def settled(pending: Awaitable[Any]) -> Any:
    """
    Return what *pending* brings, however often it is asked.

    Raises:
        RuntimeError: If whoever awaited it first got an error or was cancelled, and
            only they can know which; or if they still await it in another event loop,
            which could wake nobody here.
    """
    outcome = _outcomes.get(pending)
    if outcome is None:
        outcome = _outcomes[pending] = _Outcome()
        try:
            outcome.answer = await pending
            outcome.failed = False
        finally:
            outcome.done.set()
    if outcome.run != current_token() and not outcome.done.is_set():
        raise RuntimeError("an answer that was kept is awaited in another event loop")
    await outcome.done.wait()
    if outcome.failed:
        raise RuntimeError("an answer that was kept had failed")
    return outcome.answer
