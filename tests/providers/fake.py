"""A wire that plays the vendor's side from a script, and what tests ask through it."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from anyio.lowlevel import checkpoint

from aitor.messages import Answer, Request
from aitor.providers.base import Provider
from aitor.wire import Response, WireSettings

JSON = {"content-type": "application/json", "x-request-id": "req_0123abcd"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


@dataclass
class Scripted:
    """One answer: its status, headers, and a body in pieces, which may break off."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: dict(JSON))
    pieces: Iterable[bytes | Exception] = ()

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._rest = iter(self.pieces)
        return self

    async def __anext__(self) -> bytes:
        await checkpoint()
        for piece in self._rest:
            if isinstance(piece, Exception):
                raise piece
            return piece
        raise StopAsyncIteration


@dataclass
class Sent:
    path: str
    data: bytes
    headers: Mapping[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.data)


class FakeWire:
    """Answers each post with the next script, the last one again and again."""

    stale = False

    def __init__(self) -> None:
        self.settings: list[WireSettings] = []
        self.sent: list[Sent] = []
        self.scripts: list[Scripted | Exception] = []
        self.closed = 0

    def open(self, transport: str, settings: WireSettings) -> "FakeWire":
        self.settings.append(settings)
        return self

    def answer(
        self,
        body: Any = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Script one answer: a document, bytes, or pieces of them."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        pieces = [body] if isinstance(body, bytes) else body
        if headers is None:
            headers = JSON
        self.scripts.append(Scripted(status, headers, pieces))

    def stream(self, *documents: Any) -> None:
        """Script a stream of events, one for each document."""
        self.answer([event(each) for each in documents], headers=EVENTS)

    @property
    def body(self) -> Any:
        """The last body that was sent."""
        return self.sent[-1].body

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Response]:
        self.sent.append(Sent(path, body, headers or {}))
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if isinstance(script, Exception):
            raise script
        yield script

    async def aclose(self) -> None:
        self.closed += 1


def event(document: Any) -> bytes:
    if isinstance(document, bytes):
        return document
    if isinstance(document, str):
        return f"data: {document}\n\n".encode()
    name = f"event: {document['type']}\n" if "type" in document else ""
    return f"{name}data: {json.dumps(document)}\n\n".encode()


async def ask(provider: Provider, prompt: Any = "Hi", **parameters: Any) -> Answer:
    model = parameters.pop("model", None)
    request = Request.of(prompt, model=model, parameters=parameters)
    return await provider.complete(request, lambda: None)


def completion(content: Any = "Hello", **more: Any) -> dict[str, Any]:
    """A completion as OpenAI sends it."""
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-5.5-2026-04-23",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": more.pop("finish", "stop"),
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 20,
            "total_tokens": 30,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
        **more,
    }


def chunk(content: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a completion."""
    delta = {} if content is None else {"content": content}
    delta.update(more.pop("delta", {}))
    finish = more.pop("finish", None)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "gpt-5.5-2026-04-23",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }


def response(*output: Any, **more: Any) -> dict[str, Any]:
    """A response as OpenAI sends it."""
    return {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-6-astra",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": list(output) or [said("Hello")],
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 30,
        },
        **more,
    }


def said(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part]}


def message(*content: Any, **more: Any) -> dict[str, Any]:
    """A message as Anthropic sends it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": list(content) or [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 1,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 5},
        },
        **more,
    }


def claude_stream(*texts: str, stop: bool = True) -> list[dict[str, Any]]:
    """The events of a message of Anthropic with one text."""
    begun = message(stop_reason=None, content=[])
    begun["usage"] = {"input_tokens": 5, "output_tokens": 1}
    block = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "ping"},
    ]
    events += [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        }
        for text in texts
    ]
    events += [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 20},
        },
    ]
    return [*events, {"type": "message_stop"}] if stop else events
