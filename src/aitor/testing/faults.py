"""
What a fake provider does wrong, and when.

A fault is a value: its kind and its schedule, by chance, by the number of the
request or by time. The kinds are one list for every dialect, and each means
something for a whole answer as well as for a stream:

============== =============================== ================================
kind           a whole answer                  a stream
============== =============================== ================================
reset, dead    connection reset before the head
close          connection closed before the head
not_http       words that are not HTTP, and closed
hang           no answer, ever
slow           the answer, `seconds` later
truncate       half the body, then closed      closed inside a chunk
truncate_reset half the body, then reset       reset inside a chunk
stall          half the body, then silence     half the events, then silence
trickle        a byte each `seconds`, or 0.1   the same
whitespace,    white space for ever, each      pings for ever, each `seconds`
pings          `seconds`, or 1, before the     or 1
               JSON
cut_json       JSON cut short, length honest   an event cut short
not_json       words instead of JSON           a line of no JSON between events
no_finish      no `finish_reason`              an end without the terminal mark
no_choices     no choices, no content          no events
error_in_200   an error with status 200        an error event halfway
html           a page with status 200          the same
empty          an empty body                   no events
huge           an answer of `size` bytes       the same
stale          closed after the answer without saying so
stale_reset    after the answer, reset as soon as the connection is used again
status         the error usual for `status`    the same
============== =============================== ================================

Besides these, every name in `aitor.testing.errors` is a kind: `overloaded`,
`insufficient_quota`, `context_length`, and so on.
"""

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any, Self

from aitor.testing.errors import ERROR_NAMES

__all__ = ("BLUNT", "CLOSING", "HARMLESS", "KINDS", "SILENT", "Fault", "pick")

_SAME = {"dead": "reset", "pings": "whitespace"}

# No head of an answer is sent.
SILENT = frozenset({"reset", "close", "hang", "not_http"})

# These strike before an answer is made: no tokens are spent on it.
BLUNT = SILENT | {"status"} | ERROR_NAMES

# The connection is closed after them, in order, so the head says so. A reset comes
# over a server, and `stale` is there for what was not said.
CLOSING = frozenset({"truncate"})

# The answer arrives whole all the same.
HARMLESS = frozenset({"slow", "trickle", "huge", "stale", "stale_reset"})

# And these arrive spoiled.
KINDS = (
    BLUNT
    | HARMLESS
    | {
        *("truncate", "truncate_reset", "stall", "whitespace", "cut_json", "not_json"),
        *("no_finish", "no_choices", "error_in_200", "html", "empty"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    One thing that goes wrong, whenever all its conditions hold.

    Args:
        kind: What goes wrong, see the module.
        probability: The share of the requests, drawn by seeded chance.
        at: Only the requests of these numbers, the first being 1.
        first: Only requests up to this number; 0 for all.
        every: Only the requests whose number this divides; 0 for all.
        after: Only from this many seconds after the start on.
        until: Only before this many seconds after the start.
        status: The status of an error, instead of its own.
        error: For `error_in_200`, the name of the error inside.
        param: The parameter that `unsupported_parameter` and the like name.
        retry_after: The header of that name, sent as it is.
        headers: More headers of whatever is answered.
        seconds: How long before an error, a reset or a closing, and with `slow`;
            how long between two bytes or pings with `trickle` and `whitespace`.
        size: Bytes of text with `huge`.

    Raises:
        ValueError: If the kind is unknown or a number out of range.
    """

    kind: str
    probability: float = 1.0
    at: tuple[int, ...] = ()
    first: int = 0
    every: int = 0
    after: float = 0.0
    until: float = math.inf
    status: int = 0
    error: str = "overloaded"
    param: str = ""
    retry_after: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    size: int = 50_000_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", _SAME.get(self.kind, self.kind))
        checks = {
            f"kind={self.kind}: expected one of {sorted(KINDS)}": self.kind in KINDS,
            f"error={self.error}: expected one of {sorted(ERROR_NAMES)}": (
                self.error in ERROR_NAMES
            ),
            f"probability={self.probability}: expected 0 to 1": (
                0 <= self.probability <= 1
            ),
            f"status={self.status}: kind=status takes 400 to 599": (
                400 <= self.status <= 599 or (self.kind != "status" and not self.status)
            ),
            "first, every, after, seconds and size are at least 0": (
                min(self.first, self.every, self.after, self.seconds, self.size) >= 0
            ),
            f"after={self.after:g} until={self.until:g} is no time at all": (
                self.after < self.until
            ),
            "at counts requests from 1": min(self.at, default=1) >= 1,
        }
        for message, holds in checks.items():
            if not holds:
                raise ValueError(f"bad fault: {message}")

    @classmethod
    def parse(cls, source: "str | Mapping[str, Any] | Fault") -> Self:
        """
        Read a fault from text or from a mapping of the names above.

        Text is a kind and settings, in any order: `"dead after=10 until=20"`,
        `"overloaded at=3,7 retry_after=2"`. A status alone is a kind as well:
        `"status=500 probability=0.05"`. A header is `header:name=value`.

        Raises:
            ValueError: If a name or a value is not one of those above.
        """
        if isinstance(source, str):
            source = _mapping(source)
        elif isinstance(source, Fault):
            source = {item.name: getattr(source, item.name) for item in fields(source)}
        values = dict(source)
        if "kind" not in values and "status" in values:
            values["kind"] = "status"
        if unknown := set(values) - {item.name for item in fields(cls)}:
            raise ValueError(f"bad fault: nothing is called {sorted(unknown)}")
        if "kind" not in values:
            raise ValueError(f"bad fault: {source!r} names no kind")
        try:
            return cls(**{name: _READ[name](value) for name, value in values.items()})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"bad fault: {source!r}: {error}") from None

    def all_headers(self) -> dict[str, str]:
        """
        Return the headers that are added, `retry-after` among them.
        """
        wait = {"retry-after": self.retry_after} if self.retry_after else {}
        return {**self.headers, **wait}

    def strikes(self, number: int, elapsed: float, random: Random) -> bool:
        """
        Whether request *number*, *elapsed* seconds after the start, is struck.

        A random number is drawn only if nothing else speaks against it.
        """
        return (
            self.after <= elapsed < self.until
            and (not self.at or number in self.at)
            and (not self.first or number <= self.first)
            and (not self.every or number % self.every == 0)
            and (self.probability >= 1.0 or random.random() < self.probability)
        )


def pick(
    faults: Iterable[Fault], number: int, elapsed: float, random: Random
) -> Fault | None:
    """
    Return the first of *faults* that strikes this request, `None` without one.
    """
    for fault in faults:
        if fault.strikes(number, elapsed, random):
            return fault
    return None


def _mapping(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {"headers": {}}
    for word in shlex.split(text):
        name, equals, value = word.partition("=")
        if not equals:
            name, value = "kind", word
        if name.startswith("header:"):
            values["headers"][name.removeprefix("header:")] = value
        elif name in values:
            raise ValueError(f"bad fault: {text!r} gives {name} twice")
        else:
            values[name] = value
    return values


def _numbers(value: str | int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,)
    return tuple(
        int(n) for n in (value.split(",") if isinstance(value, str) else value)
    )


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("probability", "after", "until", "seconds"), float),
    **dict.fromkeys(("first", "every", "status", "size"), int),
    **dict.fromkeys(("kind", "error", "param", "retry_after"), str),
    "at": _numbers,
    "headers": lambda headers: {str(k): str(v) for k, v in headers.items()},
}
