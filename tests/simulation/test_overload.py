"""More requests with deadlines than a provider bears: most of what is sent counts."""

from random import Random
from typing import Any

import pytest

from aitor.outcomes import Outcome
from aitor.testing.simulator import Plan, Script, check, run
from aitor.testing.simulator.history import Finished


def arriving(rate: float, seconds: float, timeout: float) -> tuple[Plan, ...]:
    random, made, now = Random(4), list[Plan](), 0.0
    while now < seconds:
        now += random.expovariate(rate)
        made.append(Plan(len(made), now, timeout=timeout))
    return tuple(made)


OVERLOADS: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "requests": ({"requests_per_minute": 600}, {"workers": 64}, 10.0),
    "tokens": ({"input_tokens_per_minute": 6_000}, {"workers": 64}, 10.0),
    "workers": ({}, {"workers": 5}, 10.0),
}
"""Limits and settings, and the calls a second that they let through."""


@pytest.mark.parametrize("timeout", [3.0, 10.0])
@pytest.mark.parametrize("bound", OVERLOADS)
def test_where_more_come_than_go_most_of_what_is_sent_is_answered(
    bound: str, timeout: float
) -> None:
    """
    Nobody is sent when it is almost too late while others wait who have the time.

    The kind: a full queue in which all have deadlines. Siblings: what makes it full is
    a limit of requests or of tokens, or the number of workers.
    """
    limit, settings, rate = OVERLOADS[bound]
    history = run(
        Script(
            4,
            {"a": {"latency": 0.5, "limits": "a", "queue_size": 5_000, **settings}},
            {"a": limit},
            arriving(1.6 * rate, 120.0, timeout),
            calm=120.0,
        )
    )
    assert not check(history)
    answers = sum(
        line.outcome is Outcome.ANSWER and 20.0 <= line.time < 120.0
        for line in history.of(Finished)
    )
    assert answers >= 0.7 * rate * 100.0
