"""
What an actor needs from a provider, and nothing more.

A provider turns a request into one exchange with a vendor. It holds no queue,
no limit, no breaker and no retry: these belong to the actor in front of it, which
calls `complete` once for each attempt and cancels it when a time limit passes.
"""

import abc
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, NoReturn, TypeAlias

from aitor.events import ParameterDropped, ParameterRaised
from aitor.messages import Answer, Message, Request
from aitor.providers.concealed import concealed
from aitor.providers.settings import ProviderSettings, answering, load

__all__ = ("Progress", "Provider", "guess_tokens")

Progress: TypeAlias = Callable[[], None]
"""Called by a provider whenever content came in: it feeds the idle limit."""

CHARACTERS_A_TOKEN = 4
"""A common rule of thumb for English; what is really used corrects it."""

TOKENS_A_MESSAGE = 4
"""What role and delimiters cost, by OpenAI's published counting recipe."""


class Provider(abc.ABC):
    """
    One vendor, reached in one way, with one account.

    Args:
        settings: The keys of `Settings`, checked.

    Raises:
        ConfigurationError: Naming key, value and what was expected.
    """

    kind: ClassVar[str]
    """The word for this class in a configuration."""

    Settings: ClassVar[type[ProviderSettings]] = ProviderSettings
    """The settings it takes."""

    name: str = ""
    """What it is called in events: whoever makes it part of a broker sets it."""

    on_drop: Callable[[ParameterDropped | ParameterRaised], None] | None = None
    """Called when a parameter is left out or raised, once for each model and one."""

    def __init__(self, **settings: Any) -> None:
        settings = concealed(settings)
        self.settings = load(self.Settings, settings)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What of the settings can change an answer, by name; no key is among it."""
        return answering(self.settings)

    def model_of(self, request: Request) -> str | None:
        """Return the model that *request* would be asked of."""
        return request.model or self.settings.model

    def output_limit(self, request: Request) -> int | None:
        """Return the most tokens that *request* allows its answer, if it says so."""
        parameters = request.parameters
        limit = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
        return limit if isinstance(limit, int) else None

    def window(self, request: Request) -> int | None:
        """Return how many tokens the model of *request* takes, where known."""
        return None

    def check(self) -> list[str]:
        """Return what about the settings is allowed and yet will cause trouble."""
        return []

    def guess_input(self, request: Request) -> float:
        """Return a rough count of the tokens that *request* puts in."""
        return guess_tokens(request.messages)

    @abc.abstractmethod
    async def complete(self, request: Request, progress: Progress) -> Answer:
        """
        Have *request* answered: one exchange, sent once.

        Args:
            request: What is asked.
            progress: To be called when content comes in.

        Raises:
            LLMError: Of the class that says what happened. Anything else that
                escapes is taken for a crash, and fails this request alone.
        """

    def restart(self) -> None:  # noqa: B027  # most providers have nothing to renew
        """Replace whatever may be broken after a crash, such as a connection pool."""

    async def aclose(self) -> None:  # noqa: B027  # most providers have nothing to close
        """Close what is open; closing twice does nothing."""

    def __getstate__(self) -> NoReturn:
        # A pickle would hold the key in plain text, and connections cannot travel.
        raise TypeError("a provider cannot be pickled: make it again where it is used")

    def __repr__(self) -> str:
        # A traceback shows it before it has settings, too.
        model = getattr(getattr(self, "settings", None), "model", None)
        return f"{type(self).__name__}(model={model!r})"


def guess_tokens(messages: tuple[Message, ...]) -> float:
    """Return a rough count of the tokens in *messages*, without a tokenizer."""
    characters = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            characters += len(content)
        elif content:
            characters += _length(content)
    return characters / CHARACTERS_A_TOKEN + TOKENS_A_MESSAGE * len(messages)


def _length(content: Any) -> int:
    # Content in parts: text counts by its length. Pictures come as URLs or as
    # long base64 texts, whose length says nothing of their tokens: a flat guess.
    # Not by recursion: whatever is sent may be nested as deep as it likes.
    length, parts = 0, [content]
    while parts:
        part = parts.pop()
        if isinstance(part, str):
            length += len(part)
        elif isinstance(part, list | tuple):
            parts += part
        elif isinstance(part, dict):
            if "image_url" in part or "source" in part:
                length += 1_000 * CHARACTERS_A_TOKEN
            else:
                parts += part.values()
    return length
