"""What is learned from the requests before."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.laws.estimate import Estimator, ServiceTime


def test_before_any_answer_the_bound_is_expected_or_256_tokens() -> None:
    estimator = Estimator()
    assert estimator.output("gpt", 4_000) == 4_000.0
    assert estimator.output("gpt", None) == 256.0


@pytest.mark.parametrize(("allowed", "expected"), [(10**400, 1e9), (-5, 0.0)])
def test_a_bound_that_no_answer_has_is_no_estimate(
    allowed: int, expected: float
) -> None:
    estimator = Estimator()
    assert estimator.output("m", allowed) == expected
    estimator.learn("m", 100, 100, 400)
    assert estimator.output("m", allowed) == min(expected, 800.0)


def test_the_first_answer_counts_twice_until_there_are_more() -> None:
    estimator = Estimator()
    estimator.learn("gpt", 0, 0, 300)
    assert estimator.output("gpt", None) == 300 + 2 * 150


def test_then_the_mean_and_twice_the_deviation_are_expected() -> None:
    estimator = Estimator()
    estimator.learn("gpt", 0, 0, 400)
    estimator.learn("gpt", 0, 0, 480)
    # The mean moves by an eighth of the error, the deviation by a quarter of its own.
    mean, deviation = 400 + 80 / 8, 200 + (80 - 200) / 4
    assert estimator.output("gpt", None) == mean + 2 * deviation


def test_answers_that_are_alike_are_expected_as_they_are() -> None:
    estimator = Estimator()
    for _ in range(100):
        estimator.learn("gpt", 0, 0, 300)
    assert estimator.output("gpt", None) == pytest.approx(300)


@pytest.mark.parametrize("guess", [math.inf, math.nan, 1e300])
def test_nothing_is_learned_of_a_guess_that_is_no_amount(guess: float) -> None:
    estimator = Estimator()
    for guessed in (100, guess, 100):
        estimator.learn("gpt", guessed, 150, 10)
    assert estimator.input_ratio == pytest.approx(1.5)


def test_no_more_than_the_bound_is_expected() -> None:
    estimator = Estimator()
    estimator.learn("gpt", 0, 0, 300)
    assert estimator.output("gpt", 100) == 100.0
    assert estimator.output("gpt", 1_000) == 600.0


def test_each_model_is_learned_for_itself() -> None:
    estimator = Estimator()
    estimator.learn("short", 0, 0, 10)
    estimator.learn("long", 0, 0, 1_000)
    assert estimator.output("short", None) == 20.0
    assert estimator.output("long", None) == 2_000.0


def test_the_model_not_used_for_the_longest_time_is_forgotten_first() -> None:
    estimator = Estimator(models=2)
    estimator.learn("a", 0, 0, 1)
    estimator.learn("b", 0, 0, 1)
    estimator.learn("a", 0, 0, 1)
    estimator.learn("c", 0, 0, 1)
    known = [estimator.output(model, None) < 256 for model in "abc"]
    assert known == [True, False, True]


def test_the_input_ratio_is_that_of_all_tokens_together() -> None:
    estimator = Estimator()
    assert estimator.input_ratio == 1.0
    estimator.learn("gpt", 1_000, 1_200, 1)
    assert estimator.input_ratio == pytest.approx(1.2)
    for _ in range(200):
        estimator.learn("gpt", 10, 40, 1)
        estimator.learn("gpt", 1_000, 1_200, 1)
    assert estimator.input_ratio == pytest.approx(1_240 / 1_010, rel=0.02)


def test_who_reports_no_input_says_nothing_about_it() -> None:
    estimator = Estimator()
    estimator.learn("gpt", 1_000, 0, 1)
    estimator.learn("gpt", 0, 1_000, 1)
    assert estimator.input_ratio == 1.0


@given(st.lists(st.tuples(*[st.floats() | st.integers(-10, 10**12)] * 3), max_size=30))
def test_no_usage_makes_an_estimate_that_is_none(
    usages: list[tuple[float, float, float]],
) -> None:
    estimator = Estimator()
    for guessed, used, output in usages:
        estimator.learn("gpt", min(guessed, 1e9), used, output)
        assert 0.0 <= estimator.output("gpt", None) < math.inf
        assert 0.0 < estimator.input_ratio < math.inf


def test_the_mean_time_follows_the_calls() -> None:
    service = ServiceTime()
    assert service.mean == 0.0
    service.observe(8.0)
    assert service.mean == 8.0
    service.observe(16.0)
    assert service.mean == 9.0


def test_the_least_time_is_the_mean_where_calls_are_alike() -> None:
    service = ServiceTime()
    assert service.least == 0.0
    for _ in range(60):
        service.observe(2.0)
    assert service.least == pytest.approx(2.0, abs=1e-3)


def test_there_is_no_least_time_where_calls_differ_much() -> None:
    service = ServiceTime()
    for number in range(60):
        service.observe(0.1 if number % 2 else 3.0)
    assert service.least == 0.0


def test_overdue_is_twice_what_hardly_any_call_exceeds() -> None:
    service = ServiceTime()
    assert not service.overdue(1e9)
    service.observe(2.0)
    # The mean is 2 and the deviation 1.
    assert not service.overdue(8.0)
    assert service.overdue(8.1)
    for _ in range(60):
        service.observe(2.0)
    assert not service.overdue(3.9)
    assert service.overdue(4.1)
