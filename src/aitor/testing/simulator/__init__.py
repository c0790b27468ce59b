"""
A simulator: the real broker, in virtual time, in a world that is against it.

One seed makes up providers, callers and faults (`make_script`), a run gives a history
of everything that happened (`run`), checkers say which promise was broken (`check`),
and a script that breaks one is made as small as can be (`shrink`). Faults end before
the run does, since a broker must not only survive them but also recover.

`python -m aitor.testing.simulator --seeds 0:1000 --requests 2000` runs many seeds.
The same seed gives the same history, line for line, on the same version of trio; that
needs two private switches of trio's (see `aitor.testing.virtual`).
"""

from aitor.testing.simulator.checkers import CHECKERS, RULES, Violation, check
from aitor.testing.simulator.generate import make_script
from aitor.testing.simulator.history import History
from aitor.testing.simulator.script import (
    KINDS,
    Closing,
    Phase,
    Plan,
    Replacement,
    Script,
)
from aitor.testing.simulator.shrink import shrink
from aitor.testing.simulator.watchdog import RunawayError
from aitor.testing.simulator.world import run

__all__ = (
    "CHECKERS",
    "KINDS",
    "RULES",
    "Closing",
    "History",
    "Phase",
    "Plan",
    "Replacement",
    "RunawayError",
    "Script",
    "Violation",
    "check",
    "make_script",
    "run",
    "shrink",
)
