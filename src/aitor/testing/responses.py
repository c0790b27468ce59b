"""
OpenAI's wire: responses, whole and as typed events.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from aitor.testing.ask import Answer, Ask, text_of
from aitor.testing.dialect import CREATED, Rules, event
from aitor.testing.errors import VendorError
from aitor.testing.openai import OpenAI

__all__ = ("Responses",)


class Responses(OpenAI):
    """
    `POST /v1/responses`.
    """

    content = "output"

    def read(self, body: Mapping[str, Any], rules: Rules) -> Ask:
        """
        Return what *body* asks for.
        """
        model = self.check_model(body, rules)
        given = body.get("input")
        items = [given] if isinstance(given, str) else given
        if not isinstance(items, list) or not items:
            raise self.reject("bad_request", model, "input")
        if rules.reasons(model):
            self.refuse_sampling(body, model)
        instructions = body.get("instructions")
        texts = [instructions, *items] if instructions else items
        form = (body.get("text") or {}).get("format") or {}
        schema = {} if form.get("type") == "json_object" else form.get("schema")
        ask = Ask(
            model=model,
            prompt="\n".join(map(text_of, texts)),
            last=text_of(items[-1]),
            stream=body.get("stream") is True,
            max_tokens=self.check_limit(body, "max_output_tokens"),
            tools=frozenset(
                tool["name"] for tool in body.get("tools") or () if "name" in tool
            ),
            schema=schema if isinstance(schema, dict) else None,
        )
        return self.check_window(ask, rules)

    def whole(self, ask: Ask, answer: Answer, number: int) -> dict[str, Any]:
        """
        Return the body of a `response`.
        """
        body = _response(ask, number)
        body["output"] = [_item(answer, number)]
        body["usage"] = {
            "input_tokens": answer.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.input_tokens + answer.output_tokens,
        }
        if answer.finish == "length":
            body["incomplete_details"] = {"reason": "max_output_tokens"}
        if answer.finish is not None:
            body["status"] = "incomplete" if answer.finish == "length" else "completed"
        return body

    def events(self, ask: Ask, answer: Answer, number: int) -> Iterator[bytes]:
        """
        Yield the events of a response, numbered from 0.
        """
        for position, (name, data) in enumerate(_events(self, ask, answer, number)):
            yield event(name, {**data, "sequence_number": position})

    def error_event(self, error: VendorError, number: int) -> bytes:
        """
        Return a `response.failed`, which is how this endpoint words a failure.
        """
        response = {
            **_response(Ask("", "", ""), number),
            "status": "failed",
            "error": {
                "code": error.code or "server_error",
                "message": error.message,
            },
        }
        return event("response.failed", {"response": response, "sequence_number": 0})


def _events(
    dialect: Responses, ask: Ask, answer: Answer, number: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    started = {"response": _response(ask, number)}
    yield "response.created", started
    yield "response.in_progress", started
    item = _item(answer, number)
    part: dict[str, Any] = {"item_id": item["id"], "output_index": 0}
    text = {**part, "content_index": 0}
    if answer.tool_call:
        empty = {**item, "arguments": "", "status": "in_progress"}
        yield "response.output_item.added", {"output_index": 0, "item": empty}
        for piece in answer.pieces():
            yield "response.function_call_arguments.delta", {**part, "delta": piece}
        arguments = answer.tool_call.arguments
        done = {**part, "arguments": arguments, "name": answer.tool_call.name}
        yield "response.function_call_arguments.done", done
    else:
        empty = {**item, "content": [], "status": "in_progress"}
        yield "response.output_item.added", {"output_index": 0, "item": empty}
        yield "response.content_part.added", {**text, "part": _text("")}
        for piece in answer.pieces():
            delta = {**text, "delta": piece, "logprobs": []}
            yield "response.output_text.delta", delta
        done = {**text, "text": answer.text, "logprobs": []}
        yield "response.output_text.done", done
        yield "response.content_part.done", {**text, "part": _text(answer.text)}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    if answer.finish is not None:
        name = "incomplete" if answer.finish == "length" else "completed"
        yield f"response.{name}", {"response": dialect.whole(ask, answer, number)}


def _response(ask: Ask, number: int) -> dict[str, Any]:
    return {
        "id": f"resp_fake{number}",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": ask.max_tokens,
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
    }


def _item(answer: Answer, number: int) -> dict[str, Any]:
    status = "incomplete" if answer.finish == "length" else "completed"
    if answer.tool_call:
        return {
            "id": f"fc_fake{number}",
            "type": "function_call",
            "status": status,
            "call_id": f"call_fake{number}",
            "name": answer.tool_call.name,
            "arguments": answer.tool_call.arguments,
        }
    return {
        "id": f"msg_fake{number}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [_text(answer.text)],
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
