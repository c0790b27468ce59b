"""
What does the broker itself cost a call, without a network?

Two hundred callers submit through the mock, which answers at once: with a worker for
each of them, and with 64 workers, as vendors have by default, so that most callers
wait in the mailbox. "Deadline" and "limit" add these to the former. Processor time is
that of the whole process, the callers' loop included.

What there is beyond the goal is spread thin: by sampling, a fifth is the cancel scope
that enforces the time limits of a call, another the calls and frames of five
coroutines, and no function of ours has more than a twentieth. Who waits in the mailbox
pays for an event and two more turns of the event loop.
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
    who = [
        ("aitor-mock", loop, kind)
        for kind in (KINDS if not run.quick else ("200 workers", "64 workers"))
        for loop in ("asyncio", "uvloop", "trio")
    ]
    if not run.quick:
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
    for loop, goal in (("asyncio", 25.0), ("uvloop", 25.0), ("trio", 75.0)):
        for kind in ("200 workers", "64 workers"):
            some = samples.get(f"aitor-mock/{loop}/{kind}")
            found.append(
                at_most(
                    f"processor time of a submit through the mock, 200 callers, "
                    f"{loop}, {kind}",
                    median(some, "processor_us"),
                    goal,
                    unit=" µs",
                    shown=spread(some, "processor_us", " µs"),
                )
            )
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
