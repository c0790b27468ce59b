"""
The errors that vendors answer with, by name: statuses, codes and words.

Both tables have the same names, so that one fault means the same to every
dialect, though the wire forms differ wildly: an empty purse is a 429 at OpenAI
and a 400 at Anthropic, and a lack of capacity a 503 here and a 529 there.
Programs that tell them apart need these very words to be tested with.

In the messages `{model}` and `{param}` stand for what the request named.
"""

from dataclasses import dataclass, replace

__all__ = (
    "ANTHROPIC_ERRORS",
    "ERROR_NAMES",
    "OPENAI_ERRORS",
    "VendorError",
    "find_error",
)


@dataclass(frozen=True, slots=True)
class VendorError:
    """
    One error as a vendor words it.

    Args:
        status: The HTTP status.
        type: OpenAI's `error.type`, Anthropic's too.
        message: For people.
        code: OpenAI's `error.code`; Anthropic's `error.details.error_code`.
        param: OpenAI's `error.param`.
        page: The whole body, for proxies that answer with HTML or plain text.
    """

    status: int
    type: str
    message: str
    code: str | None = None
    param: str | None = None
    page: str = ""

    def about(self, model: str, param: str = "") -> "VendorError":
        """
        Return this error about *model* and, if given, about parameter *param*.
        """
        param = param or self.param or ""
        message = self.message.replace("{model}", model).replace("{param}", param)
        return replace(self, message=message, param=param or None)


def _page(status: int, title: str, server: str) -> str:
    heading = f"{status} {title}"
    return (
        f"<html>\r\n<head><title>{heading}</title></head>\r\n<body>\r\n"
        f"<center><h1>{heading}</h1></center>\r\n<hr><center>{server}</center>\r\n"
        "</body>\r\n</html>\r\n"
    )


_BAD = "invalid_request_error"
_LIMIT = "rate_limit_exceeded"
_PROXIES = {
    "bad_gateway": VendorError(502, "", "", page=_page(502, "Bad Gateway", "nginx")),
    "envoy": VendorError(
        503,
        "",
        "",
        page="upstream connect error or disconnect/reset before headers. "
        "reset reason: connection termination",
    ),
    "cloudflare": VendorError(
        520,
        "",
        "",
        page=_page(520, "Web server is returning an unknown error", "cloudflare"),
    ),
}

OPENAI_ERRORS = _PROXIES | {
    "bad_request": VendorError(
        400, _BAD, "Missing or invalid parameter: '{param}'.", None, "messages"
    ),
    "context_length": VendorError(
        400,
        _BAD,
        "This model's maximum context length is 8192 tokens. However, your messages "
        "resulted in 9001 tokens. Please reduce the length of the messages.",
        "context_length_exceeded",
        "messages",
    ),
    "max_tokens_too_large": VendorError(
        400,
        _BAD,
        "max_tokens is too large: 204096. This model supports at most 16384 "
        "completion tokens, whereas you provided 204096.",
        "invalid_value",
        "max_tokens",
    ),
    "unsupported_parameter": VendorError(
        400,
        _BAD,
        "Unsupported parameter: '{param}' is not supported with this model.",
        "unsupported_parameter",
        "max_tokens",
    ),
    "unsupported_value": VendorError(
        400,
        _BAD,
        "Unsupported value: '{param}' does not support this value with this model. "
        "Only the default (1) value is supported.",
        "unsupported_value",
        "temperature",
    ),
    "content_filter": VendorError(
        400,
        _BAD,
        "The response was filtered due to the prompt triggering the content "
        "management policy. Please modify your prompt and retry.",
        "content_filter",
        "prompt",
    ),
    "authentication": VendorError(
        401, _BAD, "Incorrect API key provided: ********.", "invalid_api_key"
    ),
    "billing": VendorError(402, "billing_error", "Insufficient balance."),
    "permission": VendorError(
        403,
        "request_forbidden",
        "Country, region, or territory not supported",
        "unsupported_country_region_territory",
    ),
    "model_permission": VendorError(
        403, _BAD, "Project does not have access to model `{model}`", "model_not_found"
    ),
    "model_not_found": VendorError(
        404,
        _BAD,
        "The model `{model}` does not exist or you do not have access to it.",
        "model_not_found",
    ),
    "request_timeout": VendorError(408, "timeout", "Request timed out."),
    "conflict": VendorError(409, _BAD, "The resource is in use. Please try again."),
    "too_large": VendorError(413, _BAD, "Request exceeds the maximum size"),
    "unprocessable": VendorError(422, _BAD, "Unprocessable request."),
    "rate_limit": VendorError(
        429,
        "requests",
        "Rate limit reached for {model} in organization org-fake on requests per min "
        "(RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
        _LIMIT,
    ),
    "request_too_large": VendorError(
        429,
        "tokens",
        "Request too large for {model} in organization org-fake on tokens per min "
        "(TPM): Limit 30000, Requested 30601. The input or output tokens must be "
        "reduced in order to run successfully.",
        _LIMIT,
    ),
    "insufficient_quota": VendorError(
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
    ),
    "spend_limit": VendorError(
        429,
        "insufficient_quota",
        "This organization has reached its spend limit.",
        "organization_spend_limit_exceeded",
    ),
    "credit_balance": VendorError(
        429,
        "insufficient_quota",
        "Your credit balance is exhausted.",
        "credit_balance_exhausted",
    ),
    "slow_down": VendorError(
        429,
        "rate_limit_error",
        "Your traffic has grown too fast. Please slow down and ramp up gradually.",
        "slow_down",
    ),
    "server_error": VendorError(
        500,
        "server_error",
        "The server had an error processing your request. Sorry about that!",
    ),
    "overloaded": VendorError(
        503,
        "service_unavailable_error",
        "The server is currently overloaded with other requests. Please try again.",
        "server_is_overloaded",
    ),
    "gateway_timeout": VendorError(
        504, "", "", page=_page(504, "Gateway Time-out", "nginx")
    ),
}

ANTHROPIC_ERRORS = _PROXIES | {
    "bad_request": VendorError(
        400, _BAD, "{param}: Input should be valid", None, "messages"
    ),
    "context_length": VendorError(
        400, _BAD, "prompt is too long: 205668 tokens > 200000 maximum"
    ),
    "max_tokens_too_large": VendorError(
        400,
        _BAD,
        "max_tokens: 204096 > 64000, which is the maximum allowed number of output "
        "tokens for {model}",
        None,
        "max_tokens",
    ),
    "unsupported_parameter": VendorError(
        400, _BAD, "{param}: Extra inputs are not permitted", None, "temperature"
    ),
    "unsupported_value": VendorError(
        400, _BAD, "{param}: Input should be 1", None, "temperature"
    ),
    "content_filter": VendorError(
        400, _BAD, "Output blocked by content filtering policy"
    ),
    "authentication": VendorError(401, "authentication_error", "invalid x-api-key"),
    "billing": VendorError(402, "billing_error", "Your account has a billing issue."),
    "permission": VendorError(403, "forbidden", "Request not allowed"),
    "model_permission": VendorError(
        403, "permission_error", "Your account may not use model {model}"
    ),
    "model_not_found": VendorError(404, "not_found_error", "model: {model}"),
    "request_timeout": VendorError(408, "timeout_error", "Request timed out"),
    "conflict": VendorError(409, _BAD, "The resource is in use"),
    "too_large": VendorError(
        413, "request_too_large", "Request exceeds the maximum size"
    ),
    "unprocessable": VendorError(422, _BAD, "Unprocessable request"),
    "rate_limit": VendorError(
        429,
        "rate_limit_error",
        "This request would exceed the rate limit for your organization of 20,000 "
        "input tokens per minute.",
    ),
    "request_too_large": VendorError(
        429,
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
    ),
    "insufficient_quota": VendorError(
        429,
        "rate_limit_error",
        "You have reached the spend limit of your tier.",
        "enforced_spend_limit_reached",
    ),
    "spend_limit": VendorError(
        400,
        _BAD,
        "You have reached your specified API usage limits. You will regain access "
        "on 2026-04-01 at 00:00 UTC.",
    ),
    "credit_balance": VendorError(
        400, _BAD, "Your credit balance is too low to access the Anthropic API."
    ),
    "slow_down": VendorError(
        429,
        "rate_limit_error",
        "Your traffic has grown too fast.",
        "ramp_limit_exceeded",
    ),
    "server_error": VendorError(500, "api_error", "Internal server error"),
    "overloaded": VendorError(529, "overloaded_error", "Overloaded"),
    "gateway_timeout": VendorError(504, "timeout_error", "Request timed out"),
}

ERROR_NAMES = frozenset(OPENAI_ERRORS)

# The usual error of a status, where several names share it.
_USUAL = {400: "bad_request", 403: "permission", 429: "rate_limit", 503: "overloaded"}


def find_error(table: dict[str, VendorError], name: str, status: int) -> VendorError:
    """
    Return the error called *name*, else the usual one of *status*, from *table*.

    A status that the vendor does not use gets words of no meaning, and a name
    with a status gets that status instead of its own.
    """
    if name:
        return replace(table[name], status=status or table[name].status)
    usual = table.get(_USUAL.get(status, ""))
    for error in (usual, *table.values()):
        if error is not None and error.status == status:
            return error
    return VendorError(status, "api_error", f"Something went wrong ({status}).")
