"""
A run: the whole real broker, in virtual time, between made-up callers and providers.

Callers come at their own times whatever the broker does, as real ones do (an
open-loop workload). Everything that happens becomes a line of history. The broker
itself is the one that applications use; only its breakers and buckets tell what they
decide.
"""

from collections import deque
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeAlias

import anyio
from anyio.abc import TaskGroup

from aitor.broker.broker import Broker
from aitor.broker.cache import Cache
from aitor.broker.mapping import MapResult
from aitor.errors import BrokerClosedError, LLMError
from aitor.messages import Attempt, Reply, Request
from aitor.outcomes import Outcome
from aitor.providers.settings import LimitSettings, load
from aitor.testing.simulator.cast import Cast
from aitor.testing.simulator.history import (
    Closed,
    Closing,
    Final,
    Finished,
    History,
    Leapt,
    Phased,
    Replaced,
    Stuck,
    Submitted,
)
from aitor.testing.simulator.observer import Observer
from aitor.testing.simulator.plain import PlainClient
from aitor.testing.simulator.provider import ASKING, id_of
from aitor.testing.simulator.script import Phase, Plan, Script
from aitor.testing.simulator.watchdog import at_most
from aitor.testing.simulator.witness import WatchedBudget, watched_limit
from aitor.testing.virtual import (
    leap,
    make_trio_deterministic,
    set_at,
    sleep_until,
    virtual_backend,
)

__all__ = ("run",)

LONGEST_SECONDS = 100_000.0
"""What has not ended so long after the last submit never will."""

SLOW_SECONDS = 0.5
"""What a slow consumer takes for each result."""

Outcomes: TypeAlias = Reply | LLMError | Exception | None
"""What a caller gets; None when it left."""


def run(
    script: Script, backend: str = "trio", *, processor_seconds: float = 120.0
) -> History:
    """
    Run *script* and return what happened.

    Args:
        script: What is to happen.
        backend: `trio` or `asyncio`. The same script gives the same history each
            time on trio; on asyncio cancelled tasks run in the order of a set.
        processor_seconds: After these the run is taken for an endless loop.

    Raises:
        RunawayError: It is one.
    """
    if backend == "trio":
        make_trio_deterministic(script.seed)
    world = _World(script)
    name, options = virtual_backend(backend)
    with at_most(processor_seconds):
        anyio.run(world.live, backend=name, backend_options=options)
        history = world.take_history()
        if script.compared:
            plain = PlainClient(script)
            name, options = virtual_backend(backend)
            anyio.run(plain.live, backend=name, backend_options=options)
            history.plain = plain.answered
    return history


class _World:
    """Everything in one run."""

    def __init__(self, script: Script) -> None:
        self._script = script
        limits = {
            name: load(LimitSettings, limit) for name, limit in script.limits.items()
        }
        self.history = History({}, limits, {}, script.retry_ratio, script.calm)
        self._tell = self.history.lines.append
        self._observer = Observer(self._tell)
        self._cast = Cast(script, self.history, self._observer)
        cached = any(plan.question is not None for plan in script.plans)
        self._broker = Broker(
            {
                name: self._cast.engage(name, settings)
                for name, settings in script.providers.items()
            },
            limits={
                name: watched_limit(name, limit, self._tell)
                for name, limit in limits.items()
            },
            drain_timeout=LONGEST_SECONDS,
            retry_ratio=script.retry_ratio,
            listeners=[self._observer.listen],
            seed=script.seed,
            # So small that most questions are asked anew.
            cache=Cache(max_entries=1) if cached else None,
        )
        self._broker._delivery.budget = WatchedBudget(script.retry_ratio, self._tell)
        for actor in self._broker._actors.values():
            self._cast.watch(actor)
        self._submitted: set[int] = set()
        self._arriving = deque(plan for plan in script.plans if not plan.stream)
        self._idle: list[_Caller] = []

    def take_history(self) -> History:
        """Return the history; what is left of the world holds none of its lines."""
        lines = self.history.lines
        self.history.lines = lines.copy()
        # A broker is full of cycles, and the collector would look at each line.
        lines.clear()
        return self.history

    # Its life.

    async def live(self) -> None:
        """Let everything happen."""
        tasks = len(anyio.get_running_tasks())
        end = self._script.plans[-1].at if self._script.plans else 0.0
        with anyio.CancelScope() as everything:
            async with anyio.create_task_group() as guards:
                guards.start_soon(self._guard, end + LONGEST_SECONDS, everything)
                guards.start_soon(self._phases)
                guards.start_soon(self._replacements)
                guards.start_soon(self._glances)
                async with self._broker:
                    await self._workload()
                    self._observer.look_at_rest(anyio.current_time())
                    self._tell(Closing(anyio.current_time(), LONGEST_SECONDS))
                self._tell(Closed(anyio.current_time()))
                guards.cancel_scope.cancel()
        self._tell(self._final(len(anyio.get_running_tasks()) - tasks))

    async def _workload(self) -> None:
        streams: dict[str, list[Plan]] = {}
        for plan in self._script.plans:
            if plan.stream:
                streams.setdefault(plan.how, []).append(plan)
        async with anyio.create_task_group() as tasks:
            if self._script.closing is not None:
                tasks.start_soon(self._close_early)
            for plans in streams.values():
                tasks.start_soon(self._map, plans)
            self._next_comes(tasks)

    async def _guard(self, until: float, everything: anyio.CancelScope) -> None:
        await anyio.sleep_until(until)
        self._tell(Stuck(anyio.current_time()))
        everything.cancel()

    async def _phases(self) -> None:
        phases = self._script.phases
        edges = [(phase.begin, True, phase) for phase in phases]
        edges += [(phase.end, False, phase) for phase in phases]
        for time, begins, phase in sorted(edges, key=lambda edge: edge[0]):
            await sleep_until(time)
            if phase.kind == "leap" and begins:
                self._leap(phase)
            self._tell(Phased(time, phase.kind, phase.provider, begins))

    async def _replacements(self) -> None:
        for one in self._script.replacements:
            await sleep_until(one.at)
            provider = self._cast.engage(one.name, one.settings)
            self._broker.add_provider(one.name, provider)
            self._cast.watch(self._broker._actors[one.name])
            self._tell(Replaced(anyio.current_time(), provider.label))

    async def _glances(self) -> None:
        """Look around when all is well, and nothing else might make anybody look."""
        for seconds in GLANCES:
            await sleep_until(self._script.calm + seconds)
            self._observer.look_around(anyio.current_time())

    def _leap(self, phase: Phase) -> None:
        # Whoever woke this task woke nobody else: all the others wait for later.
        now = anyio.current_time()
        if phase.end > now:
            leap(phase.end - now)
            self._tell(Leapt(anyio.current_time(), now))

    async def _close_early(self) -> None:
        closing = self._script.closing
        assert closing is not None  # noqa: S101  # else nobody calls it
        await anyio.sleep_until(closing.at)
        self._tell(Closing(anyio.current_time(), closing.drain_timeout))
        await self._broker.aclose(drain_timeout=closing.drain_timeout)
        self._tell(Closed(anyio.current_time()))

    # Callers.

    def _next_comes(self, tasks: TaskGroup) -> None:
        """Have the next request come in its time, by a caller who has none."""
        if not self._arriving:
            while self._idle:
                self._idle.pop().come.set()
            return
        plan = self._arriving.popleft()
        if self._idle:
            caller = self._idle.pop()
        else:
            caller = _Caller()
            tasks.start_soon(self._call, caller, tasks)
        caller.plan = plan
        set_at(plan.at, caller.come)

    async def _call(self, caller: "_Caller", tasks: TaskGroup) -> None:
        """Ask when it is time to, as long as somebody has requests."""
        while True:
            await caller.come.wait()
            plan, caller.plan, caller.come = caller.plan, None, anyio.Event()
            if plan is None:
                return
            self._next_comes(tasks)
            await (self._submit if plan.how == "submit" else self._submit_nowait)(plan)
            if not self._arriving:
                return
            self._idle.append(caller)

    def _arguments(self, plan: Plan) -> dict[str, Any]:
        parameters = {"max_tokens": plan.max_tokens} if plan.max_tokens else {}
        sequence = plan.sequence if plan.only is None else [plan.only]
        return {
            "provider": sequence or None,
            "timeout": plan.timeout,
            "priority": plan.priority,
            "tenant": plan.tenant,
            **parameters,
        }

    async def _submit(self, plan: Plan) -> None:
        self._submits(plan)
        outcome: Outcomes = None
        try:
            with _leaving(plan):
                outcome = await self._broker.submit(
                    plan.prompt,
                    when_unavailable=plan.when_unavailable,
                    cache=plan.question is not None,
                    **self._arguments(plan),
                )
        except Exception as error:  # noqa: BLE001  # all of them are judged later
            outcome = error
        finally:
            self._finishes(plan.id, outcome)

    async def _submit_nowait(self, plan: Plan) -> None:
        self._submits(plan)
        try:
            handle = self._broker.submit_nowait(plan.prompt, **self._arguments(plan))
        except Exception as error:  # noqa: BLE001  # all of them are judged later
            self._finishes(plan.id, error, refused=True)
            return
        if plan.cancel_after == 0.0:
            # Before anything of it can have run.
            handle.cancel()
        outcome: Outcomes = None
        try:
            with _leaving(plan):
                outcome = await handle.reply()
            if outcome is None:
                handle.cancel()
                with suppress(LLMError):
                    await handle.reply()
        except Exception as error:  # noqa: BLE001  # all of them are judged later
            outcome = error
        finally:
            self._finishes(plan.id, outcome)

    async def _map(self, plans: list[Plan]) -> None:
        source = _Source(plans, self._submits)
        slow = [phase for phase in self._script.phases if phase.kind == "slow_consumer"]
        everything = self._broker.map(source, max_in_flight=MAP_PLACES, cache=False)
        # A map whose broker closes ends with that, and not as if it were whole.
        with suppress(BrokerClosedError):
            async with everything as results:
                async for result in results:
                    self._hands_out(result)
                    now = anyio.current_time()
                    if any(phase.begin <= now < phase.end for phase in slow):
                        await anyio.sleep(SLOW_SECONDS)
                    if self._broker._closed:
                        break
        for plan in plans:
            if plan.id in self._submitted:
                self._finishes(plan.id, None)

    def _hands_out(self, result: MapResult) -> None:
        request = result.prompt
        assert isinstance(request, Request)  # noqa: S101  # as the source gave it
        self._finishes(id_of(request), result.reply or result.error)

    # Writing history.

    def _submits(self, plan: Plan) -> None:
        now = anyio.current_time()
        timeout = None if plan.stream else plan.timeout
        self._submitted.add(plan.id)
        ASKING.set(plan.id)
        self._tell(
            Submitted(
                now,
                plan.id,
                "map" if plan.stream else plan.how,
                float("inf") if timeout is None else now + timeout,
                plan.priority,
                plan.tenant,
                plan.persistent,
                plan.only,
                plan.recovery,
                plan.question,
                plan.sequence,
            )
        )
        self._observer.look_around(now)

    def _finishes(
        self, number: int, outcome: Outcomes, *, refused: bool = False
    ) -> None:
        now = anyio.current_time()
        self._submitted.discard(number)
        held = self._observer.look_around(now)
        if isinstance(outcome, Reply):
            line = Finished(
                now,
                number,
                Outcome.ANSWER,
                attempts=_attempts(outcome.attempts),
                text=outcome.text,
                held=held,
            )
        elif isinstance(outcome, LLMError):
            line = Finished(
                now,
                number,
                outcome.outcome,
                type(outcome).__name__,
                _attempts(outcome.attempts),
                outcome.retry_after,
                refused=refused,
                held=held,
                unpaid=any(
                    "retry budget" in note for note in getattr(outcome, "__notes__", ())
                ),
            )
        elif outcome is None:
            line = Finished(now, number, Outcome.CANCELLED, held=held)
        else:
            line = Finished(now, number, None, repr(outcome), held=held)
        self._tell(line)

    def _final(self, tasks: int) -> Final:
        seen = self._broker.statistics()
        providers = seen.providers.values()
        return Final(
            anyio.current_time(),
            open=seen.open,
            queued=sum(one.queued + one.at_the_door for one in providers),
            in_flight=sum(one.in_flight for one in providers),
            on_the_wire=sum(one.in_flight for one in self._cast.all),
            reserved=self._observer.reserved(),
            tasks=tasks,
            unclosed=sum(not one.closed for one in self._cast.all),
        )


GLANCES = (1.0, 10.0, 30.0, 60.0, 90.0)
"""When to look around, seconds after the last fault."""

MAP_PLACES = 16
"""Prompts of one stream that are read and not handed out."""


class _Caller:
    """Somebody who asks; a task is more than a request, so it asks again."""

    def __init__(self) -> None:
        self.come = anyio.Event()
        self.plan: Plan | None = None


class _Source:
    """Gives the prompts of a stream, none before its time."""

    def __init__(self, plans: list[Plan], submits: Any) -> None:
        self._plans = iter(plans)
        self._submits = submits

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> Request:
        plan = next(self._plans, None)
        if plan is None:
            raise StopAsyncIteration
        await anyio.sleep_until(plan.at)
        self._submits(plan)
        return Request.of(str(plan.id))


def _attempts(attempts: tuple[Attempt, ...]) -> tuple[tuple[str, Outcome], ...]:
    return tuple((one.provider, one.outcome) for one in attempts)


STAYING = nullcontext()


def _leaving(plan: Plan) -> AbstractContextManager[object]:
    """Return what ends a wait when the caller of *plan* leaves."""
    if plan.cancel_after is None:
        return STAYING
    return anyio.move_on_after(plan.cancel_after)
