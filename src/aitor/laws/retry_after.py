"""
What a server's headers say about waiting, and nothing that they do not say.

Headers come from vendors, gateways and captive portals, and any text may stand in
them: negative numbers, `nan`, dates in the past, a million years. Nothing in here
raises for any text, and what is not a plain finite number of seconds or tokens
counts as not said. Whoever obeys the rest is safe from waiting for ever.

Times of day are compared with the wall clock once, on receipt; what is returned is a
number of seconds, which the monotonic clock then counts.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

__all__ = ("Observed", "parse_reset", "read_limits", "retry_after")


class Observed(NamedTuple):
    """
    What a server says about one of its limits.

    Args:
        dimension: `requests`, `tokens`, `input_tokens` or `output_tokens`.
        limit: Allowed in a minute, None if it was not said.
        remaining: Left of it, None if it was not said.
        reset: When all of it is back, as it was written: `parse_reset` reads it.
    """

    dimension: str
    limit: float | None
    remaining: float | None
    reset: str | None


def retry_after(
    headers: Mapping[str, str], wall_now: float, cap: float = 3600.0
) -> float | None:
    """
    Return how many seconds the server asks to wait, None if it does not say.

    The first of these that is more than 0 counts: `retry-after-ms`, `retry-after`
    (seconds or a date), and the reset of a limit of which nothing is left.

    Args:
        headers: With names in lower case.
        wall_now: Seconds since 1970.
        cap: The most to return; a server that asks for more gets this.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    value = headers.get("retry-after")
    seconds = (
        (milliseconds is not None and milliseconds / 1000.0)
        or _number(value)
        or _until_date(value, wall_now)
        or _until_reset(headers, wall_now)
    )
    return min(seconds, cap) if seconds else None


def parse_reset(value: str, wall_now: float) -> float | None:
    """
    Return in how many seconds a limit is whole again, None if *value* is neither.

    Args:
        value: A duration as Go writes it (`6m0s`, `28ms`; OpenAI), or a time of day
            as in RFC 3339 (Anthropic). One in the past is in 0 seconds.
        wall_now: Seconds since 1970.
    """
    if _DURATION.fullmatch(value):
        seconds = sum(
            float(number) * _SECONDS[unit] for number, unit in _PART.findall(value)
        )
        return seconds if seconds < math.inf else None
    if not _TIME_OF_DAY.match(value):
        return None
    try:
        return _until(datetime.fromisoformat(value), wall_now)
    except (ValueError, OverflowError):
        return None


def read_limits(headers: Mapping[str, str]) -> tuple[Observed, ...]:
    """
    Return what *headers* (names in lower case) say about limits.

    Understands OpenAI's `x-ratelimit-…` and Anthropic's `anthropic-ratelimit-…`.
    """
    # Most servers say nothing, and every answer comes by here.
    if _NAMES.isdisjoint(headers):
        return ()
    seen = []
    for dimension, limit, remaining, reset in _FAMILIES:
        if limit in headers or remaining in headers or reset in headers:
            one = Observed(
                dimension,
                _number(headers.get(limit)) or None,
                _number(headers.get(remaining)),
                headers.get(reset),
            )
            seen.append(one)
    return tuple(seen)


# Each dimension with the headers that speak of its limit, what remains, its reset.
_FAMILIES = (
    *(
        (
            kind,
            f"x-ratelimit-limit-{kind}",
            f"x-ratelimit-remaining-{kind}",
            f"x-ratelimit-reset-{kind}",
        )
        for kind in ("requests", "tokens")
    ),
    *(
        (
            kind.replace("-", "_"),
            f"anthropic-ratelimit-{kind}-limit",
            f"anthropic-ratelimit-{kind}-remaining",
            f"anthropic-ratelimit-{kind}-reset",
        )
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)
_NAMES = frozenset(name for family in _FAMILIES for name in family[1:])

_SECONDS = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_TIME_OF_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


def _number(value: str | None) -> float | None:
    """Return the finite number of at least 0 that *value* is, None if it is none."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0.0 <= number < math.inf else None


def _until_date(value: str | None, wall_now: float) -> float | None:
    """Return the seconds until an HTTP date, 0 if it has passed."""
    if value is None:
        return None
    try:
        return _until(parsedate_to_datetime(value), wall_now)
    except (ValueError, OverflowError):
        return None


def _until(moment: datetime, wall_now: float) -> float:
    """Return the seconds until *moment*, 0 if it has passed."""
    if moment.tzinfo is None:
        # HTTP and RFC 3339 leave out Greenwich at most.
        moment = moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - wall_now, 0.0)


def _until_reset(headers: Mapping[str, str], wall_now: float) -> float | None:
    """Return the seconds until the last of the exhausted limits is whole."""
    waits = [
        parse_reset(one.reset, wall_now)
        for one in read_limits(headers)
        if one.remaining == 0.0 and one.reset is not None
    ]
    return max((wait for wait in waits if wait is not None), default=None)
