"""
The dialect of OpenAI's Chat Completions, which half the world speaks.

Requests are in its shape already and go out as they are. Answers come from many
servers that agree on less than they think, so what is not needed is not insisted on:
a name, a number or a count may be missing, a terminal mark may not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aitor.errors import TruncatedAnswerError
from aitor.messages import Answer, Message, Usage
from aitor.providers.dialect import (
    Dialect,
    Exchange,
    Growth,
    Piece,
    Text,
    count,
    known_counts,
    text_in,
)
from aitor.providers.documents import whole_characters

__all__ = ("CHAT", "FINISH_REASONS")

FINISH_REASONS = {
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "end_turn": "stop",
    "eos": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
}
"""Other words for ours; a word that is in neither is passed on."""

ENTRY = 256
"""What an entry in the answer counts for, however little is in it."""


def encode(
    model: str, messages: Sequence[Message], parameters: dict[str, Any]
) -> dict[str, Any]:
    """Return the body of a request."""
    return {
        **parameters,
        "model": model,
        "messages": [
            # What another vendor's model thought is refused here as unknown.
            {k: v for k, v in message.items() if k != "thinking_blocks"}
            if "thinking_blocks" in message
            else message
            for message in messages
        ],
    }


def decode(document: Mapping[str, Any], exchange: Exchange) -> Answer:
    """Return the answer that *document* holds."""
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise exchange.malformed("the answer is JSON, but has no choice in it")
    reason = choice.get("finish_reason")
    if reason == "error" or choice.get("error"):
        raise exchange.refuse(choice)
    if not isinstance(reason, str) or not reason:
        raise exchange.malformed(
            "the answer has no 'finish_reason': its end is missing",
            TruncatedAnswerError,
        )
    refusal = text_in(message.get("refusal"))
    return exchange.answer(
        document,
        # Some servers leave the role out, which no server takes back.
        {**message, "role": "assistant"},
        text_in(message.get("content")) or refusal,
        "refusal" if refusal else FINISH_REASONS.get(reason, reason),
        _usage(document.get("usage")),
    )


def _usage(usage: Any) -> Usage | None:
    counts = known_counts(usage, "prompt_tokens", "completion_tokens")
    if counts is None:
        return None
    inputs = usage.get("prompt_tokens_details")
    outputs = usage.get("completion_tokens_details")
    return Usage(
        *counts,
        count(inputs, "cached_tokens") if inputs else 0,
        count(inputs, "cache_write_tokens") if inputs else 0,
        count(outputs, "reasoning_tokens") if outputs else 0,
    )


class _Chunks:
    """Puts chunks together to a completion."""

    def __init__(self, exchange: Exchange) -> None:
        self.done = False
        self._exchange = exchange
        self._growth = Growth(exchange.max_bytes)
        self._head: dict[str, Any] = {"object": "chat.completion"}
        self._choices: dict[int, _Choice] = {}

    def take(self, document: Mapping[str, Any]) -> Piece | None:
        for key in ("id", "created", "model", "service_tier", "system_fingerprint"):
            if key in document:
                self._head.setdefault(key, document[key])
        # Told once, at the end, or growing from chunk to chunk: the last one counts.
        if document.get("usage"):
            self._head["usage"] = document["usage"]
        choices = document.get("choices")
        first = None
        for entry in choices if isinstance(choices, list) else ():
            if not isinstance(entry, dict):
                raise self._exchange.malformed("a choice in a chunk is not an object")
            if entry.get("finish_reason") == "error" or entry.get("error"):
                raise self._exchange.refuse(entry)
            index = count(entry, "index")
            piece = self._choice(index).take(entry)
            if index == 0:
                first = piece
        return first

    def _choice(self, index: int) -> "_Choice":
        if index not in self._choices:
            self._growth.add(ENTRY)
            self._choices[index] = _Choice(self._growth)
        return self._choices[index]

    def whole(self) -> dict[str, Any]:
        choices = [
            {"index": index, **self._choices[index].whole()}
            for index in sorted(self._choices)
        ]
        return {**self._head, "choices": choices}


class _Choice:
    """One of the answers that grow side by side in a stream."""

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        # What grows long is kept in pieces; the rest is rare or short.
        self._content = Text(growth)
        self._reasoning = Text(growth)
        self._calls: dict[int, _Call] = {}
        self._more: dict[str, Any] = {}
        self._entry: dict[str, Any] = {"finish_reason": None}

    def take(self, entry: Mapping[str, Any]) -> Piece | None:
        self._entry["finish_reason"] = (
            entry.get("finish_reason") or self._entry["finish_reason"]
        )
        if entry.get("logprobs"):
            known = self._entry.get("logprobs")
            self._entry["logprobs"] = _added(known, entry["logprobs"], self._growth)
        delta = entry.get("delta")
        if not isinstance(delta, dict):
            return None
        piece = None
        for key, value in delta.items():
            if value and (told := self._take(key, value)):
                piece = told
        return piece

    def _take(self, key: str, value: Any) -> Piece | None:
        if key == "content":
            text = self._content.add(text_in(value))
            return Piece(text, "text") if text else None
        if key in ("reasoning_content", "reasoning"):
            text = self._reasoning.add(value)
            return Piece(text, "reasoning") if text else None
        if key == "tool_calls" and isinstance(value, list):
            for position, call in enumerate(value):
                self._call(position, call)
            return Piece("", "other")
        if key == "role" or (key == "refusal" and not isinstance(value, str)):
            return None
        self._more[key] = _added(self._more.get(key), value, self._growth)
        return Piece(value, "text") if key == "refusal" else Piece("", "other")

    def _call(self, position: int, call: Any) -> None:
        if not isinstance(call, dict):
            return
        index = count(call, "index") if "index" in call else position
        if index not in self._calls:
            self._growth.add(ENTRY)
            self._calls[index] = _Call(self._growth)
        self._calls[index].take(call)

    def whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": str(self._content) or None,
            **self._more,
        }
        if isinstance(refusal := message.get("refusal"), str):
            message["refusal"] = whole_characters(refusal)
        if reasoning := str(self._reasoning):
            message["reasoning_content"] = reasoning
        if self._calls:
            message["tool_calls"] = [
                self._calls[index].whole() for index in sorted(self._calls)
            ]
        return {"message": message, **self._entry}


class _Call:
    """One tool call that grows in a stream."""

    def __init__(self, growth: Growth) -> None:
        self._id: Any = None
        self._name: Any = None
        self._arguments = Text(growth)

    def take(self, call: Mapping[str, Any]) -> None:
        self._id = self._id or call.get("id")
        function = call.get("function")
        if isinstance(function, dict):
            self._name = self._name or function.get("name")
            self._arguments.add(function.get("arguments"))

    def whole(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "function",
            "function": {"name": self._name, "arguments": str(self._arguments)},
        }


def _added(known: Any, value: Any, growth: Growth) -> Any:
    """Return *known* with *value* added to it, as pieces of a stream add up."""
    if isinstance(known, dict) and isinstance(value, dict):
        more = {k: _added(known.get(k), v, growth) for k, v in value.items()}
        return {**known, **more}
    growth.add(ENTRY + (len(value) if isinstance(value, str | list) else 0))
    if isinstance(known, str) and isinstance(value, str):
        return known + value
    if isinstance(known, list) and isinstance(value, list):
        # It is ours, and grows by a word at a time.
        known.extend(value)
        return known
    return known if value is None else value


CHAT = Dialect(
    path="/chat/completions",
    encode=encode,
    decode=decode,
    assemble=_Chunks,
    stream={"stream": True, "stream_options": {"include_usage": True}},
)
