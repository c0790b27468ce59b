"""
What does the broker itself cost a call, without a network?

Two hundred callers submit through the mock, which answers at once: with a worker for
each of them, as mocks have by default, and with 64 workers, as vendors have, so that
most callers wait in the mailbox. "Deadline" and "limit" add these to the former.
Processor time is that of the whole process, the callers' loop included.

"asyncio" is `anyio.run`, as the README has it. Under `asyncio.run` a call costs two to
three microseconds more, because whoever asks there which event loop runs has to find
out each time. Who waits in the mailbox pays for a place there, for something to wait
on, and for two more turns of the event loop.
"""

from typing import Any

from benchmarks.suite import Row, Run, Table, at_most, median, number, rounds, spread

CALLERS = 200

KINDS = {
    "200 workers": ({"workers": CALLERS}, {}),
    "64 workers": ({"workers": 64}, {}),
    "deadline": ({"workers": CALLERS}, {"timeout": 30.0}),
    "limit": (
        {
            "workers": CALLERS,
            "requests_per_minute": 1e9,
            "tokens_per_minute": 1e12,
        },
        {},
    ),
}


def measure(run: Run) -> dict[str, Any]:
    """Measure each kind on each loop."""
    kinds = ("200 workers", "64 workers")
    who = [
        ("aitor-mock", loop, kind)
        for kind in kinds
        for loop in ("asyncio", "uvloop", "trio")
    ]
    if not run.quick:
        more = KINDS.keys() - kinds
        who += [
            ("aitor-mock", loop, kind)
            for kind in sorted(more)
            for loop in ("asyncio", "trio")
        ]
        who.append(("aitor-mock", "asyncio.run", "200 workers"))
        who.append(("litellm-mock", "asyncio", "200 workers"))
    with run.workers() as workers:

        def one(who: tuple[str, str, str]) -> dict[str, Any] | None:
            peer, loop, kind = who
            mock, submit = KINDS[kind]
            settings = {"mocks": [mock], "submit": submit, "in_flight": CALLERS}
            return workers.load(
                "closed",
                peer,
                loop=loop,
                settings=settings,
                in_flight=CALLERS,
                seconds=run.of(0.5, 0.4),
                warmup=0.2,
            )

        return {"samples": rounds(run.of(3, 2), who, one)}


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold the processor time of a submit against its goals."""
    samples = data["samples"]
    found = []
    for loop, goal in (("asyncio", 25.0), ("trio", 75.0), ("uvloop", None)):
        what = f"processor time of a submit through the mock, 200 callers, {loop}"
        some = samples.get(f"aitor-mock/{loop}/200 workers")
        shown = spread(some, "processor_us", " µs")
        used = median(some, "processor_us")
        if goal is None:
            found.append(Row(what, shown))
        else:
            found.append(at_most(what, used, goal, unit=" µs", shown=shown))
        waiting = samples.get(f"aitor-mock/{loop}/64 workers")
        shown = spread(waiting, "processor_us", " µs")
        found.append(Row(f"the same, where 136 of the 200 wait, {loop}", shown))
    return found


def tables(data: dict[str, Any]) -> list[Table]:
    """Show everything."""
    lines = []
    for name, some in data["samples"].items():
        peer, loop, kind = name.split("/")
        lines.append(
            (
                peer.removesuffix("-mock"),
                loop,
                kind,
                spread(some, "processor_us"),
                number(median(some, "rate") or 0),
            )
        )
    heads = ("who", "loop", "settings", "µs a call", "calls/s")
    return [Table("Submits through a mock, 200 callers", heads, lines)]
