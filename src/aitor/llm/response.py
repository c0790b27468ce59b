"""
An answer as a text that knows where it came from.
"""

from typing import Any, Self

from aitor.errors import MalformedAnswerError
from aitor.messages import Answer, Reply

__all__ = ("Response", "text_in")


class Response(str):
    """
    The text of an answer, a `str` like any other.

    Args:
        reply: The whole answer: provider, model, usage, tool calls, attempts.
    """

    __slots__ = ("reply",)

    reply: Reply

    def __new__(cls, reply: Reply) -> Self:
        """Make the text, which cannot be changed afterwards."""
        self = super().__new__(cls, reply.text)
        self.reply = reply
        return self

    def __getnewargs__(self) -> tuple[Reply]:  # type: ignore[override]  # not a text
        return (self.reply,)


def text_in(said: Any, who: object) -> str:
    """
    Return the text in *said*.

    Args:
        said: What `generate_response` of an `LLMProvider` returned.
        who: The provider.

    Raises:
        MalformedAnswerError: If it is neither a text nor an `Answer`.
    """
    text = said.text if isinstance(said, Answer) else said
    if not isinstance(text, str):
        raise MalformedAnswerError(
            f"{type(who).__name__}.generate_response returned "
            f"{type(said).__name__}, not a text"
        )
    return text
