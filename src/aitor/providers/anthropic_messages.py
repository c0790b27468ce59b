"""
The dialect of Anthropic's Messages API.

Requests come in the shape of Chat Completions and are translated: system messages
move to the top, tool calls and their results become blocks, pictures become sources.
What is in this API's own shape already, a whole body or a single block, passes as it
is. A thinking model wants its thoughts back with its tool calls, so an answer's
message carries them along as `thinking_blocks`, and a request hands them over again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

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
from aitor.providers.documents import read_json
from aitor.providers.endings import ending, is_length

__all__ = ("MESSAGES",)

FOREIGN = frozenset(
    {
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "seed",
        "store",
        "prediction",
        "audio",
        "modalities",
        "verbosity",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "web_search_options",
        "moderation",
        "reasoning_effort",
    }
)

EFFORTS = {"minimal": "low"}
"""Chat Completions' words for this API's, where they differ."""

CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def encode(
    model: str, messages: Sequence[Message], parameters: dict[str, Any]
) -> dict[str, Any]:
    """
    Return the body of a request.

    Raises:
        BadRequestError: If something in it cannot be said in this API.
    """
    body = dict(parameters)
    if body.pop("n", 1) != 1:
        raise BadRequestError("'n': Anthropic gives one answer a request")
    stop = body.pop("stop", None)
    if stop is not None:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if (user := body.pop("user", None)) is not None:
        body["metadata"] = {"user_id": user, **body.get("metadata", {})}
    output = _output_config(body)
    if output:
        body["output_config"] = output
    if tools := body.get("tools"):
        body["tools"] = [_tool(tool) for tool in tools]
    if choice := _tool_choice(body):
        body["tool_choice"] = choice
    if system := _system(body.pop("system", None), messages):
        body["system"] = system
    return {**body, "model": model, "messages": list(_turns(messages))}


def _output_config(body: dict[str, Any]) -> dict[str, Any]:
    config = dict(body.get("output_config", {}))
    # There is no word here for no effort, so "none" stays behind as foreign.
    if body.get("reasoning_effort", "none") != "none":
        effort = body.pop("reasoning_effort")
        config["effort"] = EFFORTS.get(effort, effort)
    match body.pop("response_format", None):
        case None | {"type": "text"}:
            pass
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            config["format"] = {"type": "json_schema", "schema": schema}
        case _:
            raise BadRequestError(
                "'response_format': Anthropic takes a 'json_schema' with a schema"
            )
    return config


def _tool(tool: Any) -> Any:
    match tool:
        case {"type": "function", "function": {"name": name, **more}}:
            plain = {"type": "object", "properties": {}}
            schema = more.pop("parameters", None) or plain
            return {"name": name, "input_schema": schema, **more}
    return tool


def _tool_choice(body: dict[str, Any]) -> Any:
    parallel = body.pop("parallel_tool_calls", True)
    match body.pop("tool_choice", None):
        case str(word):
            choice: Any = {"type": CHOICES.get(word, word)}
        case {"function": {"name": name}}:
            choice = {"type": "tool", "name": name}
        case other:
            choice = other
    if parallel is False and body.get("tools"):
        return {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return choice


def _system(system: Any, messages: Sequence[Message]) -> Any:
    texts = [m.get("content") for m in messages if m["role"] in ("system", "developer")]
    texts = [text for text in (system, *texts) if text]
    if len(texts) <= 1:
        return texts[0] if texts else None
    return [block for text in texts for block in _blocks(text)]


def _turns(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    results: list[Any] = []
    for message in messages:
        role = message["role"]
        if role == "tool":
            # All results of one turn's calls have to come in one message.
            results.append(_result(message))
            continue
        if results:
            yield {"role": "user", "content": results}
            results = []
        if role == "assistant":
            yield {"role": role, "content": _said(message)}
        elif role not in ("system", "developer"):
            yield {"role": role, "content": _content(message.get("content"))}
    if results:
        yield {"role": "user", "content": results}


def _result(message: Message) -> dict[str, Any]:
    return {
        "type": "tool_result",
        "tool_use_id": message.get("tool_call_id"),
        "content": _content(message.get("content")),
    }


def _said(message: Message) -> Any:
    content, calls = message.get("content"), message.get("tool_calls") or ()
    thoughts = message.get("thinking_blocks") or ()
    if not calls and not thoughts:
        return _content(content)
    return [*thoughts, *_blocks(content), *(_call(call) for call in calls)]


def _call(call: Any) -> dict[str, Any]:
    match call:
        case {"id": name, "function": {"name": function, **more}}:
            given = _arguments(more.get("arguments"))
            if isinstance(given, Mapping):
                return {
                    "type": "tool_use",
                    "id": name,
                    "name": function,
                    "input": given,
                }
    raise BadRequestError(
        "a tool call in a message has no id, no name, or arguments that are no object"
    )


def _arguments(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        return from_json(arguments or "{}")
    except ValueError:
        return None


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else _blocks(content)


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_block(part) for part in content or ()]


def _block(part: Any) -> Any:
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return {"type": "image", "source": _source(url)}
        case {"type": "file", "file": {"file_data": str(url), **more}}:
            title = {"title": more["filename"]} if "filename" in more else {}
            return {"type": "document", "source": _source(url), **title}
    return part


def _source(url: str) -> dict[str, str]:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    kind, separator, data = url.removeprefix("data:").partition(";base64,")
    if not separator:
        raise BadRequestError("a data URL in a message is not written in base64")
    return {"type": "base64", "media_type": kind, "data": data}


def decode(document: Mapping[str, Any], exchange: Exchange) -> Answer:
    """Return the answer that *document* holds."""
    content = document.get("content")
    if not isinstance(content, list):
        raise exchange.malformed("the answer is JSON, but has no content in it")
    blocks = [block for block in content if isinstance(block, dict)]
    text = text_in([block for block in blocks if block.get("type") == "text"])
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    calls = [_called(block) for block in blocks if block.get("type") == "tool_use"]
    if calls:
        message["tool_calls"] = calls
    thoughts = [block for block in blocks if block.get("type") in THOUGHTS]
    if thoughts:
        message["thinking_blocks"] = thoughts
    holds = bool(text or calls)
    reason = ending(document.get("stop_reason"), exchange, holds=holds)
    return exchange.answer(
        document, message, text, reason, _usage(document.get("usage"))
    )


def _called(block: Mapping[str, Any]) -> dict[str, Any]:
    function = {
        "name": block.get("name"),
        "arguments": argument_text(block.get("input") or {}),
    }
    return {"id": block.get("id"), "type": "function", "function": function}


def _usage(usage: Any) -> Counts | None:
    read = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    return counted(
        usage,
        "input_tokens",
        "output_tokens",
        besides=read + written,
        cached=read,
        written=written,
        reasoning=count(usage, "output_tokens_details", "thinking_tokens"),
    )


THOUGHTS = ("thinking", "redacted_thinking")
ENTRY = 256
"""What a block counts for, however little is in it."""

DELTAS: dict[str, tuple[str, str, PieceKind]] = {
    "text_delta": ("text", "text", "text"),
    "input_json_delta": ("partial_json", "input", "other"),
    "thinking_delta": ("thinking", "thinking", "reasoning"),
    "signature_delta": ("signature", "signature", "reasoning"),
}
"""By a delta's type: its key, the block's key that it adds to, the piece's kind."""


class _Events:
    """Puts the events of a message together."""

    def __init__(self, exchange: Exchange) -> None:
        self.done = False
        self._exchange = exchange
        self._growth = Growth(exchange.max_bytes)
        self._message: dict[str, Any] = {}
        # In the order in which they began; some send one index for all of them.
        self._blocks: list[dict[str, Any]] = []
        self._latest: dict[int, int] = {}
        self._texts: dict[tuple[int, str], Text] = {}

    def take(self, document: Mapping[str, Any]) -> Piece | None:
        kind, index = document.get("type"), count(document, "index")
        if kind == "content_block_delta":
            place = self._latest.get(index)
            delta = _object(document, "delta")
            return None if place is None else self._delta(place, delta)
        if kind == "content_block_start":
            self._growth.add(ENTRY)
            self._latest[index] = len(self._blocks)
            self._blocks.append(_object(document, "content_block"))
        elif kind == "message_start":
            self._message = _object(document, "message")
        elif kind == "message_delta":
            self._message.update(_object(document, "delta"))
            # Counts grow; those that are not told again stay as they began.
            told = _object(document, "usage").items()
            usage = {key: value for key, value in told if value is not None}
            self._message["usage"] = {**_object(self._message, "usage"), **usage}
        elif kind == "message_stop":
            self.done = True
        return None

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Piece | None:
        told, block = str(delta.get("type")), self._blocks[index]
        if told == "citations_delta":
            self._growth.add(ENTRY)
            block["citations"] = [
                *(block.get("citations") or ()),
                delta.get("citation"),
            ]
        if told not in DELTAS:
            return None
        key, target, kind = DELTAS[told]
        place = (index, target)
        if place not in self._texts:
            self._texts[place] = Text(self._growth)
            self._texts[place].add(block.get(target))
        piece = delta.get(key)
        text = self._texts[place].add(
            argument_text(piece) if kind == "other" else piece
        )
        return Piece("" if kind == "other" else text, kind) if text else None

    def whole(self) -> dict[str, Any]:
        if not self.done:
            raise self._exchange.malformed(
                "the stream ended without its 'message_stop'", TruncatedAnswerError
            )
        for (index, target), text in self._texts.items():
            self._blocks[index][target] = self._value(target, str(text))
        return {**self._message, "content": self._blocks}

    def _value(self, target: str, text: str) -> Any:
        if target != "input":
            return text
        text = text or "{}"
        # A limit may have cut the arguments; then what is there of them is told.
        cut = is_length(self._message.get("stop_reason"))
        try:
            return from_json(text, allow_partial=True) if cut else read_json(text)
        except ValueError:
            pass
        raise self._exchange.malformed("the arguments of a tool call are not JSON")


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


MESSAGES = Dialect(
    path="/v1/messages",
    encode=encode,
    decode=decode,
    assemble=_Events,
    stream={"stream": True},
    output_limit="max_tokens",
    foreign=FOREIGN,
)
