"""
An answer as a text that knows where it came from.
"""

from typing import Self

from aitor.messages import Reply

__all__ = ("Response",)


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
