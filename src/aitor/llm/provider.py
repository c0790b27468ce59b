"""
The base class for a provider of one's own.

A subclass writes one method that turns messages into a text. Everything else (queue,
limits, breaker, retries, failover, usage) is done by the broker in front of it, so a
subclass has neither to wait nor to try again.
"""

import abc
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import wraps
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import RunVar

from aitor.llm.answers import settled
from aitor.llm.response import text_in
from aitor.llm.structured import Format, ask_for

if TYPE_CHECKING:
    import httpx

__all__ = ("LLMProvider",)

CONNECT_SECONDS = 10.0


class LLMProvider(abc.ABC):
    """
    A service for language models, reached by code of one's own.

    `LLMManager.register_provider_class` gives a subclass a word; the manager makes
    one for each `add_provider` with that word and passes its configuration whole.

    Args:
        config: The keys of the configuration. A subclass that takes them itself need
            not call this constructor.
    """

    connections: int = 100
    """Most connections of `http` at once; no fewer than there are workers."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = dict(config or {})

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "generate_response" in cls.__dict__:
            own = cls.__dict__["generate_response"]
            # It takes what it took and gives what it promised.
            cls.generate_response = _awaited(own)  # type: ignore[method-assign]

    @abc.abstractmethod
    async def generate_response(self, messages: list[Any], **kwargs: Any) -> str:
        """
        Return the answer to *messages*.

        An `Answer` may be returned as well, to tell the tokens that were used.

        Args:
            messages: The conversation, in the shape of Chat Completions. A manager
                passes a copy, which may be changed.
            kwargs: Parameters of this request; they win over the configuration.

        Raises:
            LLMError: Of the class that says what happened. Exceptions of httpx are
                understood too; of others only the class is told, never the text.
        """

    async def generate_structured_response(
        self, messages: Any, response_format: Any, **kwargs: Any
    ) -> Any:
        """
        Return an answer that keeps to *response_format*; see `LLMManager`.

        The format is explained in words and the answer checked; a wrong one is sent
        back once. *messages* are left as they are.

        Raises:
            StructuredOutputError: The second answer was wrong as well.
            LLMError: As for `generate_response`.
        """
        form = Format.of(response_format)

        async def ask(conversation: list[Any]) -> Any:
            told = form.explained(conversation)
            said: Any = await self.generate_response(told, **kwargs)
            text_in(said, self)
            return said

        return await ask_for(ask, messages, form)

    # Connections.

    @property
    def http(self) -> "httpx.AsyncClient":
        """
        A client with a connection pool, kept from call to call.

        It is made when it is first used, once in each event loop, and closed with the
        manager or the loop, whichever ends first. It has no time limit but one on
        connecting: `timeout` of the configuration bounds each call.
        """
        runs = self._runs()
        client, _ = runs.get((None, None))
        if client is None or client.is_closed:
            client = self._client()
            runs.set((client, _kept_until_the_loop_ends(client)))
        return client

    async def aclose(self) -> None:
        """Close the connections of this loop; closing twice does nothing."""
        _, keeper = self._runs().get((None, None))
        if keeper is not None:
            self._runs().set((None, None))
            await keeper.aclose()

    def _runs(self) -> RunVar[Any]:
        # Not made in the constructor, which a subclass need not call.
        runs: RunVar[Any] = self.__dict__.setdefault("_clients", RunVar("aitor.llm"))
        return runs

    def _client(self) -> "httpx.AsyncClient":
        import httpx  # takes a while, and not every provider needs it

        return httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=self.connections,
                max_keepalive_connections=self.connections,
            ),
        )


def _kept_until_the_loop_ends(client: "httpx.AsyncClient") -> AsyncGenerator[None]:
    """
    Return a generator that closes *client* when it is closed.

    A loop that ends closes the asynchronous generators that were begun in it: the one
    thing that both backends do by themselves for whoever opened nothing explicitly.
    """

    async def keep() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await client.aclose()

    keeper = keep()
    # Begun without a task: there is nothing to await before its `yield`.
    with suppress(StopIteration):
        keeper.asend(None).send(None)
    return keeper


def _awaited(
    generate: Callable[..., Awaitable[Any]],
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return *generate*, which may return something that is still to be awaited."""

    @wraps(generate)
    async def generate_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = await generate(self, *args, **kwargs)
        # A cache of functions keeps what another provider has begun, not its answer.
        return await settled(answer) if isawaitable(answer) else answer

    return generate_response
