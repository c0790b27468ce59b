"""
A watchdog: no run takes more of the processor than it is given.

A wait that is too small to move the clock is an endless loop, and virtual time would
wait for its end for ever. So the processor's own clock ends it.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

__all__ = ("RunawayError", "at_most")


class RunawayError(RuntimeError):
    """The run used up its processor time: something spins without time passing."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """
    Interrupt what runs for more *seconds* of processor time, in the main thread.

    Raises:
        RunawayError: It did.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "SIGVTALRM"):
        yield
        return
    old = signal.signal(signal.SIGVTALRM, partial(_interrupt, seconds))
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, old)


def _interrupt(seconds: float, _number: int, _frame: FrameType | None) -> None:
    raise RunawayError(f"still running after {seconds} s of processor time")
