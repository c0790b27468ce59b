"""
Signals that are handled, until there are too many of them.

A handler asks the event loop to end what it is doing, and a loop that is stuck, or busy
with the end that was asked for a moment ago, may never come to it. So a command takes
as many signals as it has an answer to, and the next one is the system's.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ("last_one_ends",)


@contextmanager
def last_one_ends(*numbers: signal.Signals, after: int) -> Iterator[None]:
    """
    Have the process ended by one signal more, whatever it is doing.

    To be entered when the handlers of those signals are in place.

    Args:
        numbers: The signals, counted together.
        after: How many their handlers get.
    """
    found = {each: signal.getsignal(each) for each in numbers}
    # One that the process was started to ignore stays ignored.
    handlers: dict[int, Any] = {each: it for each, it in found.items() if callable(it)}
    left = after

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            for each in handlers:
                signal.signal(each, signal.SIG_DFL)
        handlers[number](number, frame)

    for each in handlers:
        signal.signal(each, handle)
    try:
        yield
    finally:
        # What has been given to the system stays there: the end may be long.
        if left > 0:
            for each, handler in handlers.items():
                signal.signal(each, handler)
