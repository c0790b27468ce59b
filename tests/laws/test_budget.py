"""The retry budget, in plain numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.laws.budget import RetryBudget


def test_a_fresh_process_may_retry_ten_times() -> None:
    budget = RetryBudget()
    assert [budget.withdraw(5.0) for _ in range(11)] == [True] * 10 + [False]


def test_every_fifth_send_pays_for_a_retry() -> None:
    budget = RetryBudget(initial=0.0)
    for _ in range(4):
        budget.deposit(5.0)
    assert budget.balance(5.0) == pytest.approx(0.8)
    assert not budget.withdraw(5.0)
    budget.deposit(5.0)
    assert budget.withdraw(5.0)
    assert not budget.withdraw(5.0)


def test_two_seconds_pay_for_a_retry() -> None:
    budget = RetryBudget(initial=0.0)
    assert not budget.withdraw(100.0)
    assert not budget.withdraw(101.5)
    assert budget.withdraw(102.0)
    assert budget.balance(103.0) == 0.5


def test_no_more_than_the_maximum_is_saved_up() -> None:
    budget = RetryBudget(initial=500.0, maximum=100.0)
    assert budget.balance(0.0) == 100.0
    budget.deposit(0.0)
    assert budget.balance(1e9) == 100.0


def test_a_clock_that_steps_back_costs_nothing() -> None:
    budget = RetryBudget(initial=5.0)
    assert [budget.balance(now) for now in (100.0, 50.0, 100.0)] == [5.0] * 3


def test_a_clock_that_steps_back_pays_nothing() -> None:
    budget = RetryBudget(initial=0.0)
    for now in (100.0, 50.0, 100.0, 0.0, 100.0):
        budget.deposit(now)
    assert budget.balance(100.0) == pytest.approx(1.0)


def test_a_total_outage_costs_about_a_fifth_more() -> None:
    budget, sends = RetryBudget(), 0
    for request in range(10_000):
        now = request / 100
        budget.deposit(now)
        sends += 1
        while budget.withdraw(now):
            sends += 1
    # Ten to begin with, and half a one for each of the hundred seconds.
    assert sends == pytest.approx(10_000 * 1.2 + 10 + 50, abs=2)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=200))
def test_retries_never_exceed_what_was_paid_in(
    events: list[tuple[float, bool]],
) -> None:
    budget, now, deposits, granted = RetryBudget(), 0.0, 0, 0
    budget.balance(now)
    for gap, send in events:
        now += gap
        if send:
            budget.deposit(now)
            deposits += 1
        elif budget.withdraw(now):
            granted += 1
        assert 0.0 <= budget.balance(now) <= 100.0
        assert granted <= 10.0 + 0.2 * deposits + 0.5 * now + 1e-6


@pytest.mark.parametrize("name", ["ratio", "per_second", "initial", "maximum"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_a_setting_that_is_none_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be finite and at least 0"):
        RetryBudget(**{name: value})


def test_an_answer_pays_for_the_retries_that_it_took_to_come_by() -> None:
    """Kind: a bound on calls that fails answers. One call in twenty gets through."""
    budget = RetryBudget(per_second=0.0)
    for _ in range(1_000):
        budget.deposit(0.0)
        assert all(budget.withdraw(0.0) for _ in range(10))
        budget.answered()
        assert all(budget.withdraw(0.0) for _ in range(9))


def test_answers_save_up_no_more_than_the_maximum_either() -> None:
    budget = RetryBudget(maximum=100.0)
    for _ in range(10):
        budget.answered()
    assert budget.balance(0.0) == 100.0
