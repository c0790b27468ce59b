"""
The faulty upstream of the benchmarks, and how what it sees is judged.
"""

import http.client
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest

from benchmarks import partial
from benchmarks.faults import Faults, Script
from benchmarks.partial_cases import ALONE, BEHIND, OURS, Plan, Sample, plans, together
from benchmarks.upstream import Upstream, upstream


def fates(faults: Faults, calls: int) -> list[bool]:
    """Return which of so many calls fail."""
    script = Script(faults, delay=0.01)
    return [script.arrive(float(number)).fails for number in range(calls)]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.95, 1.0])
def test_a_share_of_the_calls_fails_with_the_same_luck_for_everybody(
    share: float,
) -> None:
    """Whoever sends calls to a share of faults meets the same ones."""
    found = fates(Faults(share=share), 2_000)
    assert sum(found) / 2_000 == pytest.approx(share, abs=0.03)
    assert found == fates(Faults(share=share), 2_000)
    if 0 < share < 1:
        assert found != fates(Faults(share=share, seed=2), 2_000)


def test_every_so_many_th_call_fails_and_the_first_ones() -> None:
    """Faults by number hit exactly those calls, together or alone."""
    assert fates(Faults(every=2), 4) == [False, True, False, True]
    assert fates(Faults(first=1), 3) == [True, False, False]
    assert fates(Faults(first=2, every=4), 5) == [True, True, False, True, False]


def test_calls_that_find_no_slot_wait_in_the_order_of_their_arrival() -> None:
    """A server that is merely busy works on as many as it can, first come first."""
    script = Script(Faults(slots=2), delay=0.05)
    found = [script.arrive(10.0) for _ in range(6)]
    assert not any(fate.fails for fate in found)
    after = [0.05, 0.05, 0.1, 0.1, 0.15, 0.15]
    assert [fate.after for fate in found] == pytest.approx(after)
    assert script.arrive(20.0).after == pytest.approx(0.05)


def test_a_call_that_would_wait_too_long_for_a_slot_fails_then_and_takes_none() -> None:
    """A proxy's queue has a longest wait, and whom it turns away costs nobody time."""
    script = Script(Faults(slots=1, longest_wait=0.2), delay=0.1)
    found = [script.arrive(0.0) for _ in range(5)]
    assert [fate.fails for fate in found] == [False, False, False, True, True]
    assert found[3].after == 0.2
    assert script.arrive(0.15).after == pytest.approx(0.25)


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    """Give an upstream in a process of its own."""
    with upstream() as started:
        yield started


def ask(server: Upstream) -> tuple[int, dict[str, str], bytes] | None:
    """Send one call on a connection of its own; None if there is no answer."""
    connection = http.client.HTTPConnection(urlsplit(server.urls[0]).netloc, timeout=5)
    try:
        connection.request("POST", "/v1/chat/completions", b'{"model": "bench"}')
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()
    except http.client.RemoteDisconnected:
        return None
    finally:
        connection.close()


ANSWERED = sorted(
    (name, case)
    for name, case in (ALONE | BEHIND).items()
    if case.faults.get("how", "answer") == "answer" and not case.faults.get("slots")
)


@pytest.mark.parametrize(("name", "case"), ANSWERED)
def test_the_upstream_sends_what_the_case_says_and_counts_it(
    name: str, case: Any, server: Upstream
) -> None:
    """Each case that answers: its status and headers, and its own books of them."""
    server.behave(faults=case.faults)
    found = [ask(server) for _ in range(6)]
    answers = [answer for answer in found if answer is not None]
    statuses = [status for status, _, _ in answers]
    wanted = fates(Faults(**case.faults), 6)
    status = case.faults.get("status", 500)
    assert statuses == [status if fails else 200 for fails in wanted]
    counts = server.counts()
    assert counts.statuses == statuses
    assert len(counts.served()) == statuses.count(200)
    assert all(early <= late for early, late in pairwise(counts.arrivals))
    for got, headers, body in answers:
        assert len(headers) >= 12
        assert json.loads(body)["error" if got != 200 else "choices"]
        more = case.faults.get("headers", {}) if got != 200 else {}
        assert more.items() <= headers.items()
        assert got != 200 or "retry-after" not in headers


def test_a_proxys_page_is_no_document(server: Upstream) -> None:
    """What a proxy says for the server behind it is HTML, as proxies write it."""
    server.behave(faults={"share": 1.0, "status": 503, "html": True})
    answer = ask(server)
    assert answer is not None
    assert (answer[0], answer[1]["content-type"]) == (503, "text/html")
    assert answer[2].startswith(b"<html>")


def test_a_closed_connection_is_counted_as_a_call_in_vain(server: Upstream) -> None:
    """A call that the upstream hangs up on has no answer, and is in its books."""
    server.behave(faults={"every": 2, "how": "close"})
    assert [ask(server) is None for _ in range(4)] == [False, True, False, True]
    assert server.counts().statuses == [200, 0, 200, 0]


# How it is judged.


def sample(**given: Any) -> Sample:
    """Return what a measurement gives, of the plain client if nothing else is said."""
    plain = {"asked": 1_000, "answered": 990, "seconds": 10.0, "sent": 1_400}
    return {**plain, "wasted": 410, "failures": {}, **given}


@pytest.mark.parametrize(
    ("given", "missed"),
    [
        ({}, []),
        ({"answered": 1_000, "sent": 1_428, "seconds": 12.0}, []),
        ({"answered": 989}, ["answers"]),
        ({"seconds": 12.1}, ["time"]),
        ({"sent": 1_450}, ["calls"]),
        ({"answered": 0, "seconds": 60.0}, ["answers", "time", "calls"]),
    ],
)
def test_submit_is_held_against_the_plain_client(
    given: dict[str, Any], missed: list[str]
) -> None:
    """No fewer answers, hardly more time, no more calls for an answer: each counts."""
    samples = {
        "alone/500-30/plain": sample(),
        "alone/500-30/submit": sample(**given),
    }
    verdict = partial.judge_alone(samples, "500-30", "submit")
    assert verdict is not None
    assert verdict.missed == missed


def test_map_has_to_answer_all_and_so_has_everybody_at_the_busy_proxy() -> None:
    """Where all can be answered, as many as the plain client are not enough."""
    for case, who in (("500-30", "map"), ("maxconn", "submit"), ("maxconn", "map")):
        samples = {f"alone/{case}/{one}": sample() for one in ("plain", who)}
        verdict = partial.judge_alone(samples, case, who)
        assert verdict is not None
        assert verdict.missed == ["answers"]


@pytest.mark.parametrize(
    ("case", "given", "missed"),
    [
        ("429-second", {"rate": 900, "wasted": 64 + 3 * 6}, []),
        ("429-second", {"rate": 899, "wasted": 64}, ["rate"]),
        ("429-second", {"rate": 900, "wasted": 64 + 3 * 6 + 1}, ["wasted"]),
        ("down-500", {"rate": 900, "wasted": 64 + 3 * 2}, []),
        ("down-hangs", {"rate": 900, "wasted": 64 + 3 * 2 + 1}, ["wasted"]),
        ("429-long", {"rate": 900, "wasted": 65}, ["wasted"]),
    ],
)
def test_a_broken_first_provider_is_held_against_the_second_alone(
    case: str, given: dict[str, Any], missed: list[str]
) -> None:
    """Nine tenths of the rate, and in vain what was in flight and a few probes."""
    samples = {
        "behind//submit": sample(rate=1_000),
        f"behind/{case}/submit": sample(lasted=5.5, **given),
    }
    verdict = partial.judge_behind(samples, case, "submit")
    assert verdict is not None
    assert verdict.missed == missed


def test_repeated_rates_count_by_their_median_and_waste_by_the_most() -> None:
    """No single round makes a rate look good, and no good round hides what was lost."""
    found: Sample | None = None
    for rate, wasted in ((900, 64), (1_000, 70), (100, 65)):
        found = together(found, sample(rate=rate, wasted=wasted))
    assert found is not None
    assert (found["rate"], found["wasted"]) == (900, 70)
    assert together(sample(answered=1), sample(answered=2)) == sample(answered=2)


def test_a_line_of_the_look_names_the_goals_that_were_missed() -> None:
    """Whoever looks at one row sees which of its goals it misses, and their numbers."""
    samples = {
        "alone/500-30/plain": sample(),
        "alone/500-30/submit": sample(answered=900, seconds=30.0),
        "alone/500-30/map": sample(answered=1_000, sent=1_410),
        "alone/500-30/LiteLLM": sample(answered=1),
    }
    told = {name.rpartition("/")[2]: partial.line(samples, name) for name in samples}
    assert "MISSED answers, time, calls (at least 990, at most 12 s" in told["submit"]
    assert told["map"].endswith("reached")
    assert "MISSED" not in told["LiteLLM"]


def test_nothing_is_judged_without_what_it_is_held_against() -> None:
    """A missing peer is said to be missing, and is no goal reached."""
    samples = {"alone/500-30/submit": sample(), "behind/busy/submit": sample(rate=1)}
    assert partial.judge_alone(samples, "500-30", "submit") is None
    assert partial.judge_behind(samples, "busy", "submit") is None
    assert not any(row.reached for row in partial.rows({"samples": samples}))


def test_every_case_is_measured_by_submit_and_map_alone_and_with_a_second() -> None:
    """The plan has each case for both, and the report a line for each."""
    planned = list(plans(OURS))
    for who in OURS:
        for case in ALONE:
            assert Plan("alone", case, who) in planned
            assert Plan("second", case, who) in planned
        for case in BEHIND:
            assert Plan("behind", case, who) in planned
    more = {"rate": 1.0, "lasted": 1.0, "at_first": 1, "served": 1}
    names = ["/".join(plan) for plan in plans()]
    data = {"samples": {name: sample(**more) for name in names}}
    rows = partial.rows(data)
    assert len(rows) == 2 * len(ALONE) + 1 + 2 * len(BEHIND)
    assert all(row.goal for row in rows)
    tables = partial.tables(data)
    assert sum(len(table.rows) for table in tables) == len(names) - 4
    assert all(len(row) == len(table.heads) for table in tables for row in table.rows)
    for picture in partial.pictures(data).values():
        assert ET.fromstring(picture).get("role") == "img"
