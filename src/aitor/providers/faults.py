"""
What an error body says, in whatever shape it says it.

Vendors, proxies and gateways put the same few facts in many places: under `error`,
in a list, flat, in a text inside a message, with a number for a code, with code and
type exchanged. Here they are only collected; what they mean is decided in
`aitor.providers.classify`. Nothing collected here may be shown unchecked: it is what
somebody else wrote.
"""

import contextlib
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from aitor.providers.documents import read_json

__all__ = ("Fault", "fault_in", "fault_in_bytes", "seconds_in")

DEEPEST = 8
MOST_ITEMS = 4
LONGEST_MESSAGE = 4_000
LONGEST_WORD = 100
LONGEST_WAIT = 1e9

INSIDE = (
    "details",
    "innererror",
    "inner_error",
    "metadata",
    "raw",
    "error",
    "errors",
    "base_resp",
)
"""Where a fault keeps another one, which tells more."""

CODES = ("error_code", "code", "status_code")
TYPES = ("type", "status", "reason", "error_type")
MESSAGES = ("message", "msg", "detail", "status_msg", "error_msg", "error_message")

UNITS = {
    "ms": 0.001,
    "milli": 0.001,
    "mo": 2_592_000.0,
    "w": 604_800.0,
    "d": 86_400.0,
    "h": 3_600.0,
    "m": 60.0,
    "s": 1.0,
    "": 1.0,
}
"""Seconds, by how a unit's name begins; of two that begin alike the longer is first."""

DURATION = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(UNITS)})")


@dataclass(slots=True, repr=False)
class Fault:
    """
    The facts of one error body; no `repr` shows them, for they may quote anything.

    Args:
        words: Codes and types as they were written, the most telling first.
        messages: What was said to people, likewise.
        heard: The same in lower case, for who looks for something in it.
        parameter: The parameter that it is about.
        status: A status that stands in the body; it counts when the head said 200.
        retry_after: Seconds to wait.
        request_id: The vendor's name for the exchange.
        foreign: What came is a page or a plain text, as firewalls and proxies write.
    """

    words: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    parameter: str | None = None
    status: int | None = None
    retry_after: float | None = None
    request_id: str | None = None
    foreign: bool = False

    def hear(self, message: str) -> None:
        """Add what was said to people."""
        message = message[:LONGEST_MESSAGE]
        self.messages.append(message)
        self.heard.append(message.lower())


def fault_in_bytes(body: bytes) -> Fault:
    """Collect what an error's *body* says; any bytes are a body."""
    try:
        return fault_in(read_json(body))
    except ValueError:
        text = body.decode("utf-8", "replace").strip()
    fault = Fault(foreign=bool(text))
    # A page is decoration around its status.
    if text and not text.startswith("<"):
        # It may be an event of a stream, with the vendor's words in it.
        _message(fault, text, DEEPEST)
    return fault


def fault_in(document: Any) -> Fault:
    """Collect what a decoded error *document* says."""
    fault = Fault()
    _collect(fault, document, DEEPEST)
    return fault


def seconds_in(text: str) -> float:
    """Return the duration in *text*, such as `1d2h`, `28ms` or `45 seconds`."""
    return sum(
        float(number) * UNITS[unit] for number, unit in DURATION.findall(text.lower())
    )


def _collect(fault: Fault, document: Any, depth: int) -> None:
    if depth == 0:
        return
    if isinstance(document, str):
        _message(fault, document, depth)
    elif isinstance(document, list):
        for item in document[:MOST_ITEMS]:
            _collect(fault, item, depth - 1)
    elif isinstance(document, dict):
        _look_through(fault, document, depth - 1)


def _look_through(fault: Fault, document: dict[str, Any], depth: int) -> None:
    # Most keys are missing, or say nothing.
    for key in CODES:
        if word := document.get(key):
            _word(fault, word)
    for key in INSIDE:
        if inner := document.get(key):
            _collect(fault, inner, depth)
    for key in TYPES:
        if word := document.get(key):
            _word(fault, word)
    for key in MESSAGES:
        if said := document.get(key):
            _collect(fault, said, depth)
    _facts(fault, document)


def _message(fault: Fault, text: str, depth: int) -> None:
    # A gateway may quote the vendor's whole body inside its own message.
    begin, end = text.find("{"), text.rfind("}")
    if 0 <= begin < end:
        with contextlib.suppress(ValueError):
            _collect(fault, from_json(text[begin : end + 1]), depth - 1)
            fault.foreign = False
    fault.hear(text)


def _word(fault: Fault, word: Any) -> None:
    if isinstance(word, str) and word.isdecimal() and len(word) == 3:
        word = int(word)
    if isinstance(word, str) and 0 < len(word) <= LONGEST_WORD and word != "error":
        fault.words.append(word)
    elif isinstance(word, int) and 400 <= word < 600:
        fault.status = fault.status or word
    elif isinstance(word, int) and word >= 1_000:
        # Some vendors number what others name.
        fault.words.append(str(word)[:LONGEST_WORD])


def _facts(fault: Fault, document: dict[str, Any]) -> None:
    parameter, place = document.get("param"), document.get("loc")
    if parameter is None and isinstance(place, list) and place:
        parameter = place[-1]
    if isinstance(parameter, str) and fault.parameter is None:
        fault.parameter = parameter[:LONGEST_WORD]
    request_id = document.get("request_id")
    if isinstance(request_id, str) and fault.request_id is None:
        fault.request_id = request_id[:LONGEST_WORD]
    if fault.retry_after is None:
        wait = document.get("retry_after") or document.get("retryDelay")
        if isinstance(wait, str):
            wait = seconds_in(wait[:LONGEST_WORD])
        if isinstance(wait, int | float) and 0 < wait < LONGEST_WAIT:
            fault.retry_after = float(wait)
