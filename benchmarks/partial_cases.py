"""
Providers that fail a part of the time, who asks them, and what comes of it.

What `benchmarks.partial` measures and judges: here are the cases, in the order of the
report, and one measurement after the other. What was sent and what of that was in vain
is read from the upstream's own count.
"""

import math
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from benchmarks.dead import TUNED
from benchmarks.peers import PEERS
from benchmarks.suite import Run
from benchmarks.upstream import Upstream, upstream
from benchmarks.workers import JobFailedError, Workers

__all__ = (
    "ALONE",
    "BEHIND",
    "IN_FLIGHT",
    "OURS",
    "TITLES",
    "WHO",
    "Bench",
    "Case",
    "Plan",
    "Sample",
    "measured",
    "plans",
    "together",
)

IN_FLIGHT, DELAY, TIMEOUT = 64, 0.01, 30.0
LONGEST = 60.0
"""Seconds after which a row is over, whatever is missing."""

SETTLED, LASTS = 1.5, 4.0
"""Seconds that rates beside a second provider leave out, and take."""


class Case(NamedTuple):
    """
    A provider that fails.

    Args:
        title: How.
        faults: Fields of `Faults`.
        calls: How many are asked of it.
        delay: Seconds of its work on each.
        timeout: Seconds for a try at it, where it has to be that low.
        pauses: How often, within so many seconds, it may be asked in vain once more.
        ideal: Seconds that a call takes of all its time, at the best concurrency; the
            goal is twice that.
    """

    title: str
    faults: dict[str, Any]
    calls: int = 2_000
    delay: float = DELAY
    timeout: float | None = None
    pauses: Callable[[float], float] = lambda seconds: seconds
    ideal: float | None = None


def _fewer_and_fewer(seconds: float) -> float:
    return math.floor(math.log2(1 + seconds))


SECOND = {"retry-after": "1"}
ONE_SECOND = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1s",
    "retry-after": "1",
}
ALONE: dict[str, Case] = {
    "500-30": Case("500 to 30 % of the calls", {"share": 0.3}),
    "500-60": Case("500 to 60 %", {"share": 0.6}),
    "503-30": Case(
        "503 with Retry-After: 1 to 30 %",
        {"share": 0.3, "status": 503, "headers": SECOND},
    ),
    "closes-20": Case("hangs up on 20 %", {"share": 0.2, "how": "close"}),
    "hangs-5": Case(
        "5 % hang, timeout of 1 s", {"share": 0.05, "how": "hang"}, timeout=1.0
    ),
    "maxconn": Case(
        "takes 2 at once, 503 after 0.2 s in its queue",
        {"slots": 2, "longest_wait": 0.2, "status": 503, "html": True},
        calls=200,
        delay=0.05,
        ideal=0.025,
    ),
    "429-10": Case(
        "429 with Retry-After: 1 to 10 %",
        {"share": 0.1, "status": 429, "headers": SECOND},
    ),
    "429-once": Case(
        "one 429 (limit 60, reset 1 s), then none",
        {"first": 1, "status": 429, "headers": ONE_SECOND},
        calls=1_200,
    ),
}
BEHIND: dict[str, Case] = {
    "down-500": Case("500 to all", {"share": 1.0}, pauses=_fewer_and_fewer),
    "down-closes": Case(
        "closes", {"share": 1.0, "how": "close"}, pauses=_fewer_and_fewer
    ),
    "down-503": Case("503", {"share": 1.0, "status": 503}, pauses=_fewer_and_fewer),
    "down-529": Case("529", {"share": 1.0, "status": 529}, pauses=_fewer_and_fewer),
    "down-hangs": Case(
        "hangs, timeout of 1 s",
        {"share": 1.0, "how": "hang"},
        timeout=1.0,
        pauses=_fewer_and_fewer,
    ),
    "429-long": Case(
        "429 with Retry-After: 60",
        {"share": 1.0, "status": 429, "headers": {"retry-after": "60"}},
        pauses=lambda _: 0,
    ),
    "429-second": Case(
        "429 with Retry-After: 1", {"share": 1.0, "status": 429, "headers": SECOND}
    ),
    "429-half": Case(
        "429 to every second call", {"every": 2, "status": 429, "headers": SECOND}
    ),
    "429-bare": Case("429 without a wait", {"share": 1.0, "status": 429}),
    "busy": Case("8 workers of 50 ms, others wait", {"slots": 8}, delay=0.05),
}

WHO: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("openai", {"client": {"max_retries": 3}}),
    "submit": ("aitor", {"submit": {"timeout": TIMEOUT}}),
    "map": ("aitor-map", {"submit": {"timeout": TIMEOUT}}),
    "by hand": (
        "by-hand",
        {"attempts": 4, "longest_wait": 8.0, "retries_limits": True},
    ),
    "LiteLLM": ("litellm", {"router": {"num_retries": 3}}),
}
FAILOVER: dict[str, dict[str, Any]] = {
    "by hand": {"attempts": 3, "longest_wait": 0.5},
    "LiteLLM": {"router": TUNED},
}
"""As in `benchmarks.dead`: whoever can ask somebody else does not wait for long."""

FEWER = {"LiteLLM": 2}
"""Who is asked only one in so many, because all would take a minute."""

TITLES = {
    "submit": "aitor, submit",
    "map": "aitor, map",
    "plain": "openai client, 3 retries",
    "by hand": "by hand",
    "LiteLLM": "LiteLLM Router",
}
OURS = ("submit", "map")

Sample: TypeAlias = dict[str, Any]


class Plan(NamedTuple):
    """What is measured: `alone`, `second` or `behind`, a case, and who."""

    kind: str
    case: str
    who: str


def plans(
    who: Sequence[str] = tuple(WHO), cases: Sequence[str] = ("",)
) -> Iterator[Plan]:
    """Give what there is to measure, of cases whose name begins with one of *cases*."""

    def chosen(some: dict[str, Case]) -> list[str]:
        return [name for name in some if name.startswith(tuple(cases))]

    for case in chosen(ALONE):
        yield from (Plan("alone", case, one) for one in who)
    failover = [one for one in who if one != "plain"]
    for case in chosen(ALONE):
        yield from (Plan("second", case, one) for one in failover)
    if behind := chosen(BEHIND):
        yield from (Plan("behind", "", one) for one in failover)
        for case in behind:
            yield from (Plan("behind", case, one) for one in failover)


class Bench:
    """
    Measures one plan after the other.

    Args:
        run: The run that it belongs to.
        server: Three ports: two providers, and one to warm up with.
        workers: The measured processes.
    """

    def __init__(self, run: Run, server: Upstream, workers: Workers) -> None:
        self._run = run
        self._server = server
        self._workers = workers

    def measure(self, plan: Plan) -> Sample | None:
        """Measure, or return None if the peer cannot be had."""
        cases = BEHIND if plan.kind == "behind" else ALONE
        case = cases[plan.case] if plan.case else None
        urls = [] if case is None else [self._broken(case)]
        if plan.kind != "alone":
            urls.append(self._server.behave(1, delay=DELAY, faults={}))
        peer, more = WHO[plan.who]
        settings = {"urls": urls, "in_flight": IN_FLIGHT, **more}
        if plan.kind != "alone":
            settings |= FAILOVER.get(plan.who, {})
        if case is not None and case.timeout is not None:
            settings = _with_timeout(settings, case.timeout)
        if plan.kind == "behind":
            result = self._rate(peer, settings)
        else:
            assert case is not None
            calls = self._calls(case) // FEWER.get(plan.who, 1)
            result = self._answers(peer, settings, calls)
        if result is None:
            return None
        return {**result, **self._books(case is not None, len(urls))}

    def _broken(self, case: Case) -> str:
        return self._server.behave(0, delay=case.delay, faults=case.faults)

    def _calls(self, case: Case) -> int:
        return max(200, case.calls // 4) if self._run.quick else case.calls

    def _answers(self, peer: str, settings: Sample, calls: int) -> Sample | None:
        given: Sample = {"settings": settings, "calls": calls}
        if peer == "aitor-map":
            result = self._load("streamed", peer, seconds=LONGEST, **given)
        else:
            result = self._load(
                "counted",
                peer,
                in_flight=IN_FLIGHT,
                warm=self._server.behave(2, faults={}),
                longest=LONGEST,
                **given,
            )
        return result and {"asked": calls, **_told(result)}

    def _rate(self, peer: str, settings: Sample) -> Sample | None:
        given: Sample = {
            "settings": settings,
            "seconds": self._run.of(LASTS, LASTS / 2),
            "warmup": SETTLED,
        }
        if peer == "aitor-map":
            result = self._load("streamed", peer, **given)
        else:
            result = self._load("closed", peer, in_flight=IN_FLIGHT, **given)
        return result and {**_told(result), "rate": result["rate"]}

    def _load(self, function: str, peer: str, **arguments: Any) -> Sample | None:
        # Nobody answered is a result, too, and not a peer to be left out.
        title = PEERS[peer].title
        if title in self._workers.left_out:
            return None
        try:
            return self._workers.run(
                f"benchmarks.load:{function}",
                environment=PEERS[peer].environment,
                imports=PEERS[peer].imports,
                peer=peer,
                **arguments,
            )
        except (JobFailedError, OSError) as error:
            self._workers.left_out[title] = str(error)
            print(f"left out: {title}: {error}", file=sys.stderr)
            return None

    def _books(self, broken: bool, ports: int) -> Sample:
        counts = [self._server.counts(0 if broken else 1)]
        if broken and ports > 1:
            counts.append(self._server.counts(1))
        first = counts[0] if broken else None
        times = [at for one in counts for at in one.arrivals]
        return {
            "sent": len(times),
            "wasted": len(first.arrivals) - len(first.served()) if first else 0,
            "at_first": len(first.arrivals) if first else 0,
            "lasted": max(times) - min(times) if times else 0.0,
            "served": sum(len(one.served()) for one in counts),
        }


def _with_timeout(settings: Sample, seconds: float) -> Sample:
    return {
        **settings,
        "provider": {"timeout": seconds},
        "client": {**settings.get("client", {}), "timeout": seconds},
        "model": {"timeout": seconds},
    }


def _told(result: Sample) -> Sample:
    failures: Counter[str] = Counter()
    for text, count in result["failures"].items():
        failures[text.partition(":")[0]] += count
    return {
        "answered": result["calls"],
        "seconds": result["seconds"],
        "failures": dict(failures),
    }


def measured(
    run: Run, what: Iterable[Plan], tell: Callable[[str, Sample], None] | None = None
) -> dict[str, Sample]:
    """Measure *what*, `tell` of each sample, and return them by name."""
    found: dict[str, Sample] = {}
    with upstream(ports=3) as server, run.workers() as workers:
        bench = Bench(run, server, workers)
        for plan in what:
            name = "/".join(plan)
            run.say(name)
            sample = bench.measure(plan)
            if sample is not None:
                found[name] = together(found.get(name), sample)
                if tell:
                    tell(name, found[name])
    return found


def together(before: Sample | None, sample: Sample) -> Sample:
    """Return the sample with the median rate of all, and the most that was wasted."""
    if "rate" not in sample:
        return sample
    rates = [*(before["rates"] if before else ()), sample["rate"]]
    wasted = max(sample["wasted"], before["wasted"] if before else 0)
    rate = statistics.median(rates)
    return {**sample, "rates": rates, "rate": rate, "wasted": wasted}
