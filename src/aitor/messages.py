"""
The values that flow: a `Request` goes down, a `Reply` comes up.

All of them are frozen. A request is pure content: what is asked, not how it is
delivered, so it can be hashed, cached and sent twice. Deadline, priority and
tenant belong to the envelope that the broker puts around it.

Prompts and answers are private: the `repr` of these values tells their shape
and never their text, so that a log line or a traceback cannot leak them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from aitor.errors import BadRequestError
from aitor.json_check import MOST_VALUES, as_json
from aitor.outcomes import Outcome

__all__ = (
    "Answer",
    "Attempt",
    "Message",
    "Prompt",
    "Reply",
    "Request",
    "Usage",
    "Waits",
)

Message: TypeAlias = Mapping[str, Any]
"""One message in the shape of OpenAI's Chat Completions, the lingua franca."""


# Made once: `json.dumps` would make one for each request.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """
    What is asked: messages, and optionally a model and parameters.

    Args:
        messages: The conversation, oldest first, each a mapping with a `role`
            and a `content`. The sequence is copied; a message must not be
            changed before the answer is there.
        model: The model to ask; by default the provider's own. With failover
            each provider uses its own, because names differ between vendors,
            unless the request names one.
        parameters: Sampling and output settings in the names of OpenAI's Chat
            Completions (`temperature`, `max_tokens`, `response_format`, …);
            they win over the provider's configuration.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        prompt: "Prompt",
        *,
        model: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> "Request":
        """
        Make a request of a text, of messages, or of another request.

        Everything is checked to be JSON, within bounds; what is so by meaning but not
        by type, such as a mapping that is no dictionary, is copied to what is.

        Raises:
            BadRequestError: If *prompt* is neither, a message has no role, something
                cannot be written as JSON, or a parameter would have the answer come
                in another way.
        """
        if isinstance(prompt, Request):
            request = prompt.check()
            if model is None and not parameters:
                return request
            plain = _plain_parameters(parameters or {})
            _check_parameters(plain)
            merged = {**request.parameters, **plain}
            return cls(request.messages, model or request.model, merged)
        messages: tuple[Message, ...]
        if type(prompt) is str:
            messages = ({"role": "user", "content": prompt},)
        elif isinstance(prompt, str):
            messages = ({"role": "user", "content": str.__str__(prompt)},)
        else:
            messages = _plain_messages(prompt)
        if parameters:
            parameters = _plain_parameters(parameters)
            _check_parameters(parameters)
        return cls(messages, model, parameters or {})

    def check(self) -> "Request":
        """
        Check what no type checker has seen, as `of` does.

        Returns:
            This request, or one with what had to be copied.

        Raises:
            BadRequestError: If the model is no name, the parameters are no mapping,
                something cannot be written as JSON, or a parameter would have the
                answer come in another way.
        """
        if self.model is not None and not isinstance(self.model, str):
            kind = type(self.model).__name__
            raise BadRequestError(f"a request's 'model' is to be a name, not {kind}")
        if not isinstance(self.parameters, Mapping):
            kind = type(self.parameters).__name__
            raise BadRequestError(f"'parameters' are to be a mapping, not {kind}")
        messages = _plain_messages(self.messages)
        parameters = _plain_parameters(self.parameters) if self.parameters else {}
        _check_parameters(parameters)
        if messages is self.messages and parameters is self.parameters:
            return self
        return Request(messages, self.model, parameters)

    def fingerprint(self, **also: Any) -> str:
        """
        Return a SHA-256 over everything here that can change the answer.

        Args:
            also: More that can, such as the provider's address or its defaults.

        Raises:
            BadRequestError: If the request cannot be written as JSON.
        """
        content = [self.messages, self.model, self.parameters, also]
        try:
            return hashlib.sha256(_canonical(content).encode("utf-8")).hexdigest()
        except (TypeError, ValueError, RecursionError) as error:
            # The error's text may quote the prompt, so only its kind is told.
            raise BadRequestError(
                f"the request cannot be written as JSON ({type(error).__name__})"
            ) from None

    def __repr__(self) -> str:
        names = ", ".join(sorted(self.parameters))
        return (
            f"Request(messages={len(self.messages)}, model={self.model!r}, "
            f"parameters=[{names}])"
        )


Prompt: TypeAlias = str | Sequence[Message] | Request
"""Whatever `Request.of` understands."""


OTHER_WAYS = {
    "stream": "an answer is returned whole; a provider with 'first_token_timeout' or "
    "'idle_timeout' streams it to the broker, to notice silence early",
    "background": "nothing fetches the answer later; 'timeout' is how long to wait",
    "messages": "they are the prompt, which is the first argument",
}
"""Parameters that say how an answer comes, or what is asked, and why not here."""

NOT_ASKED = (None, False)


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    for name, why in OTHER_WAYS.items():
        if parameters.get(name) not in NOT_ASKED:
            raise BadRequestError(f"{name!r} is no parameter of a request: {why}")


def _plain_messages(messages: object) -> tuple[Message, ...]:
    if not isinstance(messages, Sequence) or isinstance(messages, bytes | bytearray):
        raise BadRequestError(
            f"a prompt is a text, a sequence of messages or a Request, "
            f"not {type(messages).__name__}"
        )
    kind = type(messages)
    if kind is tuple:
        given: tuple[Any, ...] = messages  # type: ignore[assignment]
    else:
        given = tuple(messages) if kind is list else _in_turn(messages)
    if not given:
        raise BadRequestError("a request needs at least one message, got none")
    for number, message in enumerate(given):
        if not isinstance(message, Mapping):
            raise _no_message(number, message)
    plain: tuple[Message, ...] = as_json(given, "the conversation", "message")
    for number, message in enumerate(plain):
        if not isinstance(message.get("role"), str):
            raise _no_message(number, given[number])
    return plain if plain is given else tuple(plain)


def _in_turn(messages: Sequence[Any]) -> tuple[Any, ...]:
    try:
        return tuple(islice(messages, MOST_VALUES))
    except Exception as error:  # noqa: BLE001  # of the caller's own class
        problem = f"the conversation's own code raised {type(error).__name__}"
    raise BadRequestError(problem)


def _no_message(number: int, message: object) -> BadRequestError:
    return BadRequestError(
        f"message {number} is not a mapping with a 'role': "
        f"it is a {type(message).__name__}"
    )


def _plain_parameters(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = as_json(parameters, "the parameters", "parameter")
    return plain


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Tokens that were used, as the provider counted them.

    Args:
        input_tokens: All input, the cached part included.
        output_tokens: All output, reasoning included.
        cached_tokens: Input that was read from the provider's prompt cache.
        cache_write_tokens: Input that was written to it.
        reasoning_tokens: Output that was spent on reasoning.
        estimated: True when the provider told no usage and this is our guess.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """
    What one attempt brought back from a provider.

    Args:
        text: The answer's text; empty when the model only called tools.
        model: The model that answered, as the provider named it.
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter`, `refusal`;
            `unknown` where the provider did not say; or its own word where none of
            these fits.
        usage: Tokens used.
        request_id: The provider's name for this exchange.
        body: The provider's whole answer, decoded.
        headers: The answer's headers, names in lower case.
        message: The answer as a message to carry the conversation on with, its tool
            calls included; see `Message`.
    """

    text: str
    model: str
    finish_reason: str
    usage: Usage
    request_id: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    message: Message = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"Answer(text={len(self.text)} characters, model={self.model!r}, "
            f"finish_reason={self.finish_reason!r}, usage={self.usage})"
        )


class Waits(NamedTuple):
    """
    Where the time before an attempt went, in seconds; the parts add up.

    Args:
        worker: All workers were busy.
        rate: A token bucket had to fill.
        pause: The provider had asked everybody to wait.
        circuit: The circuit was open or its probe was out.
        backoff: The request's own wait between two tries.
    """

    worker: float = 0.0
    rate: float = 0.0
    pause: float = 0.0
    circuit: float = 0.0
    backoff: float = 0.0

    @property
    def total(self) -> float:
        """All of them together."""
        return self.worker + self.rate + self.pause + self.circuit + self.backoff

    # Named tuples, here and below, only because every call makes some and they are
    # the cheapest frozen values there are: + adds seconds, it does not join.
    def __add__(self, other: "Waits") -> "Waits":  # type: ignore[override]
        return Waits(
            self.worker + other.worker,
            self.rate + other.rate,
            self.pause + other.pause,
            self.circuit + other.circuit,
            self.backoff + other.backoff,
        )


class Attempt(NamedTuple):
    """
    One call on the wire, as the ledger keeps it.

    Args:
        provider: The provider's name.
        model: The model asked for; None where the provider has but one.
        outcome: How it ended.
        seconds: From the send to the end.
        waits: Where the time before the send went.
        usage: Tokens used, where the provider told.
        status: HTTP status, where there was one.
        code: The provider's own error code.
        retry_after: Seconds the provider asked to wait.
        request_id: The provider's name for this exchange.
    """

    provider: str
    model: str | None
    outcome: Outcome
    seconds: float
    waits: Waits
    usage: Usage | None = None
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """
    The answer to a request, and how it came about.

    Args:
        text: The answer's text.
        provider: Name of the provider that answered.
        model: The model that answered, as the provider named it.
        finish_reason: Why the answer ended; see `Answer`.
        usage: Tokens this answer used.
        attempts: Every call on the wire for this request, the last one its answer.
        request_id: The provider's name for the exchange.
        body: The provider's whole answer, decoded.
        message: The answer as a message to carry the conversation on with, its tool
            calls included; see `Message`.
        cached: True when it was answered before: nothing was sent, there are no
            attempts, and `usage` is what it took then.
    """

    text: str
    provider: str
    model: str
    finish_reason: str
    usage: Usage
    attempts: tuple[Attempt, ...]
    request_id: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    message: Message = field(default_factory=dict)
    cached: bool = False

    def __repr__(self) -> str:
        return (
            f"Reply(text={len(self.text)} characters, provider={self.provider!r}, "
            f"model={self.model!r}, finish_reason={self.finish_reason!r}, "
            f"attempts={len(self.attempts)})"
        )
