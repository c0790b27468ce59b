"""A forecast: plain numbers wherever the answer can be worked out by hand."""

from itertools import pairwise
from typing import Any

import pytest

from aitor.config import Configuration, load_configuration
from aitor.testing import Distribution, Fault
from aitor.testing.forecast import Assumption, Batch, Forecast, Price, forecast
from aitor.testing.forecast import run as runs


def configuration(limits: Any = None, **providers: Any) -> Configuration:
    tables = {
        name: {"kind": "mock", "model": name, **settings}
        for name, settings in providers.items()
    }
    return load_configuration({"providers": tables, "limits": limits or {}}, {})


def behaves(latency: Any = 1, *faults: str, price: Price | None = None) -> Assumption:
    return Assumption(
        latency=Distribution.parse(latency),
        faults=tuple(Fault.parse(fault) for fault in faults),
        price=price,
    )


def run(
    given: Configuration, requests: int, *, exact: bool = True, **assumed: Assumption
) -> Forecast:
    return forecast(given, assumed, Batch(requests=requests), exact=exact)


# How long.


def test_a_limit_on_requests_sets_the_time() -> None:
    """
    6,000 at 600 a minute: a hundredth of a minute's worth at once, which is 6, then one
    every 60.001 / 600 s (the minute and a hair of the bucket), and a second for the
    last answer.
    """
    given = configuration(a={"requests_per_minute": 600, "workers": 64})
    seen = run(given, 6_000, a=behaves(1))
    assert seen.seconds == pytest.approx(5_994 * 60.001 / 600 + 1, abs=1e-6)
    assert (seen.answered, seen.failed, seen.simulated) == (6_000, 0, 6_000)
    load = seen.providers["a"]
    assert load.used["requests"] == pytest.approx(1.0, abs=0.002)
    assert load.standing["rate"] == pytest.approx(1.0, abs=0.002)
    assert load.standing["worker"] == 0.0


def test_a_limit_on_tokens_sets_the_time() -> None:
    """500 tokens in a request are as much as 600 requests of 300,000 tokens."""
    given = configuration(a={"input_tokens_per_minute": 300_000, "workers": 64})
    seen = run(given, 1_000, a=behaves(1))
    assert seen.seconds == pytest.approx(994 * 60.001 / 600 + 1, abs=1e-6)
    assert list(seen.providers["a"].used) == ["input_tokens"]


def test_workers_set_the_time_where_no_limit_does() -> None:
    """A thousand answers of two seconds, ten at once, are two hundred seconds."""
    seen = run(configuration(a={"workers": 10}), 1_000, a=behaves(2))
    assert seen.seconds == pytest.approx(200.0)
    assert seen.rate == pytest.approx(5.0)
    assert seen.running == pytest.approx(10.0)
    assert seen.max_in_flight == 10
    assert seen.providers["a"].waits["worker"] == 0.0


def test_more_at_once_than_workers_wait_for_a_worker() -> None:
    """Of each twenty that come together ten wait for the two seconds of the others."""
    batch = Batch(requests=1_000, max_in_flight=20)
    seen = forecast(configuration(a={"workers": 10}), {"a": behaves(2)}, batch)
    assert seen.seconds == pytest.approx(200.0)
    # All wait 2 s but the first ten.
    assert seen.providers["a"].waits["worker"] == pytest.approx(1.98)


def test_a_pause_that_a_provider_asks_for_is_kept() -> None:
    """Seven seconds, and one for the answer."""
    given = configuration(a={})
    seen = run(given, 1, a=behaves(1, "rate_limit at=1 retry_after=7"))
    assert seen.seconds == pytest.approx(8.0)
    assert seen.providers["a"].failed == {"rate_limited": 1}
    assert seen.providers["a"].waits["pause"] == pytest.approx(3.5)  # of two calls


def test_a_silent_provider_costs_its_timeout() -> None:
    given = configuration(a={"timeout": 5.0, "max_retries": 0, "workers": 10})
    seen = run(given, 10, a=behaves(1, "hang"))
    assert seen.seconds == pytest.approx(5.0)
    assert (seen.answered, seen.failures) == (0, {"AttemptTimeoutError": 10})


def test_a_deadline_ends_requests() -> None:
    batch = Batch(requests=10, timeout=3.0)
    seen = forecast(configuration(a={}), {"a": behaves(4)}, batch)
    assert seen.seconds == pytest.approx(3.0)
    assert seen.failures == {"DeadlineExceededError": 10}


def test_limits_on_pieces_of_an_answer_cut_off_no_whole_one() -> None:
    """Nothing is assumed of pieces, so nothing can be late."""
    given = configuration(a={"first_token_timeout": 0.5, "idle_timeout": 0.5})
    assert run(given, 1, a=behaves(2)).answered == 1


# Who carries it.


def test_a_dead_first_provider_leaves_all_to_the_second() -> None:
    """
    Twenty calls fail before nothing at all gets through; from then on there are probes,
    ever later. The second has ten at work all the time: 600 answers are 60 s.
    """
    given = configuration(
        a={"workers": 1, "max_queue_wait": 0}, b={"workers": 10, "max_queue_wait": 0}
    )
    seen = run(given, 600, a=behaves(1, "dead"), b=behaves(1))
    a, b = seen.providers["a"], seen.providers["b"]
    assert seen.seconds == pytest.approx(60.0)
    assert (a.answers, a.failed) == (0, {"connection": a.calls})
    assert 20 <= a.calls <= 20 + 8
    assert a.openings >= 3
    assert (b.answers, b.calls, b.failed, b.openings) == (600, 600, {}, 0)
    states = {sample.circuits["a"] for sample in seen.samples}
    assert "open" in states
    assert {sample.circuits["b"] for sample in seen.samples} == {"closed"}


def test_two_providers_share_by_their_limits() -> None:
    """The second takes what the first cannot start within a second."""
    given = configuration(
        a={"requests_per_minute": 600, "workers": 20},
        b={"requests_per_minute": 300, "workers": 20},
    )
    seen = run(given, 3_000, a=behaves(1), b=behaves(1))
    a, b = seen.providers["a"].answers, seen.providers["b"].answers
    assert a + b == 3_000
    assert a / b == pytest.approx(2.0, rel=0.02)


def test_a_shared_limit_is_shared() -> None:
    """Both together use what a minute allows: 594 / 10 s after the first six."""
    limits = {"both": {"requests_per_minute": 600}}
    given = configuration(limits, a={"limits": "both"}, b={"limits": "both"})
    seen = run(given, 600, a=behaves(1), b=behaves(1))
    assert seen.seconds == pytest.approx(594 * 60.001 / 600 + 1, abs=1e-6)
    used = {name: load.used["requests"] for name, load in seen.providers.items()}
    assert used["a"] == used["b"] == pytest.approx(600 / (seen.seconds * 10))


def test_a_refused_account_stops_the_batch_as_it_would_in_earnest() -> None:
    given = configuration(a={})
    seen = run(given, 100_000, a=behaves(1, "authentication"))
    assert seen.stopped is not None
    assert "api_key" in seen.stopped
    assert seen.answered == 0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("status=500 at=1", "server"),
        ("overloaded at=1", "server"),
        ("reset at=1", "connection"),
        ("truncate at=1", "truncated"),
        ("html at=1", "malformed"),
        ("error_in_200 at=1", "server"),
        ("insufficient_quota at=1", "account"),
        ("model_not_found at=1", "model"),
        ("hang at=1", "timeout"),
    ],
)
def test_faults_mean_what_they_mean_on_the_wire(fault: str, outcome: str) -> None:
    given = configuration(a={}, b={})
    seen = run(given, 1, a=behaves(1, fault), b=behaves(1))
    assert seen.providers["a"].failed == {outcome: 1}
    assert seen.providers["b"].answers == 1


def test_a_slow_call_is_late_and_no_failure() -> None:
    seen = run(configuration(a={}), 1, a=behaves(1, "slow at=1 seconds=9"))
    assert seen.seconds == pytest.approx(10.0)
    assert seen.answered == 1


# How much.


def test_tokens_cost_what_was_said() -> None:
    """500 tokens in at $1 and 200 out at $2 a million, a thousand times: $0.90."""
    price = Price(1, 2)
    seen = run(configuration(a={}), 1_000, a=behaves(1, price=price))
    load = seen.providers["a"]
    assert (load.input_tokens, load.output_tokens) == (500_000, 200_000)
    assert seen.cost == load.cost == 0.9


def test_a_price_that_nobody_knows_is_not_zero() -> None:
    given = configuration(a={"workers": 1, "max_queue_wait": 0}, b={"workers": 1})
    seen = run(given, 10, a=behaves(1, price=Price(1, 1)), b=behaves(1))
    assert seen.providers["a"].cost is not None
    assert seen.providers["b"].cost is None
    assert seen.cost is None


def test_what_nobody_does_costs_nothing_whatever_its_price() -> None:
    given = configuration(a={}, b={})
    seen = run(given, 10, a=behaves(1, price=Price(1, 1)), b=behaves(1))
    assert seen.providers["b"].cost == 0.0
    assert seen.cost == pytest.approx(10 * 700 / 1_000_000)


def test_list_prices_are_known_by_model_and_home() -> None:
    tables = {"openai": {"model": "gpt-4o-mini"}}
    given = load_configuration({"providers": tables}, {})
    seen = run(given, 1_000, openai=behaves(1))
    assert seen.cost == pytest.approx(500_000 * 0.15e-6 + 200_000 * 0.6e-6)


def test_answers_are_no_longer_than_the_configuration_allows() -> None:
    tables = {"anthropic": {"model": "claude-sonnet-5-5", "max_tokens": 50}}
    given = load_configuration({"providers": tables}, {})
    seen = run(given, 10, anthropic=behaves(1))
    assert seen.providers["anthropic"].output_tokens == 500


# Chance.


def test_the_same_seed_gives_the_same_forecast() -> None:
    given = configuration(a={"workers": 20}, b={"workers": 5})
    assumed = {
        "a": behaves("lognormal(1, 0.5)", "status=500 probability=0.1"),
        "b": behaves("exponential(2)", "rate_limit probability=0.05 retry_after=1"),
    }
    batch = Batch(requests=500, input_tokens=Distribution.parse("uniform(10, 900)"))
    first, again, other = (
        forecast(given, assumed, batch, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert other.seconds != first.seconds
    assert other.seconds == pytest.approx(first.seconds, rel=0.3)


# Large batches.


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call five hundred requests enough, and two minutes."""
    monkeypatch.setattr(runs, "ENOUGH", 500)
    monkeypatch.setattr(runs, "LONG", 120.0)
    monkeypatch.setattr(runs, "OPENINGS", 4.0)


@pytest.mark.usefixtures("soon")
def test_a_steady_pace_is_taken_on_for_the_rest() -> None:
    """A million at 600 a minute: 100,000 seconds, of which some 120 are simulated."""
    given = configuration(a={"requests_per_minute": 600, "workers": 64})
    seen = run(given, 1_000_000, exact=False, a=behaves(1, price=Price(1, 2)))
    assert seen.seconds == pytest.approx(999_994 * 60.001 / 600 + 1, rel=1e-2)
    assert 1_200 <= seen.simulated <= 1_500
    assert seen.simulated_seconds == pytest.approx(seen.simulated / 10, rel=0.01)
    assert seen.drift is not None
    assert seen.drift <= 0.02
    assert seen.answered == seen.providers["a"].answers == 1_000_000
    assert seen.providers["a"].input_tokens == 500_000_000
    assert seen.cost == pytest.approx(900.0)
    assert seen.samples[-1].time == pytest.approx(seen.simulated_seconds)


@pytest.mark.usefixtures("soon")
def test_shares_and_failures_are_taken_on_as_well() -> None:
    given = configuration(
        a={"requests_per_minute": 150, "workers": 20},
        b={"requests_per_minute": 75, "workers": 20},
    )
    assumed = {"a": behaves(1, "status=500 every=10"), "b": behaves(1)}
    batch = Batch(requests=1_500)
    whole = forecast(given, assumed, batch, exact=True)
    part = forecast(given, assumed, batch)
    assert part.simulated < 1_000
    assert whole.drift is None
    assert part.seconds == pytest.approx(whole.seconds, rel=0.01)
    for name in ("a", "b"):
        guess, truth = part.providers[name], whole.providers[name]
        assert guess.answers == pytest.approx(truth.answers, rel=0.02)
        assert guess.failed == pytest.approx(truth.failed, rel=0.02)


@pytest.mark.usefixtures("soon")
def test_a_fault_that_is_still_to_come_is_not_left_out() -> None:
    given = configuration(a={"requests_per_minute": 120}, b={"workers": 2})
    dies = behaves(1, "dead after=200 until=220")
    seen = run(given, 1_000_000, exact=False, a=dies, b=behaves(1))
    assert seen.simulated_seconds > 220
    assert seen.providers["a"].failed["connection"] >= 5


@pytest.mark.usefixtures("soon")
def test_a_fault_that_is_over_is_not_taken_on() -> None:
    """
    Nine minutes of outage cost twenty calls and a probe each half a minute, and a
    million requests after it cost none.
    """
    given = configuration(
        a={"requests_per_minute": 120, "workers": 4}, b={"workers": 2}
    )
    dies = behaves(1, "dead after=60 until=600")
    seen = run(given, 1_000_000, exact=False, a=dies, b=behaves(1))
    assert seen.steady_since is not None
    assert seen.steady_since > 600
    assert 20 <= seen.providers["a"].failed["connection"] <= 20 + 6 + 540 / 30
    # Two a second each.
    assert seen.providers["a"].answers == pytest.approx(500_000, rel=0.02)
    assert seen.seconds == pytest.approx(250_000, rel=0.02)


@pytest.mark.usefixtures("soon")
def test_a_fault_by_number_is_waited_for_too() -> None:
    given = configuration(a={"requests_per_minute": 600, "workers": 20})
    seen = run(given, 1_000_000, exact=False, a=behaves(1, "status=500 at=2000"))
    assert 2_000 <= seen.simulated <= 3_500
    assert seen.providers["a"].failed == {"server": 1}


def test_an_outage_without_end_comes_to_an_end() -> None:
    """A day of it is enough: every request costs many minutes of open circuits."""
    given = configuration(a={"workers": 4})
    seen = run(given, 100_000, exact=False, a=behaves(1, "dead"))
    assert seen.simulated < 2_000
    assert seen.answered == 0
    assert seen.failures == {"ConnectionFailedError": 100_000}
    assert seen.seconds >= 100_000 * 4 * 30


def test_progress_is_told() -> None:
    told: list[int] = []
    given = configuration(a={"workers": 1})
    forecast(given, {"a": behaves(1)}, Batch(requests=100), tell=told.append)
    assert told == sorted(told)
    assert told[-1] == 100


def test_a_history_has_a_bounded_number_of_samples_at_even_times() -> None:
    seen = run(configuration(a={"workers": 1}), 1_000, a=behaves(1))
    times = [sample.time for sample in seen.samples]
    assert 120 <= len(times) <= 242
    steps = [after - before for before, after in pairwise(times)]
    assert steps[:-1] == pytest.approx([steps[0]] * (len(steps) - 1))
    assert times[-1] == pytest.approx(1_000.0)


def test_a_batch_has_requests() -> None:
    with pytest.raises(ValueError, match="'requests' must be at least 1, not 0"):
        Batch(requests=0)


def test_numbers_can_be_written_as_json() -> None:
    seen = run(configuration(a={}), 10, a=behaves(1, price=Price(1, 1)))
    written = seen.to_json()
    assert (written["requests"], written["seconds"]) == (10, pytest.approx(1.0))
    assert (written["cost"], written["failed"]) == (0.007, 0)
    assert written["providers"]["a"]["calls"] == 10
    assert "samples" not in written
