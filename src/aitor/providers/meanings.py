"""
What vendors say of a failure and all mean alike, as data.

Codes that leave no doubt, words that a status is worth more than, sentences where no
code tells, and what a status means by itself. What one vendor alone means by something
is in `aitor.providers.vendors`.
"""

import re

from aitor.errors import (
    AccountError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    DeclinedError,
    MalformedAnswerError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
    UnsupportedSchemaError,
    UnsupportedToolsError,
)
from aitor.providers.vendors import Kind

__all__ = (
    "ABOUT_REQUEST",
    "CEILING",
    "DECISIVE",
    "INSTEAD",
    "LATER",
    "NAMED",
    "NO_PATH",
    "NUMBERED",
    "ONE_TOO_LARGE",
    "SAYINGS",
    "SCHEMA",
    "SENTENCES",
    "STATUS",
    "TOOLS",
    "TOO_LARGE",
    "VAGUE",
    "WAIT",
)


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
            unsupported_country_region_territory organization_on_hold
            cmek_key_disabled
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
            invalid_argument invalid-argument invalid_value invalid_parameter
            invalid_request validation_error missing value_error
        """,
        AccountError: "permission_error request_forbidden forbidden",
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
    424: ServerError,
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
    UnsupportedSchemaError: "the model does not take this schema: see '{parameter}'",
    UnsupportedToolsError: "the model calls no tools: see 'tools'",
    DeclinedError: "this request was declined",
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

TOO_LARGE = re.compile(
    r"""\b(?: limit :? \ (?P<most>[\d,]+) .{0,60}? \b requested :? \ (?P<asked>[\d,]+)
          | requested :? \ (?P<asked2>[\d,]+) .{0,60}? \b limit :? \ (?P<most2>[\d,]+) )
    """,
    re.VERBOSE | re.DOTALL,
)
"""A message that tells what a limit is and how much one request asked for."""

ONE_TOO_LARGE = re.compile(
    r"""\b(?: (?:this|a|your)\ single\ request\b
          | (?:larger|greater|more)\ than\ (?:the\ |your\ )?(?:whole|entire)\ limit
          | exceeds?\ the\ (?:maximum|limit)\ .{0,30}\ (?:per|for\ a)\ single\ request
          | exceeds?\ .{0,40}\btokens\ per\ request\b )""",
    re.VERBOSE | re.DOTALL,
)
"""A limit's message that speaks of a request which it will never let pass."""

TOOLS = re.compile(
    r"""(?: does\ not\ support | doesn't\ support | not\ supporting | no\ support\ for
          | cannot\ use | support\ for ) \W{1,3}
          (?:the\ use\ of\ )?(?:tools?|tool[\ _-](?:use|calls?|calling|choice)
            |function[\ _-]?(?:s|calls?|calling))\b
        | \b(?:tools?|tool[\ _-](?:use|calls?|calling|choice)|function\ calling)
          \W{1,3}(?:(?:is|are)\ )?(?:not\ (?:supported|enabled|available|yet)
            |unsupported|disabled|unavailable)
        | tool\ choice\ requires | requires\ --(?:enable-auto-tool-choice|jinja)
        | \btools\ param(?:eter)?\ requires""",
    re.VERBOSE,
)
"""A message that says that there are no tools."""

SCHEMA = re.compile(
    r"""response[_ ]?format | response_?schema | output_config\.format
        | output_format | input_schema
        | \bjson[_ ]schema | structured\ outputs? | text\.format
        | \b(?:invalid|unsupported|unrecognized)\ schema | \bschema\b .{0,60}
          \b(?:not\ supported|unsupported|invalid|must|required|complex|too\ many
             |too\ large|exceeds?)\b
        | failed\ to\ (?:parse|compile)\ grammar | grammar\ error
        | function_declarations\b .{0,80} \bparameters""",
    re.VERBOSE | re.DOTALL,
)
"""A message about the schema of the answer, or of a tool's arguments."""

ABOUT_REQUEST = re.compile(
    r"""\b(?: invalid | missing | required | must | unknown | unrecognized | unexpected
          | extra | malformed | expected | unsupported | should | cannot | parse
          | exceeds? | too\ (?:large|small|long|short|many)
          | not\ (?:allowed|supported|permitted|valid|a\ valid|of\ type|provided) )\b
        .{0,80}
        \b(?: messages? | roles? | contents? | fields? | param(?:eter)?s? | arguments?
          | json | body | prompt | input | values? | property | image | file
          | base64 | payload | inputs | tool_call_id )\b
     | \b(?: messages? | roles? | contents? | fields? | param(?:eter)?s? | arguments?
          | json | body | prompt | input | values? | property | image | file
          | base64 | payload | tool_call_id )\b .{0,80}
        \b(?: invalid | missing | required | must | unknown | unrecognized | unexpected
          | malformed | expected | unsupported | should | exceeds? | too\ (?:large|small
            |long|short|many) | not\ (?:allowed|supported|permitted|valid|provided) )\b
    """,
    re.VERBOSE | re.DOTALL,
)
"""A message that says what is wrong with the request."""
