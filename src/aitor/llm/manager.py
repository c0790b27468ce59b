"""
The manager: providers by name, and one broker behind them all.

It translates and decides nothing. What it is asked becomes a `submit` of its broker,
so queues, limits, breakers, retries and failover are the broker's, for providers of
one's own as for ours. It needs no opening: the broker works without, and connections
close with the manager or with the event loop.
"""

import inspect
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

import anyio

from aitor.broker.broker import Broker
from aitor.broker.prices import Prices
from aitor.errors import BadRequestError, ConfigurationError, LLMError
from aitor.llm.making import AnyClass, check_class, concealed_config, make
from aitor.llm.managed import ManagedProvider
from aitor.llm.negotiation import Negotiation
from aitor.llm.reading import Model
from aitor.llm.response import Response
from aitor.llm.structured import Format, ask_for
from aitor.llm.usage import Tally
from aitor.messages import Prompt, Reply

if TYPE_CHECKING:
    from aitor.providers.base import Provider

__all__ = ("LLMManager", "ManagedProvider")


class LLMManager:
    """
    Asks providers by their names.

    A request goes to the provider it names, or else to the default one. If that is in
    the failover sequence, those after it are asked when it fails; if not, it is asked
    alone. An error that is the request's own fault never moves on.

    One manager may serve several runs of an event loop, one after the other. On trio
    limits begin anew in each, since each run has a clock of its own. A run that asks
    while another has requests here gets a `WrongEventLoopError`.

    Args:
        options: As for `Broker`: `limits`, `tenants`, `cache`, `listeners`, ….
    """

    def __init__(self, **options: Any) -> None:
        # A misspelt option is an error here, not at the first provider.
        inspect.signature(Broker).bind({}, failover=None, **options)
        self._options = options
        self._broker: Broker | None = None
        self._providers: dict[str, Provider] = {}
        self._added = 0
        self._numbers: dict[str, int] = {}
        self._classes: dict[str, AnyClass] = {}
        self._sequence: tuple[str, ...] = ()
        self._default: str | None = None
        self._tally = Tally()

    # Providers.

    def add_provider(
        self, name: str, provider: Any, config: Any = None, replace: bool = False
    ) -> None:
        """
        Add a provider, to be asked as *name*.

        Everything is checked first: a provider that is refused leaves no trace.

        Args:
            name: What it is called.
            provider: A kind: `openai`, `anthropic`, `compatible`, `mock`, or one that
                was registered; or an `LLMProvider`, such as a `CachedLLMProvider`.
            config: The keys of its configuration; `api_key` may be `env:NAME`.
            replace: Whether it may take the place of another of that name. Requests
                at that one end there.

        Raises:
            ConfigurationError: If the name is taken, or a key is wrong.
        """
        config = concealed_config(config)
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"a provider's name is a text, not {name!r}")
        if name in self._providers and not replace:
            raise ConfigurationError(
                f"there is a provider {name!r} already (see 'replace')"
            )
        try:
            made = make(provider, config, self._classes)
            if self._broker is None:
                self._broker = Broker({name: made}, **self._options)
            else:
                self._broker.add_provider(name, made)
        except ConfigurationError as error:
            problem = f"provider {name!r}: {error.message}"
        else:
            self._providers[name] = made
            self._added += 1
            self._numbers[name] = self._added
            self._tally.set_prices(Prices.of(self._providers))
            return
        raise ConfigurationError(problem)

    def register_provider_class(self, kind: str, provider_class: AnyClass) -> None:
        """
        Let *kind* mean *provider_class* in `add_provider`, in this manager.

        Raises:
            ConfigurationError: If it is no subclass of `LLMProvider`, or the word is
                one of aitor's own.
        """
        check_class(kind, provider_class)
        self._classes[kind] = provider_class

    def get_available_providers(self) -> list[str]:
        """Return the names of all providers, the healthy and the others."""
        return list(self._providers)

    def get_provider(self, name: str) -> "ManagedProvider":
        """
        Return the provider *name* to ask directly; it is still asked by the broker.

        Raises:
            ConfigurationError: If there is none of that name.
        """
        self._check_known(name)
        return ManagedProvider(self, name)

    def set_default_provider(self, name: str) -> None:
        """
        Ask *name* when a request names no provider.

        Raises:
            ConfigurationError: If there is none of that name; then nothing changes.
        """
        self._check_known(name)
        self._default = name
        self._arrange()

    @property
    def default_provider(self) -> str | None:
        """
        Who is asked when a request names no provider.

        The one that was set; else the first of the failover sequence; else the first
        that was added; None while there is none.
        """
        names = (*self._sequence, *self._providers)
        return self._default or next(iter(names), None)

    def set_failover_sequence(self, names: Sequence[str]) -> None:
        """
        Ask the providers in *names* one after the other, until one answers.

        Raises:
            ConfigurationError: If a name is unknown or given twice; then nothing
                changes.
        """
        self.broker.set_failover(names)
        self._sequence = tuple(names)

    def _arrange(self) -> None:
        # Without a sequence the broker's own is the default alone.
        if not self._sequence and self.default_provider:
            self.broker.set_failover([self.default_provider])

    def answered_by(self, name: str) -> list[list[Any]]:
        """Return who is asked for *name*, each with the number of its adding."""
        asked = self.broker.sequence(name)
        return [[one, self._numbers[one]] for one in asked]

    def _check_known(self, name: str) -> None:
        if name not in self._providers:
            known = ", ".join(self._providers) or "none"
            raise ConfigurationError(
                f"there is no provider {name!r}; there are: {known}"
            )

    # Asking.

    @property
    def broker(self) -> Broker:
        """
        The broker behind it all, for what a manager has no word for.

        Raises:
            ConfigurationError: If no provider was added yet.
        """
        if self._broker is None:
            raise ConfigurationError("there is no provider: see 'add_provider'")
        return self._broker

    async def submit(
        self,
        prompt: Prompt,
        *,
        provider: str | Sequence[str] | None = None,
        **parameters: Any,
    ) -> Reply:
        """
        Have *prompt* answered, as `Broker.submit` does, and count it.

        Raises:
            LLMError: Of the class that says why there is no answer.
        """
        asked = provider or self.default_provider
        try:
            reply = await self.broker.submit(prompt, provider=asked, **parameters)
        except LLMError as error:
            self._tally.add_error(error, _first(asked))
            raise
        self._tally.add(reply)
        return reply

    async def generate_response(
        self, provider_name: Any = None, messages: Any = None, **parameters: Any
    ) -> Response:
        """
        Return the answer to *messages*.

        Args:
            provider_name: Whom to ask; by default the default provider. May be left
                out: `generate_response(messages)`.
            messages: The conversation, or a text; it is left as it is.
            parameters: Of the request (`temperature`, `max_tokens`, …), which win
                over the configuration, and of `Broker.submit` (`timeout`, `tenant`,
                …).

        Returns:
            A text, which has the whole answer as its `reply`.

        Raises:
            LLMError: Of the class that says why there is no answer.
        """
        _check_names(parameters)
        if messages is None:
            provider_name, messages = None, self._messages(provider_name)
        reply = await self.submit(messages, provider=provider_name, **parameters)
        return Response(reply)

    @overload
    async def generate_structured_response(
        self,
        provider_name: Any,
        messages: Any,
        response_format: type[Model],
        **parameters: Any,
    ) -> Model: ...

    @overload
    async def generate_structured_response(
        self, provider_name: Any, messages: type[Model], **parameters: Any
    ) -> Model: ...

    @overload
    async def generate_structured_response(
        self,
        provider_name: Any = None,
        messages: Any = None,
        *,
        response_format: type[Model],
        **parameters: Any,
    ) -> Model: ...

    @overload
    async def generate_structured_response(
        self,
        provider_name: Any = None,
        messages: Any = None,
        response_format: Any = None,
        **parameters: Any,
    ) -> Any: ...

    async def generate_structured_response(
        self,
        provider_name: Any = None,
        messages: Any = None,
        response_format: Any = None,
        **parameters: Any,
    ) -> Any:
        """
        Return an answer to *messages* that keeps to *response_format*.

        Where everybody who may be asked has formats of its own (OpenAI, Anthropic and
        compatible servers), theirs is used for an object, in as much of JSON Schema as
        they take; who refuses it is asked for any JSON, then in words, and from then
        on at once. In every case the answer is checked against the whole format, and
        a wrong one is sent back once; one that was cut off or declined is an error.

        Args:
            provider_name: As for `generate_response`; may be left out.
            messages: The conversation, or a text; it is left as it is.
            response_format: A JSON schema, an example of the answer, or a model of
                pydantic.
            parameters: As for `generate_response`; `timeout` is for both tries.

        Returns:
            The data; an instance of the model if *response_format* is one.

        Raises:
            StructuredOutputError: The second answer was wrong too, or one was cut off
                or declined; `text` has it.
            LLMError: Of the class that says why there is no answer.
        """
        _check_names(parameters)
        if response_format is None and messages is not None:
            provider_name, messages, response_format = None, provider_name, messages
        messages = self._messages(messages)
        asked = provider_name or self.default_provider
        form = Format.of(response_format)
        providers = self.broker.sequence(asked)
        told = Negotiation(form, providers, parameters.get("model"))
        left = parameters.pop("timeout", None)
        deadline = None if left is None else anyio.current_time() + left

        async def ask(conversation: list[Any]) -> Response:
            while True:
                spoken, more = told.prepared(conversation)
                left = None if deadline is None else deadline - anyio.current_time()
                try:
                    reply = await self.submit(
                        spoken, provider=asked, timeout=left, **parameters, **more
                    )
                except LLMError as error:
                    if not told.moves_on(error):
                        raise
                else:
                    told.worked(reply)
                    return Response(reply)

        return await ask_for(ask, messages, form)

    def _messages(self, given: Any) -> Any:
        if given is None or (isinstance(given, str) and given in self._providers):
            raise BadRequestError("there are no messages to be answered")
        return given

    # Watching and closing.

    def get_usage_report(self) -> dict[str, Any]:
        """
        Return what went through this manager so far.

        Returns:
            `total_requests`, `total_errors`, `success_rate` (1.0 while there is
            none), `cached_requests`, `estimated_tokens` (all tokens, as counted by
            the providers where they told), `input_tokens`, `output_tokens`,
            `tokens_are_estimates` (whether some are guessed), `cost` in US dollars or
            `"unknown"`, and `by_provider` with the same for each call on the wire.
        """
        return self._tally.report()

    async def aclose(self, *, drain_timeout: float | None = None) -> None:
        """
        Let what is in flight finish, end what does not, and close all connections.

        Args:
            drain_timeout: Seconds to wait; by default the broker's own.
        """
        if self._broker is not None:
            await self._broker.aclose(drain_timeout=drain_timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose(drain_timeout=0.0 if kind is not None else None)

    def __repr__(self) -> str:
        names = ", ".join(self._providers)
        return f"{type(self).__name__}(providers=[{names}])"


def _check_names(parameters: Mapping[str, Any]) -> None:
    """Refuse the words that `submit` has for what has another name here."""
    for name, here in (("provider", "provider_name"), ("prompt", "messages")):
        if name in parameters:
            raise BadRequestError(f"{name!r} is called {here!r} here")


def _first(asked: str | Sequence[str] | None) -> str:
    return asked if isinstance(asked, str) else next(iter(asked or ()), "")
