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
from contextlib import AsyncExitStack
from functools import partial
from os import PathLike
from random import Random
from types import TracebackType
from typing import Any, Literal, Self

import anyio
from anyio import create_task_group
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal

from aitor.broker.actor import Actor
from aitor.broker.cache import Cache, identity
from aitor.broker.closing import CLOSE_SECONDS, close_all
from aitor.broker.delivery import Delivery
from aitor.broker.envelope import Envelope
from aitor.broker.ledger import Ledger
from aitor.broker.limit import Limit
from aitor.broker.mapping import Map
from aitor.broker.native import UNKNOWN_RUN, clock_of_its_own
from aitor.broker.roster import Roster, by_name
from aitor.broker.route import Model, Route
from aitor.broker.statistics import Statistics
from aitor.broker.submission import Submission
from aitor.broker.watch import Watch
from aitor.errors import (
    BrokerClosedError,
    ConfigurationError,
)
from aitor.events import Event, Listener
from aitor.laws.budget import RetryBudget
from aitor.logs import log_events, report_broken_listener
from aitor.messages import Prompt, Reply, Request
from aitor.providers.base import Provider
from aitor.providers.concealed import concealed

__all__ = ("Broker", "Model")


class Broker:
    """
    Sends requests to providers as fast as they allow, and no faster.

    One that is used without being opened may serve several runs of an event loop, one
    after the other. On trio each run has a clock of its own, so there limits, pauses
    and circuits begin anew; on asyncio they hold from one run to the next.

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
        named = by_name(providers)
        self._run: object | None = UNKNOWN_RUN
        self._random = Random(seed)  # noqa: S311  # jitter, not secrets
        self._listeners = tuple(listeners)
        self._ledger = Ledger()
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
        self._closed = False
        self._stack: AsyncExitStack | None = None
        self._tasks: TaskGroup | None = None
        self._portal: BlockingPortal | None = None

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
        if self._roster.unused:
            await self._close_unused()
        request = Request.of(prompt, model=_first(model), parameters=parameters)
        # The request has them: with a hundred thousand waiting, copies count.
        del parameters
        envelope = self._envelope(request, timeout, priority, tenant, when_unavailable)
        route = Route(self._roster.sequence(provider), envelope, model)
        if self._cache is not None:
            if cache is None:
                cache = not request.parameters.get("temperature")
            if cache:
                return await self._reply(self._cache, route)
        return await self._delivery.deliver(route)

    async def _reply(self, cache: Cache, route: Route) -> Reply:
        """Return what *cache* keeps, or else what *route* brings."""
        envelope = route.envelope
        asked = [identity(one.actor.provider, one.request.model) for one in route]
        key = cache.key(envelope.request, [envelope.tenant, *asked])
        deliver = partial(self._delivery.deliver_later, route)
        reply = await cache.reply(key, deliver, deadline=envelope.deadline)
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
        tasks = self._opened("submit_nowait")
        request = Request.of(prompt, model=_first(model), parameters=parameters)
        envelope = self._envelope(request, timeout, priority, tenant, "fail")
        route = Route(self._roster.sequence(provider), envelope, model)
        call = self._delivery.begin(route)
        submission = Submission()
        deliver = partial(self._delivery.deliver, route, call)
        tasks.start_soon(submission.run, deliver)
        return submission

    def submit_from_thread(self, prompt: Prompt, **arguments: Any) -> Reply:
        """
        Do what `submit` does, from another thread than the broker's.

        Raises:
            LLMError: As `submit` does.
        """
        portal = self._portal
        if portal is None:
            raise self._not_open("submit_from_thread")
        try:
            future = portal.start_task_soon(partial(self.submit, prompt, **arguments))
        except RuntimeError:
            if self._closed:
                raise BrokerClosedError("the broker is closed") from None
            raise  # it is not another thread
        return future.result()

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
        if max_in_flight is None:
            sequence = self._roster.sequence(arguments.get("provider"))
            max_in_flight = sum(actor.settings.workers for actor in sequence)
        submit = partial(self.submit, when_unavailable="wait", **arguments)
        return Map(prompts, submit, opened, max_in_flight, ordered=ordered)

    # Making envelopes and routes.

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
        if self._tasks is None:
            self._check_run()
        if not isinstance(priority, int) or not -MOST_URGENT <= priority <= MOST_URGENT:
            raise ValueError(
                f"'priority' must be a whole number from -{MOST_URGENT:,} to "
                f"{MOST_URGENT:,}, not {priority!r:.80}"
            )
        if tenant is not None and not isinstance(tenant, str):
            raise ValueError(f"'tenant' must be a name, not {tenant!r:.80}")
        if when_unavailable not in ("fail", "wait", None):
            raise ValueError(
                f"'when_unavailable' must be 'fail', 'wait' or None, "
                f"not {when_unavailable!r:.80}"
            )
        now = anyio.current_time()
        deadline = math.inf if timeout is None else _deadline(now, timeout)
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

    def _check_run(self) -> None:
        # What was learned by another clock means nothing by this one: who waits would
        # wait for days. One that was opened is closed before its run ends.
        run = clock_of_its_own()
        if self._run is run:
            return
        is_first, self._run = self._run is UNKNOWN_RUN, run
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
        if self._run is not UNKNOWN_RUN:
            limit.go_by(self._run)
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

    # Watching.

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the providers."""
        return tuple(self._actors)

    def sequence(
        self, provider: str | Sequence[str] | None = None
    ) -> dict[str, Provider]:
        """
        Return who is asked, by name, in the order in which they are asked.

        Args:
            provider: As for `submit`.

        Raises:
            ConfigurationError: If a name is unknown or given twice.
        """
        return {actor.name: actor.provider for actor in self._roster.sequence(provider)}

    @property
    def ledger(self) -> Ledger:
        """Sums over every call on the wire."""
        return self._ledger

    def statistics(self) -> Statistics:
        """Return a frozen snapshot of everything; costs no request anything."""
        now = anyio.current_time()
        delivery = self._delivery
        return Statistics(
            submitted=delivery.submitted,
            answered=delivery.answered,
            failed=delivery.failed,
            cancelled=delivery.cancelled,
            open=delivery.open,
            retry_budget=delivery.budget.balance(now),
            providers={
                name: actor.statistics(now) for name, actor in self._actors.items()
            },
            totals=self._ledger.total(),
        )

    def _emit(self, event: Event) -> None:
        for listener in self._listeners or (log_events,):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  # an observer breaks no call
                report_broken_listener(listener, error)

    # Opening and closing.

    async def __aenter__(self) -> Self:
        if self._closed:
            raise BrokerClosedError("a closed broker cannot be opened again")
        if self._tasks is not None:
            raise RuntimeError("the broker is open already")
        self._check_run()
        self._stack = AsyncExitStack()
        self._tasks = await self._stack.enter_async_context(create_task_group())
        self._portal = await self._stack.enter_async_context(BlockingPortal())
        self._tasks.start_soon(self._watch.run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks, portal, stack = self._tasks, self._portal, self._stack
        assert tasks and portal and stack  # noqa: S101, PT018  # it was entered
        try:
            await self.aclose(drain_timeout=0.0 if kind is not None else None)
        finally:
            self._tasks = self._portal = self._stack = None
            tasks.cancel_scope.cancel()
            await portal.stop(cancel_remaining=True)
            await stack.aclose()

    async def drain(self) -> None:
        """Take no more requests, and wait until every one has its outcome."""
        self._closed = True
        await self._delivery.drain()

    async def aclose(self, *, drain_timeout: float | None = None) -> None:
        """
        Let what is in flight finish, end what does not, and close all connections.

        Args:
            drain_timeout: Seconds to wait; by default the broker's own.
        """
        self._closed = True
        seconds = self._drain_timeout if drain_timeout is None else drain_timeout
        try:
            with anyio.move_on_after(seconds):
                await self.drain()
        finally:
            await self._shut_down()

    async def _shut_down(self) -> None:
        actors = self._roster.everybody()
        for actor in actors:
            actor.abort()
        self._delivery.abort()
        # Shielded, so that a caller that is cancelled itself leaves no socket open;
        # bounded, so that a call that will not end cannot hold it up.
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self.drain()
        unused = self._roster.take_unused()
        await close_all([*(actor.provider for actor in actors), *unused])

    async def _close_unused(self) -> None:
        unused = self._roster.take_unused()
        if self._tasks is None:
            await close_all(unused)
        else:
            # Whoever comes with a request has nothing to do with it.
            self._tasks.start_soon(close_all, unused)

    def _opened(self, verb: str) -> TaskGroup:
        if self._tasks is None:
            raise self._not_open(verb)
        return self._tasks

    @staticmethod
    def _not_open(verb: str) -> BrokerClosedError:
        return BrokerClosedError(
            f"'{verb}' needs an open broker: use it within 'async with broker:'"
        )

    def __repr__(self) -> str:
        return (
            f"Broker(providers=[{', '.join(self._actors)}], open={self._delivery.open})"
        )


MOST_URGENT = 1_000_000
"""The highest priority; what is beyond it could not be weighed against waiting."""


def _first(model: Model) -> str | None:
    if model is None or isinstance(model, str):
        return model
    if isinstance(model, Mapping):
        return None
    raise ValueError(
        f"'model' must be a name, or names by provider, not {type(model).__name__}"
    )


def _deadline(now: float, timeout: float) -> float:
    try:
        deadline = now + timeout
    except (TypeError, OverflowError):
        deadline = math.nan
    if math.isnan(deadline):
        raise ValueError(f"'timeout' must be a number of seconds, not {timeout!r:.80}")
    return deadline
