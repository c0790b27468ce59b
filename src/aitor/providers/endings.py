"""
Why an answer ended: the vendors' words for it, to ours.

Three things have to be told apart. An ending that is known makes an answer. One that
says "I was interrupted" makes a failure, however much text came before it: half an
answer must not be handed out, kept in a cache or written down as done. An ending that
nobody knows, or none at all, makes an answer only where there is something in it; it
keeps the vendor's word, or is called `unknown`, so that it is told from a known one.
"""

import re
from collections.abc import Mapping
from typing import Any

from aitor.errors import (
    APIError,
    ContentFilterError,
    OverloadedError,
    TruncatedAnswerError,
)
from aitor.providers.dialect import Exchange
from aitor.providers.wording import repeatable_code

__all__ = ("UNKNOWN", "ending", "is_length")

UNKNOWN = "unknown"
"""The ending of an answer whose vendor did not say why it ended."""

ENDINGS = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "refusal": "refusal",
    "pause_turn": "pause_turn",
}
"""Endings that are known, in lower case, and what we call them."""

INTERRUPTED = """
    abort aborted cancel canceled cancelled crashed disconnect disconnected error fail
    failed failure filter interrupt interrupted malformed terminated timeout unexpected
"""
INTERRUPTIONS: Mapping[str, type[APIError]] = {
    **dict.fromkeys(INTERRUPTED.split(), TruncatedAnswerError),
    **dict.fromkeys(("insufficient", "overloaded", "unavailable"), OverloadedError),
}
"""Words of an ending that say that the answer is none."""


def ending(reason: Any, exchange: Exchange, *, holds: bool) -> str:
    """
    Return why an answer ended, in our words where they are known.

    Args:
        reason: The vendor's word.
        exchange: What it is the answer to.
        holds: Whether there is anything in the answer.

    Raises:
        APIError: It was interrupted, or ended without a word and with nothing in it.
    """
    told = reason.strip() if isinstance(reason, str) else ""
    if known := ENDINGS.get(told.lower()):
        return known
    words = re.findall(r"[a-z]+", told.lower())
    name = "_".join(words)
    shown = f" ('{name}')" if repeatable_code(name) else ""
    if words[:2] == ["content", "filter"]:
        raise exchange.malformed(f"the answer was filtered{shown}", ContentFilterError)
    for word in words:
        if kind := INTERRUPTIONS.get(word):
            raise exchange.malformed(f"the provider broke the answer off{shown}", kind)
    if not holds:
        raise exchange.malformed(
            "the answer is empty, and nothing says why it ended: its end is missing",
            TruncatedAnswerError,
        )
    return told or UNKNOWN


def is_length(reason: Any) -> bool:
    """Tell whether *reason* says that a limit ended the answer."""
    return isinstance(reason, str) and ENDINGS.get(reason.lower()) == "length"
