"""
Random amounts, written as text: how long answers take and how long they are.

A distribution holds no dice: the caller brings the random numbers, so that one
seed decides everything that a fake provider does.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Self

__all__ = ("Distribution",)

_FORM = re.compile(r"\s*(\w+)\s*\(([^()]*)\)\s*")

_SAMPLERS: dict[str, tuple[int, Callable[..., float]]] = {
    "constant": (1, lambda random, value: value),
    "uniform": (2, lambda random, low, high: random.uniform(low, high)),
    "exponential": (1, lambda random, mean: random.expovariate(1.0) * mean),
    "lognormal": (
        2,
        lambda random, median, sigma: median * math.exp(random.gauss(0.0, sigma)),
    ),
}


@dataclass(frozen=True, slots=True)
class Distribution:
    """
    A distribution of amounts that are finite and not negative.

    Args:
        name: `constant`, `uniform`, `exponential` or `lognormal`.
        values: The value; the bounds; the mean; the median and the sigma of the
            logarithm.
    """

    name: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        count = _SAMPLERS[self.name][0] if self.name in _SAMPLERS else -1
        if (
            len(self.values) != count
            or not all(0 <= value < math.inf for value in self.values)
            or (self.name == "uniform" and self.values[0] > self.values[1])
        ):
            raise ValueError(
                f"{self} is no distribution: expected a number of at least 0, "
                "uniform(low, high), exponential(mean) or lognormal(median, sigma)"
            )

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{value:g}' for value in self.values)})"

    @classmethod
    def parse(cls, source: "float | str | Distribution") -> Self:
        """
        Read a number, or text such as `"0.2"` or `"lognormal(0.8, 0.5)"`.

        Raises:
            ValueError: If it is none of the forms above.
        """
        if isinstance(source, Distribution):
            return cls(source.name, source.values)
        if isinstance(source, str) and (form := _FORM.fullmatch(source)):
            name, inside = form[1], form[2].split(",")
        else:
            name, inside = "constant", [str(source)]
        try:
            values = tuple(float(value) for value in inside)
        except ValueError:
            values = ()
        if not values:
            raise ValueError(
                f"{source!r} is no distribution: expected for example 0.2, "
                "uniform(0.1, 0.3), exponential(0.8) or lognormal(0.8, 0.5)"
            )
        return cls(name, values)

    def sample(self, random: Random) -> float:
        """
        Return one amount; a constant one takes no random number.
        """
        return _SAMPLERS[self.name][1](random, *self.values)
