"""The failure rate, in plain numbers."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.laws.failure_rate import DEGRADED_ABOVE, RECOVERED_BELOW, FailureRate


def after(ends: str, longest: float = 30.0) -> FailureRate:
    """Return a rate that has seen calls end, all at 0.0; an x is a failure."""
    rate = FailureRate(longest)
    for end in ends:
        rate.record(0.0, failed=end == "x")
    return rate


def test_a_new_provider_is_credited_with_a_few_answers() -> None:
    assert not after("xxx").degraded
    assert after("xxxx").degraded


def test_one_that_was_well_is_degraded_after_a_dozen_failures() -> None:
    well = "." * 100
    assert not after(well + 10 * "x").degraded
    assert after(well + 11 * "x").degraded


def test_one_that_fails_three_calls_in_ten_is_asked_first_nearly_always() -> None:
    chance = Random(3)
    rate = FailureRate(30.0)
    degraded = 0
    for _ in range(10_000):
        rate.record(0.0, failed=chance.random() < 0.3)
        degraded += rate.degraded
    assert degraded < 2_000


def test_between_the_thresholds_nothing_changes() -> None:
    rate = after(10 * "x")
    while rate.share > (DEGRADED_ABOVE + RECOVERED_BELOW) / 2:
        rate.record(0.0, failed=False)
    assert rate.degraded
    while rate.share >= RECOVERED_BELOW:
        rate.record(0.0, failed=False)
    assert not rate.degraded


def test_a_degraded_provider_is_probed_after_a_second_and_then_ever_later() -> None:
    rate = after("xxxx", longest=4.0)
    probed = [tenth / 10 for tenth in range(200) if rate.probe(tenth / 10)]
    assert probed == [1.0, 2.0, 4.0, 8.0, 12.0, 16.0]


def test_probes_that_are_answered_let_more_go_at_once() -> None:
    rate = after("xxxx")
    assert rate.probe(1.0)
    assert not rate.probe(1.5)
    rate.record(1.5, failed=False)
    assert [rate.probe(1.5) for _ in range(2)] == [True, False]
    rate.record(1.6, failed=False)
    assert [rate.probe(1.6) for _ in range(3)] == [True, True, False]


def test_one_that_answers_every_other_call_earns_no_stream_of_probes() -> None:
    rate = after("xxxx")
    probes = 0
    for tenth in range(10, 200):
        while rate.probe(tenth / 10):
            rate.record(tenth / 10, failed=probes % 2 == 1)
            probes += 1
    assert probes <= 2 * 19


def test_a_provider_that_has_recovered_takes_all_again_after_a_few_rounds() -> None:
    rate = after(100 * "x")
    rounds = 0
    while rate.degraded:
        probes = 0
        while rate.probe(1.0):
            probes += 1
        assert probes
        for _ in range(probes):
            rate.record(1.0, failed=False)
        rounds += 1
    assert rounds <= 7


def test_a_probe_that_fails_ends_a_recovery() -> None:
    rate = after("xxxx")
    assert rate.probe(1.0)
    rate.record(1.5, failed=False)
    rate.record(1.6, failed=True)
    assert not rate.probe(2.5)
    assert rate.probe(2.6)


def test_a_provider_that_recovers_is_probed_soon_when_it_fails_again() -> None:
    rate = after("xxxx")
    for now in (1.0, 2.0, 4.0, 8.0):
        assert rate.probe(now)
    while rate.degraded:
        rate.record(8.0, failed=False)
    while not rate.degraded:
        rate.record(100.0, failed=True)
    assert not rate.probe(100.9)
    assert rate.probe(101.0)


@pytest.mark.parametrize(
    ("answered", "failed", "tries"),
    [(1_000, 0, 9), (700, 300, 18), (400, 600, 41), (0, 0, 30), (0, 1_000, 405)],
)
def test_a_request_has_as_many_tries_as_chance_may_take(
    answered: int, failed: int, tries: int
) -> None:
    """With so many failures in a row by chance once in 10**9 it is the request's own.

    What others got meanwhile is what tells; its own failures do not count.
    """
    rate = after("." * 500 + "x")
    before = rate.answered, rate.failed
    for end in "." * answered + "x" * failed:
        rate.record(0.0, failed=end == "x")
    for number in range(1, 500):
        if rate.is_its_own_fault(number, *before):
            break
        rate.record(0.0, failed=True)
    assert number == tries


@given(st.text("x."))
def test_the_share_is_one(ends: str) -> None:
    assert 0.0 <= after(ends).share <= 1.0
