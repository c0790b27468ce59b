"""
One turn of a model: its answer read, and written into the conversation.

The conversation is kept in one form, that of Chat Completions with its tool calls,
whichever way a model called: so another provider can take over in the middle. Only
for a provider without tool calls it is written out as text, when it is asked.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aitor.agents.protocol import Call, Said, as_json, read_text
from aitor.agents.tools import Tool
from aitor.llm.thoughts import split_thoughts
from aitor.messages import Message, Reply

__all__ = ("messages_of", "read_reply", "trouble_with")

ENDINGS = {
    "length": "it was cut off at its limit: see 'max_tokens'",
    "content_filter": "it was declined or cut off by a content filter",
    "refusal": "the model declined to answer",
}
"""What each `finish_reason` means after which a text is no whole answer."""

CUT = (
    "error: your answer was cut off at its limit and nothing was run; call fewer "
    "tools at once, with shorter arguments"
)


def read_reply(reply: Reply, tools: Mapping[str, Tool], *, text: bool) -> Said:
    """
    Return what *reply* says.

    Args:
        reply: The model's answer.
        tools: By name.
        text: Whether calls in the text count. A model with calls of its own may
            quote what others wrote, and a quotation must not run anything.
    """
    wanted = reply.message.get("tool_calls") or ()
    if wanted:
        spoken, hidden = split_thoughts(reply.text)
        said = Said(spoken, tuple(map(_call, wanted)), hidden=hidden)
    elif text:
        said = read_text(reply.text, tools)
    else:
        spoken, hidden = split_thoughts(reply.text)
        said = Said(answer=spoken if hidden else reply.text, hidden=hidden)
    if said.calls and reply.finish_reason in ENDINGS:
        # What was cut may still read well, and mean something else.
        if reply.finish_reason == "length":
            return Said(said.thought, correction=CUT, hidden=said.hidden)
        return Said(answer=said.thought, hidden=said.hidden)
    return said


def trouble_with(reply: Reply, said: Said) -> str | None:
    """Return why what *reply* says cannot stand as the answer, if it cannot."""
    reason = reply.finish_reason
    if said.answer is None and (said.calls or said.thought or not said.hidden):
        # It can go on; but a thought that took up all there was would do so again.
        return None if reason == "length" else ENDINGS.get(reason)
    if reason in ENDINGS:
        return ENDINGS[reason]
    return (
        "it is empty" if said.answer is not None and not said.answer.strip() else None
    )


def _call(wanted: Any) -> Call:
    function = wanted.get("function") or {}
    name = function.get("name")
    name = name if isinstance(name, str) and name else "unnamed"
    given = wanted.get("id")
    own = given if isinstance(given, str) else ""
    try:
        # No arguments at all is how some servers write that there are none; others
        # write them as they are, or as a text within a text.
        arguments = function.get("arguments") or {}
        for _ in range(2):
            if isinstance(arguments, str):
                arguments = json.loads(arguments)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"the arguments are not JSON ({type(error).__name__})"
        return Call(name, {}, problem, own)
    if not isinstance(arguments, dict):
        return Call(name, {}, "the arguments are not a JSON object", own)
    try:
        return Call(name, as_json(arguments), id=own)
    except ValueError as error:
        return Call(name, {}, str(error), own)


def messages_of(
    reply: Reply, said: Said, observations: Sequence[str], ids: Iterable[int]
) -> list[Message]:
    """
    Return the messages that carry the conversation on after *reply*.

    Args:
        reply: The model's answer.
        said: What it says.
        observations: The result of each call.
        ids: Numbers for calls that the model has no own name for.
    """
    if not said.calls:
        content = said.answer
        if content is None:
            content, _ = split_thoughts(reply.text)
        # No vendor takes an empty message back.
        messages: list[Message] = [{"role": "assistant", "content": content or "…"}]
        if said.answer is None:
            messages.append({"role": "user", "content": said.correction})
        return messages
    names = _names(said.calls, iter(ids))
    calls = [
        {
            "id": name,
            "type": "function",
            # Written anew: what could not be read must not be sent to another vendor.
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for name, call in zip(names, said.calls, strict=True)
    ]
    spoken = {"role": "assistant", "content": said.thought or None, "tool_calls": calls}
    results = [
        {"role": "tool", "tool_call_id": name, "content": observation}
        for name, observation in zip(names, observations, strict=True)
    ]
    # What the vendor added, such as a model's thoughts, goes along.
    return [{**reply.message, **spoken}, *results]


def _names(calls: Sequence[Call], ids: Any) -> list[str]:
    names: list[str] = []
    for call in calls:
        fresh = call.id and call.id not in names
        names.append(call.id if fresh else f"aitor_{next(ids)}")
    return names
