"""What a refusal means: every failure that was seen, as a table."""

import json
from typing import Any

import pytest

from aitor.errors import (
    AccountError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    DeclinedError,
    LLMError,
    MalformedAnswerError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
)
from aitor.providers.classify import Refusal

NOW = 1_795_000_000.0
SENT = {
    "model": "m",
    "messages": [],
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.5,
    "logprobs": True,
    "reasoning": {"effort": "high"},
    "tools": [],
}


def openai(message: str, kind: Any = None, code: Any = None, param: Any = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic(kind: str, message: str, error_code: str | None = None) -> Any:
    error: dict[str, Any] = {"type": kind, "message": message}
    if error_code:
        error["details"] = {"error_code": error_code}
    return {"type": "error", "error": error, "request_id": "req_abcd1234"}


def refused(status: int, body: Any, headers: dict[str, str] | None = None) -> LLMError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Refusal.read(
        status, headers or {}, data, now=NOW, longest_wait=3_600.0, sent=SENT
    ).error()


Row = tuple[int, Any, type[LLMError], str | None]

OPENAI: list[Row] = [
    (
        429,
        openai(
            "Rate limit reached for gpt-4o-mini in organization org-x on requests per "
            "min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
            "requests",
            "rate_limit_exceeded",
        ),
        RateLimitError,
        "rate_limit_exceeded",
    ),
    (
        429,
        openai(
            "Rate limit reached for gpt-4o in organization org-x on tokens per min "
            "(TPM): Limit 30000, Used 29000, Requested 3000. Please try again in 4s.",
            "tokens",
            "rate_limit_exceeded",
        ),
        RateLimitError,
        "rate_limit_exceeded",
    ),
    (
        429,
        openai(
            "Request too large for gpt-4o in organization org-x on tokens per min "
            "(TPM): Limit 30000, Requested 30601. The input or output tokens must be "
            "reduced in order to run successfully.",
            "tokens",
            "rate_limit_exceeded",
        ),
        ContextLengthError,
        "rate_limit_exceeded",
    ),
    (
        429,
        openai(
            "You exceeded your current quota, please check your plan and billing "
            "details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        QuotaError,
        "insufficient_quota",
    ),
    (
        429,
        openai("No credit.", "insufficient_quota", "credit_balance_exhausted"),
        QuotaError,
        "credit_balance_exhausted",
    ),
    (
        429,
        openai("Cap.", "insufficient_quota", "organization_spend_limit_exceeded"),
        QuotaError,
        "organization_spend_limit_exceeded",
    ),
    (
        429,
        openai("Cap.", "rate_limit_error", "project_spend_limit_exceeded"),
        QuotaError,
        "project_spend_limit_exceeded",
    ),
    (
        429,
        openai("Cap.", None, "organization_usage_limit_exceeded"),
        QuotaError,
        "organization_usage_limit_exceeded",
    ),
    (
        429,
        openai("Slow down.", "rate_limit_error", "slow_down"),
        RateLimitError,
        "slow_down",
    ),
    (
        503,
        openai("", "service_unavailable_error", "server_is_overloaded"),
        OverloadedError,
        "server_is_overloaded",
    ),
    (
        500,
        openai(
            "The server had an error processing your request. Sorry about that!",
            "server_error",
        ),
        ServerError,
        "server_error",
    ),
    (
        401,
        openai(
            "Incorrect API key provided: sk-abc***xyz.",
            "invalid_request_error",
            "invalid_api_key",
        ),
        AuthenticationError,
        "invalid_api_key",
    ),
    (
        403,
        openai(
            "Country, region, or territory not supported",
            "request_forbidden",
            "unsupported_country_region_territory",
        ),
        AccountError,
        "unsupported_country_region_territory",
    ),
    (
        404,
        openai(
            "The model 'gpt-9' does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
        ModelNotFoundError,
        "model_not_found",
    ),
    (
        403,
        openai(
            "Project proj_x does not have access to model gpt-9",
            "invalid_request_error",
            "model_not_found",
        ),
        ModelNotFoundError,
        "model_not_found",
    ),
    (
        400,
        openai(
            "This model's maximum context length is 8192 tokens. However, your "
            "messages resulted in 9000 tokens.",
            "invalid_request_error",
            "context_length_exceeded",
            "messages",
        ),
        ContextLengthError,
        "context_length_exceeded",
    ),
    (
        400,
        openai("Bad.", "invalid_request_error", None, "messages"),
        BadRequestError,
        "invalid_request_error",
    ),
    (408, openai("Timeout.", "timeout"), ServerError, "timeout"),
    (409, openai("Conflict.", "conflict"), ServerError, "conflict"),
    (422, openai("No.", "invalid_request_error"), BadRequestError, None),
]

ANTHROPIC: list[Row] = [
    (
        429,
        anthropic(
            "rate_limit_error",
            "This request would exceed the rate limit for your organization of "
            "20,000 input tokens per minute.",
        ),
        RateLimitError,
        "rate_limit_error",
    ),
    (
        429,
        anthropic(
            "rate_limit_error",
            "This request would exceed your account's rate limit. Please try again "
            "later.",
        ),
        RateLimitError,
        "rate_limit_error",
    ),
    (
        429,
        anthropic("rate_limit_error", "Ramp.", "ramp_limit_exceeded"),
        RateLimitError,
        "ramp_limit_exceeded",
    ),
    (
        429,
        anthropic("rate_limit_error", "Cap.", "enforced_spend_limit_reached"),
        QuotaError,
        "enforced_spend_limit_reached",
    ),
    (
        429,
        anthropic("rate_limit_error", "Cap.", "contract_spend_limit_reached"),
        QuotaError,
        "contract_spend_limit_reached",
    ),
    (
        400,
        anthropic(
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API. Please go "
            "to Plans & Billing to upgrade or purchase credits.",
        ),
        QuotaError,
        "invalid_request_error",
    ),
    (
        400,
        anthropic(
            "invalid_request_error",
            "You have reached your specified API usage limits. You will regain "
            "access on 2026-04-01 at 00:00 UTC.",
        ),
        QuotaError,
        "invalid_request_error",
    ),
    (402, anthropic("billing_error", "Pay."), QuotaError, "billing_error"),
    (
        529,
        anthropic("overloaded_error", "Overloaded"),
        OverloadedError,
        "overloaded_error",
    ),
    (500, anthropic("api_error", "Internal server error"), ServerError, "api_error"),
    (504, anthropic("timeout_error", "Timeout"), ServerError, "timeout_error"),
    (
        413,
        {
            "error": {
                "type": "request_too_large",
                "message": "Request exceeds the maximum size",
            }
        },
        ContextLengthError,
        "request_too_large",
    ),
    (
        400,
        anthropic(
            "invalid_request_error",
            "prompt is too long: 205668 tokens > 200000 maximum",
        ),
        ContextLengthError,
        "invalid_request_error",
    ),
    (
        400,
        anthropic(
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 199759 + 8192 > "
            "200000, decrease input length or `max_tokens` and try again",
        ),
        ContextLengthError,
        "invalid_request_error",
    ),
    (
        400,
        anthropic(
            "invalid_request_error", "Output blocked by content filtering policy"
        ),
        ContentFilterError,
        "invalid_request_error",
    ),
    (
        401,
        anthropic("authentication_error", "invalid x-api-key"),
        AuthenticationError,
        "authentication_error",
    ),
    (
        403,
        {"error": {"type": "forbidden", "message": "Request not allowed"}},
        AccountError,
        "forbidden",
    ),
    (403, anthropic("permission_error", "No."), AccountError, "permission_error"),
    (
        404,
        anthropic("not_found_error", "model: claude-9"),
        ModelNotFoundError,
        "not_found_error",
    ),
    (
        400,
        anthropic("invalid_request_error", "messages.0.content: Field required"),
        BadRequestError,
        "invalid_request_error",
    ),
]

OTHERS: list[Row] = [
    # Azure.
    (
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests to the API have exceeded the token rate limit of "
                "your pricing tier. Please retry after 45 seconds.",
            }
        },
        RateLimitError,
        None,
    ),
    (
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering "
                "Azure OpenAI's content management policy. Please modify your prompt "
                "and retry.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        ContentFilterError,
        "content_filter",
    ),
    (
        404,
        {"error": {"code": "DeploymentNotFound", "message": "No such deployment."}},
        ModelNotFoundError,
        "DeploymentNotFound",
    ),
    # OpenRouter.
    (
        429,
        {
            "error": {
                "code": 429,
                "message": "Provider returned error",
                "metadata": {
                    "raw": json.dumps(openai("", "tokens", "rate_limit_exceeded")),
                    "provider_name": "X",
                },
            }
        },
        RateLimitError,
        "rate_limit_exceeded",
    ),
    (
        400,
        {"error": {"code": 400, "message": "acme/x is not a valid model ID"}},
        ModelNotFoundError,
        None,
    ),
    (
        402,
        {"error": {"code": 402, "message": "Insufficient credits"}},
        QuotaError,
        None,
    ),
    # Lists, flat bodies, numbers, exchanged words.
    (
        429,
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota"}}],
        RateLimitError,
        "RESOURCE_EXHAUSTED",
    ),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                    "details": [{"reason": "API_KEY_INVALID"}],
                }
            }
        ],
        AuthenticationError,
        "API_KEY_INVALID",
    ),
    (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        ContextLengthError,
        "BadRequestError",
    ),
    (
        429,
        openai("", "insufficient_quota", "invalid_request_error"),
        QuotaError,
        "invalid_request_error",
    ),
    (
        402,
        openai("Insufficient Balance", "unknown_error", "invalid_request_error"),
        QuotaError,
        "invalid_request_error",
    ),
    (
        400,
        openai(
            "litellm.BadRequestError: AnthropicException - "
            + json.dumps(
                anthropic("invalid_request_error", "prompt is too long: 9 > 8 maximum")
            ),
            "invalid_request_error",
            "400",
        ),
        ContextLengthError,
        "invalid_request_error",
    ),
    (404, {"error": "model 'llama9' not found"}, ModelNotFoundError, None),
    (500, {"error": "the input is too long"}, ContextLengthError, None),
    (404, {"detail": "Not Found"}, ModelNotFoundError, None),
    (
        422,
        {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field"}]},
        BadRequestError,
        "missing",
    ),
    (
        429,
        {"error": {"message": "The engine is currently overloaded", "type": "x"}},
        OverloadedError,
        None,
    ),
    (
        522,
        {
            "cloudflare_error": True,
            "status": 522,
            "retryable": True,
            "retry_after": 120,
        },
        ServerError,
        None,
    ),
    # Proxies.
    (520, b"<html><title>api.anthropic.com | 520</title></html>", ServerError, None),
    (520, b"", ServerError, None),
    (524, b"<!DOCTYPE html><html>A timeout occurred</html>", ServerError, None),
    (
        503,
        b"upstream connect error or disconnect/reset before headers. overflow",
        ServerError,
        None,
    ),
    (502, b"<html>502 Bad Gateway</html>", ServerError, None),
    (504, b"<html>504 Gateway Time-out</html>", ServerError, None),
    (413, b"<html>413 Request Entity Too Large</html>", ContextLengthError, None),
    (403, b"<html>Attention Required</html>", DeclinedError, None),
    (404, b"<html>404</html>", ModelNotFoundError, None),
    (407, b"", AuthenticationError, None),
    (429, b"Too many requests", RateLimitError, None),
    (301, b"", MalformedAnswerError, None),
    (418, b"", DeclinedError, None),
    (599, b"\xff\xfe", ServerError, None),
]

CONTEXT_LENGTH = [
    "The input token count (1200000) exceeds the maximum number of tokens allowed.",
    "the request exceeds the available context size. try increasing it",
    "Input is too long for requested model.",
    "Invalid request: Your request exceeded model token limit: 8192",
    "The prompt (total length 5000) is too long to fit into the model",
    "This model's maximum prompt length is 131072 but the request contains 200000",
    "Please reduce the length of the messages or completion.",
    "too many tokens: the total number of tokens in the prompt exceeds the limit",
    "Requested input length 9000 exceeds model's maximum context window",
    "context window exceeded",
]


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"), [*OPENAI, *ANTHROPIC, *OTHERS]
)
def test_every_failure_seen_gets_its_class(
    status: int, body: Any, kind: type[LLMError], code: str | None
) -> None:
    error = refused(status, body)
    assert type(error) is kind
    assert error.status == status
    if code is not None:
        assert error.code == code
    assert str(status) in str(error)
    assert len(str(error)) <= 300


@pytest.mark.parametrize("said", CONTEXT_LENGTH)
def test_context_length_is_known_in_all_words(said: str) -> None:
    assert type(refused(400, openai(said))) is ContextLengthError


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (
            openai(
                "Unsupported parameter: 'max_tokens' is not supported with this "
                "model. Use 'max_completion_tokens' instead.",
                "invalid_request_error",
                "unsupported_parameter",
                "max_tokens",
            ),
            "max_tokens",
        ),
        (
            openai(
                "Unsupported value: 'temperature' does not support 0.5 with this "
                "model. Only the default (1) value is supported.",
                "invalid_request_error",
                "unsupported_value",
                "temperature",
            ),
            "temperature",
        ),
        (
            openai(
                "Unsupported value: 'reasoning.effort' does not support 'none'.",
                "invalid_request_error",
                "unsupported_value",
                "reasoning.effort",
            ),
            "reasoning.effort",
        ),
        (
            openai("Unrecognized request argument supplied: top_p", "x"),
            "top_p",
        ),
        (openai("`logprobs` is not supported with this model", "x"), "logprobs"),
        (
            anthropic(
                "invalid_request_error", "`temperature` is deprecated for this model."
            ),
            "temperature",
        ),
        (
            anthropic(
                "invalid_request_error", "temperature is deprecated for this model."
            ),
            "temperature",
        ),
        (
            anthropic("invalid_request_error", "top_p: Extra inputs are not permitted"),
            "top_p",
        ),
        (
            anthropic(
                "invalid_request_error",
                "`temperature` and `top_p` cannot both be specified for this model.",
            ),
            "top_p",
        ),
        (
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "top_p"],
                        "msg": "Extra inputs are not permitted",
                    }
                ]
            },
            "top_p",
        ),
    ],
)
def test_a_parameter_that_is_not_taken_is_named(body: Any, parameter: str) -> None:
    error = refused(400, body)
    assert isinstance(error, UnsupportedParameterError)
    assert error.parameter == parameter
    assert f"'{parameter}'" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        # Not sent by us, so leaving it out would change nothing.
        openai("Unknown parameter: 'seed'.", "x", "unknown_parameter", "seed"),
        # What says what the answer is cannot be left out.
        openai("No.", "x", "unsupported_parameter", "tools"),
        openai("No.", "x", "unsupported_value", "messages[0].role"),
    ],
)
def test_what_cannot_be_left_out_is_a_bad_request(body: Any) -> None:
    assert type(refused(400, body)) is BadRequestError


@pytest.mark.parametrize(
    ("body", "name", "most"),
    [
        (
            anthropic(
                "invalid_request_error",
                "max_tokens: 204096 > 64000, which is the maximum allowed number of "
                "output tokens for claude-x",
            ),
            "max_tokens",
            64_000,
        ),
        (
            openai(
                "max_tokens is too large: 100000. This model supports at most 16384 "
                "completion tokens, whereas you provided 100000.",
                "invalid_request_error",
                "invalid_value",
                "max_tokens",
            ),
            "max_tokens",
            16_384,
        ),
    ],
)
def test_the_most_that_a_model_writes_is_read(body: Any, name: str, most: int) -> None:
    data = json.dumps(body).encode()
    refusal = Refusal.read(400, {}, data, now=NOW, longest_wait=9.0, sent=SENT)
    assert refusal.kind is UnsupportedParameterError
    assert (refusal.parameter, refusal.most) == (name, most)


@pytest.mark.parametrize(
    ("status", "headers", "message", "wait"),
    [
        (429, {"retry-after": "20"}, "", 20.0),
        (429, {"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5),
        (429, {"retry-after": "86400"}, "", 3_600.0),
        (429, {"retry-after": "nan"}, "Please try again in 41.724s.", 41.724),
        (429, {}, "Please try again in 20s. Visit", 20.0),
        (429, {}, "Please try again in 6m0s.", 360.0),
        (429, {}, "Please try again in 1h2m3s.", 3_600.0),
        (429, {}, "Please try again in 231ms.", 0.231),
        (429, {}, "Please retry after 45 seconds.", 45.0),
        (429, {}, "Please retry after 86400 seconds.", 3_600.0),
        (429, {}, "Later.", None),
        (503, {"retry-after": "7"}, "", 7.0),
        (408, {"retry-after": "7"}, "", 7.0),
        (400, {"retry-after": "7"}, "", None),
        (401, {"retry-after": "7"}, "", None),
    ],
)
def test_a_wait_is_read_from_headers_or_words(
    status: int, headers: dict[str, str], message: str, wait: float | None
) -> None:
    error = refused(status, openai(message), headers)
    assert error.retry_after == (None if wait is None else pytest.approx(wait))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("500 milliseconds", 0.5),
        ("1 second", 1.0),
        ("2 min", 120.0),
        ("24h0m", 86_400.0),
        ("1 day", 86_400.0),
        ("2 days", 172_800.0),
        ("1d2h", 93_600.0),
        ("1d2h3m4.5s", 93_784.5),
        ("1w2d", 777_600.0),
        ("2 weeks", 1_209_600.0),
        ("1 month", 2_592_000.0),
    ],
)
def test_a_wait_is_read_in_any_unit(said: str, seconds: float) -> None:
    data = json.dumps(openai(f"Please try again in {said}.")).encode()
    refusal = Refusal.read(429, {}, data, now=NOW, longest_wait=1e7)
    assert refusal.retry_after == pytest.approx(seconds)


def test_a_wait_may_stand_in_the_body() -> None:
    assert refused(522, {"status": 522, "retry_after": 120}).retry_after == 120.0
    google = [{"error": {"code": 429, "details": [{"retryDelay": "33s"}]}}]
    assert refused(429, google).retry_after == 33.0


def test_overload_with_a_wait_asks_everybody_to_slow_down() -> None:
    body = anthropic("overloaded_error", "Overloaded")
    with_wait = refused(529, body, {"retry-after": "5"})
    assert type(with_wait) is RateLimitError
    assert with_wait.retry_after == 5.0
    assert type(refused(529, body)) is OverloadedError
    assert type(refused(529, b"")) is OverloadedError


def test_overload_always_says_so_in_the_words_that_programs_look_for() -> None:
    body = anthropic("overloaded_error", "Overloaded")
    for headers in ({}, {"retry-after": "5"}):
        assert "model_overloaded" in str(refused(529, body, headers))


def test_a_vendor_may_say_that_a_bad_request_is_worth_another_try() -> None:
    assert type(refused(400, b"", {"x-should-retry": "true"})) is ServerError
    assert type(refused(400, b"", {"x-should-retry": "false"})) is DeclinedError
    assert type(refused(401, b"", {"x-should-retry": "true"})) is AuthenticationError


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"code": 502, "message": "Bad gateway"}}, ServerError),
        ({"error": {"code": 429, "message": "Slow"}}, RateLimitError),
        ({"error": {"code": 402, "message": "Pay"}}, QuotaError),
        (anthropic("overloaded_error", "Overloaded"), OverloadedError),
        (anthropic("rate_limit_error", "Slow"), RateLimitError),
        (anthropic("api_error", "Oh"), ServerError),
        (anthropic("invalid_request_error", "No"), BadRequestError),
        (
            anthropic(
                "invalid_request_error", "Output blocked by content filtering policy"
            ),
            ContentFilterError,
        ),
        ({"error": {"code": "server_error", "message": "Oh"}}, ServerError),
        ({"error": {"code": "rate_limit_exceeded", "message": "Oh"}}, RateLimitError),
        ({"error": {"code": "invalid_prompt", "message": "Oh"}}, BadRequestError),
        ({"error": "something else"}, ServerError),
    ],
)
def test_an_error_inside_an_answer_is_classified_by_what_it_says(
    body: Any, kind: type[LLMError]
) -> None:
    assert type(refused(200, body)) is kind


def test_a_prompt_that_is_quoted_cannot_empty_the_purse() -> None:
    quoted = "Cannot read: Your credit balance is too low to access the Anthropic API."
    assert type(refused(400, openai(quoted))) is DeclinedError
    sent = openai(quoted, "invalid_request_error")
    assert type(refused(400, sent)) is BadRequestError


def test_an_error_carries_what_the_headers_say_of_limits_and_no_more() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "anthropic-ratelimit-tokens-limit": "9",
        "retry-after": "5",
        "set-cookie": "secret",
        "openai-organization": "org",
        "x-request-id": "req_77",
    }
    error = refused(429, b"", headers)
    assert error.headers == {
        "x-ratelimit-remaining-requests": "0",
        "anthropic-ratelimit-tokens-limit": "9",
        "retry-after": "5",
    }
    assert error.request_id == "req_77"


def test_the_request_id_of_the_body_is_taken_if_it_looks_like_one() -> None:
    assert refused(400, anthropic("x", "y")).request_id == "req_abcd1234"
    body = {**anthropic("x", "y"), "request_id": "sk-ant-secret"}
    assert refused(400, body).request_id is None


def test_limits_are_told_with_their_numbers() -> None:
    text = str(refused(429, OPENAI[2][1]))
    assert "Limit 30000, Requested 30601." in text
    assert "205668 tokens > 200000 maximum" in str(refused(400, ANTHROPIC[12][1]))
