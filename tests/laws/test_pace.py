"""Tokens that come evenly, in plain numbers."""

import pytest

from aitor.laws.pace import Pace
from aitor.laws.window import MINUTE

SECOND = MINUTE / 60


def pace_of(limit: float, share: float = 0.01) -> Pace:
    return Pace(0, limit, share)


def test_a_pace_begins_with_the_burst() -> None:
    assert pace_of(6_000).level == 60.0
    assert pace_of(6_000, share=0.5).level == 3_000.0
    assert pace_of(6_000, share=0.0).level == 1.0
    assert pace_of(10).level == 1.0


def test_a_sixtieth_of_the_limit_comes_each_second() -> None:
    pace = pace_of(6_000)
    pace.take(60.0, elapsed=0.0)
    assert pace.available(SECOND / 4) == pytest.approx(25.0)
    pace.take(30.0, elapsed=SECOND / 2)
    assert pace.level == pytest.approx(20.0)


def test_no_more_is_kept_than_the_burst() -> None:
    pace = pace_of(6_000)
    pace.take(60.0, elapsed=0.0)
    assert pace.available(SECOND * 40) == 60.0
    pace.take(10.0, elapsed=SECOND * 40)
    assert pace.level == 50.0


def test_whoever_waits_saves_up_beyond_the_burst_and_takes_it_all() -> None:
    pace = pace_of(6_000)
    pace.take(60.0, elapsed=0.0)
    assert pace.saved(SECOND * 40) == pytest.approx(4_000.0)
    pace.take(4_000.0, elapsed=SECOND * 45)
    assert pace.level == 0.0


def test_more_than_a_limit_counts_as_the_limit() -> None:
    pace = pace_of(6_000)
    pace.take(60.0, elapsed=0.0)
    assert pace.saved(1e9) == 6_000.0
    pace.take(1e9, elapsed=1e9)
    assert pace.level == 0.0


def test_what_is_given_back_is_kept_beyond_the_burst() -> None:
    pace = pace_of(6_000)
    pace.take(60.0, elapsed=0.0)
    pace.change(-500.0)
    assert pace.available(0.0) == 500.0
    pace.take(100.0, elapsed=SECOND * 10)
    # Time had brought what it takes, and nothing beyond.
    assert pace.level == 500.0
    assert pace.available(SECOND * 10) == 500.0


def test_what_is_owed_is_paid_before_anything_starts_but_never_more_than_a_minute() -> (
    None
):
    pace = pace_of(6_000)
    pace.change(160.0)
    assert pace.available(0.0) == -100.0
    assert pace.available(SECOND) == pytest.approx(0.0)
    pace.change(1e9)
    assert pace.available(0.0) == -6_000.0


def test_a_level_may_be_set_as_of_now() -> None:
    pace = pace_of(6_000)
    pace.change(-500.0)
    pace.set_level(5.0, elapsed=SECOND)
    assert pace.available(SECOND) == pytest.approx(5.0)
    assert pace.available(SECOND * 1.1) == pytest.approx(15.0)


def test_a_new_limit_changes_rate_and_burst_and_keeps_the_level() -> None:
    pace = pace_of(6_000)
    pace.set_limit(600)
    assert (pace.level, pace.burst) == (60.0, 6.0)
    assert pace.rate == 600 / MINUTE
