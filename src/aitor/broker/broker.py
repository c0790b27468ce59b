"""
The broker: one verb for applications, `await broker.submit(...)`.

The broker routes and owns nothing while a request is in flight: its routing runs in
the caller's task, and everything that has to be owned (queue, limit, breaker,
connections) belongs to the actors. So one request's trip reads from top to bottom
in `Delivery.deliver`, and cancelling the caller ends it wherever it is.
"""

import itertools
import math
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from random import Random
from typing import Any, Literal

import anyio

from aitor.broker.actor import Actor
from aitor.broker.arguments import check_envelope, deadline_after, first_model
from aitor.broker.cache import Cache, identity
from aitor.broker.delivery import Delivery
from aitor.broker.envelope import Envelope
from aitor.broker.limit import Limit
from aitor.broker.mapping import Map
from aitor.broker.native import UNKNOWN_RUN
from aitor.broker.residence import Residence
from aitor.broker.roster import Roster, by_name
from aitor.broker.route import Model, Route
from aitor.broker.submission import Submission
from aitor.broker.watch import Watch
from aitor.broker.watching import Watched
from aitor.errors import (
    BrokerClosedError,
    ConfigurationError,
)
from aitor.events import Listener
from aitor.laws.budget import RetryBudget
from aitor.messages import Prompt, Reply, Request
from aitor.providers.base import Provider
from aitor.providers.concealed import concealed

__all__ = ("Broker", "Model")


class Broker(Watched):
    """
    Sends requests to providers as fast as they allow, and no faster.

    It may be opened in one task and closed in another of the same event loop. One that
    is used without being opened may serve several runs of an event loop, one after the
    other. On trio each run has a clock of its own, so there limits, pauses and circuits
    begin anew; on asyncio they hold from one run to the next. For several threads at
    once there is `BlockingBroker`.

    Args:
        providers: By name, or a sequence of them that go by their kind.
        failover: Names in the order in which providers are asked; by default the
            order of *providers*.
        limits: Limits that several providers share, by the name that their
            setting `limits` gives.
        tenants: Shares of tenants that differ from 1, by name.
        drain_timeout: Seconds that closing waits for what is in flight.
        retry_ratio: Further tries per request that the process allows itself.
        cache: Where answers are kept; by default nowhere.
        debug: Keep what a provider's own code raised as the cause of its
            `ProviderCrashError`. A traceback with its variables then shows prompts
            and keys, so it is meant for the desk and not for production.
        listeners: Called with every event. Without any, only what an operator
            should know (circuits, pauses, crashes) is logged, as `aitor.logs` says.
        seed: Makes all jitter repeatable; for tests and simulations.

    Raises:
        ConfigurationError: If a name is unknown or given twice.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider] | Sequence[Provider],
        *,
        failover: Sequence[str] | None = None,
        limits: Mapping[str, Limit] | None = None,
        tenants: Mapping[str, float] | None = None,
        drain_timeout: float = 30.0,
        retry_ratio: float = 0.2,
        cache: Cache | None = None,
        listeners: Sequence[Listener] = (),
        seed: int | None = None,
        debug: bool = False,
    ) -> None:
        super().__init__(listeners)
        named = by_name(providers)
        self._residence = Residence(self._move)
        self._random = Random(seed)  # noqa: S311  # jitter, not secrets
        self._watch = Watch()
        self._cache = cache
        self._debug = debug
        self._limits, self._tenants = limits or {}, tenants or {}
        self._roster = Roster(self._actor)
        self._actors = self._roster.actors
        for name, provider in named.items():
            self.add_provider(name, provider)
        self.set_failover(failover or list(named))
        if not isinstance(drain_timeout, int | float) or not drain_timeout >= 0.0:
            raise ConfigurationError(
                f"'drain_timeout' must be a number of at least 0, "
                f"not {drain_timeout!r:.80}"
            )
        self._drain_timeout = drain_timeout
        self._count = itertools.count()
        self._delivery = Delivery(
            RetryBudget(ratio=retry_ratio),
            self._random,
            self._emit if self._listeners else None,
        )

    @classmethod
    def from_config(cls, source: str | PathLike[str] | Mapping[str, Any]) -> "Broker":
        """
        Make a broker of a TOML file, or of a mapping of the same shape.

        Raises:
            ConfigurationError: Naming file, key, value and what was expected.
        """
        from aitor.config import load_configuration  # a floor above

        source = concealed(source)
        return load_configuration(source).broker()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Broker":
        """
        Make a broker of the environment; `OPENAI_API_KEY` alone is enough.

        Raises:
            ConfigurationError: Naming the variable, or the ways to go on.
        """
        from aitor.config import configuration_from_environment
        from aitor.config.environment import veiled

        environ = veiled(environ)
        return configuration_from_environment(environ).broker()

    def add_provider(self, name: str, provider: Provider) -> None:
        """
        Add *provider*, or put it in the place of the one called *name*.

        A new one is asked by its name until `set_failover` names it. Requests that
        could ask one that is replaced still may; it is closed when a request comes
        after the last of them has ended.

        Raises:
            ConfigurationError: If it shares a limit that is not there.
        """
        self._roster.add(name, provider)

    def set_failover(self, names: Sequence[str]) -> None:
        """
        Ask providers in the order of *names* from now on.

        Raises:
            ConfigurationError: If a name is unknown or given twice.
        """
        self._roster.set_failover(names)

    # Asking.

    async def submit(
        self,
        prompt: Prompt,
        *,
        provider: str | Sequence[str] | None = None,
        model: Model = None,
        timeout: float | None = None,
        priority: int = 0,
        tenant: str | None = None,
        when_unavailable: Literal["fail", "wait"] | None = None,
        cache: bool | None = None,
        **parameters: Any,
    ) -> Reply:
        """
        Have *prompt* answered, whoever can.

        Waits for room where mailboxes are full, for limits, and for pauses that
        servers ask for, as long as *timeout* allows.

        Args:
            prompt: A text, a sequence of messages, or a `Request`.
            provider: Begin the failover sequence there; a provider outside of it
                is asked alone. A sequence of names is the whole sequence.
            model: For the first provider of the sequence; others use their own,
                since names differ between vendors. Or a mapping by provider.
            timeout: Seconds for all of it; None waits as long as it takes.
            priority: Higher goes first.
            tenant: On whose behalf; tenants share each provider fairly.
            when_unavailable: What to do while nobody can be asked, because circuits
                are open or the retry budget is used up: `wait` for the earliest time
                worth trying, or `fail` at once. By default a request with a *timeout*
                waits where that time lies before its deadline, and one without fails.
            cache: Whether an answer from the broker's cache will do; by default
                unless *parameters* ask for a temperature above 0.
            parameters: As OpenAI's Chat Completions names them.

        Raises:
            LLMError: Of the class that says why there is no answer, with every
                attempt made.
            ValueError: An argument is not what it has to be.
        """
        loop = self._residence.enter()
        try:
            if self._roster.unused:
                await self._close_unused()
            request = Request.of(
                prompt, model=first_model(model), parameters=parameters
            )
            # The request has them: with a hundred thousand waiting, copies count.
            del parameters
            envelope = self._envelope(
                request, timeout, priority, tenant, when_unavailable
            )
            route = Route(self._roster.sequence(provider), envelope, model)
            if self._cache is not None and cache is None:
                cache = not request.parameters.get("temperature")
            if tenant is not None:
                deliver = partial(self._deliver, route, cached=bool(cache))
                return await self._seen.counted(tenant, deliver)
            if self._cache is not None and cache:
                return await self._reply(self._cache, route)
            return await self._delivery.deliver(route)
        finally:
            self._residence.leave(loop)

    async def _deliver(self, route: Route, *, cached: bool) -> Reply:
        if self._cache is not None and cached:
            return await self._reply(self._cache, route)
        return await self._delivery.deliver(route)

    async def _reply(self, cache: Cache, route: Route) -> Reply:
        """Return what *cache* keeps, or else what *route* brings."""
        envelope = route.envelope
        asked = [identity(one.actor.provider, one.request.model) for one in route]
        key = cache.key(envelope.request, [envelope.tenant, *asked])
        deliver = partial(self._delivery.deliver_later, route)
        reply = await cache.reply(
            key, deliver, deadline=envelope.deadline, until=self._scopes.until
        )
        self._ledger.cached += reply.cached
        return reply

    def submit_nowait(
        self,
        prompt: Prompt,
        *,
        provider: str | Sequence[str] | None = None,
        model: Model = None,
        timeout: float | None = None,
        priority: int = 0,
        tenant: str | None = None,
        **parameters: Any,
    ) -> Submission:
        """
        Take *prompt* in at once, or refuse; never wait.

        The request then runs by itself, in the broker, which has to be open
        (`async with`). Arguments are those of `submit`, but for `when_unavailable` and
        `cache`: who does not wait takes what there is now.

        Returns:
            A handle: `await it.reply()`, or `it.cancel()`.

        Raises:
            QueueFullError: Every mailbox of the sequence is full.
            CircuitOpenError: Every circuit is open.
            LLMError: As `submit` does before anything is sent.
            TypeError: `when_unavailable` or `cache` was given.
        """
        for name in ("when_unavailable", "cache"):
            if name in parameters:
                raise TypeError(f"submit_nowait() takes no {name!r}: see 'submit'")
        host = self._opened("submit_nowait")
        self._residence.check()
        request = Request.of(prompt, model=first_model(model), parameters=parameters)
        envelope = self._envelope(request, timeout, priority, tenant, "fail")
        route = Route(self._roster.sequence(provider), envelope, model)
        call = self._delivery.begin(route)
        submission = Submission()
        deliver = partial(self._delivery.deliver, route, call)
        if tenant is not None:
            deliver = partial(self._seen.counted, tenant, deliver)
        host.start_soon(submission.run, deliver)
        return submission

    def submit_from_thread(self, prompt: Prompt, **arguments: Any) -> Reply:
        """
        Do what `submit` does, from another thread than the broker's.

        Raises:
            LLMError: As `submit` does.
        """
        host = self._opened("submit_from_thread")
        self._residence.check_process()
        return host.call(partial(self.submit, prompt, **arguments))

    def map(
        self,
        prompts: Iterable[Prompt] | AsyncIterable[Prompt],
        *,
        ordered: bool = False,
        max_in_flight: int | None = None,
        **arguments: Any,
    ) -> Map:
        """
        Have a stream of prompts answered, each on its own, in bounded memory.

        The source is read only as fast as there is room. A prompt that fails is a
        result like any other and never ends the stream, and while all circuits are
        open the stream waits. What is no `LLMError`, of the source or of a provider
        with a bug, ends the stream and is raised from it.

        Args:
            prompts: Read lazily, one at a time.
            ordered: Hand out results in the order of the source; else as they come.
            max_in_flight: Most prompts read and not handed out yet; by default as
                many as the sequence has workers.
            arguments: As for `submit`, for each prompt.

        Returns:
            An asynchronous iterator of `MapResult`. Leave it early by way of
            `async with`, so that what still runs is cancelled at once.
        """
        if isinstance(prompts, str | bytes | Mapping):
            raise TypeError(
                f"map() takes a stream of prompts, and not one: {type(prompts)}"
            )
        if "when_unavailable" in arguments:
            raise TypeError("map() takes no 'when_unavailable': it always waits")
        opened = partial(self._opened, "map")
        opened()
        self._residence.check()
        if max_in_flight is None:
            sequence = self._roster.sequence(arguments.get("provider"))
            max_in_flight = sum(actor.settings.workers for actor in sequence)
        submit = partial(self.submit, when_unavailable="wait", **arguments)
        return Map(prompts, submit, opened, max_in_flight, ordered=ordered)

    # Making envelopes and actors.

    def _envelope(
        self,
        request: Request,
        timeout: float | None,
        priority: int,
        tenant: str | None,
        when_unavailable: str | None,
    ) -> Envelope:
        if self._closed:
            raise BrokerClosedError("the broker is closed")
        check_envelope(priority, tenant, when_unavailable)
        now = anyio.current_time()
        deadline = math.inf if timeout is None else deadline_after(now, timeout)
        return Envelope(
            request,
            arrived=now,
            deadline=deadline,
            priority=priority,
            tenant=tenant,
            persistent=(
                deadline < math.inf
                if when_unavailable is None
                else when_unavailable == "wait"
            ),
            sequence=next(self._count),
        )

    def _move(self, run: object | None, is_first: bool) -> None:
        """Go by another clock; see `Residence`."""
        for name, actor in list(self._actors.items()):
            actor.limit.go_by(run)
            if not is_first:
                self.add_provider(name, actor.provider)

    def _actor(self, name: str, provider: Provider) -> Actor:
        limits = self._limits
        shared = provider.settings.limits
        if shared is not None and shared not in limits:
            known = ", ".join(limits) or "none"
            raise ConfigurationError(
                f"provider {name!r} shares the limit {shared!r}, which is not among "
                f"the broker's limits ({known})"
            )
        limit = limits[shared] if shared else Limit(name, provider.settings)
        if self._residence.run is not UNKNOWN_RUN:
            limit.go_by(self._residence.run)
        return Actor(
            name,
            provider,
            limit,
            random=self._random,
            emit=self._emit,
            each=bool(self._listeners),
            ledger=self._ledger,
            watch=self._watch,
            peers=self._actors,
            weights=self._tenants,
            debug=self._debug,
        )

    def __repr__(self) -> str:
        return (
            f"Broker(providers=[{', '.join(self._actors)}], open={self._delivery.open})"
        )
