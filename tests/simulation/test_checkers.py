"""Checkers that cannot fail prove nothing: each is shown a forged history."""

import math

import pytest

from aitor.laws.breaker import Verdict
from aitor.outcomes import Outcome
from aitor.providers.settings import BreakerSettings, LimitSettings, ProviderSettings
from aitor.testing.simulator import RULES, History, check
from aitor.testing.simulator.history import (
    Admitted,
    Circuit,
    Closed,
    Closing,
    Depth,
    Eased,
    Ended,
    Final,
    Finished,
    Idle,
    Judged,
    Leapt,
    Line,
    Paused,
    Phased,
    Replaced,
    Rest,
    Sent,
    Settled,
    Startable,
    Stuck,
    Submitted,
    Taken,
    Withdrawn,
)

ANSWER, CANCELLED, SERVER = Outcome.ANSWER, Outcome.CANCELLED, Outcome.SERVER


def submitted(
    time: float,
    number: int,
    *,
    how: str = "submit",
    deadline: float = math.inf,
    tenant: str | None = None,
    persistent: bool = False,
    only: str | None = None,
    recovery: bool = False,
    question: int | None = None,
    sequence: tuple[str, ...] = (),
) -> Submitted:
    return Submitted(
        time,
        number,
        how,
        deadline,
        0,
        tenant,
        persistent,
        only,
        recovery,
        question,
        sequence,
    )


def finished(time: float, number: int, *attempts: Outcome, held: int = 0) -> Finished:
    told = tuple(("a", one) for one in attempts)
    outcome = attempts[-1] if attempts else CANCELLED
    text = str(number) if outcome is ANSWER else None
    return Finished(time, number, outcome, attempts=told, text=text, held=held)


def call(
    begin: float, end: float, number: int, outcome: Outcome = ANSWER, nth: int = 1
) -> list[Line]:
    """A whole call as an honest broker makes it."""
    verdict = Verdict.SUCCESS if outcome is ANSWER else Verdict.IGNORED
    if outcome is SERVER:
        verdict = Verdict.FAILURE
    paid: list[Line] = [Withdrawn(begin)] if nth > 1 else []
    return [
        *paid,
        Admitted(begin, "a", 0, 0),
        Taken(begin, "limit", number * 100 + nth, 1, 10, 10),
        Sent(begin, "a", number, number * 100 + nth),
        Ended(end, "a", number, number * 100 + nth, outcome, None),
        Settled(end, "limit", number * 100 + nth, 1, 10, 10),
        Judged(end, "a", 0, 0, verdict, begin),
    ]


def rejected(
    time: float,
    wait: float | None,
    provider: str = "a",
    *,
    sent: float | None = None,
    guess: float = 0.0,
) -> list[Line]:
    """A call that is rejected with 429, and what becomes of it."""
    return [
        Ended(time, provider, 100, 1, Outcome.RATE_LIMITED, wait),
        Paused(time, provider, wait or guess),
        Judged(time, provider, 0, 0, Verdict.IGNORED, time if sent is None else sent),
    ]


END: list[Line] = [
    Closing(1_000.0, 10.0),
    Closed(1_000.0),
    Final(1_000.0, 0, 0, 0, 0, 0.0, 0, 0),
]


def history(*lines: Line, end: list[Line] = END) -> History:
    settings = ProviderSettings(
        workers=2,
        queue_size=3,
        max_retries=1,
        breaker=BreakerSettings(
            failures=2,
            failing_seconds=0.0,
            first_open_seconds=10.0,
            open_seconds=10.0,
            probe_seconds=20.0,
        ),
    )
    limit = LimitSettings(requests_per_minute=8, tokens_per_minute=1_000, burst=0.5)
    return History(
        {
            "a": settings,
            "b": settings,
            "b.2": settings,
            "c": ProviderSettings(limits="limit"),
        },
        {"limit": limit},
        dict.fromkeys(("a", "b", "b.2", "c"), "limit"),
        calm=5_000.0,
        lines=[*lines, *end],
    )


def broken(*lines: Line, end: list[Line] = END) -> set[int]:
    return {violation.rule for violation in check(history(*lines, end=end))}


def test_an_honest_history_breaks_nothing() -> None:
    assert not broken(
        submitted(0.0, 1),
        *call(0.0, 1.0, 1),
        finished(1.0, 1, ANSWER),
        submitted(2.0, 2),
        *call(2.0, 3.0, 2, SERVER, 1),
        *call(3.5, 4.0, 2, ANSWER, 2),
        finished(4.0, 2, SERVER, ANSWER),
    )


OPENED: list[Line] = [
    submitted(0.0, 1),
    *call(0.0, 1.0, 1, SERVER, 1),
    *call(1.0, 2.0, 1, SERVER, 2),
    Circuit(2.0, "a", "closed", "open"),
    finished(2.0, 1, SERVER, SERVER),
]
"""The circuit is open from 2 s to 12 s."""

PROBING: list[Line] = [
    *OPENED,
    Admitted(12.0, "a", 2, 1),
    Circuit(12.0, "a", "open", "half-open"),
]
"""And one probe is out."""


def test_an_honest_circuit_breaks_nothing() -> None:
    assert not broken(
        *PROBING,
        submitted(12.0, 2),
        Sent(12.0, "a", 2, 3),
        Ended(13.0, "a", 2, 3, ANSWER, None),
        Judged(13.0, "a", 2, 1, Verdict.SUCCESS, 12.0),
        Circuit(13.0, "a", "half-open", "closed"),
        finished(13.0, 2, ANSWER),
    )


def test_a_pause_is_void_when_others_are_answered() -> None:
    first, second = call(-0.5, 1.0, 1), call(-0.5, 1.0, 2)
    assert not broken(
        submitted(-1.0, 100),
        submitted(-0.5, 1),
        submitted(-0.5, 2),
        *first[:3],
        *second[:3],
        *rejected(0.0, 9.0, sent=-1.0),
        finished(0.0, 100, Outcome.RATE_LIMITED),
        *first[3:],
        finished(1.0, 1, ANSWER),
        *second[3:],
        finished(1.0, 2, ANSWER),
        submitted(2.0, 3),
        *call(2.0, 3.0, 3),
        finished(3.0, 3, ANSWER),
    )


def unpaid(time: float, number: int) -> Finished:
    return finished(time, number, SERVER)._replace(unpaid=True)


def test_the_budget_may_fail_who_has_asked_all_that_are_well() -> None:
    assert not broken(
        *OPENED,
        submitted(3.0, 2, sequence=("b", "a")),
        Sent(3.0, "b", 2, 1),
        Ended(3.5, "b", 2, 1, SERVER, None),
        unpaid(3.5, 2)._replace(attempts=(("b", SERVER),)),
    )


def test_who_waited_for_the_answer_of_another_has_its_answer_and_its_errors() -> None:
    assert not broken(
        submitted(0.0, 1, question=7),
        submitted(0.0, 2, question=7),
        *call(0.0, 1.0, 1),
        finished(1.0, 1, ANSWER)._replace(text="q7"),
        finished(1.0, 2)._replace(outcome=ANSWER, text="q7"),
        submitted(2.0, 3, question=8),
        submitted(2.0, 4, question=8),
        *call(2.0, 3.0, 3, Outcome.CRASH)[:-1],
        Judged(3.0, "a", 0, 0, Verdict.FAILURE),
        finished(3.0, 3, Outcome.CRASH),
        finished(3.0, 4, Outcome.CRASH),
    )


def test_who_takes_a_place_has_the_name_of_who_had_it() -> None:
    assert not broken(
        submitted(0.0, 1),
        Replaced(0.0, "b.2"),
        Sent(0.0, "b.2", 1, 1),
        Ended(1.0, "b.2", 1, 1, ANSWER, None),
        finished(1.0, 1, ANSWER)._replace(attempts=(("b", ANSWER),)),
    )


FORGED: list[tuple[int, list[Line]]] = [
    (1, [submitted(0.0, 1)]),
    (1, [submitted(0.0, 1), finished(1.0, 1), finished(2.0, 1)]),
    (1, [submitted(0.0, 1), submitted(0.0, 1), finished(1.0, 1)]),
    (1, [submitted(0.0, 1), Finished(1.0, 1, CANCELLED, text="2")]),
    (1, [Stuck(5.0)]),
    (2, [submitted(0.0, 1), Finished(1.0, 1, Outcome.REFUSED, refused=True)]),
    (
        2,
        [
            submitted(0.0, 1),
            Sent(0.0, "a", 1, 1),
            Finished(0.0, 1, Outcome.REFUSED, refused=True),
        ],
    ),
    (3, [submitted(0.0, 1, deadline=1.0), finished(1.5, 1)]),
    (
        3,
        [submitted(0.0, 1, deadline=1.0), Leapt(3.0, 2.0), finished(3.0, 1)],
    ),
    (
        3,
        [submitted(0.0, 1, deadline=1.0), Leapt(3.0, 0.5), finished(3.1, 1)],
    ),
    (4, [submitted(0.0, 1), submitted(6_000.0, 2), finished(6_000.0, 1)]),
    (5, [Rest(1.0, 1, 0, 0.0, 0, 0)]),
    (5, [Rest(1.0, 0, 0, 0.0, 0, 1)]),
    (6, [submitted(0.0, 1), Finished(1.0, 1, None, "KeyError()")]),
    (7, [*OPENED, submitted(3.0, 2), unpaid(3.0, 2)]),
    (
        7,
        [submitted(3.0, 2), Replaced(3.5, "b.2"), Sent(3.6, "a", 2, 1), unpaid(4.0, 2)],
    ),
    (8, [submitted(0.0, 1), Finished(1.0, 1, Outcome.CRASH)]),
    (9, [Depth(0.0, "a", 4)]),
    (10, [Sent(0.0, "a", number, number) for number in range(3)]),
    (11, [submitted(0.0, 1, deadline=1.0), *call(1.0, 1.0, 1), finished(1.0, 1)]),
    (
        12,
        [
            submitted(0.0, 1, only="a"),
            submitted(0.1, 2, only="a"),
            *call(1.0, 1.5, 2),
            *call(2.0, 2.5, 1),
        ],
    ),
    (13, [submitted(0.0, 1), submitted(0.0, 2), finished(1.0, 1, held=2)]),
    (16, [line for number in range(9) for line in call(7.0 * number, 60.0, number)]),
    (16, [Taken(0.0, "limit", 1, 1, 600, 0), Taken(60.0, "limit", 2, 1, 401, 0)]),
    (17, [Taken(0.1 * number, "limit", number, 1, 1, 1) for number in range(5)]),
    (
        17,
        [
            Taken(0.0, "limit", 1, 1, 9_000, 0),
            Settled(1.0, "limit", 1, 1, 0, 0),
            Taken(61.0, "limit", 2, 1, 900, 0),
            Settled(61.0, "limit", 2, 1, 900, 0),
            Taken(122.0, "limit", 3, 1, 900, 0),
            Settled(122.0, "limit", 3, 1, 900, 0),
            *(Taken(122.5, "limit", number, 1, 90, 0) for number in range(4, 9)),
        ],
    ),
    (17, [Taken(20.0 * number, "limit", number, 1, 300, 200) for number in range(2)]),
    (19, [*rejected(0.0, None, guess=5.0), *call(4.0, 5.0, 1)]),
    (19, [*rejected(0.0, 5.0), Admitted(4.0, "b", 0, 0)]),
    (19, [*rejected(0.0, 9.0), *rejected(1.0, 2.0), *call(4.0, 5.0, 1)]),
    # One answer is too few to void a pause, and so are those to calls sent before.
    (19, [*rejected(0.0, 9.0), *call(1.0, 1.0, 1), Admitted(2.0, "a", 0, 0)]),
    (
        19,
        [
            *rejected(1.0, 9.0, sent=0.5),
            *(line for number in range(3) for line in call(0.5, 2.0, number)),
            Admitted(3.0, "a", 0, 0),
        ],
    ),
    # Nor does what voids the pause of one void that of another.
    (
        19,
        [
            *rejected(0.0, 9.0, "b"),
            *rejected(0.0, 99.0),
            *(line for number in range(3) for line in call(1.0, 2.0, number)[3:]),
            Admitted(3.0, "a", 0, 0),
        ],
    ),
    # And who was rejected waits, whatever others may do.
    (
        19,
        [
            *rejected(0.0, 9.0),
            *(line for number in range(3) for line in call(1.0, 2.0, number)[3:]),
            Sent(8.0, "a", 100, 2),
        ],
    ),
    (20, [submitted(5.0, 1), *call(4.0, 6.0, 1)]),
    (21, [Startable(1.0, "a", 7), Startable(2.0, "a", 7)]),
    (22, [Taken(0.0, "limit", 1, 1, 1, 1)]),
    (22, [Settled(0.0, "limit", 1, 1, 1, 1)]),
    (24, [Circuit(0.0, "a", "closed", "half-open")]),
    (24, [Circuit(0.0, "a", "closed", "open")]),
    (24, [Admitted(0.0, "a", 0, 1)]),
    # Of those sent in a row one was answered: what was sent before does not count.
    (
        24,
        [
            *call(2.0, 3.0, 2),
            *call(0.0, 4.0, 1, SERVER, 1),
            *call(1.0, 4.0, 3, SERVER, 1),
            Circuit(4.0, "a", "closed", "open"),
        ],
    ),
    # Twenty failures, and less than two seconds.
    (
        24,
        [
            *(Judged(1.9, "c", 0, 0, Verdict.FAILURE, 0.0) for _ in range(21)),
            Circuit(1.9, "c", "closed", "open"),
        ],
    ),
    (25, [*PROBING, Admitted(13.0, "a", 2, 2)]),
    # One call is in flight when a pause begins, and is answered; then go two.
    (
        25,
        [
            Admitted(0.0, "a", 0, 0),
            Eased(0.0, "a", begins=True),
            Admitted(1.0, "a", 0, 0),
            Judged(2.0, "a", 0, 0, Verdict.SUCCESS, 0.0),
            *(Admitted(3.0, "a", 0, 0) for _ in range(3)),
        ],
    ),
    (
        25,
        [
            *PROBING,
            Judged(13.0, "a", 2, 1, Verdict.SUCCESS),
            Admitted(13.0, "a", 3, 0),
            Admitted(13.0, "a", 3, 0),
        ],
    ),
    (26, [Admitted(0.0, "a", 1, 0)]),
    (
        27,
        [
            Admitted(0.0, "a", 0, 0),
            Ended(1.0, "a", 1, 1, Outcome.BAD_REQUEST, None),
            Judged(1.0, "a", 0, 0, Verdict.FAILURE),
        ],
    ),
    (29, [*OPENED, Admitted(5.0, "a", 1, 0)]),
    (29, [*OPENED, Admitted(11.9, "a", 2, 1)]),
    # After a probe that failed it is open twice as long.
    (
        29,
        [
            *(Judged(2.0, "c", 0, 0, Verdict.FAILURE, 0.0) for _ in range(20)),
            Admitted(3.0, "c", 2, 1),
            Judged(4.0, "c", 2, 1, Verdict.FAILURE, 3.0),
            Admitted(5.9, "c", 4, 2),
        ],
    ),
    (
        30,
        [
            *OPENED,
            *(Judged(3.0, "a", 2, number, Verdict.FAILURE) for number in range(1, 4)),
        ],
    ),
    (31, [submitted(0.0, 1), Finished(2.0, 1, Outcome.REFUSED, "CircuitOpenError")]),
    (
        31,
        [
            submitted(0.0, 1, persistent=True),
            Finished(0.0, 1, Outcome.REFUSED, "CircuitOpenError", retry_after=1.0),
        ],
    ),
    (32, [submitted(0.0, 1, recovery=True), finished(1.0, 1, SERVER)]),
    (
        33,
        [
            submitted(0.0, 1),
            *call(0.0, 0.0, 1, SERVER, 1),
            *call(0.0, 0.0, 1, SERVER, 2),
            *call(0.0, 0.0, 1, SERVER, 3),
        ],
    ),
    (
        33,
        [
            line
            for number in range(20)
            for line in (
                submitted(0.0, number),
                *call(0.0, 0.0, number, SERVER, 1),
                *call(0.0, 0.0, number, SERVER, 2),
            )
        ],
    ),
    (
        33,
        [
            submitted(0.0, 1, persistent=True),
            *(Judged(0.0, "c", 0, 0, Verdict.SUCCESS, 0.0) for _ in range(100)),
            *(
                line
                for number in range(20)
                for line in (
                    Withdrawn(0.0),
                    Sent(0.0, "c", 1, number),
                    Ended(0.0, "c", 1, number, Outcome.TRUNCATED, None),
                    Judged(0.0, "c", 0, 0, Verdict.SUCCESS, 0.0),
                )
            ),
        ],
    ),
    (
        33,
        [
            submitted(0.0, 1),
            *call(0.0, 0.0, 1, SERVER, 1),
            *call(0.0, 0.0, 1, SERVER, 2)[1:],
        ],
    ),
    (
        34,
        [
            submitted(0.0, 1),
            *call(0.0, 1.0, 1, Outcome.BAD_REQUEST, 1),
            *call(1.0, 2.0, 1, ANSWER, 2),
        ],
    ),
    (
        51,
        [
            submitted(0.0, 1, deadline=9.0, persistent=True),
            *call(1.0, 2.0, 2),
            *call(2.0, 2.5, 1, SERVER, 1),
            finished(2.5, 1, SERVER),
        ],
    ),
    (
        51,
        [
            submitted(0.0, 1, persistent=True, sequence=("b", "a")),
            *call(1.0, 2.0, 2),
            Finished(2.5, 1, Outcome.REFUSED, "CircuitOpenError", retry_after=1.0),
        ],
    ),
    # It was seen idle, a call ended there or where the request waits, and still.
    (52, [Idle(0.0, "b", 1, "a"), *call(0.0, 1.0, 2), Idle(2.0, "b", 1, "a")]),
    (
        52,
        [
            Idle(0.0, "b", 1, "a"),
            Judged(1.0, "b", 0, 0, Verdict.SUCCESS, 0.0),
            Idle(1.5, "b", 1, "a"),
        ],
    ),
    (36, [submitted(0.0, 1), *call(0.0, 1.0, 1), finished(1.0, 1, SERVER, ANSWER)]),
]


def compared(*lines: Line, plain: list[float], until: float) -> set[int]:
    """Return what is broken where a plain client had so many answers, and when."""
    forged = history(*lines)
    forged.plain, forged.calm = plain, until
    return {violation.rule for violation in check(forged)} & {53, 54}


def answered(*times: float, first: int = 1) -> list[Line]:
    return [finished(time, first + nth, ANSWER) for nth, time in enumerate(times)]


def came(*times: float, first: int = 1) -> list[Line]:
    return [submitted(time, first + nth) for nth, time in enumerate(times)]


def every(seconds: float, begin: float, end: float) -> list[float]:
    return [begin + nth * seconds for nth in range(round((end - begin) / seconds))]


def test_a_plain_client_may_have_a_few_more_answers() -> None:
    """A tenth, and what chance explains: of 100 that is 40, of 10,000 it is 400."""
    plain = every(0.1, 0.0, 10.0)
    assert not compared(*answered(*every(0.1, 0.0, 5.1)), plain=plain, until=10.0)
    assert 53 in compared(*answered(*every(0.1, 0.0, 4.9)), plain=plain, until=10.0)
    plain = every(0.001, 0.0, 10.0)
    well = answered(*every(0.001, 0.0, 8.7))
    assert not compared(*well, plain=plain, until=10.0)
    late = answered(*every(0.001, 0.0, 8.5))
    assert 53 in compared(*late, plain=plain, until=10.0)


def test_a_plain_client_may_not_have_more_answers_in_any_ten_seconds() -> None:
    plain = every(0.1, 0.0, 60.0)
    ours = [*every(0.1, 0.0, 20.0), *every(0.025, 30.0, 40.0), *every(0.1, 40.0, 60.0)]
    assert 53 in compared(*answered(*ours), plain=plain, until=60.0)


def test_a_little_less_all_the_time_is_too_little_in_the_end() -> None:
    """Where no ten seconds are convicted, all of them together may be."""
    plain = every(0.1, 0.0, 600.0)
    ours = answered(*every(0.125, 0.0, 600.0))
    assert 53 in compared(*ours, plain=plain, until=600.0)
    assert not compared(*ours[:80], plain=plain[:100], until=10.0)


OUTAGE: list[Line] = [
    Phased(20.0, "all_dead", None, begins=True),
    Phased(30.0, "all_dead", None, begins=False),
]
"""The circuits open for 10 s at most here."""


def test_after_an_outage_the_rate_has_to_come_back() -> None:
    asked = came(*every(0.1, 0.0, 60.0))
    soon = answered(*every(0.1, 0.0, 20.0), *every(0.1, 44.0, 60.0))
    assert not compared(*OUTAGE, *asked, *soon, plain=[], until=60.0)
    late = answered(*every(0.1, 0.0, 20.0), *every(0.1, 52.0, 60.0))
    assert 54 in compared(*OUTAGE, *asked, *late, plain=[], until=60.0)


def test_who_has_time_and_nobody_to_ask_may_fail() -> None:
    """The last answer was long ago, the circuit is open, or all tries were made."""
    begin = [submitted(0.0, 1, deadline=99.0, persistent=True, sequence=("a",))]
    failed = [*call(10.0, 10.0, 1, SERVER, 1), finished(10.0, 1, SERVER)]
    other = call(1.0, 9.5, 2)
    assert 51 in broken(*begin, *other, *failed)
    assert 51 not in broken(*begin, *call(1.0, 8.5, 2), *failed)
    opened = Circuit(9.9, "a", "closed", "open")
    assert 51 not in broken(*begin, *other, opened, *failed)
    tried = [*call(9.0, 9.0, 1, SERVER, 1), *call(9.2, 9.2, 1, SERVER, 2)]
    assert 51 not in broken(*begin, *other, *tried, finished(10.0, 1, SERVER, SERVER))
    asked = [*begin, *other, *rejected(10.0, 90.0)[1:]]
    until = Ended(10.0, "a", 1, 2, Outcome.RATE_LIMITED, 90.0)
    told = finished(10.0, 1, Outcome.RATE_LIMITED)
    assert 51 not in broken(*asked, until, told)
    assert 51 in broken(*asked, until._replace(retry_after=9.0), told)


@pytest.mark.parametrize(
    ("rule", "lines"), FORGED, ids=[f"{rule}" for rule, _ in FORGED]
)
def test_a_forged_history_is_found_out(rule: int, lines: list[Line]) -> None:
    assert rule in broken(*lines)


def test_what_came_due_while_the_clock_leapt_may_end_when_it_lands() -> None:
    assert not broken(
        submitted(0.0, 1, deadline=1.0), Leapt(3.0, 0.5), finished(3.0, 1)
    )


def test_closing_has_the_time_that_the_clock_leapt() -> None:
    end: list[Line] = [Closing(0.0, 1.0), Leapt(50.0, 0.5), Closed(51.0), END[-1]]
    assert not broken(end=end)
    assert 15 in broken(end=[Leapt(50.0, 0.0), Closing(50.0, 1.0), Closed(60.0)])


def test_what_was_given_back_may_be_taken_again() -> None:
    """Four go at once; what was not used of them lets as many go once more."""
    assert not broken(
        *(Taken(0.0, "limit", number, 1, 10, 10) for number in range(4)),
        *(Settled(1.0, "limit", number, 0, 0, 0) for number in range(4)),
        *(Taken(1.0, "limit", number, 1, 10, 10) for number in range(4, 8)),
        *(Settled(1.0, "limit", number, 1, 10, 10) for number in range(4, 8)),
    )


def test_what_is_larger_than_the_burst_is_saved_up_for() -> None:
    assert not broken(
        Taken(0.0, "limit", 1, 1, 500, 0),
        Settled(0.0, "limit", 1, 1, 500, 0),
        Taken(70.0, "limit", 2, 1, 900, 0),
        Settled(70.0, "limit", 2, 1, 900, 0),
    )


CLOSINGS: list[list[Line]] = [
    [],
    [Closed(1.0)],
    [Closing(0.0, 1.0), Closed(10.0)],
    [Closing(0.0, 1.0), Closed(0.0), Final(0.0, 1, 0, 0, 0, 0.0, 0, 0)],
    [Closing(0.0, 1.0), Closed(0.0), Final(0.0, 0, 0, 0, 0, 0.0, 0, 1)],
]


@pytest.mark.parametrize("end", CLOSINGS)
def test_a_bad_end_is_found_out(end: list[Line]) -> None:
    assert 15 in broken(end=end)


IDLE: list[list[Line]] = [
    [Idle(0.0, "b", 1, "a"), Idle(2.0, "b", 1, "a")],
    [Idle(0.0, "b", 1, "a"), *call(0.0, 2.0, 2), Idle(2.0, "b", 1, "a")],
    [
        Idle(0.0, "b", 1, "a"),
        Admitted(0.5, "b", 0, 0),
        *call(0.0, 1.0, 2),
        Idle(2.0, "b", 1, "a"),
    ],
]
"""Nothing ended meanwhile, or just now; and it did start something."""


@pytest.mark.parametrize("lines", IDLE)
def test_who_is_idle_for_a_moment_breaks_nothing(lines: list[Line]) -> None:
    assert 52 not in broken(*lines)


def test_every_rule_has_a_forged_history() -> None:
    tried = {rule for rule, _ in FORGED} | {15, 53, 54}
    # Named as part of another (see `RULES`), or told by no history.
    elsewhere = {14, 18, 23, 28, 38, 48}
    assert tried | elsewhere == set(RULES)
