"""Quantiles in a fixed number of counters: within 5 %, whatever the times are."""

import math

from hypothesis import given
from hypothesis import strategies as st

from aitor.laws.quantiles import BUCKETS, FACTOR, SHORTEST, Histogram

times = st.lists(st.floats(SHORTEST, 30_000.0), min_size=1, max_size=200)
shares = st.floats(0.0, 1.0)


def exact(seconds: list[float], share: float) -> float:
    return sorted(seconds)[max(1, math.ceil(share * len(seconds))) - 1]


def of(seconds: list[float]) -> Histogram:
    made = Histogram()
    for one in seconds:
        made.add(one)
    return made


@given(times, shares)
def test_a_quantile_is_within_its_factor(seconds: list[float], share: float) -> None:
    told = of(seconds).quantile(share)
    assert told is not None
    assert exact(seconds, share) / FACTOR <= told <= exact(seconds, share) * FACTOR


@given(times, times, shares)
def test_two_add_up_as_if_they_were_one(
    first: list[float], second: list[float], share: float
) -> None:
    both = of(first)
    both.add_all(of(second))
    assert both.total == len(first) + len(second)
    assert both.quantile(share) == of(first + second).quantile(share)


@given(st.lists(st.floats(0.0, 1e300), max_size=500))
def test_its_size_is_bounded(seconds: list[float]) -> None:
    made = of(seconds)
    assert set(made._counts) <= set(range(BUCKETS + 1))


def test_without_times_nothing_is_told() -> None:
    assert Histogram().quantile(0.5) is None


def test_what_is_shorter_than_the_shortest_counts_as_that() -> None:
    assert of([0.0, SHORTEST / 2]).quantile(1.0) == SHORTEST


def test_the_rare_slow_one_is_seen() -> None:
    made = of([0.1] * 985 + [9.0] * 15)
    p50, p99 = made.quantile(0.5), made.quantile(0.99)
    assert p50 is not None
    assert p99 is not None
    assert 0.09 < p50 < 0.11
    assert 8.5 < p99 < 9.5
