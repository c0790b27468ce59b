"""
The dialect of OpenAI's Responses API, to which some models tie their tools.

Requests come in the shape of Chat Completions and are translated; what is in the
shape of Responses already passes as it is. Nothing is kept at the vendor unless the
request asks for it, as with Chat Completions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aitor.errors import BadRequestError, TruncatedAnswerError
from aitor.messages import Answer, Message
from aitor.providers.dialect import (
    Counts,
    Dialect,
    Exchange,
    Growth,
    Piece,
    PieceKind,
    Text,
    argument_text,
    count,
    counted,
    text_in,
)
from aitor.providers.endings import ending

__all__ = ("RESPONSES",)

FOREIGN = frozenset(
    {
        "stop",
        "seed",
        "logit_bias",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "prediction",
        "audio",
        "modalities",
        "web_search_options",
    }
)

LEAST_OUTPUT = 16
"""The smallest limit that this API takes; Chat Completions takes any."""


def encode(
    model: str, messages: Sequence[Message], parameters: dict[str, Any]
) -> dict[str, Any]:
    """
    Return the body of a request.

    Raises:
        BadRequestError: If something in it cannot be said in this API.
    """
    body = {"store": False, **parameters}
    if body.pop("n", 1) != 1:
        raise BadRequestError("'n': the Responses API gives one answer a request")
    if effort := body.pop("reasoning_effort", None):
        body["reasoning"] = {"effort": effort, **body.get("reasoning", {})}
    text = dict(body.get("text", {}))
    if form := body.pop("response_format", None):
        text["format"] = _format(form)
    if verbosity := body.pop("verbosity", None):
        text["verbosity"] = verbosity
    if text:
        body["text"] = text
    if tools := body.get("tools"):
        body["tools"] = [_tool(tool) for tool in tools]
    if choice := body.get("tool_choice"):
        body["tool_choice"] = _unnested(choice)
    items = [item for message in messages for item in _items(message)]
    return {**body, "model": model, "input": items}


def _format(form: Any) -> Any:
    if isinstance(form, Mapping) and isinstance(form.get("json_schema"), Mapping):
        return {"type": "json_schema", **form["json_schema"]}
    return form


def _tool(tool: Any) -> Any:
    # Without a word about it this API is strict and Chat Completions is not.
    flat = _unnested(tool)
    return flat if flat is tool else {"strict": False, **flat}


def _unnested(value: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        return {"type": "function", **value["function"]}
    return value


def _items(message: Message) -> Iterator[Any]:
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        yield {
            "type": "function_call_output",
            "call_id": message.get("tool_call_id"),
            "output": text_in(content),
        }
    else:
        if content:
            yield {"role": role, "content": _content(content, role)}
        for call in message.get("tool_calls") or ():
            yield _call(call)


def _content(content: Any, role: Any) -> Any:
    if isinstance(content, str) or not isinstance(content, Sequence):
        return content
    return [
        _part(part, "output_text" if role == "assistant" else "input_text")
        for part in content
    ]


def _part(part: Any, text_type: str) -> Any:
    match part:
        case {"type": "text", "text": text}:
            return {"type": text_type, "text": text}
        case {"type": "image_url", "image_url": {"url": url, **more}}:
            detail = more.get("detail", "auto")
            return {"type": "input_image", "image_url": url, "detail": detail}
        case {"type": "file", "file": {**file}}:
            return {"type": "input_file", **file}
    return part


def _call(call: Any) -> dict[str, Any]:
    match call:
        case {"id": str(name), "function": {"name": function, "arguments": arguments}}:
            return {
                "type": "function_call",
                "call_id": name,
                "name": function,
                "arguments": arguments,
            }
    raise BadRequestError("a tool call in a message has no id, name or arguments")


def decode(document: Mapping[str, Any], exchange: Exchange) -> Answer:
    """Return the answer that *document* holds."""
    output, status = document.get("output"), document.get("status")
    if not isinstance(output, list):
        raise exchange.malformed("the answer is JSON, but has no output in it")
    if status and status not in ("completed", "incomplete"):
        raise exchange.malformed(
            "the answer is neither completed nor incomplete: its end is missing",
            TruncatedAnswerError,
        )
    items = [item for item in output if isinstance(item, dict)]
    parts = [
        part
        for item in items
        if item.get("type") == "message" and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, dict)
    ]
    text = "".join(text_in([part]) for part in parts)
    refusal = "".join(text_in(part.get("refusal")) for part in parts)
    calls = [_called(item) for item in items if item.get("type") == "function_call"]
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if refusal:
        message["refusal"] = refusal
    if calls:
        message["tool_calls"] = calls
    told = "refusal" if refusal else "tool_calls" if calls else "stop"
    if status == "incomplete":
        details = document.get("incomplete_details")
        why = details.get("reason") if isinstance(details, dict) else None
        told = why if isinstance(why, str) else "length"
    elif not status and not refusal:
        told = ""
    reason = ending(told, exchange, holds=bool(text or calls or refusal))
    usage = _usage(document.get("usage"))
    return exchange.answer(document, message, text or refusal, reason, usage)


def _called(item: Mapping[str, Any]) -> dict[str, Any]:
    arguments = argument_text(item.get("arguments"))
    function = {"name": item.get("name"), "arguments": arguments}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _usage(usage: Any) -> Counts | None:
    return counted(
        usage,
        "input_tokens",
        "output_tokens",
        cached=count(usage, "input_tokens_details", "cached_tokens"),
        written=count(usage, "input_tokens_details", "cache_write_tokens"),
        reasoning=count(usage, "output_tokens_details", "reasoning_tokens"),
    )


DELTAS: dict[str, PieceKind] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "other",
}
ENDS = ("response.completed", "response.incomplete")


class _Events:
    """Waits for the event that holds the whole response."""

    def __init__(self, exchange: Exchange) -> None:
        self.done = False
        self._exchange = exchange
        self._growth = Growth(exchange.max_bytes)
        self._text = Text(self._growth)
        self._calls = False
        self._response: dict[str, Any] | None = None

    def take(self, document: Mapping[str, Any]) -> Piece | None:
        kind = str(document.get("type"))
        if told := DELTAS.get(kind):
            delta = document.get("delta")
            text = delta if isinstance(delta, str) else ""
            self._calls = self._calls or told == "other"
            if told == "text":
                self._text.add(text)
            else:
                self._growth.add(len(text))
            return Piece("" if told == "other" else text, told) if text else None
        if kind == "response.failed":
            raise self._exchange.refuse(document.get("response"))
        response = document.get("response")
        if kind in ENDS and isinstance(response, dict):
            self._response = response
            self.done = True
        return None

    def whole(self) -> dict[str, Any]:
        if self._response is not None:
            return self._response
        text = str(self._text)
        if self.done and text and not self._calls:
            # It said that it is at its end, in the words of another API.
            part = {"type": "output_text", "text": text}
            return {"output": [{"type": "message", "content": [part]}]}
        raise self._exchange.malformed(
            "the stream ended before the response did", TruncatedAnswerError
        )


RESPONSES = Dialect(
    path="/responses",
    encode=encode,
    decode=decode,
    assemble=_Events,
    stream={"stream": True},
    least_output=LEAST_OUTPUT,
    output_limit="max_output_tokens",
    foreign=FOREIGN,
)
