"""What headers say about waiting, and that nothing in them can do harm."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.laws.retry_after import (
    LimitReader,
    Observed,
    parse_reset,
    read_limits,
    retry_after,
)

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


# Retry-After.


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20.0),
        ("0.5", 0.5),
        (" 20 ", 20.0),
        ("7999", 3_600.0),
        ("1000000000", 3_600.0),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
        ("Sun, 06 Nov 1994 09:50:07 +0100", 30.0),
        ("Sunday, 06-Nov-94 08:50:07 GMT", 30.0),
        ("Sun Nov  6 08:50:07 1994", 30.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600.0),
    ],
)
def test_seconds_and_dates_are_understood(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-5",
        "nan",
        "inf",
        "-inf",
        "soon",
        "",
        "9" * 400,
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:00:00 GMT",
        "Sun, 06 Nov 99999 08:50:07 GMT",
        "Sun, 99 Nov 1994 99:99:99 GMT",
        "Sun, 06 Nov 99999999999 08:50:07 GMT",
        "Sun, 06 Nov 1994 08:50:07 +99999999999999999999",
    ],
)
def test_what_is_no_wait_is_not_said(value: str) -> None:
    assert retry_after({"retry-after": value}, NOW) is None
    assert retry_after({"retry-after-ms": value}, NOW) is None


def test_without_a_header_nothing_is_said() -> None:
    assert retry_after({}, NOW) is None
    assert retry_after({"content-type": "application/json"}, NOW) is None


def test_milliseconds_win_where_they_are_a_wait() -> None:
    headers = {"retry-after": "2", "retry-after-ms": "1250"}
    assert retry_after(headers, NOW) == 1.25
    assert retry_after({**headers, "retry-after-ms": "-1"}, NOW) == 2.0


def test_the_cap_is_the_most() -> None:
    assert retry_after({"retry-after": "100"}, NOW, cap=10.0) == 10.0
    assert retry_after({"retry-after-ms": "100000"}, NOW, cap=10.0) == 10.0


def test_otherwise_the_last_reset_of_what_is_exhausted_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "20s",
        "x-ratelimit-remaining-tokens": "150",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert retry_after(headers, NOW) == 20.0
    assert retry_after({**headers, "x-ratelimit-remaining-tokens": "0"}, NOW) == 360.0
    assert retry_after({**headers, "retry-after": "3"}, NOW) == 3.0
    assert retry_after({"x-ratelimit-reset-requests": "20s"}, NOW) is None


# Resets.


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("6ms", 0.006),
        ("28ms", 0.028),
        ("1h2m3.5s", 3_723.5),
        ("120ms", 0.12),
        ("0s", 0.0),
        ("1m0.5s", 60.5),
        ("500us", 0.0005),
        ("500µs", 0.0005),
        ("24h0m0s", 86_400.0),
        ("1994-11-06T08:50:37Z", 60.0),
        ("1994-11-06t08:50:37.250Z", 60.25),
        ("1994-11-06T10:50:37+02:00", 60.0),
        ("1994-11-06T08:50:37", 60.0),
        ("1994-11-06T08:00:00Z", 0.0),
    ],
)
def test_durations_and_times_of_day_are_understood(value: str, seconds: float) -> None:
    assert parse_reset(value, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "60",
        "s",
        "1.2.3s",
        "-1s",
        "1s ",
        "1x",
        "1d",
        "soon",
        "19941106",
        "1994-13-06T08:50:37Z",
        "1994-11-06T08:50:37+99:00",
        "9" * 400 + "h",
    ],
)
def test_what_is_no_reset_is_not_said(value: str) -> None:
    assert parse_reset(value, NOW) is None


# Limits.


def test_openai_says_requests_and_tokens() -> None:
    headers = {
        "content-type": "application/json",
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "29000",
        "x-ratelimit-reset-tokens": "2s",
    }
    assert read_limits(headers) == (
        Observed("requests", 500.0, 499.0, "120ms"),
        Observed("tokens", 30_000.0, 29_000.0, "2s"),
    )


def test_anthropic_says_input_and_output_tokens_too() -> None:
    headers = {
        f"anthropic-ratelimit-{kind}-{word}": value
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
        for word, value in (
            ("limit", "1000"),
            ("remaining", "0"),
            ("reset", "2025-08-21T10:00:00Z"),
        )
    }
    assert read_limits(headers) == tuple(
        Observed(dimension, 1_000.0, 0.0, "2025-08-21T10:00:00Z")
        for dimension in ("requests", "tokens", "input_tokens", "output_tokens")
    )


def test_what_azure_does_not_know_is_not_said() -> None:
    headers = {
        "x-ratelimit-limit-tokens": "-1",
        "x-ratelimit-remaining-tokens": "-1",
        "x-ratelimit-reset-tokens": "0",
    }
    assert read_limits(headers) == (Observed("tokens", None, None, "0"),)


def test_a_limit_of_nothing_is_none_but_nothing_may_remain() -> None:
    headers = {
        "x-ratelimit-limit-requests": "0",
        "x-ratelimit-remaining-requests": "0",
    }
    assert read_limits(headers) == (Observed("requests", None, 0.0, None),)


def test_where_no_limit_is_said_there_is_nothing_to_see() -> None:
    assert read_limits({}) == ()
    assert read_limits({f"x-header-{n}": "1" for n in range(20)}) == ()


NAMES = st.sampled_from(
    [
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ]
)
VALUES = (
    st.text()
    | st.floats().map(str)
    | st.integers().map(str)
    | st.datetimes().map(str)
    | st.datetimes().map("{:%a, %d %b %Y %H:%M:%S GMT}".format)
    | st.from_regex(r"([0-9.]{0,5}(h|m|s|ms|us|µs|ns)){0,3}", fullmatch=True)
    | st.from_regex(
        r"[A-Z][a-z]{2}, [0-9]{1,6} [A-Z][a-z]{2} [0-9]{1,9} [0-9:]{0,9} "
        r"[+-]?[0-9]{0,30}"
    )
)


@given(
    st.dictionaries(NAMES, VALUES), st.floats(-1e12, 1e12, allow_nan=False), st.data()
)
def test_no_header_raises_or_says_what_is_no_number(
    headers: dict[str, str], wall_now: float, data: st.DataObject
) -> None:
    seconds = retry_after(headers, wall_now)
    assert seconds is None or 0.0 < seconds <= 3_600.0
    for one in read_limits(headers):
        assert one.limit is None or 0.0 < one.limit < math.inf
        assert one.remaining is None or 0.0 <= one.remaining < math.inf
    reset = parse_reset(data.draw(VALUES), wall_now)
    assert reset is None or 0.0 <= reset < math.inf


# Limits of a second, a minute, an hour, a day.


def told(limit: int, remaining: int, reset: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(remaining),
        "x-ratelimit-reset-requests": reset,
    }


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "per_minute"),
    [
        (60, 0, "1s", 3_600.0),
        (10, 9, "100ms", 600.0),
        (5, 4, "12s", 5.0),
        (500, 400, "12s", 500.0),
        (600, 0, "1m0s", 600.0),
        (60, 0, "1.02s", 3_600.0),
    ],
)
def test_a_limit_counts_for_the_period_that_its_reset_tells(
    limit: int, remaining: int, reset: str, per_minute: float
) -> None:
    """Kind: a limit taken for a minute's whatever the reset says."""
    (seen,) = LimitReader().read(told(limit, remaining, reset), 0.0, NOW)
    assert (seen.dimension, seen.remaining) == ("requests", remaining)
    assert seen.per_minute == pytest.approx(per_minute)


@pytest.mark.parametrize(
    ("limit", "remaining", "reset"),
    [(200, 150, "6h0m0s"), (1_000, 0, "86400s"), (3_600, 1_000, "43m0s")],
)
def test_what_an_hour_or_a_day_allows_is_not_spread_over_its_minutes(
    limit: int, remaining: int, reset: str
) -> None:
    assert LimitReader().read(told(limit, remaining, reset), 0.0, NOW) == []


@pytest.mark.parametrize(
    ("limit", "remaining", "reset"), [(200, 199, "7m12s"), (60, 59, "59s")]
)
def test_while_hardly_anything_is_used_nothing_is_told(
    limit: int, remaining: int, reset: str
) -> None:
    """A window that has just begun looks like a bucket of a day."""
    assert LimitReader().read(told(limit, remaining, reset), 0.0, NOW) == []


def test_the_end_of_a_window_is_not_taken_for_a_shorter_one() -> None:
    reader = LimitReader()
    for second in range(1, 60):
        headers = told(60, 60 - second, f"{60 - second}s")
        seen = reader.read(headers, float(second), NOW)
        assert {one.per_minute for one in seen} <= {60.0}


def test_a_shorter_period_is_believed_once_the_longer_has_passed() -> None:
    reader = LimitReader()
    assert reader.read(told(60, 0, "30s"), 0.0, NOW)[0].per_minute == 60.0
    assert reader.read(told(60, 0, "1s"), 59.0, NOW)[0].per_minute == 60.0
    assert reader.read(told(60, 0, "1s"), 61.0, NOW)[0].per_minute == 3_600.0


def test_without_a_reset_a_limit_is_a_minute_s() -> None:
    headers = {"x-ratelimit-limit-requests": "60"}
    assert LimitReader().read(headers, 0.0, NOW)[0].per_minute == 60.0


def test_times_of_day_tell_a_period_too() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "10",
        "anthropic-ratelimit-requests-reset": "1994-11-06T08:50:25Z",
    }
    assert LimitReader().read(headers, 0.0, NOW)[0].per_minute == 50.0


@pytest.mark.parametrize("number", ["1_0", "1_000", "_1"])
def test_what_only_python_takes_for_a_number_is_none(number: str) -> None:
    assert retry_after({"retry-after": number}, NOW) is None
    (seen,) = read_limits({"x-ratelimit-limit-requests": number})
    assert seen.limit is None


@pytest.mark.parametrize(
    ("value", "seconds"), [("15s", 15.0), ("250ms", 0.25), ("1m30s", 90.0)]
)
def test_a_wait_may_bear_its_unit(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds
