"""
What a vendor's refusal means: a body, a status and headers to the error to raise.

The most telling fact decides: first a code, then a type, then a known message, and
only then the status, because one status means many things (429 is "slow down", "the
purse is empty" and "this can never pass"; 400 is a bad request and an empty purse; 200
may be any of them). All vendors share the tables: their words do not contradict each
other, and gateways mix them anyway.

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
    ContentFilterError,
    ContextLengthError,
    LLMError,
    MalformedAnswerError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
)
from aitor.laws.retry_after import retry_after
from aitor.providers.dialect import request_id_in
from aitor.providers.faults import Fault, fault_in, fault_in_bytes, seconds_in
from aitor.providers.rules import may_be_left_out
from aitor.providers.wording import repeatable, repeatable_code

__all__ = ("Refusal",)

Kind = type[LLMError]


def _table(kinds: dict[Kind, str]) -> dict[str, Kind]:
    return {word: kind for kind, words in kinds.items() for word in words.split()}


DECISIVE = _table(
    {
        QuotaError: """
            insufficient_quota credit_balance_exhausted billing_hard_limit_reached
            organization_spend_limit_exceeded project_spend_limit_exceeded
            organization_usage_limit_exceeded enforced_spend_limit_reached
            contract_spend_limit_reached linked_organization_spend_limit_reached
            linked_organization_billing_unavailable billing_error billing_not_active
            user_profile_not_billable insufficient_credits insufficient_balance
        """,
        AuthenticationError: """
            invalid_api_key authentication_error invalid_authentication unauthorized
            unauthenticated api_key_invalid
        """,
        AccountError: """
            unsupported_country_region_territory request_forbidden forbidden
            organization_on_hold cmek_key_disabled
        """,
        ModelNotFoundError: """
            model_not_found deploymentnotfound model_not_available model_not_supported
        """,
        RateLimitError: "slow_down ramp_limit_exceeded",
        OverloadedError: """
            overloaded_error server_is_overloaded model_overloaded engine_overloaded
            engine_overloaded_error
        """,
        ContextLengthError: """
            context_length_exceeded request_too_large context_window_exceeded
            string_above_max_length request_body_too_large_after_decoding
        """,
        ContentFilterError: """
            content_filter responsibleaipolicyviolation content_policy_violation
            image_content_policy_violation bio_policy misalignment_policy_violation
        """,
        UnsupportedParameterError: """
            unsupported_parameter unsupported_value unknown_parameter extra_forbidden
        """,
    }
)
"""Codes and types that leave no doubt, in lower case."""

LATER = _table(
    {
        RateLimitError: """
            rate_limit_exceeded rate_limit_error resource_exhausted too_many_requests
        """
    }
)
"""Words that a message may still narrow down: one request may be the whole limit."""

VAGUE = _table(
    {
        BadRequestError: """
            invalid_request_error invalid_prompt invalid_image invalid_image_format
            invalid_base64_image invalid_image_url image_too_large image_too_small
            image_parse_error invalid_image_mode image_file_too_large
            unsupported_image_media_type empty_image_file failed_to_download_image
            image_file_not_found data_residency_mismatch badrequesterror
        """,
        AccountError: "permission_error",
        ModelNotFoundError: "not_found_error",
        ServerError: "server_error api_error timeout_error vector_store_timeout",
    }
)
"""Words that say less than a status does: they count where there is none."""

SAYINGS: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.VERBOSE))
    for kind, pattern in (
        # The purse and the country open the circuit, so these must begin a message:
        # a prompt that is quoted further in must not be able to say them.
        (
            QuotaError,
            r"""\A (?: your\ credit\ balance\ is\ too\ low
                | you\ have\ reached\ your\ specified\ api\ usage\ limits )""",
        ),
        (AccountError, r"\A country,\ region,\ or\ territory\ not\ supported"),
        (AuthenticationError, r"\A api\ key\ not\ valid"),
        (
            ContextLengthError,
            r"""prompt\ is\ too\ long | maximum\ (?:context|prompt|model)\ length
                | exceeds?\ (?:the\ )?(?:model'?s?\ )?(?:maximum\ |available\ )?
                  context\ (?:window|length|size|limit)
                | context\ (?:window|length|size)\ (?:is\ |was\ )?exceeded
                | exceeds?\ the\ maximum\ number\ of\ tokens
                | reduce\ the\ length\ of\ the\ (?:messages|prompt|input)
                | request\ too\ large\ for | request\ exceeds\ the\ maximum\ size
                | input\ is\ too\ long | exceeded\ model\ token\ limit
                | too\ long\ to\ fit | too\ many\ tokens:""",
        ),
        (
            ContentFilterError,
            r"""\A output\ blocked\ by\ content\ filtering
                | triggering\ .{0,20}content\ management\ policy
                | \A .{0,60}flagged\ as\ potentially\ violating""",
        ),
        (
            ModelNotFoundError,
            r"""\A (?:the\ )?(?:requested\ )?model\b .{0,120}?
                (?:\bnot\ found|\bdoes\ not\ exist|not\ supported|not\ available
                  |deprecated|retired|have\ access)
                | is\ not\ a\ valid\ model
                | not\ (?:have\ access\ to|use)\ (?:the\ )?model""",
        ),
        (
            OverloadedError,
            r"\A overloaded | \b(?:model|engine|server)\ .{0,20}overloaded",
        ),
    )
)
"""What vendors say where no code tells; here and below in lower case."""

STATUS: dict[int, Kind] = {
    401: AuthenticationError,
    402: QuotaError,
    403: AccountError,
    404: ModelNotFoundError,
    405: ModelNotFoundError,
    407: AuthenticationError,
    408: ServerError,
    409: ServerError,
    410: ModelNotFoundError,
    413: ContextLengthError,
    425: ServerError,
    429: RateLimitError,
    451: AccountError,
    499: ServerError,
    529: OverloadedError,
}
"""Where the rest of its hundred would say something else."""

SENTENCES: dict[Kind, str] = {
    QuotaError: "no credit is left, or a spending limit was reached",
    AuthenticationError: "the key was refused: see 'api_key'",
    AccountError: "this account may not do it (country, permission or organization)",
    ModelNotFoundError: "no such model for this key: see 'model' and 'base_url'",
    RateLimitError: "asked to slow down",
    OverloadedError: "model_overloaded: no capacity, for anybody",
    ServerError: "the provider failed",
    ContextLengthError: "the request is longer than the model, or its limit, takes",
    ContentFilterError: "the content was declined",
    UnsupportedParameterError: "the model does not take '{parameter}'",
    BadRequestError: "the request is wrong",
    MalformedAnswerError: "a redirect came instead of an answer: see 'base_url'",
}

NO_PATH = ((ModelNotFoundError, 404), (ModelNotFoundError, 405))
"""What a wrong path looks like, unless the body tells of a model."""

NUMBERED = frozenset({RateLimitError, ContextLengthError, UnsupportedParameterError})
"""Kinds whose messages count tokens, so that their long numbers are worth keeping."""

NAMED = re.compile(
    r"""(?: unsupported\ (?:parameter|value) | unknown\ parameter
          | unrecognized\ request\ arguments?\ supplied ) :\ ['"`]? (?P<a>[a-z_.]+)
        | \A ['"`]? (?P<b>[a-z_.]+) ['"`]? :\ extra\ inputs\ are\ not\ permitted
        | \b (?P<c>[a-z_.]+) ['"`]? \ cannot\ both\ be\ specified
        | \b (?P<d>[a-z_.]+) ['"`]? \ (?:parameter\ )?
          (?:is|are) \ (?:not\ supported|unsupported|deprecated)""",
    re.VERBOSE,
)
"""A message that names the parameter which the model does not take."""

CEILING = re.compile(
    r"""(?P<name>max_tokens|max_completion_tokens|max_output_tokens)\b .{0,80}?
        (?:>|supports\ at\ most|less\ than\ or\ equal\ to) \  (?P<most>\d{2,9})\b""",
    re.VERBOSE | re.DOTALL,
)
"""A message that tells the most output tokens which the model gives."""

INSTEAD = re.compile(r"\buse ['\"`]?([a-z_]+)['\"`]? instead")
WAIT = re.compile(
    r"(?:try again|retry) (?:in|after) ((?:\d+(?:\.\d+)? ?[a-z]+ ?){1,5})"
)
PARAMETER = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
REQUEST_ID = re.compile(r"req_[A-Za-z0-9_]{4,64}")

KNOWN = frozenset({*DECISIVE, *LATER, *VAGUE})
WAITING = (RateLimitError, ServerError)
HINTS = ("x-ratelimit-", "anthropic-ratelimit-", "retry-after", "x-should-retry")


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    What a refusal means.

    Args:
        kind: The class of the error.
        fault: What the body said.
        status: The HTTP status.
        headers: The answer's headers, names in lower case.
        retry_after: Seconds to wait, where waiting helps.
        overloaded: The provider said that it has no capacity.
        parameter: Of an `UnsupportedParameterError`, the parameter's name.
        instead: The name that the vendor takes in its place.
        most: The largest value that the model takes for it.
    """

    kind: Kind
    fault: Fault
    status: int
    headers: Mapping[str, str] = field(repr=False)
    retry_after: float | None = None
    overloaded: bool = False
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
    ) -> "Refusal":
        """
        Find out what a refusal means.

        Args:
            status: The HTTP status; 200 for an error inside an answer.
            headers: The answer's headers, names in lower case.
            body: The body's bytes, or what was decoded of them.
            now: The wall clock, for waits that are given as a date.
            longest_wait: No wait is longer, in seconds.
            sent: Names of the request's fields; no other is called unsupported.
        """
        fault = fault_in_bytes(body) if isinstance(body, bytes) else fault_in(body)
        kind = _kind(status, headers, fault)
        if kind in (BadRequestError, UnsupportedParameterError):
            parameter, instead, most = _parameter(kind, fault, sent)
            kind = UnsupportedParameterError if parameter else BadRequestError
            return cls(
                kind,
                fault,
                status,
                headers,
                parameter=parameter,
                instead=instead,
                most=most,
            )
        overloaded = kind is OverloadedError
        wait = None
        if issubclass(kind, WAITING):
            wait = _wait(headers, fault, now, longest_wait)
        if overloaded and status == 529 and wait is not None:
            # With a wait it is the vendor's way to ask everybody to slow down.
            kind = RateLimitError
        return cls(kind, fault, status, headers, wait, overloaded)

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
        return error

    def _text(self, code: str | None) -> str:
        said = SENTENCES[self.kind].format(parameter=self.parameter)
        told_by = (self.kind, self.status)
        if told_by == (AuthenticationError, 407):
            said = "the proxy refused to pass it on: see the proxy variables"
        if told_by in NO_PATH and _tells_of_no_model(self.fault):
            said = "the path was not found: see 'base_url'"
        if self.overloaded and self.kind is RateLimitError:
            said = "model_overloaded: " + said
        text = f"{said} ({self.status}{f' {code}' if code else ''})"
        for message in self.fault.messages:
            if told := repeatable(message, numbers=self.kind in NUMBERED):
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


def _kind(status: int, headers: Mapping[str, str], fault: Fault) -> Kind:
    words = [word.lower() for word in fault.words]
    return (
        _first(DECISIVE, words)
        or next((kind for kind, saying in SAYINGS if _said(saying, fault)), None)
        or _first(LATER, words)
        or _kind_of_status(status if status != 200 else fault.status or 0, headers)
        or _first(VAGUE, words)
        or ServerError
    )


def _kind_of_status(status: int, headers: Mapping[str, str]) -> Kind | None:
    if kind := STATUS.get(status):
        return kind
    if 300 <= status < 400:
        return MalformedAnswerError
    if 400 <= status < 500:
        # A vendor may say of a status that says "your fault" that it was not.
        again = headers.get("x-should-retry") == "true"
        return ServerError if again else BadRequestError
    return ServerError if status >= 500 else None


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
