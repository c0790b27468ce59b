"""Small worlds in which a promise was broken once: the shrunken scripts, by hand."""

from typing import Any

import pytest

from aitor.testing.simulator import Closing, Phase, Plan, Script, check, run
from aitor.testing.simulator.history import Finished


def provider(limit: str, **settings: Any) -> dict[str, Any]:
    return {"latency": 0.5, "limits": limit, "workers": 1, **settings}


def requests(*times: float, **same: Any) -> tuple[Plan, ...]:
    return tuple(Plan(number, time, **same) for number, time in enumerate(times))


AN_OPENING_CIRCUIT_PASSES_OVER_THE_DOOR = Script(
    seed=35,
    providers={
        "b": provider("none", latency=0.05, breaker={"failures": 1}, max_retries=0),
        "c": provider("none", workers=4, queue_size=1, retry_delay=0.0),
    },
    limits={"none": {}},
    plans=requests(*(0.01 * number for number in range(12)), patient=True),
    phases=(Phase("all_dead", 0.05, 4.0, None, 0.8),),
    calm=4.0,
    closing=Closing(2.0, 3.0),
)

CLOSING_PASSES_OVER_THE_DOOR = Script(
    seed=48,
    providers={"c": provider("slow", queue_size=2)},
    limits={"slow": {"requests_per_minute": 30}},
    plans=requests(*(0.01 * number for number in range(12))),
    calm=1.0,
    closing=Closing(10.0, 0.0),
)

A_WAIT_WITHOUT_END = Script(
    seed=28,
    providers={"a": provider("none", max_retry_after=30.0)},
    limits={"none": {}},
    plans=requests(*(0.1 * number for number in range(12)), patient=True),
    phases=(Phase("mad_errors", 0.0, 5.0, "a", 0.9),),
    calm=5.0,
)

A_PAUSE_KEPT_TOO_LATE = Script(
    seed=42,
    providers={"a": provider("shared", workers=2), "d": provider("shared")},
    limits={"shared": {}},
    plans=requests(*(0.01 * number for number in range(40))),
    phases=(Phase("throttle", 0.0, 5.0, "a", 0.3),),
    calm=5.0,
)

A_TURN_THAT_NOBODY_TAKES = Script(
    seed=22,
    providers={"a": provider("shared"), "b": provider("shared")},
    limits={"shared": {"requests_per_minute": 6}},
    plans=(
        Plan(0, 0.0, only="a"),
        Plan(1, 1.0, only="a", cancel_after=1.0),
        Plan(2, 1.5, only="b"),
        Plan(3, 90.0, only="b", timeout=0.1),
    ),
)

A_NEWCOMER_THAT_CHANGES_WHO_IS_FIRST = Script(
    seed=301794,
    providers={"a": {"latency": 0.2, "limits": "a", "workers": 2, "queue_size": 500}},
    limits={"a": {"requests_per_minute": 6_000, "tokens_per_minute": 20_000}},
    plans=(
        Plan(0, 0.0),
        Plan(1, 1.0, priority=1, input_tokens=50_000),
        Plan(2, 2.0),
        # Fairness puts it before the large one, and so the second before both.
        Plan(3, 35.0, priority=1, tenant="red"),
        Plan(4, 36.0),
        Plan(5, 37.0),
    ),
)

SCRIPTS = {
    name.lower(): script
    for name, script in dict(globals()).items()
    if isinstance(script, Script)
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_promise_is_broken_again(name: str) -> None:
    script = SCRIPTS[name]
    history = run(script)
    assert not check(history)
    assert len(list(history.of(Finished))) == len(script.plans)
