"""
What a vendor's rejection means: a body, a status and headers to the error to raise.

The most telling fact decides: first a code, then what a vendor is known to mean by such
an answer, then a known sentence, and only then the status, because one status means
many things (429 is "slow down", "no credit is left" and "this can never pass"; 400 is a
bad request and an account without credit; 200 may be any of them). The facts stand in
`aitor.providers.meanings` and `aitor.providers.vendors`.

Where nobody says what is wrong, nobody is blamed. A 4xx without a word about the
request is no fault of the request: another provider is asked. A status alone makes an
account suspect, no more, because a firewall in between has the same statuses.

An error's text is ours: what happened, the status, the code, the setting to look at,
and so much of the vendor's message as `aitor.providers.wording` lets pass. The prompt,
the answer and the key cannot get into it, whatever the body echoes.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from aitor.errors import (
    AccountError,
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    DeclinedError,
    LLMError,
    MalformedAnswerError,
    OverloadedError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
    UnsupportedSchemaError,
    UnsupportedToolsError,
)
from aitor.laws.retry_after import retry_after
from aitor.providers.dialect import request_id_in
from aitor.providers.faults import Fault, fault_in, fault_in_bytes, seconds_in
from aitor.providers.meanings import (
    ABOUT_REQUEST,
    CEILING,
    DECISIVE,
    INSTEAD,
    LATER,
    NAMED,
    NO_PATH,
    NUMBERED,
    ONE_TOO_LARGE,
    SAYINGS,
    SCHEMA,
    SENTENCES,
    STATUS,
    TOO_LARGE,
    TOOLS,
    VAGUE,
    WAIT,
)
from aitor.providers.rules import may_be_left_out
from aitor.providers.vendors import RULE_WORDS, Kind, kind_by_rule
from aitor.providers.wording import keyword_in, repeatable, repeatable_code

__all__ = ("Refusal",)

PARAMETER = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
REQUEST_ID = re.compile(r"req_[A-Za-z0-9_]{4,64}")

KNOWN = frozenset({*DECISIVE, *LATER, *VAGUE, *RULE_WORDS})
WAITING = (RateLimitError, ServerError)
BLAMES_NOBODY = (BadRequestError, DeclinedError, UnsupportedParameterError)

ANSWER_FORMATS = ("response_format", "text", "output_config", "output_format")
SPEAKING = ("messages", "temperature", "logprobs")
"""Fields that nobody names who does not speak of the request."""

TOOL_FIELDS = ("tools", "functions", "tool_choice")
SCHEMA_STATUSES = frozenset({200, 400, 404, 415, 422, 500, 501})
OF_TOOLS = re.compile(r"\b(?:schema for function|tools?|input_schema|function_\w+)\b")
HINTS = ("x-ratelimit-", "anthropic-ratelimit-", "retry-after", "x-should-retry")


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    What a rejection means.

    Args:
        kind: The class of the error.
        fault: What the body said.
        status: The HTTP status.
        headers: The answer's headers, names in lower case.
        named: What the caller named, so that it may be told: model and address.
        retry_after: Seconds to wait, where waiting helps.
        overloaded: The provider said that it has no capacity.
        suspected: Nothing but a status says that it is the account's fault.
        parameter: Of an `UnsupportedParameterError`, the parameter's name; of an
            `UnsupportedSchemaError`, what holds the schema.
        instead: The name that the vendor takes in its place.
        most: The largest value that the model takes for it.
    """

    kind: Kind
    fault: Fault
    status: int
    headers: Mapping[str, str] = field(repr=False)
    named: Collection[str] = field(repr=False, default=())
    retry_after: float | None = None
    overloaded: bool = False
    suspected: bool = False
    parameter: str | None = None
    instead: str | None = None
    most: int | None = None

    @classmethod
    def read(
        cls,
        status: int,
        headers: Mapping[str, str],
        body: Any,
        *,
        now: float,
        longest_wait: float,
        sent: Collection[str] = (),
        named: Collection[str] = (),
    ) -> "Refusal":
        """
        Find out what a rejection means.

        Args:
            status: The HTTP status; 200 for an error inside an answer.
            headers: The answer's headers, names in lower case.
            body: The body's bytes, or what was decoded of them.
            now: The wall clock, for waits that are given as a date.
            longest_wait: No wait is longer, in seconds.
            sent: Names of the request's fields; no other is called unsupported.
            named: What the caller named: model and address.
        """
        fault = fault_in_bytes(body) if isinstance(body, bytes) else fault_in(body)
        named = (*named, *sent)
        kind, sure = _kind(status, headers, fault, sent)
        facts = (fault, status, headers, named)
        if kind in BLAMES_NOBODY:
            parameter, instead, most = _parameter(kind, fault, sent)
            if parameter:
                return cls(
                    UnsupportedParameterError,
                    *facts,
                    parameter=parameter,
                    instead=instead,
                    most=most,
                )
            if kind is UnsupportedParameterError:
                kind = BadRequestError
        if unsupported := _unsupported(kind, status, fault, sent):
            kind, parameter = unsupported
            return cls(kind, *facts, parameter=parameter)
        overloaded = kind is OverloadedError
        wait = None
        if issubclass(kind, WAITING):
            wait = _wait(headers, fault, now, longest_wait)
        if overloaded and status == 529 and wait is not None:
            # With a wait it is the vendor's way to ask everybody to slow down.
            kind = RateLimitError
        suspected = issubclass(kind, AccountError) and not sure
        return cls(kind, *facts, wait, overloaded, suspected)

    @property
    def code(self) -> str | None:
        """The vendor's own code, if it can be told."""
        for word in self.fault.words:
            if word.lower() in KNOWN or repeatable_code(word):
                return word
        return None

    def error(self) -> LLMError:
        """Return the error to raise, with what the headers say of limits and waits."""
        code = self.code
        fields: dict[str, Any] = {
            "status": self.status,
            "code": code,
            "retry_after": self.retry_after,
            "request_id": _request_id(self.headers, self.fault),
        }
        if self.kind is UnsupportedParameterError:
            fields["parameter"] = self.parameter
        error = self.kind(self._text(code), **fields)
        error.headers = {k: v for k, v in self.headers.items() if k.startswith(HINTS)}
        error.suspected = self.suspected
        error.final = isinstance(error, WAITING) and _again(self.headers) is False
        if isinstance(error, UnsupportedSchemaError):
            error.parameter = self.parameter
            error.keyword = keyword_in(self.fault.messages)
        return error

    def _text(self, code: str | None) -> str:
        said = SENTENCES[self.kind].format(parameter=self.parameter)
        told_by = (self.kind, self.status)
        if told_by == (AuthenticationError, 407):
            said = "the proxy refused to pass it on: see the proxy variables"
        if told_by in NO_PATH and _tells_of_no_model(self.fault):
            said = "the path was not found: see 'base_url'"
        if self.fault.foreign and self.kind is DeclinedError:
            said = "somebody in between declined this request, a firewall perhaps"
        if self.overloaded and self.kind is RateLimitError:
            said = "model_overloaded: " + said
        text = f"{said} ({self.status}{f' {code}' if code else ''})"
        numbers = self.kind in NUMBERED or self.status == 402
        for message in self.fault.messages:
            if told := repeatable(message, numbers=numbers, named=self.named):
                return f"{text}: {told}"
        return text


def _tells_of_no_model(fault: Fault) -> bool:
    """Return whether it is what any server says of a path that it does not have."""
    return all(word.lower() in VAGUE for word in fault.words) and not any(
        "model" in message or "deployment" in message for message in fault.heard
    )


def _request_id(headers: Mapping[str, str], fault: Fault) -> str | None:
    told = fault.request_id or ""
    return request_id_in(headers) or (told if REQUEST_ID.fullmatch(told) else None)


def _kind(
    status: int, headers: Mapping[str, str], fault: Fault, sent: Collection[str]
) -> tuple[Kind, bool]:
    """Return what it is, and whether more than a status says so."""
    words = [word.lower() for word in fault.words]
    kind = (
        _first(DECISIVE, words)
        or kind_by_rule(status, words, fault.heard)
        or next((kind for kind, saying in SAYINGS if _said(saying, fault)), None)
    )
    if kind is not None:
        return kind, True
    told = status if status != 200 else fault.status or 0
    kind = _first(LATER, words) or _kind_of_status(told, fault)
    if kind is RateLimitError and _is_too_large(fault):
        kind = ContextLengthError
    if kind is None and 400 <= told < 500:
        kind = _kind_of_doubt(headers, fault, sent)
    return kind or _first(VAGUE, words) or ServerError, False


def _kind_of_doubt(
    headers: Mapping[str, str], fault: Fault, sent: Collection[str]
) -> Kind:
    """Return what a 4xx is that neither a code nor its status explains."""
    if _again(headers):
        # A vendor may say of a status that says "your fault" that it was not.
        return ServerError
    if _is_about_request(fault, sent):
        return BadRequestError
    return _first(VAGUE, [word.lower() for word in fault.words]) or DeclinedError


def _kind_of_status(status: int, fault: Fault) -> Kind | None:
    if status == 403 and fault.foreign:
        # A page is not the vendor's: a firewall did not like this one request.
        return DeclinedError
    if kind := STATUS.get(status):
        return kind
    if 300 <= status < 400:
        return MalformedAnswerError
    return ServerError if status >= 500 else None


def _again(headers: Mapping[str, str]) -> bool | None:
    """Return what the server says of trying again; None if it says nothing."""
    said = headers.get("x-should-retry", "").strip().lower()
    return {"true": True, "false": False}.get(said)


def _is_too_large(fault: Fault) -> bool:
    """Return whether a limit will never let this one request pass."""
    if _said(ONE_TOO_LARGE, fault):
        return True
    found = _said(TOO_LARGE, fault)
    if found is None:
        return False
    most = found["most"] or found["most2"]
    asked = found["asked"] or found["asked2"]
    return _number(asked) > _number(most)


def _number(text: str) -> int:
    return int(text.replace(",", "") or 0)


def _is_about_request(fault: Fault, sent: Collection[str]) -> bool:
    """Return whether it says anything of what is wrong with the request."""
    if fault.parameter or _said(ABOUT_REQUEST, fault):
        return True
    return any(
        name in re.findall(r"[a-z_]+", message)
        for message in fault.heard
        for name in sent
        if "_" in name or name in SPEAKING
    )


def _unsupported(
    kind: Kind, status: int, fault: Fault, sent: Collection[str]
) -> tuple[Kind, str | None] | None:
    """Return what the provider lacks for this request, if that is what it says."""
    if status not in SCHEMA_STATUSES or kind not in (*BLAMES_NOBODY, ServerError):
        return None
    calls = not sent or any(name in sent for name in TOOL_FIELDS)
    if calls and _said(TOOLS, fault):
        return UnsupportedToolsError, None
    named = (fault.parameter or "").lower()
    root = re.split(r"[.\[]", named)[0]
    of_tools = root in TOOL_FIELDS and ("schema" in named or "parameters" in named)
    of_format = root in ANSWER_FORMATS and (root == named or "format" in named)
    if not (of_tools or of_format or _said(SCHEMA, fault)):
        return None
    formats = not sent or any(name in sent for name in ANSWER_FORMATS)
    if not calls and not formats:
        return None
    of_tools = of_tools or not formats or (calls and bool(_said(OF_TOOLS, fault)))
    return UnsupportedSchemaError, "tools" if of_tools else "response_format"


def _parameter(
    kind: Kind, fault: Fault, sent: Collection[str]
) -> tuple[str | None, str | None, int | None]:
    # Name, the name to use instead, and the most that is taken for it.
    if found := _said(CEILING, fault):
        name = found["name"]
        if name in sent:
            return name, None, int(found["most"])
    names = [fault.parameter] if kind is UnsupportedParameterError else []
    if found := _said(NAMED, fault):
        names.append(found["a"] or found["b"] or found["c"] or found["d"])
    for name in names:
        if name and PARAMETER.fullmatch(name) and may_be_left_out(name, sent):
            instead = _said(INSTEAD, fault)
            return name, instead[1] if instead else None, None
    return None, None, None


def _wait(
    headers: Mapping[str, str], fault: Fault, now: float, longest: float
) -> float | None:
    wait = retry_after(headers, now, longest) or fault.retry_after
    if wait is None and (found := _said(WAIT, fault)):
        wait = seconds_in(found[1])
    return min(wait, longest) if wait else None


def _first(table: Mapping[str, Kind], words: list[str]) -> Kind | None:
    return next((table[word] for word in words if word in table), None)


def _said(pattern: re.Pattern[str], fault: Fault) -> re.Match[str] | None:
    for message in fault.heard:
        if found := pattern.search(message):
            return found
    return None
