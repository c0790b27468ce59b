"""What started in the last minute, in plain numbers."""

from hypothesis import given
from hypothesis import strategies as st

from aitor.laws.window import MINUTE, SLOT, Amounts, Window


def requests(window: Window) -> float:
    return window.totals[0]


def start(count: float) -> Amounts:
    return (count, 0.0, 0.0, 0.0)


def watching() -> Window:
    window = Window()
    window.watch(0)
    return window


def test_what_started_counts_for_a_minute_to_its_end() -> None:
    window = watching()
    window.add(start(1), 10.0)
    window.add(start(2), 20.0)
    window.lapse(10.0 + 60.0)
    assert requests(window) == 3
    window.lapse(10.0 + MINUTE)
    assert requests(window) == 2
    window.lapse(20.0 + MINUTE)
    assert requests(window) == 0


def test_room_comes_when_enough_of_the_oldest_has_lapsed() -> None:
    window = watching()
    for when, count in ((10.0, 1), (20.0, 2), (30.0, 3)):
        window.add(start(count), when)
    assert window.room_at(0, 0.5) == 10.0 + MINUTE
    assert window.room_at(0, 1.0) == 10.0 + MINUTE
    assert window.room_at(0, 1.5) == 20.0 + MINUTE
    assert window.room_at(0, 6.0) == 30.0 + MINUTE
    assert window.room_at(0, 100.0) == 30.0 + MINUTE


def test_an_empty_window_has_always_had_room() -> None:
    assert watching().room_at(0, 1.0) < -1e300


def test_what_turns_out_different_counts_from_its_start_on() -> None:
    window = watching()
    slot = window.add(start(5), 10.0)
    window.add(start(1), 20.0)
    window.change(slot, start(-4))
    assert requests(window) == 2
    assert window.room_at(0, 1.0) == 10.0 + MINUTE
    window.lapse(10.0 + MINUTE)
    assert requests(window) == 1


def test_what_turns_out_different_after_its_minute_changes_nothing() -> None:
    window = watching()
    slot = window.add(start(5), 10.0)
    window.add(start(1), 20.0)
    window.lapse(10.0 + MINUTE)
    window.change(slot, start(-4))
    assert requests(window) == 1
    window.lapse(20.0 + MINUTE)
    window.change(slot, start(-4))
    assert requests(window) == 0


def test_starts_close_together_lapse_with_the_last_of_them() -> None:
    window = watching()
    first = window.add(start(1), 10.0)
    assert window.add(start(1), 10.0 + SLOT * 0.9) is first
    assert window.add(start(1), 10.0 + SLOT * 1.1) is not first
    window.lapse(10.0 + MINUTE)
    assert requests(window) == 3
    window.lapse(10.0 + SLOT * 0.9 + MINUTE)
    assert requests(window) == 1


def test_a_clock_that_steps_back_does_not_make_anything_lapse_sooner() -> None:
    window = watching()
    window.add(start(1), 100.0)
    window.add(start(1), 50.0)
    window.lapse(50.0 + MINUTE)
    assert requests(window) == 2
    window.lapse(100.0 + MINUTE)
    assert requests(window) == 0


def test_a_dimension_watched_later_knows_what_was_before() -> None:
    window = watching()
    window.add((1, 30, 10, 20), 10.0)
    window.watch(3)
    assert window.totals == [1, 0, 0, 20]


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1e6)), max_size=200))
def test_sums_do_not_drift_from_what_is_there(
    starts: list[tuple[float, float]],
) -> None:
    window, now = watching(), 0.0
    for gap, count in starts:
        now += gap
        window.add(start(count), now)
        window.lapse(now)
        assert requests(window) >= -1e-6
    window.lapse(now + MINUTE)
    assert requests(window) == 0
