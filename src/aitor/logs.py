"""
Events as log lines, for operators.

`log_events` is a listener: `Broker(..., listeners=[log_events])`. A broker without
listeners uses it for what concerns a provider as a whole, and makes no event for each
request. Each event becomes one line of the logger `aitor`, with the event's name and
its fields, flat.

The lines go where the application's own go: through structlog if the application has
configured it, through the standard library's logging otherwise. Nothing is configured
here and nothing printed, so an application that configures neither hears nothing.

Levels answer the question who has to act. What comes with every request is at DEBUG;
what the broker is there to handle, or what a caller is told anyway, at INFO; a
provider's trouble at WARNING; what stays broken until a human acts at ERROR.

| event                | DEBUG             | INFO              | WARNING | ERROR     |
|----------------------|-------------------|-------------------|---------|-----------|
| `attempt_ended`      | answer, cancelled | the request's own | else    |           |
|                      |                   | fault, rate limit |         |           |
| `request_ended`      | answer, cancelled | the same, refused,| else    |           |
|                      |                   | expired           |         |           |
| `circuit_changed`    |                   | to half-open      | else    | to open,  |
|                      |                   |                   |         | by account|
| `provider_paused`    |                   | always            |         |           |
| `parameter_dropped`  |                   |                   | always  |           |
| `provider_restarted` |                   |                   |         | always    |
| `provider_not_closed`|                   |                   | always  |           |
| `method_failed`      |                   |                   |         | always    |
| `listener_failed`    |                   |                   |         | always    |
| `task_failed`        |                   |                   |         | always    |
| `source_not_closed`  |                   |                   | always  |           |

Refusals are at INFO because an overload makes thousands of them a second and
`Broker.statistics()` counts them. A closed circuit is as loud as an open one, so that
whoever was woken is also told that it is over.
"""

import dataclasses
import json
import logging
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from aitor.events import (
    AttemptEnded,
    CircuitChanged,
    Event,
    Listener,
    ParameterDropped,
    ParameterRaised,
    ProviderPaused,
    ProviderRestarted,
    RequestEnded,
)
from aitor.messages import Attempt
from aitor.outcomes import Outcome

__all__ = (
    "log_events",
    "report_broken_listener",
    "report_broken_method",
    "report_broken_task",
    "report_not_closed",
    "report_source_not_closed",
)

NAME = "aitor"

_logger = logging.getLogger(NAME)
# Without it, the standard library prints warnings of a silent application itself.
_logger.addHandler(logging.NullHandler())

ROUTINE = frozenset({Outcome.ANSWER, Outcome.CANCELLED})
OWN_FAULT = frozenset(
    {
        Outcome.BAD_REQUEST,
        Outcome.CONTENT_FILTER,
        Outcome.TOO_LONG,
        Outcome.PARAMETER,
        Outcome.UNSUPPORTED,
    }
)
HANDLED = OWN_FAULT | {Outcome.RATE_LIMITED, Outcome.REFUSED, Outcome.EXPIRED}

LEVELS = {
    ProviderPaused: logging.INFO,
    ParameterDropped: logging.WARNING,
    ParameterRaised: logging.WARNING,
    ProviderRestarted: logging.ERROR,
}


def log_events(event: Event) -> None:
    """Write *event* as one line to the application's log, if its level is on."""
    level = _level(event)
    write = _writer(level)
    if write is not None:
        write(_name(event), _fields(event))


def report_broken_listener(listener: Listener, error: Exception) -> None:
    """Write that *listener* raised *error*; never raise, whatever is broken."""
    name = getattr(listener, "__qualname__", type(listener).__qualname__)
    # It may have been called while something else was handled, whose text is private.
    link: BaseException | None = error
    while link is not None:
        link.__context__, link = None, link.__cause__
    fields = {"listener": name, "error": type(error).__name__, "exc_info": error}
    # The listener may have been `log_events` itself.
    _report(logging.ERROR, "listener_failed", fields)


def report_broken_method(provider: str, method: str, error: Exception) -> None:
    """Write that a *method* of *provider* raised *error*, by its kind; never raise."""
    # Its text and where it was raised may hold the prompt.
    fields = {"provider": provider, "method": method, "error": type(error).__name__}
    _report(logging.ERROR, "method_failed", fields)


def report_not_closed(provider: str, error: str) -> None:
    """Write that closing *provider* ended with *error*; never raise."""
    fields = {"provider": provider, "error": error}
    _report(logging.WARNING, "provider_not_closed", fields)


def report_broken_task(error: BaseException) -> None:
    """Write that a task of a broker ended with *error*, by its kind; never raise."""
    _report(logging.ERROR, "task_failed", {"error": type(error).__name__})


def report_source_not_closed(error: str) -> None:
    """Write that closing a `map`'s source ended with *error*; never raise."""
    _report(logging.WARNING, "source_not_closed", {"error": error})


def _report(level: int, name: str, fields: dict[str, Any]) -> None:
    try:
        if write := _writer(level):
            write(name, fields)
    except Exception:  # noqa: BLE001  # what the application has configured is broken
        _write_line(level, name, fields)


def _writer(level: int) -> Callable[[str, dict[str, Any]], None] | None:
    # Whoever configured structlog has imported it, which costs 110 ms: not ours.
    structlog = sys.modules.get("structlog")
    if structlog is None or not structlog.is_configured():
        return partial(_write_line, level) if _logger.isEnabledFor(level) else None
    bound = structlog.get_logger(NAME).bind()
    # Asked of the class: an instance may take a method that it does not have for one
    # of the logger's behind it, and write a line.
    if hasattr(type(bound), "is_enabled_for") and not bound.is_enabled_for(level):
        return None
    write = getattr(bound, logging.getLevelName(level).lower())
    return lambda name, fields: write(name, **fields)


def _write_line(level: int, name: str, fields: dict[str, Any]) -> None:
    words = [f"{key}={_word(fields[key])}" for key in fields if key != "exc_info"]
    line = " ".join([name, *words])
    _logger.log(level, "%s", line, exc_info=fields.get("exc_info"))


def _level(event: Event) -> int:
    if isinstance(event, AttemptEnded):
        return _level_of(event.attempt.outcome)
    if isinstance(event, RequestEnded):
        return _level_of(event.outcome)
    if isinstance(event, CircuitChanged):
        if event.new == "half-open":
            return logging.INFO
        return logging.ERROR if event.cause is Outcome.ACCOUNT else logging.WARNING
    return LEVELS[type(event)]


def _level_of(outcome: Outcome) -> int:
    if outcome in ROUTINE:
        return logging.DEBUG
    return logging.INFO if outcome in HANDLED else logging.WARNING


def _name(event: Event) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()


def _fields(event: Event) -> dict[str, Any]:
    if isinstance(event, AttemptEnded):
        fields = _attempt_fields(event.attempt)
    else:
        fields = {
            field.name: getattr(event, field.name)
            for field in dataclasses.fields(event)
        }
    return {name: _plain(value) for name, value in fields.items() if value is not None}


def _attempt_fields(attempt: Attempt) -> dict[str, Any]:
    usage = attempt.usage
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "seconds": attempt.seconds,
        "waited": attempt.waits.total,
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "status": attempt.status,
        "code": attempt.code,
        "retry_after": attempt.retry_after,
        "request_id": attempt.request_id,
    }


def _plain(value: Any) -> Any:
    # An enumeration's value is what people search for, and nobody searches for
    # microseconds.
    if isinstance(value, Outcome):
        return value.value
    return round(value, 3) if isinstance(value, float) else value


def _word(value: Any) -> str:
    # A code or an id is the provider's text: with its spaces and line breaks it
    # could pass for other fields or other lines.
    text = str(value)
    return text if re.fullmatch(r"[\w./:+-]+", text) else json.dumps(text)
