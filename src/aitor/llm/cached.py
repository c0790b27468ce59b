"""
A provider that does not ask twice.
"""

from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, overload

from aitor.broker.cache import Cache, CacheStatistics
from aitor.errors import BadRequestError
from aitor.llm.provider import LLMProvider
from aitor.llm.reading import Model
from aitor.llm.response import Response, text_in
from aitor.llm.structured import Format
from aitor.messages import Answer, Reply, Request, Usage

__all__ = ("CachedLLMProvider",)


@dataclass(frozen=True, slots=True, repr=False)
class _Data(Reply):
    """
    An answer that is data.

    It is kept as it was read: its text is not known here, and what a model of pydantic
    writes of itself need not be what it reads.

    Args:
        data: What it was read as; and the model that it was read by, if any, which
            lives as long as this, so that its `id` is nobody else's.
    """

    data: tuple[Any, Any] = (None, None)


class CachedLLMProvider(LLMProvider):
    """
    Keeps the answers of another provider.

    Equal questions get one answer, whatever the temperature, until a manager replaces
    somebody who would be asked; of equal questions at one time one is asked. Errors are
    not kept. A question that cannot be written as JSON is asked each time, and so is
    one whose answer is data that cannot be copied.

    Args:
        base_provider: Whom to ask: any `LLMProvider`, such as those that
            `LLMManager.get_provider` returns.
        cache_size: Most answers kept; those not used for longest go first.
        ttl: Seconds that an answer may be used; None for as long as it is kept.
    """

    def __init__(
        self,
        base_provider: LLMProvider,
        cache_size: int = 128,
        ttl: float | None = None,
    ) -> None:
        super().__init__()
        self.base_provider = base_provider
        self.cache_size = cache_size
        self._cache = Cache(max_entries=cache_size, ttl=ttl)

    async def generate_response(self, messages: Any, **kwargs: Any) -> Response:
        """Return the answer to *messages*, asked now or before."""

        async def ask() -> Reply:
            base = self.base_provider
            said: Any = await base.generate_response(messages, **kwargs)
            return said.reply if isinstance(said, Response) else _reply(said, base)

        return Response(await self._reply_to(messages, None, kwargs, ask))

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
        """Return an answer that keeps to *response_format*, asked now or before."""
        form = Format.of(response_format)

        async def ask() -> Reply:
            answer = await self.base_provider.generate_structured_response(
                messages, response_format, **kwargs
            )
            name = type(self.base_provider).__name__
            usage = Usage(estimated=True)
            return _Data("", name, name, "stop", usage, (), data=(answer, form.model))

        # Two classes may well have one schema, and an answer is of one of them.
        key = [form.schema, id(form.model)]
        reply: Any = await self._reply_to(messages, key, kwargs, ask)
        answer, _ = reply.data
        try:
            # Whoever gets it may change it.
            return deepcopy(answer)
        except Exception:  # noqa: BLE001  # whatever its class does
            if not reply.cached:
                return answer
        return await self.base_provider.generate_structured_response(
            messages, response_format, **kwargs
        )

    async def _reply_to(
        self,
        messages: Any,
        form: Any,
        kwargs: dict[str, Any],
        ask: Callable[[], Awaitable[Reply]],
    ) -> Reply:
        try:
            request = Request.of(messages, parameters=kwargs)
            key = self._cache.key(request, [form, self.answered_by])
        except BadRequestError:
            return await ask()
        return await self._cache.reply(key, ask)

    @property
    def answered_by(self) -> Any:
        """Who answers at this moment, where a manager may replace that."""
        return getattr(self.base_provider, "answered_by", None)

    def statistics(self) -> CacheStatistics:
        """Return how often an answer was there, and how many are kept."""
        return self._cache.statistics()

    async def aclose(self) -> None:
        """Close the connections of this provider and of the one behind it."""
        await super().aclose()
        await self.base_provider.aclose()


def _reply(said: Any, base: LLMProvider) -> Reply:
    name = type(base).__name__
    text = text_in(said, base)
    if not isinstance(said, Answer):
        return Reply(text, name, name, "stop", Usage(estimated=True), ())
    return Reply(
        text,
        name,
        said.model,
        said.finish_reason,
        said.usage,
        (),
        said.request_id,
        said.body,
        said.message,
    )
