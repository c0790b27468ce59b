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

__all__ = ("LimitReader", "Observed", "parse_reset", "read_limits", "retry_after")


class Observed(NamedTuple):
    """
    What a server says about one of its limits.

    Args:
        dimension: `requests`, `tokens`, `input_tokens` or `output_tokens`.
        limit: Allowed in its period, None if it was not said. The period is not said.
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
    (seconds, with a unit or without, or a date), and the reset of a limit of which
    nothing is left.

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
        or (value and parse_reset(value, wall_now))
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


class Allowance(NamedTuple):
    """
    What a server allows, as a limiter by the minute can keep it.

    Args:
        dimension: As in `Observed`.
        per_minute: What any minute allows; None where that is not known.
        remaining: What may go at once at most; None where that is not known.
        period: For how many seconds the server counts.
    """

    dimension: str
    per_minute: float | None
    remaining: float | None
    period: float


class LimitReader:
    """
    Reads one server's limits, and finds out for how long each of them counts.

    A vendor says how much, how much is left, and when all of it is back, but not what
    the limit is for: a second, a minute, an hour or a day. A bucket that fills evenly
    is whole again after used / limit of its period, and a window that begins anew after
    what is left of it. Either way the period is the shortest of the usual ones that
    is no shorter than the reset, once a twentieth of the limit is used; before that
    nothing can be told, and nothing need be. A window near its end looks like
    a shorter one, so a shorter period is believed only after the longer has passed.

    What an hour or a day allows is nothing to be spread over its minutes: that much may
    go at once, and then the server says how long to wait.
    """

    __slots__ = ("_periods",)

    def __init__(self) -> None:
        # By dimension: the period, and when it was last seen to be no shorter.
        self._periods: dict[str, tuple[float, float]] = {}

    def read(
        self, headers: Mapping[str, str], now: float, wall_now: float
    ) -> list[Allowance]:
        """
        Return what *headers* (names in lower case) say that can be kept.

        Args:
            headers: Of an answer or a rejection.
            now: The time on the clock by which the limits are kept.
            wall_now: Seconds since 1970.
        """
        allowed = []
        for seen in read_limits(headers):
            period = self._period(seen, now, wall_now)
            if period is None or period > _MINUTE:
                continue
            limit = seen.limit
            if limit is not None:
                limit *= _MINUTE / period
            allowed.append(Allowance(seen.dimension, limit, seen.remaining, period))
        return allowed

    def _period(self, seen: Observed, now: float, wall_now: float) -> float | None:
        """Return for how many seconds a limit counts; None while it is not known."""
        known, since = self._periods.get(seen.dimension, (None, now))
        if seen.limit is None or seen.remaining is None or seen.reset is None:
            # Nothing to find it out by: a minute is what nearly all vendors mean.
            return known or _MINUTE
        used = seen.limit - seen.remaining
        reset = parse_reset(seen.reset, wall_now)
        if reset is None or used < max(1.0, seen.limit / _TWENTY):
            return known
        # Clocks differ a little, and what is written is rounded.
        period = next((one for one in _PERIODS if reset <= 1.05 * one), _PERIODS[-1])
        if known is None or period >= known or now - since > known:
            self._periods[seen.dimension] = period, now
            return period
        return known


_MINUTE = 60.0
_PERIODS = (1.0, _MINUTE, 3_600.0, 86_400.0)
_TWENTY = 20.0

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
    # Python takes 1_0 for ten.
    if value is None or "_" in value:
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
