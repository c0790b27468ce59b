"""
OpenAI's wire: chat completions, and what they share with responses.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aitor.testing.ask import (
    Answer,
    Ask,
    RejectedError,
    ToolCall,
    count_tokens,
    text_of,
)
from aitor.testing.dialect import CREATED, Dialect, Rules, unnamed_event
from aitor.testing.errors import OPENAI_ERRORS, VendorError
from aitor.testing.limits import Excess, LimitState

__all__ = ("ChatCompletions", "OpenAI", "go_duration")

_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_UNITS = {"requests": "RPM", "tokens": "TPM", "input_tokens": "ITPM"}
_FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls", None: None}


class OpenAI(Dialect):
    """
    The errors and headers of every OpenAI endpoint.
    """

    vendor = "openai"
    errors = OPENAI_ERRORS
    id_header = "x-request-id"
    ping = b": ping\n\n"

    def error_body(self, error: VendorError, number: int) -> dict[str, Any]:
        """
        Return the body of *error*.
        """
        return {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
            }
        }

    def error_event(self, error: VendorError, number: int) -> bytes:
        """
        Return *error* as an event within a stream.
        """
        return unnamed_event(self.error_body(error, number))

    def limit_error(self, excess: Excess, model: str) -> VendorError:
        """
        Return the words in which a limit refuses a request.
        """
        unit = _UNITS.get(excess.name, "OTPM")
        of = f"{model} in organization org-fake on {excess.name.replace('_', ' ')}"
        counts = f"Limit {excess.limit}, Used {excess.used}"
        if math.isinf(excess.delay):
            message = (
                f"Request too large for {of} per min ({unit}): Limit {excess.limit}, "
                f"Requested {excess.requested}. The input or output tokens must be "
                "reduced in order to run successfully."
            )
        else:
            message = (
                f"Rate limit reached for {of} per min ({unit}): {counts}, Requested "
                f"{excess.requested}. Please try again in {go_duration(excess.delay)}."
            )
        kind = "requests" if excess.name == "requests" else "tokens"
        return VendorError(429, kind, message, "rate_limit_exceeded")

    def limit_headers(self, states: Mapping[str, LimitState]) -> dict[str, str]:
        """
        Return `x-ratelimit-*` with resets as Go writes durations.
        """
        headers = {}
        for dimension, state in states.items():
            name = dimension.replace("_", "-")
            headers[f"x-ratelimit-limit-{name}"] = str(state.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(state.remaining)
            headers[f"x-ratelimit-reset-{name}"] = go_duration(state.reset)
        return headers

    def wait_headers(self, delay: float) -> dict[str, str]:
        """
        Return `retry-after` in whole seconds and `retry-after-ms` in milliseconds.
        """
        return {
            "retry-after": str(math.ceil(delay)),
            "retry-after-ms": str(math.ceil(delay * 1000)),
        }

    def models(self, names: Sequence[str]) -> dict[str, Any]:
        """
        Return the body of a list of models.
        """
        shared = {"object": "model", "created": CREATED, "owned_by": "fake"}
        return {"object": "list", "data": [{"id": name, **shared} for name in names]}

    def refuse_sampling(self, body: Mapping[str, Any], model: str) -> None:
        """
        Refuse the parameters that reasoning models do not take.
        """
        for name in _SAMPLING:
            if body.get(name) not in (None, 1 if name in _SAMPLING[:2] else 0):
                raise self.reject("unsupported_value", model, name)

    def check_window(self, ask: Ask, rules: Rules) -> Ask:
        """
        Return *ask* if it fits into the model's context window.
        """
        tokens = count_tokens(ask.prompt)
        if not rules.context_window or tokens <= rules.context_window:
            return ask
        raise RejectedError(
            VendorError(
                400,
                "invalid_request_error",
                f"This model's maximum context length is {rules.context_window} "
                f"tokens. However, your messages resulted in {tokens} tokens.",
                "context_length_exceeded",
                "messages",
            )
        )


class ChatCompletions(OpenAI):
    """
    `POST /v1/chat/completions`.
    """

    content = "choices"

    def read(self, body: Mapping[str, Any], rules: Rules) -> Ask:
        """
        Return what *body* asks for.
        """
        model = self.check_model(body, rules)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise self.reject("bad_request", model, "messages")
        if rules.reasons(model):
            if body.get("max_tokens") is not None:
                raise self.reject("unsupported_parameter", model, "max_tokens")
            self.refuse_sampling(body, model)
        ask = Ask(
            model=model,
            prompt="\n".join(map(text_of, messages)),
            last=text_of(messages[-1]),
            stream=body.get("stream") is True,
            max_tokens=self.check_limit(body, "max_completion_tokens")
            or self.check_limit(body, "max_tokens"),
            stream_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            tools=frozenset(
                tool["function"]["name"]
                for tool in body.get("tools") or ()
                if "function" in tool
            ),
            schema=_schema(body.get("response_format") or {}),
        )
        return self.check_window(ask, rules)

    def whole(self, ask: Ask, answer: Answer, number: int) -> dict[str, Any]:
        """
        Return the body of a `chat.completion`.
        """
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text,
            "refusal": None,
            "annotations": [],
        }
        if answer.tool_call:
            call = _tool_call(answer.tool_call, number)
            message |= {"content": None, "tool_calls": [call]}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _FINISH[answer.finish],
        }
        return {
            "id": f"chatcmpl-fake{number}",
            "object": "chat.completion",
            "created": CREATED,
            "model": ask.model,
            "choices": [choice],
            "usage": _usage(answer),
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }

    def events(self, ask: Ask, answer: Answer, number: int) -> Iterator[bytes]:
        """
        Yield the chunks of a completion, `[DONE]` last.
        """
        shared = {
            "id": f"chatcmpl-fake{number}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": ask.model,
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }
        if ask.stream_usage:
            shared["usage"] = None

        def delta(content: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {
                "index": 0,
                "delta": content,
                "logprobs": None,
                "finish_reason": finish,
            }
            return unnamed_event({**shared, "choices": [choice]})

        if answer.tool_call:
            call = _tool_call(ToolCall(answer.tool_call.name, ""), number)
            first = {"content": None, "tool_calls": [{"index": 0, **call}]}
            yield delta({"role": "assistant", **first})
            for piece in answer.pieces():
                part = {"index": 0, "function": {"arguments": piece}}
                yield delta({"tool_calls": [part]})
        else:
            yield delta({"role": "assistant", "content": "", "refusal": None})
            for piece in answer.pieces():
                yield delta({"content": piece})
        if answer.finish is None:
            return
        yield delta({}, _FINISH[answer.finish])
        if ask.stream_usage:
            yield unnamed_event({**shared, "choices": [], "usage": _usage(answer)})
        yield b"data: [DONE]\n\n"


def go_duration(seconds: float) -> str:
    """
    Return *seconds* as Go writes durations, rounded up to milliseconds: `6m0s`.
    """
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{text}{rest / 1000:g}s"


def _schema(form: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if form.get("type") == "json_object":
        return {}
    schema = form.get("json_schema", {}).get("schema")
    return schema if isinstance(schema, dict) else None


def _tool_call(call: ToolCall, number: int) -> dict[str, Any]:
    return {
        "id": f"call_fake{number}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
