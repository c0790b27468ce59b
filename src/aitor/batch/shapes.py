"""
The bodies of other APIs' batches, told in the terms of Chat Completions.

A request is written in those whoever answers it, because a batch may go to another
vendor than its file was made for. What has a word there gets it: an instruction
becomes a system message, stop sequences become `stop`, tools and their calls and
results take that shape. What has none (`top_k`, `thinking`) stays as it is, for a
vendor that knows it. What one vendor keeps for another request to refer to cannot be
had from others, so a line that needs it is a wrong line.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aitor.errors import BadRequestError

__all__ = ("APIS", "api_of", "from_messages_api", "from_responses_api")

APIS = ("/chat/completions", "/responses", "/messages")
"""What a line may ask for, by the end of its path."""

KEPT_AT_THE_VENDOR = ("previous_response_id", "conversation", "prompt", "background")


def api_of(url: Any) -> str:
    """
    Return which of `APIS` a line's `url` means: a path, or all of an address.

    Raises:
        BadRequestError: If it means none.
    """
    path = urlsplit(url).path.rstrip("/") if isinstance(url, str) else ""
    for api in APIS:
        if path.endswith(api):
            return api
    raise BadRequestError(
        f"'url' = {url!r:.80}: expected one that ends with one of {', '.join(APIS)}"
    )


def from_messages_api(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body of Anthropic's Messages API in terms of Chat Completions."""
    told = dict(body)
    messages = told.get("messages")
    if isinstance(messages, list):
        told["messages"] = [each for one in messages for each in _turns(one)]
        if system := told.pop("system", None):
            told["messages"].insert(0, {"role": "system", "content": system})
    if (stop := told.pop("stop_sequences", None)) is not None:
        told["stop"] = stop
    if isinstance(tools := told.get("tools"), list):
        told["tools"] = [_tool(tool) for tool in tools]
    choice = told.get("tool_choice")
    match choice:
        case {"type": "tool", "name": name}:
            told["tool_choice"] = {"type": "function", "function": {"name": name}}
        case {"type": "auto" | "any" | "none" as word}:
            told["tool_choice"] = "required" if word == "any" else word
    if isinstance(choice, dict) and choice.get("disable_parallel_tool_use"):
        told["parallel_tool_calls"] = False
    match told.get("metadata"):
        case {"user_id": str(user), **others} if not others:
            del told["metadata"]
            told["user"] = user
    return told


def _tool(tool: Any) -> Any:
    match tool:
        case {"name": name, "input_schema": schema, **more}:
            more.pop("type", None)
            function = {"name": name, "parameters": schema, **more}
            return {"type": "function", "function": function}
    return tool


def _turns(message: Any) -> Iterator[Any]:
    """Yield the messages that one of Anthropic's is: results come before the rest."""
    match message:
        case {"role": str(role), "content": list(blocks)}:
            pass
        case _:
            yield message
            return
    results = [each for each in blocks if _type(each) == "tool_result"]
    calls = [_call(each) for each in blocks if _type(each) == "tool_use"]
    thoughts = [each for each in blocks if _type(each).endswith("thinking")]
    known = ("tool_result", "tool_use", "thinking", "redacted_thinking")
    parts = [_part(each) for each in blocks if _type(each) not in known]
    for result in results:
        yield {
            "role": "tool",
            "tool_call_id": result.get("tool_use_id"),
            "content": _parts(result.get("content", "")),
        }
    if parts or calls or thoughts or not results:
        turn = {key: value for key, value in message.items() if key != "content"}
        turn |= {"role": role, "content": parts or None}
        if calls:
            turn["tool_calls"] = calls
        if thoughts:
            turn["thinking_blocks"] = thoughts
        yield turn


def _type(block: Any) -> str:
    return str(block.get("type")) if isinstance(block, Mapping) else ""


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(block.get("input") or {})
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _parts(content: Any) -> Any:
    return [_part(each) for each in content] if isinstance(content, list) else content


def _part(block: Any) -> Any:
    match block:
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {
            "type": "image",
            "source": {"type": "base64", "media_type": kind, "data": data},
        }:
            url = f"data:{kind};base64,{data}"
            return {"type": "image_url", "image_url": {"url": url}}
    return block


def from_responses_api(body: dict[str, Any]) -> dict[str, Any]:
    """
    Return a body of OpenAI's Responses API in terms of Chat Completions.

    Raises:
        BadRequestError: If it needs what the vendor keeps, or has no input.
    """
    told = dict(body)
    for key in KEPT_AT_THE_VENDOR:
        if told.pop(key, None):
            raise BadRequestError(
                f"'{key}' refers to what the vendor keeps: give the whole conversation "
                f"as 'input'"
            )
    given = told.pop("input", None)
    if not isinstance(given, str | list) or not given:
        raise BadRequestError("'body' must hold 'input', a text or a list of items")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if instructions := told.pop("instructions", None):
        items = [{"role": "system", "content": instructions}, *items]
    told["messages"] = list(_joined(items))
    if (limit := told.pop("max_output_tokens", None)) is not None:
        told["max_completion_tokens"] = limit
    _tell_text(told)
    match told.get("reasoning"):
        case {"effort": effort, **others} if not others:
            del told["reasoning"]
            told["reasoning_effort"] = effort
    if isinstance(tools := told.get("tools"), list):
        told["tools"] = [_nested(tool) for tool in tools]
    if "tool_choice" in told:
        told["tool_choice"] = _nested(told["tool_choice"])
    return told


def _tell_text(told: dict[str, Any]) -> None:
    text = told.pop("text", None)
    if not isinstance(text, dict):
        return
    match text.get("format"):
        case {"type": "json_schema", **schema}:
            told["response_format"] = {"type": "json_schema", "json_schema": schema}
        case {"type": "json_object"} as form:
            told["response_format"] = form
    if verbosity := text.get("verbosity"):
        told["verbosity"] = verbosity


def _nested(value: Any) -> Any:
    match value:
        case {"type": "function", "name": str()}:
            function = {key: each for key, each in value.items() if key != "type"}
            return {"type": "function", "function": function}
    return value


def _joined(items: Sequence[Any]) -> Iterator[Any]:
    """Yield messages; the calls of one turn are one message of theirs."""
    calls: list[Any] = []
    for item in items:
        if _type(item) == "function_call":
            function = {key: item.get(key) for key in ("name", "arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            calls.append(call)
            continue
        if calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        match item:
            case {"type": "function_call_output", "call_id": name, "output": output}:
                yield {"role": "tool", "tool_call_id": name, "content": output}
            case {"type": "reasoning"}:
                """It is for the model that thought it, and for no other."""
            case {"role": role, "content": content}:
                yield {"role": role, "content": _contents(content)}
            case _:
                raise BadRequestError(
                    f"'input' holds an item of type {_type(item)!r:.80}, which other "
                    f"APIs have no word for"
                )
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _contents(content: Any) -> Any:
    return [_input(each) for each in content] if isinstance(content, list) else content


def _input(part: Any) -> Any:
    match part:
        case {"type": "input_text" | "output_text", "text": text}:
            return {"type": "text", "text": text}
        case {"type": "input_image", "image_url": str(url), **more}:
            detail = {"detail": more["detail"]} if "detail" in more else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        case {"type": "input_file", **file}:
            return {"type": "file", "file": file}
    return part
