"""Whose fault a rejection is: request, account, vendor, or nobody."""

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
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedSchemaError,
    UnsupportedToolsError,
)
from aitor.providers.classify import Refusal
from aitor.providers.vendors import VENDORS

SENT = ("model", "messages", "tools", "response_format", "max_tokens")


def refused(
    status: int, body: Any, sent: tuple[str, ...] = SENT, **headers: str
) -> LLMError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal.read(
        status, named, data, now=0.0, longest_wait=3_600.0, sent=sent
    ).error()


def told(message: str, code: Any = None, kind: Any = None, **more: Any) -> Any:
    return {"error": {"message": message, "code": code, "type": kind, **more}}


Case = tuple[int, Any, type[LLMError]]

ACCOUNTS: dict[str, Case] = {
    "suspended": (
        412,
        told(
            "Account acme is suspended, possibly due to reaching the monthly spending "
            "limit.",
            "PRECONDITION_FAILED",
        ),
        AccountError,
    ),
    "country": (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "User location is not supported for the API use.",
                    "status": "FAILED_PRECONDITION",
                }
            }
        ],
        AccountError,
    ),
    "key by 400": (
        400,
        {
            "code": "invalid-argument",
            "error": "Incorrect API key provided. You can obtain an API key from …",
        },
        AuthenticationError,
    ),
    "arrears": (
        400,
        told("Access denied, please make sure your account is …", "Arrearage"),
        QuotaError,
    ),
    "no balance in Chinese": (
        429,
        told("余额不足或无可用资源包,请充值。", "1113"),
        QuotaError,
    ),
    # Siblings.
    "no balance as a number": (429, told("账户已欠费", 1113), QuotaError),
    "organization disabled": (
        400,
        told("This organization has been disabled.", None, "invalid_request_error"),
        AccountError,
    ),
    "organization restricted": (
        400,
        told("Organization has been restricted.", "organization_restricted"),
        AccountError,
    ),
    "budget of a proxy": (
        400,
        told("Budget has been exceeded! Current cost: 1.2", "400", "budget_exceeded"),
        QuotaError,
    ),
    "insufficient balance in 200": (
        200,
        {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        QuotaError,
    ),
    "expired key": (
        400,
        told("API key expired. Please renew it."),
        AuthenticationError,
    ),
    "overdue": (403, told("Overdue.", "AccountOverdueError"), QuotaError),
    "suspended at Moonshot": (
        429,
        told("Your account is suspended", None, "exceeded_current_quota_error"),
        QuotaError,
    ),
}

VENDORS_FAULT: dict[str, Case] = {
    "model failed": (
        424,
        {"error": "Request failed during generation", "error_type": "generation"},
        ServerError,
    ),
    "no capacity": (
        498,
        told("Flex tier capacity exceeded.", "capacity_exceeded"),
        OverloadedError,
    ),
    "model not loaded": (
        400,
        {"error": 'Failed to load model "my-model". Error: Error loading model.'},
        ServerError,
    ),
    # Siblings.
    "model unloaded": (400, {"error": "Model unloaded."}, ServerError),
    "model of a proxy": (
        400,
        told("litellm: Invalid model name passed in model=x"),
        ModelNotFoundError,
    ),
    "model at DeepSeek": (400, told("Model Not Exist"), ModelNotFoundError),
    "upstream": (424, b"", ServerError),
    "busy": (503, {"code": 50603, "message": "System is too busy"}, OverloadedError),
}

THIS_REQUEST: dict[str, Case] = {
    "moderation": (
        403,
        told(
            'this model requires moderation. Your input was flagged for "violence".',
            403,
            metadata={"reasons": ["violence"]},
        ),
        ContentFilterError,
    ),
    "firewall": (403, b"<html><title>403 Forbidden</title></html>", DeclinedError),
    "afford": (
        402,
        told(
            "This request requires more credits, or fewer max_tokens. You requested "
            "up to 65536 tokens, but can only afford 30104.",
            402,
        ),
        DeclinedError,
    ),
    # Siblings.
    "firewall in words": (403, b"error code: 1020", DeclinedError),
    "usage guidelines": (
        403,
        told("Content violates usage guidelines."),
        ContentFilterError,
    ),
    "blocked at Cohere": (498, {"message": "input is blocked"}, ContentFilterError),
    "inspection": (
        400,
        told("Input data may contain …", "DataInspectionFailed"),
        ContentFilterError,
    ),
    "sensitive at GLM": (400, told("系统检测到敏感内容", "1301"), ContentFilterError),
}

NOBODYS: dict[str, Case] = {
    "empty": (400, b"", DeclinedError),
    "page": (400, b"<html>400 Bad Request</html>", DeclinedError),
    "unknown status": (418, b"", DeclinedError),
    "498 alone": (498, b"", DeclinedError),
    "412 alone": (412, b"", DeclinedError),
    "no word of the request": (400, told("Something went wrong."), DeclinedError),
    "422": (422, {"detail": "Nope"}, DeclinedError),
}

REQUESTS: dict[str, Case] = {
    "a type": (400, told("No.", None, "invalid_request_error"), BadRequestError),
    "a parameter": (400, told("No.", param="messages"), BadRequestError),
    "a place": (
        422,
        {"detail": [{"loc": ["body", "messages"], "msg": "No", "type": "x"}]},
        BadRequestError,
    ),
    "a sentence": (400, told("messages: at least one is required"), BadRequestError),
    "a plain sentence": (
        422,
        b"Failed to deserialize the JSON body: missing field `content`",
        BadRequestError,
    ),
    "a field of its own": (400, told("max_tokens is out of range"), BadRequestError),
}


def check(case: Case) -> LLMError:
    status, body, kind = case
    error = refused(status, body)
    assert type(error) is kind
    return error


@pytest.mark.parametrize("name", ACCOUNTS)
def test_an_account_that_is_dead_in_its_own_words(name: str) -> None:
    """The kind: a status believed without its body; the next provider unasked."""
    assert not check(ACCOUNTS[name]).suspected


@pytest.mark.parametrize("name", VENDORS_FAULT)
def test_what_is_the_vendors_fault(name: str) -> None:
    check(VENDORS_FAULT[name])


@pytest.mark.parametrize("name", THIS_REQUEST)
def test_what_concerns_this_request_alone(name: str) -> None:
    """The kind: one request that switches a provider off for everybody."""
    error = check(THIS_REQUEST[name])
    assert not isinstance(error, AccountError)
    assert not error.suspected


@pytest.mark.parametrize("name", NOBODYS)
def test_where_nothing_is_said_nobody_is_blamed(name: str) -> None:
    check(NOBODYS[name])


@pytest.mark.parametrize("name", REQUESTS)
def test_a_word_about_the_request_blames_it(name: str) -> None:
    check(REQUESTS[name])


@pytest.mark.parametrize(
    ("status", "body", "suspected"),
    [
        (401, b"", True),
        (402, b"", True),
        (403, b"", True),
        (403, {"message": "Forbidden"}, True),
        (403, told("Request not allowed", None, "forbidden"), True),
        (403, told("No.", None, "permission_error"), True),
        (407, b"", True),
        (451, b"", True),
        (401, told("No.", "invalid_api_key"), False),
        (401, told("invalid x-api-key", None, "authentication_error"), False),
        (402, told("Insufficient Balance"), False),
        (403, told("No.", "unsupported_country_region_territory"), False),
        (429, told("No.", "insufficient_quota"), False),
    ],
)
def test_a_status_alone_makes_an_account_suspect(
    status: int, body: Any, suspected: bool
) -> None:
    error = refused(status, body)
    assert isinstance(error, AccountError)
    assert error.suspected is suspected


@pytest.mark.parametrize(
    "quoted",
    [
        "Invalid role 'account x is suspended'",
        "Unknown word: your account has been disabled",
        "I cannot read: incorrect api key provided",
        "What is this: insufficient balance",
        "Unclear: User location is not supported",
    ],
)
def test_a_quoted_prompt_cannot_say_that_an_account_is_dead(quoted: str) -> None:
    for status in (400, 402, 403, 412):
        error = refused(status, told(quoted, "FAILED_PRECONDITION"))
        assert not isinstance(error, AccountError) or error.suspected


def test_the_same_words_mean_another_thing_at_another_vendor() -> None:
    """The kind: a body believed without its vendor."""
    words = "You exceeded your current quota, please check your plan and billing."
    minute = [
        {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": words}}
    ]
    assert type(refused(429, minute)) is RateLimitError
    assert type(refused(429, told(words, "insufficient_quota"))) is QuotaError
    assert type(refused(400, told("Unknown field", "1113"))) is BadRequestError
    assert type(refused(429, told("Slow down", "1113"))) is RateLimitError


def test_every_rule_asks_for_more_than_a_status() -> None:
    for vendor, rules in VENDORS.items():
        for rule in rules:
            assert rule.words or rule.said, vendor
            assert all(word == word.lower() for word in rule.words), vendor


# Limits that concern one request.


@pytest.mark.parametrize(
    "body",
    [
        told(
            "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, "
            "Requested 30601.",
            "rate_limit_exceeded",
            "tokens",
        ),
        told(
            "Extra usage is required for long context requests.",
            None,
            "rate_limit_error",
        ),
        # Siblings.
        told("Rate limit: Limit 6,000, Requested 9,001.", "rate_limit_exceeded"),
        told("Requested 9001 tokens, over the limit 6000", None, "rate_limit_error"),
        told("The long context beta is not yet available for this subscription."),
        told("A single request may not hold so many tokens", "rate_limit_exceeded"),
    ],
)
def test_a_limit_that_one_request_breaks_alone_asks_nobody_to_wait(body: Any) -> None:
    """The kind: everybody pauses for a request that can never pass."""
    assert type(refused(429, body)) is ContextLengthError


@pytest.mark.parametrize(
    "message",
    [
        "Limit 30000, Used 29000, Requested 3000.",
        "Limit 3, Used 3, Requested 1. Please try again in 20s.",
        "This request would exceed your organization's rate limit of 20,000 tokens.",
    ],
)
def test_a_limit_that_will_let_it_pass_is_one_to_wait_for(message: str) -> None:
    assert type(refused(429, told(message, "rate_limit_exceeded"))) is RateLimitError


@pytest.mark.parametrize("status", [408, 424, 429, 500, 503, 529])
@pytest.mark.parametrize(
    ("said", "final"),
    [("false", True), (" False ", True), ("true", False), ("", False)],
)
def test_a_server_may_say_that_trying_again_is_of_no_use(
    status: int, said: str, final: bool
) -> None:
    assert refused(status, b"", x_should_retry=said).final is final


def test_that_trying_again_helps_is_believed_where_nothing_else_is_known() -> None:
    assert type(refused(418, b"", x_should_retry="true")) is ServerError
    key = told("No.", "invalid_api_key")
    assert type(refused(401, key, x_should_retry="true")) is AuthenticationError


# What a model lacks.

SCHEMAS: dict[str, tuple[Any, str, str | None]] = {
    "OpenAI": (
        told(
            "Invalid schema for response_format 'city': In context=(), "
            "'additionalProperties' is required to be supplied and to be false.",
            None,
            "invalid_request_error",
            param="response_format",
        ),
        "response_format",
        "additionalProperties",
    ),
    "OpenAI's tools": (
        told(
            "Invalid schema for function 'f': In context=('properties', 'x'), 'oneOf' "
            "is not permitted.",
            "invalid_function_parameters",
            "invalid_request_error",
            param="tools[0].function.parameters",
        ),
        "tools",
        "oneOf",
    ),
    "Anthropic": (
        told(
            "output_config.format.schema: For 'integer' type, property 'minimum' is "
            "not supported",
            None,
            "invalid_request_error",
        ),
        "response_format",
        "minimum",
    ),
    "Gemini": (
        [
            {
                "error": {
                    "code": 400,
                    "status": "INVALID_ARGUMENT",
                    "message": "Invalid JSON payload received. Unknown name "
                    "\"additionalProperties\" at 'generation_config.response_schema'",
                }
            }
        ],
        "response_format",
        "additionalProperties",
    ),
    "DeepSeek": (
        told("This response_format type is unavailable now", "invalid_request_error"),
        "response_format",
        None,
    ),
    # Siblings.
    "vLLM": (
        {
            "object": "error",
            "message": "Grammar error: pattern is unsupported",
            "type": "BadRequestError",
            "code": 400,
        },
        "response_format",
        None,
    ),
    "llama.cpp": (
        told("failed to parse grammar", 400, "invalid_request_error"),
        "response_format",
        None,
    ),
    "a parameter": (
        told("No.", "unsupported_parameter", param="response_format"),
        "response_format",
        None,
    ),
    "Mistral": (
        {"detail": [{"loc": ["body", "response_format"], "msg": "x", "type": "y"}]},
        "response_format",
        None,
    ),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_is_not_taken_is_told_with_its_keyword(name: str) -> None:
    """The kind: "the request is wrong", where it is right for a neighbour."""
    body, parameter, keyword = SCHEMAS[name]
    error = refused(400, body)
    assert type(error) is UnsupportedSchemaError
    assert (error.parameter, error.keyword) == (parameter, keyword)
    if keyword:
        assert keyword in str(error)
    # Who sent none is told of something else.
    assert type(refused(400, body, ("model", "messages"))) is not type(error)


@pytest.mark.parametrize(
    "body",
    [
        {"error": "registry.ollama.ai/library/gemma:2b does not support tools"},
        told('"auto" tool choice requires --enable-auto-tool-choice', 400, "Bad"),
        told("No endpoints found that support tool use."),
        told("Function calling is not enabled for this model", None, "x"),
        told(
            "`tools` is not supported by this model",
            "unsupported_parameter",
            param="tools",
        ),
    ],
)
def test_a_model_without_tools_is_known(body: Any) -> None:
    status = 404 if "endpoints" in json.dumps(body) else 400
    assert type(refused(status, body)) is UnsupportedToolsError


def test_a_prompt_about_schemas_is_no_schema() -> None:
    body = told("messages: the schema is too long", None, "invalid_request_error")
    assert type(refused(400, body, ("model", "messages"))) is BadRequestError
