"""Small worlds in which a promise was broken once: the shrunken scripts, by hand."""

from typing import Any

import pytest

from aitor.broker import refusals
from aitor.testing.simulator import (
    Closing,
    Phase,
    Plan,
    Replacement,
    Script,
    check,
    run,
)
from aitor.testing.simulator.history import Ended, Finished, Sent


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
    plans=requests(*(0.01 * number for number in range(12)), when_unavailable="wait"),
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
    plans=requests(*(0.1 * number for number in range(12)), when_unavailable="wait"),
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
    providers={"a": provider("a", latency=200.0, workers=9, timeout=3_000.0)},
    limits={"a": {"tokens_per_minute": 20_000}},
    plans=(
        Plan(0, 0.0, input_tokens=19_999, max_tokens=1),
        Plan(1, 1.0, tenant="blue", input_tokens=5_000, max_tokens=1),
        Plan(2, 2.0, tenant="blue", max_tokens=1),
        # By fairness it is before the second of blue, which is older than the next.
        Plan(3, 59.0, tenant="red", input_tokens=5_005, max_tokens=1),
        Plan(4, 62.0, priority=1, max_tokens=1),
        Plan(5, 62.5),
        Plan(6, 63.0),
    ),
    calm=900.0,
)

A_REFUND_LARGER_THAN_WHAT_WAS_TAKEN = Script(
    seed=17,
    providers={"a": {"latency": 0.1, "limits": "a", "workers": 8, "queue_size": 500}},
    limits={"a": {"tokens_per_minute": 1_000}},
    plans=(
        Plan(0, 0.0, max_tokens=100_000),
        *(Plan(number, 1.0) for number in range(1, 120)),
    ),
)

A_TURN_KEPT_BY_CODE_THAT_RAISES = Script(
    seed=80,
    providers={"a": provider("shared"), "b": provider("shared")},
    limits={"shared": {"requests_per_minute": 6}},
    plans=(Plan(0, 0.0, only="b"), Plan(1, 1.0, only="a"), Plan(2, 1.5, only="b")),
    phases=(Phase("blind", 0.5, 1.2, "a"),),
    calm=1.2,
)

A_REPLACED_PROVIDER_THAT_NOBODY_WAKES = Script(
    seed=11,
    providers={
        "a": provider(
            "a", retry_delay=2.0, max_retries=3, breaker={"failures": 1_000_000}
        )
    },
    limits={"a": {}},
    # The fourth closes it, and then the first three come back to it.
    plans=requests(0.0, 0.0, 0.0, 2.0, 2.4),
    phases=(Phase("dead", 0.0, 1.9, "a"),),
    calm=1.9,
    replacements=(Replacement(1.95, "a", provider("a")),),
)

A_BUDGET_THAT_HIDES_WHO_IS_WELL = Script(
    seed=7,
    providers={
        name: provider("none", latency=0.1, workers=8, breaker={"failures": 1_000_000})
        for name in "abc"
    },
    limits={"none": {}},
    plans=requests(*(0.1 * number for number in range(40))),
    phases=(Phase("shaky", 0.0, 4.0, "c"),),
    calm=4.0,
    retry_ratio=0.0,
)

A_QUESTION_TAKEN_OVER_AT_THE_TIME_IT_CAME = Script(
    seed=9,
    providers={"a": provider("none", workers=2)},
    limits={"none": {}},
    plans=(Plan(0, 0.0, question=0, cancel_after=2.0), Plan(1, 0.1, question=0)),
    phases=(Phase("hang", 0.0, 1.0, "a"),),
    calm=1.0,
)

WAITING = {
    # Of the first no call has ended, so how long one takes is not known: not no time.
    "who_finds_all_workers_busy": Script(
        seed=5,
        providers={"a": provider("a", latency=9.0), "b": provider("b")},
        limits={"a": {}, "b": {}},
        plans=(Plan(0, 0.0, only="a"), Plan(3, 0.1)),
    ),
    # When a call ends at the first, the second has tokens again.
    "who_waits_where_another_goes_first": Script(
        seed=5,
        providers={
            "a": provider("a", latency=9.0),
            "b": provider("b", latency=0.1, workers=4),
        },
        limits={"a": {}, "b": {"requests_per_minute": 60}},
        plans=(
            Plan(0, 0.0, only="a"),
            Plan(1, 0.0, only="b"),
            Plan(2, 0.1, only="a"),
            Plan(3, 0.2),
        ),
    ),
    # When a call ends at the second, it has room.
    "who_is_blocked_at_a_full_mailbox": Script(
        seed=5,
        providers={
            "a": provider("a", latency=99.0, queue_size=1, timeout=500.0),
            "b": provider("b", queue_size=1),
        },
        limits={"a": {}, "b": {}},
        plans=(
            Plan(0, 0.0, only="a"),
            Plan(4, 0.0, only="b"),
            Plan(2, 0.01, only="a"),
            Plan(1, 0.01, only="b"),
            Plan(3, 0.02),
        ),
    ),
}


@pytest.mark.parametrize(
    ("name", "event"), list(zip(WAITING, (None, 0, 1), strict=True))
)
def test_nobody_waits_while_another_is_idle(name: str, event: int | None) -> None:
    """
    The request with the number 3 goes to the second provider as soon as that is free.

    The kind: whoever waits is looked for by whoever is free, and offered by whoever is
    busy. Siblings: one who comes, one behind others, and one who has no place yet.
    """
    history = run(WAITING[name])
    sent = next(line for line in history.of(Sent) if line.id == 3)
    ends = {line.id: line.time for line in history.of(Ended)}
    assert sent.provider == "b"
    assert sent.time == (0.1 if event is None else ends[event])
    assert not check(history)


def test_who_may_wait_for_the_first_provider_stays_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second one that is free takes nobody who is to wait for the first."""
    # Whoever was moved would come back at once, and be moved again.
    monkeypatch.delattr(refusals, "moved")
    script = Script(
        seed=5,
        providers={
            "a": provider("a", latency=9.0, max_queue_wait=60.0),
            "b": provider("b", latency=0.1),
        },
        limits={"a": {}, "b": {}},
        plans=(Plan(0, 0.0), Plan(1, 0.1), Plan(2, 0.2, only="b")),
    )
    history = run(script)
    assert [line.provider for line in history.of(Sent) if line.id == 1] == ["a"]
    ends = {line.id: line.time for line in history.of(Ended)}
    assert ends[2] < ends[0]


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
