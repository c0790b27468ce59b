"""Faults: what they are and when they strike."""

import math
from random import Random

import pytest

from aitor.testing import KINDS, Fault
from aitor.testing.errors import ANTHROPIC_ERRORS, OPENAI_ERRORS, find_error
from aitor.testing.faults import pick


def struck(fault: Fault, count: int = 20) -> list[int]:
    random = Random(1)
    return [n for n in range(1, count + 1) if fault.strikes(n, 0.0, random)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("reset", Fault(kind="reset")),
        ("dead after=10 until=20", Fault(kind="reset", after=10, until=20)),
        (
            "status=500 probability=0.05",
            Fault(kind="status", status=500, probability=0.05),
        ),
        ("overloaded at=3,7", Fault(kind="overloaded", at=(3, 7))),
        (
            "rate_limit retry_after='Wed, 21 Oct' header:x-should-retry=false",
            Fault(
                kind="rate_limit",
                retry_after="Wed, 21 Oct",
                headers={"x-should-retry": "false"},
            ),
        ),
        (
            {"kind": "slow", "seconds": 2, "every": 3},
            Fault(kind="slow", seconds=2, every=3),
        ),
        ({"kind": "slow", "at": [1, 2]}, Fault(kind="slow", at=(1, 2))),
    ],
)
def test_faults_are_read_from_text_and_mappings(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("explode", "kind=explode: expected one of"),
        ("reset when=now", "nothing is called"),
        ("after=3", "names no kind"),
        ("reset reset", "twice"),
        ("status=200", "takes 400 to 599"),
        ("status", "takes 400 to 599"),
        ("reset probability=2", "expected 0 to 1"),
        ("slow seconds=-1", "at least 0"),
        ("error_in_200 error=whatever", "error=whatever"),
        ("reset at=one", "invalid literal"),
        ({"kind": "reset", "at": 1.5}, "bad fault"),
    ],
)
def test_a_bad_fault_is_refused_with_what_was_expected(
    source: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fault.parse(source)


def test_a_fault_strikes_by_the_number_of_the_request() -> None:
    assert struck(Fault(kind="reset"), 3) == [1, 2, 3]
    assert struck(Fault(kind="reset", at=(3, 7))) == [3, 7]
    assert struck(Fault(kind="reset", first=2)) == [1, 2]
    assert struck(Fault(kind="reset", every=10)) == [10, 20]
    assert struck(Fault(kind="reset", every=5, first=10)) == [5, 10]


def test_a_fault_strikes_within_its_time_and_not_at_the_end_of_it() -> None:
    fault = Fault(kind="reset", after=10, until=20)
    times = (0, 9.9, 10, 19.9, 20, math.inf)
    assert [fault.strikes(1, time, Random(1)) for time in times] == [
        *(False, False, True, True, False, False)
    ]


def test_chance_is_repeated_by_the_seed_and_about_as_likely_as_said() -> None:
    fault = Fault(kind="reset", probability=0.2)
    assert struck(fault, 2000) == struck(fault, 2000)
    assert len(struck(fault, 2000)) == pytest.approx(400, rel=0.15)
    assert struck(Fault(kind="reset", probability=0.0)) == []


def test_the_first_fault_that_strikes_is_the_one() -> None:
    faults = [Fault(kind="reset", at=(2,)), Fault(kind="close"), Fault(kind="hang")]
    kinds = [fault.kind for n in (1, 2) if (fault := pick(faults, n, 0.0, Random(1)))]
    assert kinds == ["close", "reset"]
    assert pick([], 1, 0.0, Random(1)) is None


def test_both_vendors_word_every_error() -> None:
    assert set(OPENAI_ERRORS) == set(ANTHROPIC_ERRORS) <= KINDS


def test_a_status_alone_means_the_usual_error_of_the_vendor() -> None:
    assert find_error(OPENAI_ERRORS, "", 429).code == "rate_limit_exceeded"
    assert find_error(OPENAI_ERRORS, "", 500).type == "server_error"
    assert find_error(OPENAI_ERRORS, "", 503).code == "server_is_overloaded"
    assert find_error(ANTHROPIC_ERRORS, "", 529).type == "overloaded_error"
    assert find_error(ANTHROPIC_ERRORS, "", 418).status == 418
    assert find_error(OPENAI_ERRORS, "overloaded", 500).status == 500
