"""
What an exception of a provider's own code means.

Only its class, a status and headers are looked at. Its text may quote a key or a
prompt, so the one thing taken from there is a number that stands where a status does.
"""

import json
import re
import sys
import time
from typing import Any

from aitor.errors import (
    AttemptTimeoutError,
    ConnectionFailedError,
    LLMError,
    MalformedAnswerError,
    ServerError,
)

__all__ = ("FAULTS", "explain")

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    TypeError,
)
"""Exceptions that speak of a mistake in the code; the broker calls them a crash."""

CLIENTS = ("httpx", "httpx2")

STATUS = re.compile(
    r"""(?: \b(?:error|status|code|http)(?:/[\d.]+)? [^\w]{1,3}
          | \b(?=\d+\ (?:client|server)\ error\b) )
        ([45]\d\d)\b""",
    re.VERBOSE | re.IGNORECASE,
)


def explain(error: Exception, who: str, longest_wait: float) -> LLMError:
    """
    Return the error that says what *error* means.

    Args:
        error: What was raised.
        who: The name of the provider's class.
        longest_wait: The longest pause that a server may ask for, in seconds.
    """
    kind = type(error).__name__
    for client in filter(None, map(sys.modules.get, CLIENTS)):
        if isinstance(error, client.TimeoutException):
            return AttemptTimeoutError(f"{who}: a time limit passed ({kind})")
        if isinstance(error, client.TransportError):
            return ConnectionFailedError(f"{who}: the connection failed ({kind})")
    if isinstance(error, TimeoutError):
        return AttemptTimeoutError(f"{who}: a time limit passed ({kind})")
    if isinstance(error, OSError):
        return ConnectionFailedError(f"{who}: the connection failed ({kind})")
    if isinstance(error, json.JSONDecodeError):
        return MalformedAnswerError(f"{who}: what came back is no JSON")
    status = _status(error)
    if status is None:
        return ServerError(f"{who} raised {kind}")
    return _refused(status, error, longest_wait)


def _refused(status: int, error: Exception, longest_wait: float) -> LLMError:
    # Imported here: its tables take a while to build.
    from aitor.providers.classify import Refusal

    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or {}
    refusal = Refusal.read(
        status,
        {str(name).lower(): str(value) for name, value in headers.items()},
        _body(response),
        now=time.time(),
        longest_wait=longest_wait,
    )
    return refusal.error()


def _body(response: Any) -> bytes:
    try:
        body = response.content
    except Exception:  # noqa: BLE001  # it was not read, or there is none
        return b""
    return body if isinstance(body, bytes) else b""


def _status(error: Exception) -> int | None:
    places = (error, getattr(error, "response", None))
    for place in places:
        status = getattr(place, "status_code", None)
        if isinstance(status, int) and 400 <= status < 600:
            return status
    found = STATUS.search(str(error))
    return int(found[1]) if found else None
