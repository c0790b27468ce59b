"""
The dialect of OpenAI's Chat Completions, which half the world speaks.

Requests are in its shape already and go out as they are. Answers come from many
servers that agree on less than they think, so what is not needed is not insisted on:
a name, a number or a count may be missing, a terminal mark may not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aitor.errors import TruncatedAnswerError
from aitor.messages import Answer, Message
from aitor.providers.dialect import (
    Counts,
    Dialect,
    Exchange,
    Growth,
    Piece,
    Text,
    argument_text,
    count,
    counted,
    text_in,
)
from aitor.providers.documents import whole_characters
from aitor.providers.endings import ending
from aitor.providers.tool_calls import ToolCalls

__all__ = ("CHAT",)

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
    refusal = text_in(message.get("refusal"))
    text = text_in(message.get("content")) or refusal
    # Some servers leave the role out, which no server takes back.
    message = {**message, "role": "assistant"}
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [_called(call) for call in calls]
    holds = bool(text or calls or message.get("function_call"))
    reason = ending(reason, exchange, holds=holds)
    return exchange.answer(
        document,
        message,
        text,
        "refusal" if refusal else reason,
        _usage(document.get("usage")),
    )


def _called(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or "arguments" not in function:
        return call
    arguments = argument_text(function["arguments"])
    return {**call, "function": {**function, "arguments": arguments}}


def _usage(usage: Any) -> Counts | None:
    # What was read from a cache stands in a place of its own at each vendor.
    return counted(
        usage,
        "prompt_tokens",
        "completion_tokens",
        cached=count(usage, "prompt_tokens_details", "cached_tokens")
        or count(usage, "cached_tokens")
        or count(usage, "prompt_cache_hit_tokens"),
        written=count(usage, "prompt_tokens_details", "cache_write_tokens"),
        reasoning=count(usage, "completion_tokens_details", "reasoning_tokens"),
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
        self._count(document.get("usage"))
        choices = document.get("choices")
        first = None
        for entry in choices if isinstance(choices, list) else ():
            if not isinstance(entry, dict):
                raise self._exchange.malformed("a choice in a chunk is not an object")
            if entry.get("finish_reason") == "error" or entry.get("error"):
                raise self._exchange.refuse(entry)
            self._count(entry.get("usage"))
            index = count(entry, "index")
            piece = self._choice(index).take(entry)
            if index == 0:
                first = piece
        return first

    def _count(self, usage: Any) -> None:
        # Told once, at the end, or growing from chunk to chunk: the last word counts.
        if isinstance(usage, dict):
            known = self._head.setdefault("usage", {})
            known.update((key, told) for key, told in usage.items() if told is not None)

    def _choice(self, index: int) -> "_Choice":
        if index not in self._choices:
            self._growth.add(ENTRY)
            self._choices[index] = _Choice(self._growth)
        return self._choices[index]

    def whole(self) -> dict[str, Any]:
        first = self._choices.get(0)
        if not self.done and first is not None and not first.ended:
            raise self._exchange.malformed(
                "the stream ended without a 'finish_reason' or '[DONE]'",
                TruncatedAnswerError,
            )
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
        self._calls = ToolCalls(growth)
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
        if not delta or not isinstance(delta, dict):
            delta = self._rest_of(entry.get("message"))
        piece = None
        for key, value in delta.items():
            if value and (told := self._take(key, value)):
                piece = told
        return piece

    @property
    def ended(self) -> bool:
        """Whether it has said why it ended."""
        return bool(self._entry["finish_reason"])

    def _rest_of(self, message: Any) -> dict[str, Any]:
        """Return what a whole *message*, sent as an event, adds to what came before."""
        if not isinstance(message, dict):
            return {}
        known = {"content": str(self._content), "refusal": self._more.get("refusal")}
        rest = dict(message)
        for key, text in known.items():
            told = text_in(rest.get(key))
            rest[key] = told.removeprefix(text) if text else told
        if self._calls:
            rest.pop("tool_calls", None)
        return rest

    def _take(self, key: str, value: Any) -> Piece | None:
        if key == "content":
            text = self._content.add(text_in(value))
            return Piece(text, "text") if text else None
        if key in ("reasoning_content", "reasoning"):
            text = self._reasoning.add(value)
            return Piece(text, "reasoning") if text else None
        if key == "tool_calls" and isinstance(value, list):
            self._calls.take(value)
            return Piece("", "other")
        if key == "role" or (key == "refusal" and not isinstance(value, str)):
            return None
        self._more[key] = _added(self._more.get(key), value, self._growth)
        return Piece(value, "text") if key == "refusal" else Piece("", "other")

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
            message["tool_calls"] = self._calls.whole()
        return {"message": message, **self._entry}


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
