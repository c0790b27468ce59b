"""
What single vendors say of their own, as data.

The same status means one thing at one vendor and another at the next: 412 is an
account that was suspended, 424 is a model that ran out of memory, 498 is a lack of
capacity here and a blocked prompt there. Words are no better: "you exceeded your
current quota" is an empty account at one vendor and a busy minute at another. So a
rule says whose it is, and holds only where status, code and words agree, as far as it
names them. An address proves nothing, because gateways pass on what they were told.

A rule's words have to begin the message. A prompt that is quoted further in must not be
able to say that an account is suspended, which would switch the provider off for all.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from aitor.errors import (
    AccountError,
    AuthenticationError,
    ContentFilterError,
    ContextLengthError,
    DeclinedError,
    LLMError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedToolsError,
)

__all__ = ("RULE_WORDS", "Kind", "Rule", "kind_by_rule")

Kind: TypeAlias = type[LLMError]

NOBODY = frozenset[str]()


class Rule(NamedTuple):
    """
    One meaning of one vendor's.

    Args:
        kind: What it means.
        statuses: It holds for these; empty for any.
        words: It holds where one of these is a code or a type; empty for any.
        said: It holds where a message begins so, in lower case; empty for any.
    """

    kind: Kind
    statuses: Sequence[int] = ()
    words: frozenset[str] = NOBODY
    said: str = ""

    def holds(self, status: int, words: Sequence[str], heard: Sequence[str]) -> bool:
        """Tell whether *status*, *words* and what was *heard* agree with it."""
        if self.statuses and status not in self.statuses:
            return False
        if self.words and self.words.isdisjoint(words):
            return False
        # The compiled pattern is kept by `re`; most programs never need one.
        return not self.said or any(
            re.match(self.said, text, re.DOTALL) for text in heard
        )


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


VENDORS: Mapping[str, tuple[Rule, ...]] = {
    "Anthropic": (
        Rule(
            AccountError,
            (400, 401, 403),
            said=r"(?:this|your) organization has been disabled",
        ),
        Rule(
            ContextLengthError,
            (400, 403, 429),
            said=r"(?:extra usage is required for|the) long context\b",
        ),
    ),
    "Azure": (
        Rule(
            AuthenticationError,
            (401,),
            said=r"access denied due to invalid subscription key",
        ),
        Rule(
            AccountError,
            (403,),
            said=r"(?:access denied due to virtual network|public access is disabled)",
        ),
    ),
    "Cohere": (
        Rule(QuotaError, (429,), said=r"you are using a trial key.{0,40}/ month"),
        Rule(ContentFilterError, (498,), said=r".{0,60}\bblocked\b"),
    ),
    "DashScope": (
        Rule(QuotaError, words=_words("arrearage")),
        Rule(AuthenticationError, words=_words("invalidapikey")),
        Rule(AccountError, (403,), _words("accessdenied.unpurchased")),
        Rule(
            ContentFilterError,
            (400,),
            _words("datainspectionfailed data_inspection_failed"),
        ),
        Rule(QuotaError, (400, 403), said=r"access denied, please make sure your acc"),
    ),
    "DeepSeek": (
        Rule(ModelNotFoundError, (400,), said=r"model not exist"),
        Rule(AuthenticationError, (401,), said=r"authentication fails"),
    ),
    "Fireworks": (
        Rule(AccountError, (412,), said=r"account .{0,80}\bis suspended"),
        Rule(AccountError, (412,), _words("account_suspended")),
    ),
    "Gemini": (
        Rule(
            AccountError,
            (400,),
            _words("failed_precondition"),
            r"user location is not supported",
        ),
        Rule(
            AccountError,
            (400,),
            _words("failed_precondition"),
            r".{0,80}\b(?:enable billing|not available in your country)",
        ),
        Rule(
            AuthenticationError,
            (400, 401, 403),
            said=r"(?:api key (?:not valid|expired)|your api key was reported as leak)",
        ),
        Rule(
            AccountError,
            (403,),
            _words(
                "consumer_suspended consumer_invalid service_disabled "
                "api_key_service_blocked"
            ),
        ),
        Rule(QuotaError, (403,), _words("billing_disabled")),
    ),
    "GLM": (
        Rule(
            AuthenticationError, (400, 401), _words("1000 1001 1002 1003 1004"), r"\S"
        ),
        Rule(AccountError, (400, 401, 403, 429), _words("1110 1111 1112"), r".*账户"),
        Rule(
            QuotaError,
            (400, 402, 403, 429),
            _words("1113"),
            r".*(?:余额|欠费|充值|arrears|balance|recharge)",
        ),
        Rule(QuotaError, (400, 403, 429), _words("1309"), r".*(?:到期|expired)"),
        Rule(RateLimitError, (400, 429), _words("1302 1303 1305 1308"), r"\S"),
        Rule(ModelNotFoundError, (400,), _words("1211"), r".*(?:模型|model)"),
        Rule(ServerError, (400, 500), _words("1234"), r".*(?:网络|network)"),
        Rule(ContextLengthError, (400,), _words("1261"), r"\S"),
        Rule(ContentFilterError, (400,), _words("1301"), r"\S"),
    ),
    "Groq": (
        Rule(OverloadedError, (498,), _words("capacity_exceeded")),
        Rule(OverloadedError, (498,), said=r".{0,40}\bcapacity exceeded"),
        Rule(AccountError, (400, 401, 403), _words("organization_restricted")),
        # The model did not write what it should have; another one may.
        Rule(DeclinedError, (400,), _words("json_validate_failed tool_use_failed")),
    ),
    "Hugging Face": (
        Rule(ServerError, (424,), said=r"request failed during generation"),
        Rule(AuthenticationError, (401,), said=r"invalid username or password"),
        Rule(QuotaError, (402,), said=r"you have exceeded your monthly included cred"),
    ),
    "LiteLLM": (
        Rule(QuotaError, (400, 401, 403, 429), _words("budget_exceeded")),
        Rule(QuotaError, (400, 401, 403, 429), said=r"budget has been exceeded"),
        Rule(ModelNotFoundError, (400,), said=r".{0,40}invalid model name passed in"),
    ),
    "LM Studio": (
        Rule(
            ServerError,
            (400, 404, 500),
            said=r"(?:failed to load model|model (?:is )?unloaded|no models? (?:is )?lo"
            r"aded|model has crashed|the model has crashed)",
        ),
    ),
    "MiniMax": (
        # These come with status 200.
        Rule(AuthenticationError, (200, 401), _words("1004 2049"), r".*(?:auth|key)"),
        Rule(QuotaError, (200, 402), _words("1008"), r"insufficient balance"),
        Rule(RateLimitError, (200, 429), _words("1002 1039"), r".*(?:rate|limit|tpm)"),
        Rule(ContentFilterError, (200, 400), _words("1026 1027"), r".*sensitive"),
    ),
    "Moonshot": (
        Rule(QuotaError, (403, 429), _words("exceeded_current_quota_error")),
        Rule(AuthenticationError, (401,), _words("invalid_authentication_error")),
    ),
    "OpenAI": (
        Rule(AccountError, (401, 403), _words("account_deactivated")),
        Rule(QuotaError, (403, 429), said=r"your account is not active, please check"),
        Rule(AccountError, (403,), said=r"country, region, or territory not supported"),
    ),
    "OpenRouter": (
        # The credit does for a shorter answer, and for everybody else's request.
        Rule(DeclinedError, (402,), said=r".{0,160}\bcan only afford\b"),
        Rule(
            ContentFilterError,
            (403,),
            said=r".{0,120}(?:requires moderation|input was flagged)",
        ),
        Rule(QuotaError, (403,), said=r"key limit exceeded"),
        Rule(AuthenticationError, (401,), said=r"(?:user not found|no auth cred)"),
        Rule(UnsupportedToolsError, (404,), said=r"no endpoints found that support t"),
    ),
    "SiliconFlow": (
        Rule(QuotaError, (400, 402, 403), _words("30001"), r".*balance"),
        Rule(ModelNotFoundError, (400,), _words("20012"), r".*model"),
        Rule(OverloadedError, (503,), _words("50603"), r".*busy"),
    ),
    "Volcengine": (
        Rule(QuotaError, (400, 403), _words("accountoverdueerror")),
        Rule(ModelNotFoundError, (404,), _words("modelnotopen")),
        Rule(ContentFilterError, (400,), _words("sensitivecontentdetected")),
        Rule(OverloadedError, (429,), _words("serveroverloaded")),
    ),
    "xAI": (
        Rule(
            AuthenticationError, (400, 401, 403), said=r"incorrect api key provided\b"
        ),
        Rule(
            QuotaError,
            (403, 429),
            said=r"your (?:newly created )?team .{0,80}(?:credits|spending limit)",
        ),
        Rule(ContentFilterError, (403,), said=r"content violates usage guidelines"),
    ),
    "any": (
        # Said by several, and not to be misunderstood at a beginning.
        Rule(DeclinedError, (402,), said=r"(?:this|the) request (?:requires|would)"),
        Rule(
            AccountError,
            (400, 401, 403, 412),
            said=r"(?:the |this |your )?(?:account|organization|project|team)\b.{0,60}?"
            r"\b(?:is|has been|was) (?:suspended|disabled|deactivated|restricted"
            r"|locked|banned|terminated)\b",
        ),
        Rule(
            AuthenticationError,
            (400, 401, 403),
            said=r"(?:invalid|incorrect|unknown|missing|no) (?:x-)?api[-_ ]"
            r"(?:key|token)",
        ),
        Rule(
            AccountError,
            (400, 403),
            said=r".{0,60}\b(?:not (?:supported|available) in your (?:country|region)"
            r"|your (?:country|region) is not supported)",
        ),
        Rule(
            QuotaError,
            (400, 402, 403),
            said=r"(?:sorry, )?(?:your )?(?:account )?(?:has )?(?:insufficient "
            r"(?:credit|balance|funds)|balance is insufficient|credit limit exceeded)",
        ),
    ),
}
"""Rules by vendor; the first that holds counts."""

RULE_WORDS = frozenset(
    word for rules in VENDORS.values() for rule in rules for word in rule.words
)
"""Codes that are told in an error, since they are known to be codes."""


def kind_by_rule(
    status: int, words: Sequence[str], heard: Sequence[str]
) -> Kind | None:
    """
    Return what the rules make of an error, None where none holds.

    Args:
        status: The HTTP status.
        words: Its codes and types, in lower case.
        heard: Its messages, in lower case.
    """
    found = (rule for rule in _rules() if rule.holds(status, words, heard))
    return next((rule.kind for rule in found), None)


def _rules() -> Iterator[Rule]:
    for rules in VENDORS.values():
        yield from rules
