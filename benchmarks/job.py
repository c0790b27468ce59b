"""
The end of a job: its result, handed over, and the process gone.
"""

import json
import os
from typing import Any, NoReturn, TextIO

__all__ = ("finish", "hand_over_to")

_output: list[TextIO] = []


def hand_over_to(output: TextIO) -> None:
    """Let `finish` write there."""
    _output[:] = [output]


def finish(result: Any) -> NoReturn:
    """
    Hand *result* over and end this process at once.

    Thousands of calls may be in flight, and to cancel them politely would take some
    peers longer than the measurement.
    """
    (output,) = _output
    json.dump(result, output)
    output.flush()
    os._exit(0)
