"""
What an agent did, step by step.

A trace holds everything that was said, because that is what it is read for. Its
`repr` tells the shape alone, so that a log line or a traceback leaks no text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aitor.errors import LLMError
from aitor.outcomes import Outcome

__all__ = ("Step", "StepsExceededError", "ToolCall", "UnfinishedAnswerError")


@dataclass(frozen=True, slots=True, repr=False)
class ToolCall:
    """
    One call of a tool.

    Args:
        name: The tool that the model named.
        arguments: As the model gave them.
        observation: What the model was told of it.
        failed: Whether that is an error: of the call, or of the tool.
        seconds: How long the tool took.
    """

    name: str
    arguments: Mapping[str, Any]
    observation: str
    failed: bool
    seconds: float

    def __repr__(self) -> str:
        return (
            f"ToolCall({self.name!r}, arguments=[{', '.join(self.arguments)}], "
            f"observation={len(self.observation)} characters, "
            f"failed={self.failed}, seconds={self.seconds:.3f})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Step:
    """
    One answer of the model, and what became of it.

    Args:
        provider: Name of the provider that answered.
        thought: What the model said or thought besides calls and answer.
        calls: The tools it called, in its order.
        answer: Its final answer, whole or not; None while there is none.
        seconds: How long all of it took, waits and tools included.
    """

    provider: str
    thought: str
    calls: tuple[ToolCall, ...]
    answer: str | None
    seconds: float

    def __repr__(self) -> str:
        return (
            f"Step(provider={self.provider!r}, "
            f"thought={len(self.thought)} characters, calls={list(self.calls)!r}, "
            f"answered={self.answer is not None}, seconds={self.seconds:.3f})"
        )


class StepsExceededError(LLMError):
    """
    The agent took all its steps and had no answer; see `max_reasoning_steps`.

    Args:
        message: What happened.
        trace: The steps that it took.
        fields: As for `LLMError`.
    """

    def __init__(self, message: str, *, trace: tuple[Step, ...], **fields: Any) -> None:
        super().__init__(message, **fields)
        self.trace = trace


class UnfinishedAnswerError(LLMError):
    """
    The model's last answer is none: it was cut off, filtered, declined, or empty.

    Args:
        message: What happened.
        reason: The answer's `finish_reason`: `length`, `content_filter`, `refusal`; or
            `empty`.
        text: What there is of it. It is no part of the message, for it is private.
        trace: The steps so far, that answer's among them.
        fields: As for `LLMError`.
    """

    outcome = Outcome.MALFORMED

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        text: str,
        trace: tuple[Step, ...],
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.reason = reason
        self.text = text
        self.trace = trace
