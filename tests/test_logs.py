"""Events as log lines: where they go, how loud they are, and what they hold."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import structlog
from structlog.testing import LogCapture

from aitor.events import (
    AttemptEnded,
    CircuitChanged,
    Event,
    ParameterDropped,
    ParameterRaised,
    ProviderPaused,
    ProviderRestarted,
    RequestEnded,
)
from aitor.logs import log_events, report_broken_listener, report_not_closed
from aitor.messages import Attempt, Usage, Waits
from aitor.outcomes import Outcome


def attempt(outcome: Outcome, **more: Any) -> AttemptEnded:
    return AttemptEnded(Attempt("openai", "gpt-9", outcome, 0.25, Waits(), **more))


def request(outcome: Outcome) -> RequestEnded:
    return RequestEnded(outcome, "openai", 1, 0.5, None, 0)


def circuit(new: str, cause: Outcome | None = None) -> CircuitChanged:
    return CircuitChanged("openai", "closed", new, 30.0, cause)


PAUSED = ProviderPaused("openai", 12.5, "slow_down")

LEVELS: list[tuple[Event, str]] = [
    (attempt(Outcome.ANSWER), "debug"),
    (attempt(Outcome.CANCELLED), "debug"),
    (attempt(Outcome.BAD_REQUEST), "info"),
    (attempt(Outcome.CONTENT_FILTER), "info"),
    (attempt(Outcome.TOO_LONG), "info"),
    (attempt(Outcome.PARAMETER), "info"),
    (attempt(Outcome.UNSUPPORTED), "info"),
    (attempt(Outcome.DECLINED), "warning"),
    (attempt(Outcome.RATE_LIMITED), "info"),
    (attempt(Outcome.SERVER), "warning"),
    (attempt(Outcome.CONNECTION), "warning"),
    (attempt(Outcome.TIMEOUT), "warning"),
    (attempt(Outcome.MALFORMED), "warning"),
    (attempt(Outcome.TRUNCATED), "warning"),
    (attempt(Outcome.MODEL), "warning"),
    (attempt(Outcome.ACCOUNT), "warning"),
    (attempt(Outcome.CRASH), "warning"),
    (request(Outcome.ANSWER), "debug"),
    (request(Outcome.CANCELLED), "debug"),
    (request(Outcome.BAD_REQUEST), "info"),
    (request(Outcome.REFUSED), "info"),
    (request(Outcome.EXPIRED), "info"),
    (request(Outcome.SERVER), "warning"),
    (circuit("open", Outcome.SERVER), "warning"),
    (circuit("open", Outcome.ACCOUNT), "error"),
    (circuit("half-open"), "info"),
    (circuit("closed"), "warning"),
    (PAUSED, "info"),
    (ParameterDropped("openai", "gpt-9", "temperature"), "warning"),
    (ParameterRaised("openai", "gpt-9", "max_output_tokens", 5, 16), "warning"),
    (ProviderRestarted("openai", "KeyError"), "error"),
]


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture
def lines() -> list[Any]:
    """Configure structlog as an application would, and return what it gets."""
    capture = LogCapture()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    return capture.entries


def test_every_event_has_its_level(lines: list[Any]) -> None:
    for event, _ in LEVELS:
        log_events(event)
    assert [line["log_level"] for line in lines] == [level for _, level in LEVELS]
    assert {type(event) for event, _ in LEVELS} == set(get_args(Event))


def test_the_standard_library_gets_the_same_levels(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="aitor")
    for event, _ in LEVELS:
        log_events(event)
    told = [record.levelname.lower() for record in caplog.records]
    assert told == [level for _, level in LEVELS]
    assert {record.name for record in caplog.records} == {"aitor"}


def test_an_attempt_is_told_flat_and_without_what_is_unknown(lines: list[Any]) -> None:
    log_events(
        AttemptEnded(
            Attempt(
                provider="openai",
                model="gpt-9",
                outcome=Outcome.SERVER,
                seconds=0.123456,
                waits=Waits(worker=0.5, rate=1.0),
                usage=Usage(10, 20),
                status=503,
                code="overloaded",
                retry_after=3.0,
                request_id="req-1",
            )
        )
    )
    log_events(attempt(Outcome.ANSWER))
    assert lines == [
        {
            "event": "attempt_ended",
            "log_level": "warning",
            "provider": "openai",
            "model": "gpt-9",
            "outcome": "server",
            "seconds": 0.123,
            "waited": 1.5,
            "input_tokens": 10,
            "output_tokens": 20,
            "status": 503,
            "code": "overloaded",
            "retry_after": 3.0,
            "request_id": "req-1",
        },
        {
            "event": "attempt_ended",
            "log_level": "debug",
            "provider": "openai",
            "model": "gpt-9",
            "outcome": "answer",
            "seconds": 0.25,
            "waited": 0.0,
        },
    ]
    assert type(lines[0]["outcome"]) is str


def test_other_events_are_their_fields(lines: list[Any]) -> None:
    log_events(circuit("open", Outcome.TIMEOUT))
    assert lines == [
        {
            "event": "circuit_changed",
            "log_level": "warning",
            "provider": "openai",
            "old": "closed",
            "new": "open",
            "retry_in": 30.0,
            "cause": "timeout",
        }
    ]


def test_a_line_of_the_standard_library_holds_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="aitor")
    log_events(PAUSED)
    assert caplog.messages == [
        "provider_paused provider=openai seconds=12.5 code=slow_down"
    ]


def test_a_providers_text_cannot_pass_for_other_fields_or_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="aitor")
    log_events(ProviderPaused("openai", 1.0, "x\nprovider_restarted error=y"))
    (line,) = caplog.messages
    assert line.endswith(r'code="x\nprovider_restarted error=y"')
    assert json.loads(line.partition("code=")[2]) == "x\nprovider_restarted error=y"


def test_a_level_that_is_off_costs_no_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Event] = []

    def fields(event: Event) -> dict[str, Any]:
        built.append(event)
        return {}

    monkeypatch.setattr("aitor.logs._fields", fields)
    caplog.set_level(logging.WARNING, logger="aitor")
    log_events(PAUSED)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    log_events(PAUSED)
    assert not built
    log_events(circuit("open"))
    assert built


@pytest.mark.parametrize(
    "wrapper", [structlog.BoundLogger, structlog.stdlib.BoundLogger]
)
def test_any_kind_of_structlog_logger_gets_the_line_once(
    wrapper: type, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="aitor")
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        wrapper_class=wrapper,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    log_events(PAUSED)
    assert [(each.name, each.message) for each in caplog.records] == [
        ("aitor", "provider_paused")
    ]


def test_an_application_that_configures_nothing_hears_nothing() -> None:
    program = """
import sys
from aitor.events import ProviderRestarted
from aitor.logs import log_events
log_events(ProviderRestarted("openai", "KeyError"))
assert "structlog" not in sys.modules
import structlog
log_events(ProviderRestarted("openai", "KeyError"))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_a_provider_that_was_not_closed_is_told(lines: list[Any]) -> None:
    report_not_closed("openai", "TimeoutError")
    assert lines == [
        {
            "event": "provider_not_closed",
            "log_level": "warning",
            "provider": "openai",
            "error": "TimeoutError",
        }
    ]


class Listening:
    def __call__(self, event: Event) -> None: ...


def listening(event: Event) -> None: ...


class TestBrokenListener:
    def test_it_is_told_by_name_with_the_error(self, lines: list[Any]) -> None:
        error = ValueError("oh")
        report_broken_listener(listening, error)
        assert lines == [
            {
                "event": "listener_failed",
                "log_level": "error",
                "listener": "listening",
                "error": "ValueError",
                "exc_info": error,
            }
        ]

    def test_an_object_goes_by_its_class(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        report_broken_listener(Listening(), ValueError("oh"))
        (record,) = caplog.records
        assert "listener=Listening error=ValueError" in record.message
        assert record.exc_info
        assert record.levelno == logging.ERROR

    def test_the_report_survives_a_structlog_that_is_itself_broken(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        structlog.configure(processors=[broken])
        with pytest.raises(ZeroDivisionError):
            log_events(circuit("open"))
        report_broken_listener(log_events, ZeroDivisionError())
        assert caplog.messages == [
            "listener_failed listener=log_events error=ZeroDivisionError"
        ]
