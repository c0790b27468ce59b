"""
One provider of a manager, which looks like any other provider.
"""

from typing import Any, Protocol, overload

from aitor.llm.provider import LLMProvider
from aitor.llm.reading import Model
from aitor.llm.response import Response

__all__ = ("ManagedProvider", "Manager")


class Manager(Protocol):
    """As much of an `LLMManager` as one of its providers needs."""

    def answered_by(self, name: str) -> list[list[Any]]:
        """Return who is asked for *name*, and which of those that had the name."""

    async def generate_response(
        self, provider_name: Any, messages: Any, **parameters: Any
    ) -> Response:
        """Return the answer to *messages*."""

    async def generate_structured_response(
        self, provider_name: Any, messages: Any, response_format: Any, **parameters: Any
    ) -> Any:
        """Return an answer that keeps to *response_format*."""


class ManagedProvider(LLMProvider):
    """
    One provider of a manager, asked by its broker.

    Args:
        manager: Whose it is.
        name: Its name there.
    """

    def __init__(self, manager: Manager, name: str) -> None:
        super().__init__()
        self._manager = manager
        self.name = name

    @property
    def answered_by(self) -> Any:
        """Who answers at this moment, for a `CachedLLMProvider`."""
        return self._manager.answered_by(self.name)

    async def generate_response(self, messages: Any, **kwargs: Any) -> Response:
        """Return the answer to *messages*; see `LLMManager`."""
        return await self._manager.generate_response(self.name, messages, **kwargs)

    @overload
    async def generate_structured_response(
        self, messages: Any, response_format: type[Model], **kwargs: Any
    ) -> Model: ...

    @overload
    async def generate_structured_response(
        self, messages: Any, response_format: Any, **kwargs: Any
    ) -> Any: ...

    async def generate_structured_response(
        self, messages: Any, response_format: Any, **kwargs: Any
    ) -> Any:
        """Return an answer that keeps to *response_format*; see `LLMManager`."""
        return await self._manager.generate_structured_response(
            self.name, messages, response_format, **kwargs
        )

    def __repr__(self) -> str:
        return f"ManagedProvider({self.name!r})"
