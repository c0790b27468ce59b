"""
The machine that measures: what it is, and who runs on which core.
"""

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

__all__ = ("CLIENT_CORE", "SERVER_CORE", "describe", "pin", "raise_limits")

CLIENT_CORE, SERVER_CORE = 0, 1
"""Which of the available cores the measured process and the server run on."""


def describe() -> dict[str, Any]:
    """Return what a figure means nothing without."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def pin(core: int) -> None:
    """Keep this process on one core, where the system allows it and there are two."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > core:
            os.sched_setaffinity(0, {cores[core]})


def raise_limits() -> None:
    """Allow as many open sockets as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
