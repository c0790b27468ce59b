"""
Every error that reaches a caller, on one page.

All of them are `LLMError`. Each carries what is known in attributes: provider,
status, code, wait, request id, and the attempts made so far. Texts say numbers
and the setting to look at. No key and no prompt is ever part of one: fields
are copied from the original exception, which is kept as the cause only where it
holds no secret (the exceptions of the vendors' SDKs hold the whole request, and
with it the key).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from aitor.outcomes import Outcome

if TYPE_CHECKING:
    from aitor.messages import Attempt

__all__ = (
    "APIError",
    "AccountError",
    "AnswerTooLargeError",
    "AttemptTimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BrokerClosedError",
    "CircuitOpenError",
    "ConfigurationError",
    "ConnectionFailedError",
    "ContentFilterError",
    "ContextLengthError",
    "DeadlineExceededError",
    "DeclinedError",
    "LLMError",
    "MalformedAnswerError",
    "ModelNotFoundError",
    "ModelRetiredError",
    "OutOfDescriptorsError",
    "OverloadedError",
    "PausedError",
    "ProviderCrashError",
    "QueueFullError",
    "QuotaError",
    "RateLimitError",
    "RefusedError",
    "ServerError",
    "TruncatedAnswerError",
    "UnsupportedParameterError",
    "UnsupportedSchemaError",
    "UnsupportedToolsError",
    "UnusableProviderError",
    "WrongEventLoopError",
)


class LLMError(Exception):
    """
    Something kept a request from being answered.

    Args:
        message: What happened, with numbers and the setting to look at.
        provider: Name of the provider that it happened at.
        status: HTTP status, where there was one.
        code: The provider's own code for it.
        retry_after: Seconds until trying again makes sense, where known.
        request_id: The provider's name for the exchange.
        attempts: Every call on the wire made for the request.
    """

    outcome: ClassVar[Outcome] = Outcome.CRASH

    headers: Mapping[str, str] = MappingProxyType({})
    """What the server said of its limits along with a refusal; names in lower case."""

    cut_short: bool = False
    """Whether a further try was left out because the deadline would have passed."""

    suspected: bool = False
    """Whether a status alone blames the account, which one request does not prove."""

    final: bool = False
    """Whether the server said that trying again there is of no use."""

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        attempts: "tuple[Attempt, ...]" = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.request_id = request_id
        self.attempts = attempts

    def __str__(self) -> str:
        return f"{self.provider}: {self.message}" if self.provider else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional arguments alone; ours have more.
        return (_restore, (type(self), self.message, self.__dict__))


def _restore(kind: type[LLMError], message: str, state: dict[str, Any]) -> LLMError:
    error = kind.__new__(kind)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class ConfigurationError(LLMError, ValueError):
    """A setting is wrong; nothing was sent. Yours to fix."""

    outcome = Outcome.BAD_REQUEST


class UnusableProviderError(ConfigurationError):
    """
    No connection to a provider can be made with its settings; nothing was sent.

    It is found out in the middle of a request, which others may answer; no other will
    fare better at this provider until somebody fixes it.
    """

    outcome = Outcome.ACCOUNT


class APIError(LLMError):
    """The provider said no, failed, or could not be reached."""

    outcome = Outcome.SERVER


class RateLimitError(LLMError):
    """
    The provider asked to slow down, and no other could answer in time.

    The broker waits such pauses out by itself as long as the deadline allows,
    so this reaches a caller only when it did not.
    """

    outcome = Outcome.RATE_LIMITED


# The request's fault.


class BadRequestError(APIError):
    """The request is wrong, and would be wrong anywhere; yours to fix."""

    outcome = Outcome.BAD_REQUEST


class ContentFilterError(BadRequestError):
    """The provider declined the content of the request or of its answer."""

    outcome = Outcome.CONTENT_FILTER


class ContextLengthError(BadRequestError):
    """The request is longer than the model, or its limit, ever takes."""

    outcome = Outcome.TOO_LONG


class UnsupportedParameterError(BadRequestError):
    """
    The model does not take a parameter.

    Args:
        message: What happened.
        parameter: The parameter's name on the wire.
        fields: As for `LLMError`.
    """

    outcome = Outcome.PARAMETER

    def __init__(self, message: str, *, parameter: str, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.parameter = parameter


class UnsupportedSchemaError(BadRequestError):
    """
    The model takes no JSON schema here, or not this one.

    It is worth asking with less: with a plainer schema, in JSON mode, or in words.
    """

    outcome = Outcome.UNSUPPORTED

    parameter: str | None = None
    """What holds the schema: `response_format` or `tools`, however the API calls it."""

    keyword: str | None = None
    """The JSON Schema keyword that the vendor names, such as `minLength`."""


class UnsupportedToolsError(BadRequestError):
    """The model calls no tools; what they can do has to be told in words."""

    outcome = Outcome.UNSUPPORTED


class DeclinedError(APIError):
    """
    The provider did not take this request, for a reason that binds nobody else.

    A firewall's page, a credit too small for this one answer, or a status of 4xx
    without a word about what is wrong: another provider may well answer.
    """

    outcome = Outcome.DECLINED


# The account's fault: nothing passes until a human acts.


class AccountError(APIError):
    """The account may not: key, billing, country. Yours to fix at the vendor."""

    outcome = Outcome.ACCOUNT


class AuthenticationError(AccountError):
    """The key is missing, wrong or revoked."""


class QuotaError(AccountError):
    """Billing or a spending limit is exhausted."""


class ModelNotFoundError(APIError):
    """The provider does not know the model, or this key may not use it."""

    outcome = Outcome.MODEL


class ModelRetiredError(ModelNotFoundError):
    """The vendor has retired the model; the text names what replaces it."""


# The provider's fault.


class ServerError(APIError):
    """The provider failed."""


class OverloadedError(ServerError):
    """The provider had no capacity, for anybody (`model_overloaded`)."""


class ConnectionFailedError(APIError):
    """
    The provider could not be reached, or the connection broke.

    Args:
        message: What happened.
        unused: True when the server closed a kept-alive connection before it can
            have read the request, so that sending it again is no second try.
        fields: As for `LLMError`.
    """

    outcome = Outcome.CONNECTION

    refused: bool = False
    """Whether nobody took the connection: the server is down, or has no room."""

    def __init__(self, message: str, *, unused: bool = False, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.unused = unused


class AttemptTimeoutError(APIError, TimeoutError):
    """One of the attempt's time limits passed: connect, first token, idle, total."""

    outcome = Outcome.TIMEOUT


class MalformedAnswerError(APIError):
    """What came back is no answer: HTML, nothing, broken JSON, no choices."""

    outcome = Outcome.MALFORMED


class TruncatedAnswerError(MalformedAnswerError):
    """The answer ended without the provider's own terminal mark."""

    outcome = Outcome.TRUNCATED


class AnswerTooLargeError(MalformedAnswerError):
    """The answer passed `max_answer_bytes` and was dropped."""


class ProviderCrashError(APIError):
    """
    The provider's code raised something unexpected; a bug there, or here.

    The text says where. What was raised is the cause if the broker was made with
    `debug=True`; else it is let go, because its text may quote a key or a prompt.
    """

    outcome = Outcome.CRASH


# Our own refusals: nothing was sent and nothing was taken.


class RefusedError(LLMError):
    """The broker did not send the request."""

    outcome = Outcome.REFUSED


class QueueFullError(RefusedError):
    """The mailbox has no room; see `queue_size`."""


class CircuitOpenError(RefusedError):
    """
    Every provider that could answer is cut off after failures.

    `retry_after` is the time in seconds until the first is tried again.
    """


class PausedError(RefusedError):
    """The provider pauses for everybody, and another one can start sooner."""


class OutOfDescriptorsError(RefusedError):
    """
    The system allows this process no more open files and sockets; see `ulimit -n`.

    That is no fault of the provider's: its circuit stays closed, and the request
    waits for a connection as long as its deadline allows.
    """


class DeadlineExceededError(RefusedError, TimeoutError):
    """
    The deadline passed, or was certain to pass before the request could start.

    In the second case `retry_after` is the predicted wait in seconds.
    """

    outcome = Outcome.EXPIRED


class BrokerClosedError(RefusedError):
    """The broker is closing or closed."""

    outcome = Outcome.CANCELLED


class WrongEventLoopError(RefusedError, RuntimeError):
    """The broker is used in another event loop, thread or process; see its text."""
