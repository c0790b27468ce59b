"""What a process holds at one instant: memory, descriptors, tasks and threads."""

import gc
import threading
from dataclasses import dataclass
from pathlib import Path

import anyio

from aitor import Broker

__all__ = ("Reading", "read")

PAGE = 4_096
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One look.

    Args:
        megabytes: Resident memory.
        sockets: Open sockets.
        descriptors: Everything that is open, sockets included.
        tasks: Tasks of the event loop.
        threads: Threads.
        in_flight: Calls on the wire.
        waiting: Requests in mailboxes and at their doors.
        open: Requests without an outcome.
    """

    megabytes: float
    sockets: int
    descriptors: int
    tasks: int
    threads: int
    in_flight: int = 0
    waiting: int = 0
    open: int = 0


def read(broker: Broker | None = None, *, collect: bool = False) -> Reading:
    """
    Look at this process, and at *broker*.

    Args:
        broker: The broker, if there is one.
        collect: Whether to collect garbage before, which takes a moment.
    """
    if collect:
        gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    links = _descriptors()
    known = broker.statistics() if broker else None
    providers = known.providers.values() if known else ()
    return Reading(
        megabytes=pages * PAGE / MEGABYTE,
        sockets=sum(link.startswith("socket:") for link in links),
        descriptors=len(links),
        tasks=len(anyio.get_running_tasks()),
        threads=threading.active_count(),
        in_flight=sum(each.in_flight for each in providers),
        waiting=sum(each.queued + each.at_the_door for each in providers),
        open=known.open if known else 0,
    )


def _descriptors() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(path.readlink()))
        except FileNotFoundError:
            # The folder was itself open while it was listed.
            continue
    return found
