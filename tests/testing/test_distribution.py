"""Random amounts, written as text."""

from random import Random
from statistics import fmean, median

import pytest

from aitor.testing import Distribution


@pytest.mark.parametrize(
    ("source", "name", "values"),
    [
        (0.2, "constant", (0.2,)),
        ("0.2", "constant", (0.2,)),
        ("constant(3)", "constant", (3.0,)),
        (" uniform( 0.1 , 0.3 ) ", "uniform", (0.1, 0.3)),
        ("exponential(0.8)", "exponential", (0.8,)),
        ("lognormal(0.8,0.5)", "lognormal", (0.8, 0.5)),
    ],
)
def test_text_and_numbers_are_read(
    source: float | str, name: str, values: tuple[float, ...]
) -> None:
    distribution = Distribution.parse(source)
    assert (distribution.name, distribution.values) == (name, values)
    assert Distribution.parse(str(distribution)) == distribution


@pytest.mark.parametrize(
    "source",
    ["", "soon", "uniform(1)", "normal(1, 2)", "exponential(x)", "-1", "inf", "nan"],
)
def test_anything_else_is_refused_by_name(source: str) -> None:
    with pytest.raises(ValueError, match="is no distribution: expected"):
        Distribution.parse(source)


def test_samples_have_the_mean_or_the_median_that_was_asked_for() -> None:
    random = Random(1)

    def many(source: str) -> list[float]:
        return [Distribution.parse(source).sample(random) for _ in range(20_000)]

    assert set(many("0.2")) == {0.2}
    assert fmean(many("exponential(0.8)")) == pytest.approx(0.8, rel=0.05)
    assert median(many("lognormal(0.8, 0.5)")) == pytest.approx(0.8, rel=0.05)
    uniform = many("uniform(0.1, 0.3)")
    assert 0.1 <= min(uniform) < 0.11
    assert 0.29 < max(uniform) <= 0.3


def test_the_same_seed_gives_the_same_samples() -> None:
    source = Distribution.parse("lognormal(0.8, 0.5)")
    first, second = Random(7), Random(7)
    assert [source.sample(first) for _ in range(9)] == [
        source.sample(second) for _ in range(9)
    ]
