"""Backoff with full jitter, in plain numbers."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.laws.backoff import Backoff


def test_the_bound_doubles_up_to_the_maximum() -> None:
    backoff = Backoff(delay=1.0, factor=2.0, maximum=60.0)
    bounds = [backoff.delay_for(retry, 1.0) for retry in range(8)]
    assert bounds == [1, 2, 4, 8, 16, 32, 60, 60]


def test_chance_takes_any_part_of_the_bound() -> None:
    backoff = Backoff()
    assert backoff.delay_for(3, 0.0) == 0.0
    assert backoff.delay_for(3, 0.25) == 2.0
    assert backoff.delay_for(100, 0.5) == 30.0


def test_no_number_of_retries_is_too_large() -> None:
    assert Backoff().delay_for(10**9, 0.5) == 30.0
    assert Backoff(delay=0.0).delay_for(10**9, 0.5) == 0.0
    assert Backoff(factor=1.0).delay_for(10**9, 0.5) == 0.5


def test_a_thousand_clients_that_failed_together_come_back_spread_out() -> None:
    random, backoff = Random(1), Backoff()
    delays = sorted(backoff.delay_for(2, random.random()) for _ in range(1_000))
    assert len(set(delays)) == 1_000
    # In each tenth of the four seconds there are about a tenth of the clients.
    for tenth in range(10):
        inside = [d for d in delays if tenth * 0.4 <= d < (tenth + 1) * 0.4]
        assert 60 <= len(inside) <= 140


@given(
    st.floats(0, 1e6),
    st.floats(1, 1e6),
    st.floats(0, 1e6),
    st.integers(0, 10**6),
    st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_from_nothing_to_the_maximum(
    delay: float, factor: float, maximum: float, retry: int, random: float
) -> None:
    backoff = Backoff(delay, factor, maximum)
    assert 0.0 <= backoff.delay_for(retry, random) <= maximum
    assert backoff.delay_for(retry, random) <= backoff.delay_for(retry + 1, random)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("delay", -1.0, "0.0"), ("factor", 0.5, "1.0"), ("maximum", math.inf, "0.0")],
)
def test_a_setting_that_is_none_is_refused_by_name(
    name: str, value: float, least: str
) -> None:
    expected = f"'{name}' must be finite and at least {least}, and is {value}"
    with pytest.raises(ValueError, match=expected):
        Backoff(**{name: value})
