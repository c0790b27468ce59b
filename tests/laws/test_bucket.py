"""A bucket over several limits: schedules, windows, reservations, headers."""

import math
from collections.abc import Sequence
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.laws.bucket import (
    DIMENSIONS,
    NO_COST,
    Cost,
    Reservation,
    TokenBucket,
)
from aitor.laws.window import MINUTE

ONE = Cost()


def most_in_a_minute(sends: Sequence[tuple[float, float]]) -> float:
    """Return the largest sum in any 60 s, both ends included, over all windows."""
    most = total = 0.0
    first = 0
    for when, amount in sends:
        total += amount
        while sends[first][0] < when - 60:
            total -= sends[first][1]
            first += 1
        most = max(most, total)
    return most


def drain(bucket: TokenBucket, cost: Cost, seconds: float) -> list[tuple[float, float]]:
    """Take *cost* as often as may be for *seconds*."""
    now, sends = 0.0, []
    while (now := bucket.ready_at(cost, now)) <= seconds:
        bucket.take(cost, now)
        sends.append((now, 1.0))
    return sends


# Plain numbers.


def test_without_limits_everything_may_start_at_once() -> None:
    bucket = TokenBucket()
    for _ in range(1_000):
        assert bucket.ready_at(Cost(1, 1e9, 1e9), 5.0) == 5.0
        bucket.take(Cost(1, 1e9, 1e9), 5.0)
    assert dict(bucket.levels(5.0)) == {}


def test_of_600_a_minute_6_go_at_once_and_the_next_after_a_tenth_of_a_second() -> None:
    bucket = TokenBucket(requests_per_minute=600)
    for _ in range(6):
        assert bucket.ready_at(ONE, 10.0) == 10.0
        bucket.take(ONE, 10.0)
    assert bucket.ready_at(ONE, 10.0) == 10.0 + MINUTE / 600


def test_the_time_to_start_does_not_depend_on_when_it_is_asked_for() -> None:
    bucket = TokenBucket(requests_per_minute=7)
    bucket.take(ONE, 3.0)
    at = bucket.ready_at(ONE, 3.0)
    assert {bucket.ready_at(ONE, 3.0 + n / 10) for n in range(80)} == {at}
    assert bucket.ready_at(ONE, at + 1.0) == at + 1.0


@pytest.mark.parametrize(("per_minute", "gap"), [(1, 60.001), (2, 30.0005), (3, 20.0)])
def test_small_limits_are_used_to_the_last_request(
    per_minute: float, gap: float
) -> None:
    sends = drain(TokenBucket(requests_per_minute=per_minute), ONE, 600.0)
    assert sends[1][0] == pytest.approx(gap, abs=0.001)
    assert most_in_a_minute(sends) == per_minute
    assert len(sends) >= 0.99 * 10 * per_minute


def test_half_a_request_a_minute_is_one_in_two_minutes() -> None:
    sends = drain(TokenBucket(requests_per_minute=0.5), ONE, 1_201.0)
    assert [when for when, _ in sends] == pytest.approx(
        [2 * MINUTE * n for n in range(11)]
    )


def test_of_two_and_a_half_requests_a_minute_two_fit_into_each() -> None:
    sends = drain(TokenBucket(requests_per_minute=2.5), ONE, 1_201.0)
    assert most_in_a_minute(sends) == 2


@pytest.mark.parametrize("burst", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("per_minute", [600, 3_000, 18_000])
def test_a_backlog_drains_at_the_limit(per_minute: float, burst: float) -> None:
    bucket = TokenBucket(requests_per_minute=per_minute, burst=burst)
    sends = drain(bucket, ONE, 180.0)
    assert len(sends) >= 0.998 * 3 * per_minute
    assert most_in_a_minute(sends) <= per_minute


@pytest.mark.parametrize("size", [300, 3_000, 7_500, 10_000, 15_000])
def test_requests_larger_than_the_burst_use_the_limit_as_well(size: float) -> None:
    bucket = TokenBucket(tokens_per_minute=30_000)
    sends = drain(bucket, Cost(1, size, 0), 1_200.0)
    assert len(sends) * size >= 0.999 * 20 * 30_000
    assert most_in_a_minute([(when, size) for when, _ in sends]) <= 30_000


def test_a_large_request_waits_for_its_size_and_the_next_one_only_for_its_own() -> None:
    bucket = TokenBucket(tokens_per_minute=60_000)
    bucket.take(Cost(1, 600, 0), 0.0)
    assert bucket.ready_at(Cost(1, 20_000, 0), 0.0) == pytest.approx(MINUTE / 3)
    bucket.take(Cost(1, 20_000, 0), 21.0)
    assert bucket.ready_at(Cost(1, 1_000, 0), 21.0) == pytest.approx(21.0 + MINUTE / 60)


def test_what_nobody_needed_is_kept_as_far_as_the_burst_goes() -> None:
    bucket = TokenBucket(tokens_per_minute=60_000)
    bucket.take(Cost(1, 100, 0), 0.0)
    assert bucket.levels(0.0)["tokens"].available == 500.0
    bucket.take(Cost(1, 100, 0), 30.0)
    assert bucket.levels(30.0)["tokens"].available == 500.0


@pytest.mark.parametrize("size", [16_000, 30_000, 30_001, 10**9])
def test_a_request_larger_than_half_the_limit_or_all_of_it_goes_once_a_minute(
    size: float,
) -> None:
    sends = drain(TokenBucket(tokens_per_minute=30_000), Cost(1, size, 0), 1_201.0)
    assert len(sends) == 21


def test_fractions_that_make_a_limit_fit_into_it() -> None:
    bucket = TokenBucket(tokens_per_minute=3.3, burst=0.5)
    bucket.take(Cost(1, 1.1, 0), 0.0)
    assert 1.1 + 2.2 > 3.3
    assert bucket.ready_at(Cost(1, 2.2, 0), 0.0) == pytest.approx(MINUTE / 2)


def test_it_need_not_wait_for_starts_that_used_nothing() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000, burst=0.5)
    for n in range(3):
        bucket.cancel(bucket.take(Cost(1, 0.1, 0.2), n * 1.0), n * 1.0)
    assert bucket.ready_at(Cost(1, 2_000, 0), 10.0) == pytest.approx(
        2.0 + MINUTE / 2, abs=0.1
    )


def test_the_slowest_dimension_decides_and_nothing_is_taken_before() -> None:
    bucket = TokenBucket(requests_per_minute=60, output_tokens_per_minute=100)
    bucket.take(Cost(1, 5, 50), 0.0)
    assert bucket.ready_at(Cost(1, 5, 50), 0.0) == pytest.approx(MINUTE / 2)
    with pytest.raises(ValueError, match=r"taken at 2\.0, but not ready before 30"):
        bucket.take(Cost(1, 5, 50), 2.0)
    # The requests had come back in the meantime, and are still there.
    assert bucket.levels(2.0)["requests"].available == 1.0
    assert bucket.ready_at(Cost(1, 5, 0), 2.0) == 2.0
    assert bucket.reserved == Cost(1, 5, 50)


def test_an_answer_holds_for_one_take() -> None:
    bucket, cost = TokenBucket(requests_per_minute=1), Cost()
    assert bucket.ready_at(cost, 0.0) == 0.0
    bucket.take(cost, 0.0)
    with pytest.raises(ValueError, match="not ready before"):
        bucket.take(cost, 0.0)


def test_an_answer_from_before_a_header_does_not_hold() -> None:
    bucket, cost = TokenBucket(requests_per_minute=60), Cost()
    assert bucket.ready_at(cost, 0.0) == 0.0
    bucket.observe("requests", None, 0, 0.0)
    with pytest.raises(ValueError, match="not ready before"):
        bucket.take(cost, 0.0)


def test_an_answer_from_before_a_charge_does_not_hold() -> None:
    bucket, cost = TokenBucket(tokens_per_minute=1_000), Cost(1, 10, 0)
    reservation = bucket.take(ONE, 0.0)
    assert bucket.ready_at(cost, 0.0) == 0.0
    bucket.settle(reservation, Cost(1, 500, 0), 0.0)
    with pytest.raises(ValueError, match="not ready before"):
        bucket.take(cost, 0.0)


def test_an_answer_from_before_a_slow_down_does_not_hold() -> None:
    bucket, cost = TokenBucket(requests_per_minute=60), Cost()
    bucket.take(cost, 0.0)
    at = bucket.ready_at(cost, 0.0)
    bucket.slow_down(0.5, until=100.0)
    with pytest.raises(ValueError, match="not ready before"):
        bucket.take(cost, at)


def test_tokens_count_input_and_output_together() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000, burst=0.5)
    bucket.take(Cost(1, 200, 300), 0.0)
    assert bucket.levels(0.0)["tokens"].available == 0.0


def test_settling_gives_back_what_was_not_used() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000)
    reservation = bucket.take(Cost(1, 100, 300), 0.0)
    assert bucket.reserved == Cost(1, 100, 300)
    assert bucket.ready_at(Cost(1, 100, 50), 0.0) == pytest.approx(MINUTE * 0.15)
    bucket.settle(reservation, Cost(1, 100, 150), 1.0)
    assert bucket.reserved == NO_COST
    assert bucket.ready_at(Cost(1, 100, 50), 1.0) == 1.0


def test_settling_gives_room_in_the_window_back() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000, burst=0.5)
    first = bucket.take(Cost(1, 1_000, 0), 0.0)
    assert bucket.ready_at(Cost(1, 500, 0), 50.0) == MINUTE
    bucket.settle(first, Cost(1, 400, 0), 50.0)
    assert bucket.ready_at(Cost(1, 600, 0), 50.0) == 50.0
    assert bucket.ready_at(Cost(1, 601, 0), 50.0) == MINUTE


def starts_within(bucket: TokenBucket, cost: Cost, begin: float, end: float) -> int:
    """Take *cost* as often as may be, and count."""
    count = 0
    while (begin := bucket.ready_at(cost, begin)) <= end:
        bucket.settle(bucket.take(cost, begin), cost, begin)
        count += 1
    return count


def test_settling_gives_back_no_more_than_a_limit() -> None:
    """An estimate larger than the limit took no more than that."""
    bucket = TokenBucket(tokens_per_minute=1_000)
    reservation = bucket.take(Cost(1, 0, 10_000), 0.0)
    bucket.settle(reservation, Cost(1, 0, 10), 1.0)
    assert bucket.levels(1.0)["tokens"].available == 990
    # All of it goes in the first minute; from then on tokens come evenly again.
    small = Cost(1, 0, 10)
    assert starts_within(bucket, small, 1.0, 60.0) == 99
    assert starts_within(bucket, small, 60.0, 63.0) <= 5


def test_settling_gives_back_no_more_than_the_limit_was_at_the_start() -> None:
    bucket = TokenBucket(tokens_per_minute=10_000)
    bucket.observe("tokens", 1_000, None, 0.0)
    reservation = bucket.take(Cost(1, 0, 10_000), 0.0)
    bucket.observe("tokens", 10_000, None, 0.0)
    bucket.settle(reservation, Cost(1, 0, 10), 0.0)
    assert bucket.levels(0.0)["tokens"].available == 990


def test_settling_gives_nothing_back_to_a_limit_that_was_not_known() -> None:
    bucket = TokenBucket(requests_per_minute=600)
    reservation = bucket.take(Cost(1, 0, 800), 0.0)
    bucket.observe("tokens", 1_000, None, 1.0)
    bucket.settle(reservation, Cost(1, 0, 100), 1.0)
    assert bucket.levels(1.0)["tokens"].available == 10


def test_of_what_is_larger_than_a_limit_nothing_is_owed() -> None:
    """It counts as the limit, whether it was known to be so large or not."""
    known, unknown = (TokenBucket(tokens_per_minute=1_000) for _ in range(2))
    known.settle(known.take(Cost(1, 5_000, 0), 0.0), Cost(1, 9_000, 0), 0.0)
    unknown.settle(unknown.take(Cost(1, 10, 0), 0.0), Cost(1, 9_000, 0), 0.0)
    for bucket in (known, unknown):
        assert bucket.ready_at(Cost(1, 10, 0), 0.0) == pytest.approx(MINUTE, rel=0.02)


def test_settling_charges_what_was_used_beyond_the_estimate() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000)
    reservation = bucket.take(Cost(1, 10, 0), 0.0)
    bucket.settle(reservation, Cost(1, 10, 90), 0.0)
    assert bucket.levels(0.0)["tokens"].available == -90.0
    assert bucket.ready_at(Cost(1, 10, 0), 0.0) == pytest.approx(MINUTE / 10)
    assert bucket.ready_at(Cost(1, 901, 0), 59.5) == MINUTE


def test_what_is_given_back_is_kept_beyond_the_burst_until_somebody_takes_it() -> None:
    bucket = TokenBucket(tokens_per_minute=60_000)
    open_ = [bucket.take(Cost(1, 0, 6_000), 6.1 * n) for n in range(6)]
    for reservation in open_:
        bucket.settle(reservation, Cost(1, 0, 1_000), 36.0)
    # All but a thousand of the last, and what came in the time since.
    assert bucket.levels(36.0)["tokens"].available == pytest.approx(30_600)
    for _ in range(5):
        bucket.take(Cost(1, 0, 6_000), 36.0)
    assert bucket.ready_at(Cost(1, 0, 6_000), 36.0) > 36.0


def test_of_a_mad_usage_no_more_than_a_minute_is_owed() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000)
    reservation = bucket.take(ONE, 0.0)
    bucket.settle(reservation, Cost(1, 10**11, 10**11), 0.0)
    assert bucket.ready_at(Cost(1, 10, 0), 0.0) == pytest.approx(MINUTE)


@pytest.mark.parametrize("tokens", [-1, math.nan, math.inf, -math.inf, 1e13])
def test_a_usage_that_is_no_amount_is_not_believed(tokens: float) -> None:
    for used in (Cost(1, tokens, 0), Cost(1, 0, tokens)):
        bucket = TokenBucket(tokens_per_minute=1_000)
        reservation = bucket.take(Cost(1, 400, 0), 0.0)
        bucket.settle(reservation, used, 0.0)
        assert bucket.reserved == NO_COST
        assert bucket.ready_at(Cost(1, 100, 0), 0.0) == pytest.approx(MINUTE / 10)
        assert bucket.ready_at(Cost(1, 601, 0), 59.0) == MINUTE


@pytest.mark.parametrize("tokens", [-1, math.nan, math.inf, -math.inf, 1e18])
def test_an_estimate_that_is_no_amount_leaves_nothing_behind(tokens: float) -> None:
    for guess in (Cost(1, tokens, 0), Cost(1, 0, tokens)):
        bucket = TokenBucket(tokens_per_minute=1_000, output_tokens_per_minute=1_000)
        mad = bucket.take(guess, 0.0)
        plain = bucket.take(Cost(1, 0, 10), 2 * MINUTE)
        bucket.settle(mad, Cost(1, 0, 5), 2 * MINUTE)
        bucket.settle(plain, Cost(1, 0, 5), 2 * MINUTE)
        # There is room for all but the five that count.
        assert bucket.ready_at(Cost(1, 0, 995), 3 * MINUTE) == pytest.approx(3 * MINUTE)
        assert bucket.ready_at(Cost(1, 0, 996), 2.9 * MINUTE) == 3 * MINUTE


def test_a_mad_estimate_does_not_blur_the_minute_that_it_counts_in() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000, burst=0.5)
    mad = bucket.take(Cost(1, 0, 1e18), 0.0)
    bucket.settle(mad, Cost(1, 0, 300), 1.0)
    assert bucket.ready_at(Cost(1, 0, 700), 1.0) == 1.0
    assert bucket.ready_at(Cost(1, 0, 701), 1.0) == MINUTE


def test_what_is_settled_after_its_minute_leaves_the_window_as_it_is() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000)
    early = bucket.take(Cost(1, 1_000, 0), 0.0)
    bucket.take(Cost(1, 900, 0), 100.0)
    bucket.settle(early, NO_COST, 100.0)
    assert bucket.ready_at(Cost(1, 101, 0), 100.0) == 100.0 + MINUTE


def test_cancelling_gives_everything_back() -> None:
    bucket = TokenBucket(requests_per_minute=1, tokens_per_minute=1_000)
    reservation = bucket.take(Cost(1, 1_000, 0), 0.0)
    assert bucket.ready_at(ONE, 0.0) == pytest.approx(MINUTE)
    bucket.cancel(reservation, 2.0)
    assert bucket.ready_at(Cost(1, 1_000, 0), 2.0) == 2.0


def test_a_thousand_starts_in_one_instant_are_a_few_slots_and_count_all_the_same() -> (
    None
):
    bucket = TokenBucket(requests_per_minute=10_000, burst=0.5)
    open_ = [bucket.take(ONE, 0.0) for _ in range(5_000)]
    for n, reservation in enumerate(open_):
        bucket.settle(reservation, NO_COST if n % 2 else ONE, 1.0)
    assert bucket.levels(1.0)["requests"].available == 2_500 + 10_000 / MINUTE


def test_a_reservation_is_settled_once_and_where_it_was_made() -> None:
    bucket, other = TokenBucket(requests_per_minute=60), TokenBucket()
    reservation = bucket.take(ONE, 0.0)
    with pytest.raises(ValueError, match="not open in this bucket"):
        other.settle(reservation, ONE, 0.0)
    bucket.settle(reservation, ONE, 0.0)
    with pytest.raises(ValueError, match="not open in this bucket"):
        bucket.settle(reservation, ONE, 0.0)
    with pytest.raises(ValueError, match="not open in this bucket"):
        bucket.cancel(reservation, 0.0)


def test_a_hold_stops_everything_and_the_latest_counts() -> None:
    for bucket in (TokenBucket(), TokenBucket(requests_per_minute=600)):
        bucket.hold_until(20.0)
        bucket.hold_until(15.0)
        assert bucket.held_until == 20.0
        assert bucket.ready_at(ONE, 3.0) == 20.0
        with pytest.raises(ValueError, match=r"not ready before 20\.0"):
            bucket.take(ONE, 19.0)
        bucket.take(ONE, 20.0)
        assert bucket.ready_at(ONE, 20.0) == 20.0


def test_slowing_down_multiplies_the_rate_and_ends_by_itself() -> None:
    bucket = TokenBucket(requests_per_minute=60)
    bucket.take(ONE, 0.0)
    gap = bucket.ready_at(ONE, 0.0)
    bucket.slow_down(0.5, until=10.0)
    assert bucket.levels(0.0)["requests"].rate == pytest.approx(0.5 / gap)
    assert bucket.ready_at(ONE, 0.0) == 2 * gap
    bucket.take(ONE, 2 * gap)
    bucket.take(ONE, 9.0)
    # A second at half the rate is half of what it takes, the rest comes at the full.
    assert bucket.ready_at(ONE, 9.0) == pytest.approx(10.0 + gap - 0.5)
    bucket.take(ONE, 11.0)
    assert bucket.ready_at(ONE, 11.0) == 11.0 + gap
    assert bucket.levels(11.0)["requests"].rate == pytest.approx(1 / gap)


def test_the_last_slow_down_replaces_the_one_before() -> None:
    bucket = TokenBucket(requests_per_minute=60)
    bucket.take(ONE, 0.0)
    bucket.slow_down(0.01, until=1e9)
    bucket.slow_down(1.0, until=1e9)
    assert bucket.ready_at(ONE, 0.0) == pytest.approx(MINUTE / 60)


@pytest.mark.parametrize("factor", [0.0, -1.0, 1.5, math.nan])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="'factor' must be more than 0"):
        TokenBucket(requests_per_minute=60).slow_down(factor, 10.0)


def test_a_clock_that_steps_back_brings_no_tokens() -> None:
    bucket = TokenBucket(requests_per_minute=60)
    bucket.take(ONE, 100.0)
    at = bucket.ready_at(ONE, 100.0)
    assert bucket.ready_at(ONE, 50.0) == at
    assert bucket.levels(50.0)["requests"].available == 0.0
    bucket.observe("requests", 30, None, 50.0)
    bucket.observe("requests", 60, None, 90.0)
    assert bucket.ready_at(ONE, 90.0) == at


def test_what_waits_ahead_is_reckoned_with() -> None:
    bucket = TokenBucket(requests_per_minute=60)
    bucket.take(ONE, 0.0)
    assert bucket.ready_at(ONE, 0.0, NO_COST) == bucket.ready_at(ONE, 0.0)
    assert bucket.ready_at(ONE, 0.0, Cost(9, 0, 0)) == pytest.approx(10 * MINUTE / 60)
    bucket.hold_until(500.0)
    assert bucket.ready_at(ONE, 0.0, Cost(9, 0, 0)) == 500.0


def test_costs_are_added_and_subtracted() -> None:
    assert Cost(1, 20, 300) + Cost(2, 1, 1) == Cost(3, 21, 301)
    assert Cost(3, 21, 301) - Cost(2, 1, 1) == Cost(1, 20, 300)
    assert sum([ONE, ONE], NO_COST) == Cost(2, 0, 0)


# What a server says.


def test_a_server_may_lower_a_limit_and_raise_it_again_to_ours() -> None:
    bucket = TokenBucket(requests_per_minute=600)
    for said, used in ((100, 100), (300, 300), (9_000, 600)):
        bucket.observe("requests", said, None, 0.0)
        assert bucket.levels(0.0)["requests"].limit == used


FADE = 120.0
"""Seconds after which a limit of a minute fades."""


def test_a_second_s_limit_fades_sooner() -> None:
    bucket = TokenBucket()
    bucket.observe("requests", 3_600, None, 0.0, 1.0)
    bucket.ready_at(ONE, 1.9)
    assert bucket.levels(1.9)
    bucket.ready_at(ONE, 2.0)
    assert not bucket.levels(2.0)


def test_a_limit_that_a_server_does_not_tell_any_more_fades() -> None:
    """Kind: what was learned once and held for ever."""
    bucket = TokenBucket()
    bucket.observe("requests", 60, None, 0.0)
    bucket.observe("tokens", 1_000, None, 100.0)
    bucket.ready_at(ONE, FADE)
    assert set(bucket.levels(FADE)) == {"tokens"}
    assert bucket.counts_tokens
    bucket.ready_at(ONE, 100.0 + FADE)
    assert not bucket.levels(100.0 + FADE)
    assert not bucket.counts_tokens


def test_a_limit_that_a_server_tells_again_and_again_stays() -> None:
    bucket = TokenBucket()
    for minute in range(10):
        bucket.observe("requests", 60, None, 60.0 * minute)
        bucket.ready_at(ONE, 60.0 * minute)
        assert bucket.levels(60.0 * minute)["requests"].limit == 60


def test_a_lower_limit_that_fades_leaves_the_one_configured() -> None:
    bucket = TokenBucket(requests_per_minute=600)
    bucket.observe("requests", 60, None, 0.0)
    bucket.ready_at(ONE, FADE)
    assert bucket.levels(FADE)["requests"].limit == 600


def test_a_new_limit_keeps_what_had_come_by_then() -> None:
    bucket = TokenBucket(requests_per_minute=600)
    for _ in range(6):
        bucket.take(ONE, 0.0)
    bucket.observe("requests", 60, None, MINUTE / 600 / 2)
    assert bucket.ready_at(ONE, 0.05) == pytest.approx(0.05 + 0.5, abs=0.001)


def test_a_server_may_set_a_limit_where_we_have_none() -> None:
    bucket = TokenBucket()
    early = bucket.take(Cost(1, 500, 0), 0.0)
    bucket.observe("tokens", 1_000, 200, 10.0)
    assert bucket.levels(10.0)["tokens"].limit == 1_000
    late = bucket.take(Cost(1, 900, 0), 20.0 + MINUTE)
    # What was taken before the limit was known is not given back to it.
    bucket.cancel(early, 20.0 + MINUTE)
    assert bucket.ready_at(Cost(1, 200, 0), 20.0 + MINUTE) == 20.0 + 2 * MINUTE
    bucket.cancel(late, 20.0 + MINUTE)
    assert bucket.ready_at(Cost(1, 900, 0), 20.0 + MINUTE) == 20.0 + MINUTE


def test_what_remains_at_the_server_bounds_what_may_go_and_never_adds_to_it() -> None:
    bucket = TokenBucket(requests_per_minute=600)
    bucket.observe("requests", None, 2, 0.0)
    assert bucket.levels(0.0)["requests"].available == 2.0
    bucket.observe("requests", None, 500, 0.0)
    assert bucket.levels(0.0)["requests"].available == 2.0
    bucket.observe("requests", None, 0, 0.0)
    assert bucket.ready_at(ONE, 0.0) == pytest.approx(MINUTE / 600)


def test_what_remains_nothing_stays_nothing_when_another_call_is_settled() -> None:
    bucket, cost = TokenBucket(tokens_per_minute=1_000), Cost(1, 0, 5)
    reservation = bucket.take(cost, 0.0)
    bucket.observe("tokens", None, 0, 120.0)
    bucket.settle(reservation, cost, 120.0)
    assert bucket.levels(120.0)["tokens"].available == pytest.approx(0.0)


@pytest.mark.parametrize("lower", [60, 6])
def test_a_limit_that_is_lowered_keeps_nothing_beyond_its_own_burst(
    lower: int,
) -> None:
    """What a higher limit would have let through by now is not there."""
    bucket = TokenBucket(requests_per_minute=6_000)
    bucket.take(ONE, 0.0)
    bucket.observe("requests", lower, None, 30.0)
    assert bucket.levels(30.0)["requests"].available == pytest.approx(1.0)


def test_a_limit_that_changes_keeps_what_was_given_back() -> None:
    bucket = TokenBucket(tokens_per_minute=1_000)
    bucket.cancel(bucket.take(Cost(1, 800, 0), 0.0), 1.0)
    bucket.observe("tokens", 900, None, 1.0)
    assert bucket.levels(1.0)["tokens"].available == pytest.approx(800, rel=0.03)


def test_what_is_not_limited_has_nothing_remaining() -> None:
    bucket = TokenBucket(requests_per_minute=600)
    bucket.observe("tokens", None, 0, 0.0)
    bucket.observe("hamsters", 1, 0, 0.0)
    assert list(bucket.levels(0.0)) == ["requests"]
    assert bucket.ready_at(ONE, 0.0) == 0.0


@given(
    limit=st.none() | st.floats() | st.sampled_from([-1.0, 0.0, 1e300]),
    remaining=st.none() | st.floats() | st.sampled_from([-1.0, 1e300]),
    dimension=st.sampled_from([*DIMENSIONS, ""]),
    configured=st.none() | st.sampled_from([1.0, 600.0]),
)
def test_no_header_makes_a_limit_or_a_rate_that_is_none(
    limit: float | None,
    remaining: float | None,
    dimension: str,
    configured: float | None,
) -> None:
    bucket = TokenBucket(configured, configured)
    before = bucket.levels(5.0)
    bucket.observe(dimension, limit, remaining, 5.0)
    after = bucket.levels(5.0)
    for level in after.values():
        assert 0 < level.limit < math.inf
        assert 0 < level.rate < math.inf
        assert 0 <= level.available < math.inf
    if limit is None or not 1 <= limit <= 1e12:
        limits = {name: level.limit for name, level in after.items()}
        assert limits == {name: level.limit for name, level in before.items()}
    if remaining is None or not 0 <= remaining < math.inf:
        for name, was in before.items():
            assert after[name].available >= min(1.0, was.available)
    assert bucket.ready_at(Cost(1, 1, 1), 5.0) <= 5.0 + MINUTE + 1e-6


# Settings.


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_limit_that_is_none_is_refused_by_name(dimension: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"'{dimension}_per_minute' must be finite"):
        TokenBucket(**{f"{dimension}_per_minute": value})


@pytest.mark.parametrize("burst", [-0.1, 0.51, math.nan])
def test_a_burst_that_is_no_share_is_refused_by_name(burst: float) -> None:
    with pytest.raises(ValueError, match=r"'burst' must be from 0 to 0\.5"):
        TokenBucket(burst=burst)


# Invariants, over all windows.

Limit = int | None
Script = tuple[tuple[Limit, Limit, Limit, Limit], list[tuple[Cost, float]]]

limits = st.none() | st.sampled_from([1, 2, 3, 10, 500, 30_000]) | st.integers(1, 10**6)
bursts = st.sampled_from([0.0, 0.01, 0.1, 0.5])
gaps = st.just(0.0) | st.floats(0, 1) | st.floats(0, 200)


@st.composite
def scripts(draw: st.DrawFn, *, largest: float = 1.0) -> Script:
    """Draw limits and requests, none larger than *largest* of a limit, with gaps."""
    requests, tokens, inputs, outputs = [draw(limits) for _ in range(4)]
    most = [int(limit * largest) if limit else 10**6 for limit in (tokens, inputs)]
    size = st.integers(0, min(most)) | st.integers(0, max(1, min(most) // 50))
    reply = int(min(tokens or 10**6, outputs or 10**6) * largest)
    script = []
    for _ in range(draw(st.integers(1, 60))):
        sent = draw(size)
        most_output = min(reply, int((tokens or 10**7) * largest) - sent)
        cost = Cost(1, sent, draw(st.integers(0, max(0, most_output))))
        script.append((cost, draw(gaps)))
    return (requests, tokens, inputs, outputs), script


def amounts(cost: Cost) -> tuple[float, ...]:
    return cost[0], cost[1] + cost[2], cost[1], cost[2]


@given(scripts(), bursts, st.sampled_from([0.0, 1e6, 1.7e9]))
def test_no_window_of_60_seconds_holds_more_than_a_limit(
    script: Script,
    burst: float,
    now: float,
) -> None:
    limits, requests = script
    bucket = TokenBucket(*limits, burst=burst)
    sends = []
    for cost, gap in requests:
        now = bucket.ready_at(cost, now + gap)
        bucket.take(cost, now)
        sends.append((now, amounts(cost)))
    for dimension, limit in enumerate(limits):
        if limit is not None:
            of_one = [(when, used[dimension]) for when, used in sends]
            assert most_in_a_minute(of_one) <= limit


@given(scripts(largest=0.5), bursts, st.data())
def test_nor_when_the_clock_steps_back_or_the_bucket_is_slowed_or_watched(
    script: Script,
    burst: float,
    data: st.DataObject,
) -> None:
    limits, requests = script
    bucket = TokenBucket(*limits, burst=burst)
    now, sends = 0.0, []
    for cost, gap in requests:
        now += gap
        match data.draw(st.integers(0, 4)):
            case 0:
                bucket.ready_at(cost, now - 30.0)
                bucket.observe("requests", 1e6, 1e6, now - 30.0)
            case 1:
                bucket.slow_down(data.draw(st.floats(0.1, 1.0)), now + 5.0)
            case 2:
                bucket.hold_until(now + 1.0)
            case 3:
                bucket.observe("tokens", None, data.draw(st.integers(0, 100)), now)
        now = bucket.ready_at(cost, now)
        bucket.take(cost, now)
        sends.append((now, amounts(cost)))
    for dimension, limit in enumerate(limits):
        if limit is not None:
            of_one = [(when, used[dimension]) for when, used in sends]
            assert most_in_a_minute(of_one) <= limit


@given(scripts(), bursts, st.data())
def test_nor_more_than_a_limit_is_used_when_less_is_used_than_was_taken(
    script: Script, burst: float, data: st.DataObject
) -> None:
    limits, requests = script
    bucket = TokenBucket(*limits, burst=burst)
    now = 0.0
    open_: list[tuple[Reservation, float]] = []
    uses: list[tuple[float, Cost]] = []
    for cost, gap in requests:
        now += gap
        settles: bool = data.draw(st.booleans())
        if open_ and settles:
            index = data.draw(st.integers(0, len(open_) - 1))
            reservation, when = open_.pop(index)
            taken = reservation.cost
            used = Cost(*[data.draw(st.integers(0, int(part))) for part in taken])
            bucket.settle(reservation, used, now)
            uses.append((when, used))
        now = bucket.ready_at(cost, now)
        open_.append((bucket.take(cost, now), now))
    uses += [(when, reservation.cost) for reservation, when in open_]
    uses.sort(key=itemgetter(0))
    for dimension, limit in enumerate(limits):
        if limit is not None:
            of_one = [(when, amounts(used)[dimension]) for when, used in uses]
            assert most_in_a_minute(of_one) <= limit


@given(
    st.floats(0.1, 1e5),
    st.floats(0, 1e9),
    st.lists(st.floats(1e-9, 5.0), min_size=1, max_size=50),
)
def test_waiting_until_the_time_given_is_always_enough(
    per_minute: float, now: float, sizes: list[float]
) -> None:
    bucket = TokenBucket(per_minute, per_minute * 3)
    for size in sizes:
        cost = Cost(1, size, size)
        now = bucket.ready_at(cost, now)
        assert bucket.ready_at(cost, now) == now
        bucket.take(cost, now)


@given(scripts(), st.lists(st.booleans(), max_size=60), st.data())
def test_every_reservation_is_settled_once_and_what_is_reserved_is_what_is_open(
    script: Script,
    settles: list[bool],
    data: st.DataObject,
) -> None:
    limits, requests = script
    bucket = TokenBucket(*limits)
    now, open_ = 0.0, []
    for (cost, gap), settle in zip(requests, settles, strict=False):
        now = bucket.ready_at(cost, now + gap)
        open_.append(bucket.take(cost, now))
        if settle:
            reservation = open_.pop(data.draw(st.integers(0, len(open_) - 1)))
            used = Cost(1, *data.draw(st.tuples(*[st.integers(0, 10**7)] * 2)))
            bucket.settle(reservation, used, now)
            with pytest.raises(ValueError, match="not open"):
                bucket.settle(reservation, used, now)
        assert bucket.reserved == sum((one.cost for one in open_), NO_COST)
        assert min(bucket.reserved) >= 0
        # Whatever was used, nobody at the head waits longer than two minutes.
        assert bucket.ready_at(cost, now) <= now + 2.001 * MINUTE
    for reservation in open_:
        bucket.cancel(reservation, now)
    assert bucket.reserved == NO_COST


sizes = st.integers(0, 100) | st.integers(0, 10_000)
said = st.none() | st.sampled_from([100, 500, 1_000])


@given(st.lists(st.tuples(sizes, sizes, gaps, gaps, said)), st.data())
def test_settling_gives_back_or_charges_what_counted(
    requests: list[tuple[int, int, float, float, int | None]], data: st.DataObject
) -> None:
    """Never more than was taken, whatever a server says of the limit meanwhile."""
    bucket = TokenBucket(tokens_per_minute=1_000, burst=0.1)
    pace = bucket._paces["tokens"]
    now = 0.0
    open_: list[tuple[Reservation, int, float]] = []
    for guessed, used, gap, seconds, limit in requests:
        now = bucket.ready_at(Cost(1, 0, guessed), now + gap)
        open_.append((bucket.take(Cost(1, 0, guessed), now), used, pace.limit))
        now += seconds
        bucket.observe("tokens", limit, None, now)
        if data.draw(st.booleans()):
            index = data.draw(st.integers(0, len(open_) - 1))
            reservation, truth, most = open_.pop(index)
            most = min(most, pace.limit)
            counted = min(reservation.cost.output_tokens, most)
            before = pace.level + pace.returned
            bucket.settle(reservation, Cost(1, 0, truth), now)
            given_back = pace.level + pace.returned - before
            if truth <= counted:
                assert given_back == pytest.approx(counted - min(truth, most))
            else:
                # No more than a minute's worth is owed.
                owed = min(truth, most) - counted
                owed = min(owed, max(before - pace.returned + pace.limit, 0.0))
                assert given_back == pytest.approx(-owed)


@given(scripts(), gaps)
def test_nobody_starts_before_what_was_foretold_for_the_backlog(
    script: Script, gap: float
) -> None:
    limits, requests = script
    bucket = TokenBucket(*limits)
    half = len(requests) // 2
    now = 0.0
    for cost, pause in requests[:half]:
        now = bucket.ready_at(cost, now + pause)
        bucket.take(cost, now)
    now += gap
    *ahead, last = [cost for cost, _ in requests[half:]]
    foretold = bucket.ready_at(last, now, sum(ahead, NO_COST))
    for cost in [*ahead, last]:
        now = bucket.ready_at(cost, now)
        bucket.take(cost, now)
    assert foretold <= now + 1e-6
