"""What may be said of providers, and how."""

import math

import pytest

from aitor.testing import Distribution, Fault
from aitor.testing.forecast import Assumption, Price
from aitor.testing.forecast.assumptions import for_each, read_errors, read_fault


def test_a_value_is_of_all_and_a_named_one_goes_first() -> None:
    said = for_each(["a", "b"], ["1", "a=2"], float)
    assert said == {"a": [2.0, 1.0], "b": [1.0]}


def test_a_fault_may_have_equals_signs_of_its_own() -> None:
    said = for_each(["a"], ["status=500", "a=status=503 probability=0.5"], read_fault)
    assert said["a"] == [
        Fault(kind="status", status=503, probability=0.5),
        Fault(kind="status", status=500),
    ]


def test_a_name_that_is_no_provider_is_told_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"'c=1' .* NAME is one of a, b"):
        for_each(["a", "b"], ["c=1"], Distribution.parse)


def test_a_value_that_is_none_is_told_with_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"'soon' is no distribution: expected"):
        for_each(["a"], ["a=soon"], Distribution.parse)


@pytest.mark.parametrize("text", ["", "1", "1/2/3", "-1/2", "1/inf", "nan/1", "a/b"])
def test_a_price_is_two_amounts(text: str) -> None:
    with pytest.raises(ValueError, match="is no price: expected US dollars"):
        Price.parse(text)


def test_prices_are_read() -> None:
    assert Price.parse("0.15/0.60") == Price(0.15, 0.6)


@pytest.mark.parametrize("text", ["", "5%", "-0.1", "1.1", "nan"])
def test_errors_are_a_share(text: str) -> None:
    with pytest.raises(ValueError, match="is no share of calls: expected 0 to 1"):
        read_errors(text)


def test_faults_of_the_wire_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'trickle'.*expected another kind than huge"):
        read_fault("trickle")


@pytest.mark.parametrize(
    ("fault", "settled"),
    [
        ("dead", True),
        ("status=500 probability=0.1", True),
        ("dead after=50 until=90", True),
        ("dead after=50", True),
        ("dead after=150", False),
        ("dead until=101", False),
        ("dead first=1000", True),
        ("dead first=1001", False),
        ("dead at=3,2000", False),
    ],
)
def test_it_is_settled_once_no_fault_begins_or_ends(fault: str, settled: bool) -> None:
    assumed = Assumption(faults=(read_fault(fault),))
    assert assumed.settled(1_000, 100.0) is settled
    assert Assumption().settled(0, -math.inf)
