"""
What is assumed of the providers: all that a configuration does not say.

How long answers take, how long they are, what goes wrong and what it costs. The words
are those of the fake provider, so that what was forecast can be tried out there.
Nothing here is measured: a forecast is as good as what it is told.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self, TypeVar

from aitor.testing.distribution import Distribution
from aitor.testing.faults import Fault

__all__ = (
    "INPUT_TOKENS",
    "LATENCY",
    "OUTPUT_TOKENS",
    "Assumption",
    "Price",
    "for_each",
    "read_errors",
    "read_fault",
)

LATENCY = Distribution.parse("lognormal(2, 0.5)")
"""Seconds until an answer, where nobody says: the median and the logarithm's sigma."""

INPUT_TOKENS = Distribution.parse(500)
OUTPUT_TOKENS = Distribution.parse(200)
"""Tokens of a prompt and of an answer, where nobody says."""

WIRE_ONLY = frozenset({"huge", "stale", "stale_reset", "trickle"})
"""Faults of bytes and connections, of which a forecast has none."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Price:
    """
    What tokens cost.

    Args:
        input_tokens: US dollars for a million tokens in.
        output_tokens: US dollars for a million tokens out.
    """

    input_tokens: float
    output_tokens: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a text such as `"0.15/0.60"`.

        Raises:
            ValueError: If it is none.
        """
        try:
            inputs, outputs = (float(part) for part in text.split("/"))
        except ValueError:
            inputs = outputs = math.nan
        if not (0 <= inputs < math.inf and 0 <= outputs < math.inf):
            raise ValueError(
                f"{text!r} is no price: expected US dollars for a million tokens in "
                f"and out, for example 0.15/0.60"
            )
        return cls(inputs, outputs)


@dataclass(frozen=True, slots=True)
class Assumption:
    """
    What is assumed of one provider.

    Args:
        latency: Seconds from a call to its answer.
        output_tokens: Tokens of an answer.
        faults: What goes wrong; of those that strike a call the first one does.
        price: What tokens cost; None for the vendor's list price.
    """

    latency: Distribution = LATENCY
    output_tokens: Distribution = OUTPUT_TOKENS
    faults: tuple[Fault, ...] = ()
    price: Price | None = None

    def settled(self, calls: int, now: float) -> bool:
        """Whether no fault begins or ends any more after *calls* calls, at *now*."""
        return all(
            max(fault.first, *fault.at, 0) <= calls
            and all(edge <= now or edge == math.inf for edge in _edges(fault))
            for fault in self.faults
        )


def _edges(fault: Fault) -> tuple[float, float]:
    return fault.after, fault.until


def for_each(
    names: Iterable[str], texts: Iterable[str], parse: Callable[[str], T]
) -> dict[str, list[T]]:
    """
    Return what *texts* say of each provider, what is its own first.

    Args:
        names: The providers' names.
        texts: `VALUE` is said of all of them, `NAME=VALUE` of one.
        parse: Reads a value.

    Raises:
        ValueError: If one cannot be read, naming it and what was expected.
    """
    own: dict[str, list[T]] = {name: [] for name in names}
    common: list[T] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name in own:
            own[name].append(parse(value))
            continue
        try:
            common.append(parse(text))
        except ValueError as error:
            if not equals:
                raise
            # The name may be a provider's, misspelt.
            raise ValueError(
                f"{error}; of one provider it is said as NAME=VALUE, where NAME is "
                f"one of {', '.join(own)}"
            ) from None
    return {name: [*said, *common] for name, said in own.items()}


def read_errors(text: str) -> Fault:
    """
    Read a share of calls that fail with status 500, such as `"0.05"`.

    Raises:
        ValueError: If it is none.
    """
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ValueError(
            f"{text!r} is no share of calls: expected 0 to 1, for example 0.05"
        )
    return Fault(kind="status", status=500, probability=share)


def read_fault(text: str) -> Fault:
    """
    Read a fault as the fake provider takes it; see `Fault.parse`.

    Raises:
        ValueError: If it is none, or one that only a wire can have.
    """
    fault = Fault.parse(text)
    if fault.kind in WIRE_ONLY:
        raise ValueError(
            f"bad fault: {text!r} is about bytes on a wire, and a forecast has none: "
            f"expected another kind than {', '.join(sorted(WIRE_ONLY))}"
        )
    return fault
