"""
Who answers when a provider fails a part of the time?

64 callers, a call takes 10 ms, `timeout=30`; aitor runs with its default settings. The
upstream plays a script of faults (`benchmarks.faults`), with the same luck for all, and
what was sent is its own count. Beside aitor, alone: OpenAI's client with three retries,
the same by hand with aiolimiter and tenacity, and LiteLLM's Router with three retries,
of which half as much is asked, since it takes its time. aitor should answer no fewer
than the plain client, and all by `map`, in 1.2 times its time at most, with no more
calls for an answer than it sends (2 % for chance: each answer costs 1 / (1 - p) calls
where p fail, for everybody).

With a second provider the others wait less before they go on to it, as in the
benchmark of a dead one. Where a healthy one stands behind a broken one, rates are those
after the first 1.5 s, against the same peer's with the second provider alone; wasted
are the calls that the first failed, from the beginning. 64 of them are those that were
in flight before the first had failed, and a probe or a pause may cost three more: one a
second where the first says when to ask again, and fewer and fewer where it is down.

`python -m benchmarks.partial --help` looks at single rows.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.partial_cases import (
    ALONE,
    BEHIND,
    IN_FLIGHT,
    OURS,
    TITLES,
    WHO,
    Plan,
    Sample,
    measured,
    plans,
)
from benchmarks.report import RESULTS
from benchmarks.suite import Row, Run, Table, at_most, number
from benchmarks.svg import groups

IN_README = ("partial",)
"""Pictures that the README shows, too."""

CHANCE = 1.02
"""How many calls more an answer may cost than through the plain client: the luck of
those that were still in flight at the end differs."""


def measure(run: Run) -> dict[str, Any]:
    """Measure everybody in every case, and rates of ours again and again."""
    who = run.of(list(WHO), ["plain", *OURS])
    what = list(plans(who))
    rates = [plan for plan in what if plan.kind == "behind" and plan.who in OURS]
    return {"samples": measured(run, [*what, *rates * run.of(2, 0)])}


# The goals.


class Verdict(NamedTuple):
    """
    A sample held against its goals.

    Args:
        measured: It, in words.
        goal: They.
        missed: Which of them it did not reach.
    """

    measured: str
    goal: str
    missed: list[str]


def judge_alone(samples: dict[str, Sample], case: str, who: str) -> Verdict | None:
    """Hold *who* against the plain client; None where one of them is missing."""
    sample = samples.get(f"alone/{case}/{who}")
    plain = samples.get(f"alone/{case}/plain")
    if not sample or not plain:
        return None
    asked, answered = sample["asked"], sample["answered"]
    wanted = math.ceil(asked * plain["answered"] / plain["asked"])
    if who == "map" or ALONE[case].ideal:
        wanted = asked
    longest = 1.2 * plain["seconds"] * asked / plain["asked"]
    if ALONE[case].ideal:
        longest = 2 * asked * ALONE[case].ideal
    most = CHANCE * _each(plain)
    missed = []
    if answered < wanted:
        missed.append("answers")
    if sample["seconds"] > longest:
        missed.append("time")
    if _each(sample) > most:
        missed.append("calls")
    return Verdict(
        f"{number(answered)} of {number(asked)}, {number(sample['seconds'])} s, "
        f"{_each(sample):.2f} calls each",
        f"at least {number(wanted)}, at most {number(longest)} s and {most:.2f} calls",
        missed,
    )


def judge_behind(samples: dict[str, Sample], case: str, who: str) -> Verdict | None:
    """Hold *who* against itself with the second provider alone."""
    sample = samples.get(f"behind/{case}/{who}")
    if not sample or f"behind//{who}" not in samples:
        return None
    share = _share(samples, case, who)
    most = IN_FLIGHT + 3 * BEHIND[case].pauses(math.ceil(sample["lasted"]))
    missed = []
    if share < 0.9:
        missed.append("rate")
    if sample["wasted"] > most:
        missed.append("wasted")
    return Verdict(
        f"{share:.2f} of the rate, {number(sample['wasted'])} wasted",
        f"at least 0.90, at most {number(most)}",
        missed,
    )


def _each(sample: Sample) -> float:
    """Return the calls that an answer cost."""
    if not sample["answered"]:
        return math.inf
    return float(sample["sent"] / sample["answered"])


def _share(samples: dict[str, Sample], case: str, who: str) -> float:
    """Return the rate behind a broken provider, of that without it."""
    alone = samples.get(f"behind//{who}")
    if not alone or not alone["rate"]:
        return math.nan
    return float(samples[f"behind/{case}/{who}"]["rate"] / alone["rate"])


# What the report shows.


def rows(data: dict[str, Any]) -> list[Row]:
    """Hold aitor against the plain client, and against the second provider."""
    samples = data["samples"]
    out = [
        _row(f"{case.title}: {who}", judge_alone(samples, name, who))
        for name, case in ALONE.items()
        for who in OURS
    ]
    seconds = [
        sample["asked"] - sample["answered"]
        for name, sample in samples.items()
        if name.startswith("second/") and name.endswith(OURS)
    ]
    failed = sum(seconds) if seconds else None
    what = "each of these before a healthy second provider: requests that failed"
    out.append(at_most(what, failed, 0))
    out += [
        _row(
            f"before a healthy second provider, {case.title}: {who}",
            judge_behind(samples, name, who),
        )
        for name, case in BEHIND.items()
        for who in OURS
    ]
    return out


def _row(what: str, verdict: Verdict | None) -> Row:
    if verdict is None:
        return Row(what, "not measured")
    return Row(what, verdict.measured, verdict.goal, not verdict.missed)


def tables(data: dict[str, Any]) -> list[Table]:
    """Show the peers."""
    samples = data["samples"]
    heads = ("provider", "who", "answered", "seconds", "calls sent", "an answer")
    out = [
        Table(title, (*heads, "failures"), _answers(samples, kind))
        for kind, title in (
            ("alone", "A provider that fails a part of the time, alone"),
            ("second", "The same before a healthy second provider"),
        )
    ]
    behind = [
        (
            case.title,
            TITLES[who],
            number(sample["rate"]),
            f"{_share(samples, name, who):.2f}",
            number(sample["at_first"]),
            number(sample["wasted"]),
        )
        for name, case in BEHIND.items()
        for who in TITLES
        if (sample := samples.get(f"behind/{name}/{who}"))
    ]
    heads = ("provider", "who", "calls/s", "of the second alone", "it got", "wasted")
    title = "A broken first provider before a healthy second one"
    return [*out, Table(title, heads, behind)]


def _answers(samples: dict[str, Sample], kind: str) -> list[Sequence[str]]:
    return [
        (
            case.title,
            TITLES[who],
            f"{number(sample['answered'])} of {number(sample['asked'])}",
            number(sample["seconds"]),
            number(sample["sent"]),
            f"{_each(sample):.2f}",
            ", ".join(f"{n:,} {error}" for error, n in sample["failures"].items()),
        )
        for name, case in ALONE.items()
        for who in TITLES
        if (sample := samples.get(f"{kind}/{name}/{who}"))
    ]


def pictures(data: dict[str, Any]) -> dict[str, str]:
    """Draw what is answered, and how fast a second provider is let work."""
    samples = data["samples"]
    seen = {name.rpartition("/")[2] for name in samples}
    alone = [who for who in TITLES if who in seen]
    behind = [who for who in alone if who != "plain"]

    def answered(case: str, who: str) -> tuple[float, str] | None:
        if (sample := samples.get(f"alone/{case}/{who}")) is None:
            return None
        share = sample["answered"] / sample["asked"]
        # Rounded down: what is not all must not look like it.
        percent = math.floor(1_000 * share) / 10
        pace = sample["answered"] / sample["seconds"]
        return share, f"{percent:g} %, {number(round(pace))} a second"

    def rate(case: str, who: str) -> tuple[float, str] | None:
        if (sample := samples.get(f"behind/{case}/{who}")) is None:
            return None
        share = _share(samples, case, who)
        return share, f"{share:.2f}, {number(sample['wasted'])} wasted"

    return {
        "partial": groups(
            "Answered while a provider fails a part of the time, and at which rate",
            [TITLES[who] for who in alone],
            [
                (case.title, [answered(name, who) for who in alone])
                for name, case in ALONE.items()
            ],
        ),
        "partial-second": groups(
            "Calls a second with a broken first provider, of those without it",
            [TITLES[who] for who in behind],
            [
                (case.title, [rate(name, who) for who in behind])
                for name, case in BEHIND.items()
            ],
        ),
    }


# What the look prints.


def line(samples: dict[str, Sample], name: str) -> str:
    """Tell of one sample in one line."""
    kind, case, who = name.split("/")
    sample = samples[name]
    parts = [f"{kind:6} {case or '(second alone)':14} {who:8}"]
    verdict = None
    if kind == "behind":
        whole = sample["served"] / sample["lasted"] if sample["lasted"] else 0.0
        verdict = judge_behind(samples, case, who) if case else None
        parts.append(
            f"{sample['rate']:6,.0f}/s settled, {whole:6,.0f}/s whole; first got "
            f"{sample['at_first']:,}, wasted {sample['wasted']:,}"
        )
    else:
        verdict = judge_alone(samples, case, who) if kind == "alone" else None
        parts.append(
            f"{sample['answered']:5,} of {sample['asked']:,} in "
            f"{sample['seconds']:5.1f} s; sent {sample['sent']:,}: "
            f"{sample['sent'] / sample['asked']:.2f} a request, "
            f"{_each(sample):.2f} an answer; wasted {sample['wasted']:,}"
        )
    if sample["failures"]:
        parts.append(f"failed {sample['failures']}")
    if verdict and who in OURS:
        missed = ", ".join(verdict.missed)
        parts.append(f"MISSED {missed} ({verdict.goal})" if missed else "reached")
    return "  ".join(parts)


def main() -> int:
    """Look at single rows; what was measured before stays, to compare with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.partial")
    names = ", ".join([*ALONE, *BEHIND])
    parser.add_argument("--rows", default="", help=f"beginnings of: {names}")
    parser.add_argument("--only", default="submit,map", help=f"of {', '.join(WHO)}")
    parser.add_argument("--kind", default="", help="alone, second, behind")
    parser.add_argument("--rounds", type=int, default=1, help="how often")
    parser.add_argument("--quick", action="store_true", help="all smaller")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / f"partial-look{'-quick' if options.quick else ''}.json"
    samples = _kept(kept)
    asked, cases = options.only.split(","), options.rows.split(",")
    if unknown := set(asked) - set(WHO):
        parser.error(f"nobody is called {', '.join(unknown)}: {', '.join(WHO)}")
    who = [one for one in WHO if one in asked]
    run = _Silent(quick=options.quick, log=RESULTS / "partial.log")

    def tell(name: str, sample: Sample) -> None:
        samples[name] = sample
        print(line(samples, name), flush=True)
        kept.write_text(json.dumps(samples, indent=1), encoding="utf-8")

    chosen = [plan for plan in plans(who, cases) if plan.kind.startswith(options.kind)]
    # What they are held against comes first, if it is not known from before.
    cases = list(dict.fromkeys(plan.case for plan in chosen if plan.kind == "alone"))
    plain = [Plan("alone", case, "plain") for case in cases]
    missing = [plan for plan in plain if "/".join(plan) not in samples]
    first = [] if "plain" in who else missing
    measured(run, [*first, *chosen * options.rounds], tell)
    return 0


class _Silent(Run):
    """A run that says nothing on the way, since its lines do."""

    def say(self, text: str) -> None:
        """Say nothing."""


def _kept(path: Path) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    sys.exit(main())
