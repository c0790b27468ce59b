"""
A run: the whole real broker, in virtual time, between made-up callers and providers.

Callers come at their own times whatever the broker does, as real ones do (an
open-loop workload). Everything that happens becomes a line of history. The broker
itself is the one that applications use; only its breakers and buckets tell what they
decide.
"""

import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, TypeAlias

import anyio

from aitor.broker.actor import Actor
from aitor.broker.broker import Broker
from aitor.broker.mapping import MapResult
from aitor.errors import LLMError
from aitor.events import CircuitChanged, Event, ProviderPaused
from aitor.messages import Attempt, Reply, Request
from aitor.outcomes import Outcome
from aitor.providers.settings import LimitSettings, load
from aitor.testing.simulator.history import (
    Circuit,
    Closed,
    Closing,
    Depth,
    Final,
    Finished,
    History,
    Line,
    Paused,
    Phased,
    Startable,
    Stuck,
    Submitted,
)
from aitor.testing.simulator.nemesis import Nemesis
from aitor.testing.simulator.provider import SimulatedProvider
from aitor.testing.simulator.script import Plan, Script
from aitor.testing.simulator.witness import WatchedBreaker, watched_limit
from aitor.testing.virtual import virtual_backend

__all__ = ("RunawayError", "run")

LONGEST_SECONDS = 100_000.0
"""What has not ended so long after the last submit never will."""

SLOW_SECONDS = 0.5
"""What a slow consumer takes for each result."""

Outcomes: TypeAlias = Reply | LLMError | Exception | None
"""What a caller gets; None when it left."""


class RunawayError(RuntimeError):
    """The run used up its processor time: something spins without time passing."""


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
        _make_trio_deterministic(script.seed)
    world = _World(script)
    name, options = virtual_backend(backend)
    with _at_most(processor_seconds):
        anyio.run(world.live, backend=name, backend_options=options)
    return world.history


class _World:
    """Everything in one run."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._plans = {plan.id: plan for plan in script.plans}
        limits = {
            name: load(LimitSettings, limit) for name, limit in script.limits.items()
        }
        nemesis = Nemesis(script.phases)
        self._providers = {
            name: SimulatedProvider(
                name,
                seed=script.seed,
                nemesis=nemesis,
                plans=self._plans,
                tell=self._tell,
                **settings,
            )
            for name, settings in script.providers.items()
        }
        self.history = History(
            {name: one.settings for name, one in self._providers.items()},
            limits,
            {name: one.settings.limits or "" for name, one in self._providers.items()},
        )
        self._broker = Broker(
            self._providers,
            limits={
                name: watched_limit(name, limit, self._tell)
                for name, limit in limits.items()
            },
            drain_timeout=LONGEST_SECONDS,
            listeners=[self._listen],
            seed=script.seed,
        )
        self._actors = list(self._broker._actors.values())
        for actor in self._actors:
            actor.breaker = WatchedBreaker(
                actor.name, actor.settings.breaker, self._tell
            )
        self._deepest = dict.fromkeys(self._providers, 0)
        self._submitted: set[int] = set()

    # Its life.

    async def live(self) -> None:
        """Let everything happen."""
        tasks = len(anyio.get_running_tasks())
        end = self._script.plans[-1].at if self._script.plans else 0.0
        with anyio.CancelScope() as everything:
            async with anyio.create_task_group() as guards:
                guards.start_soon(self._guard, end + LONGEST_SECONDS, everything)
                guards.start_soon(self._phases)
                async with self._broker:
                    await self._workload()
                    self._tell(Closing(anyio.current_time(), LONGEST_SECONDS))
                self._tell(Closed(anyio.current_time()))
                guards.cancel_scope.cancel()
        self._tell(self._final(len(anyio.get_running_tasks()) - tasks))

    async def _workload(self) -> None:
        streams: dict[str, list[Plan]] = {}
        async with anyio.create_task_group() as tasks:
            if self._script.closing is not None:
                tasks.start_soon(self._close_early)
            for plan in self._script.plans:
                if plan.how.startswith("map"):
                    streams.setdefault(plan.how, []).append(plan)
            for plans in streams.values():
                tasks.start_soon(self._map, plans)
            for plan in self._script.plans:
                if plan.how in ("submit", "nowait"):
                    if plan.at > anyio.current_time():
                        await anyio.sleep_until(plan.at)
                    ask = self._submit if plan.how == "submit" else self._submit_nowait
                    tasks.start_soon(ask, plan)

    async def _guard(self, until: float, everything: anyio.CancelScope) -> None:
        await anyio.sleep_until(until)
        self._tell(Stuck(anyio.current_time()))
        everything.cancel()

    async def _phases(self) -> None:
        phases = self._script.phases
        edges = [(phase.begin, True, phase) for phase in phases]
        edges += [(phase.end, False, phase) for phase in phases]
        for time, begins, phase in sorted(edges, key=lambda edge: edge[0]):
            await anyio.sleep_until(time)
            self._tell(Phased(time, phase.kind, phase.provider, begins))

    async def _close_early(self) -> None:
        closing = self._script.closing
        assert closing is not None  # noqa: S101  # else nobody calls it
        await anyio.sleep_until(closing.at)
        self._tell(Closing(anyio.current_time(), closing.drain_timeout))
        await self._broker.aclose(drain_timeout=closing.drain_timeout)
        self._tell(Closed(anyio.current_time()))

    # Callers.

    def _arguments(self, plan: Plan) -> dict[str, Any]:
        parameters = {"max_tokens": plan.output_tokens} if plan.max_tokens else {}
        return {
            "provider": None if plan.only is None else [plan.only],
            "timeout": plan.timeout,
            "priority": plan.priority,
            "tenant": plan.tenant,
            **parameters,
        }

    async def _submit(self, plan: Plan) -> None:
        self._submits(plan)
        outcome: Outcomes = None
        try:
            with anyio.move_on_after(plan.cancel_after):
                outcome = await self._broker.submit(
                    str(plan.id), patient=plan.patient, **self._arguments(plan)
                )
        except Exception as error:  # noqa: BLE001  # all of them are judged later
            outcome = error
        finally:
            self._finishes(plan.id, outcome)

    async def _submit_nowait(self, plan: Plan) -> None:
        self._submits(plan)
        try:
            handle = self._broker.submit_nowait(str(plan.id), **self._arguments(plan))
        except Exception as error:  # noqa: BLE001  # all of them are judged later
            self._finishes(plan.id, error, refused=True)
            return
        outcome: Outcomes = None
        left = False
        try:
            with anyio.move_on_after(plan.cancel_after) as scope:
                outcome = await handle.reply()
            if scope.cancelled_caught:
                handle.cancel()
                left = True
                await handle.reply()
        except Exception as error:  # noqa: BLE001  # all of them are judged later
            outcome = None if left else error
        finally:
            self._finishes(plan.id, outcome)

    async def _map(self, plans: list[Plan]) -> None:
        source = _Source(plans, self._submits)
        slow = [phase for phase in self._script.phases if phase.kind == "slow_consumer"]
        async with self._broker.map(source, max_in_flight=MAP_PLACES) as results:
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
        number = int(request.messages[0]["content"])
        self._finishes(number, result.reply or result.error)

    # Writing history.

    def _tell(self, line: Line) -> None:
        self.history.lines.append(line)

    def _submits(self, plan: Plan) -> None:
        now = anyio.current_time()
        stream = plan.how.startswith("map")
        timeout = None if stream else plan.timeout
        self._submitted.add(plan.id)
        self._tell(
            Submitted(
                now,
                plan.id,
                "map" if stream else plan.how,
                float("inf") if timeout is None else now + timeout,
                plan.priority,
                plan.tenant,
                plan.patient or stream,
                plan.only,
                plan.recovery,
            )
        )
        self._look_around(now)

    def _finishes(
        self, number: int, outcome: Outcomes, *, refused: bool = False
    ) -> None:
        now = anyio.current_time()
        self._submitted.discard(number)
        held = self._look_around(now)
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
            )
        elif outcome is None:
            line = Finished(now, number, Outcome.CANCELLED, held=held)
        else:
            line = Finished(now, number, None, repr(outcome), held=held)
        self._tell(line)

    def _look_around(self, now: float) -> int:
        """Write down what stands out, and return how many calls are held."""
        held = 0
        for actor in self._actors:
            mailbox = actor._mailbox
            held += len(actor._running)
            if queued := len(mailbox):
                held += queued + mailbox.at_the_door
                if queued > self._deepest[actor.name]:
                    self._deepest[actor.name] = queued
                    self._tell(Depth(now, actor.name, queued))
                if actor._free and self._could_start(actor, now):
                    head = mailbox.head()
                    assert head is not None  # noqa: S101  # somebody waits
                    self._tell(Startable(now, actor.name, head.envelope.sequence))
        return held

    @staticmethod
    def _could_start(actor: Actor, now: float) -> bool:
        """Whether the first in *actor*'s mailbox lacks nothing but to be let go."""
        head = actor._mailbox.head()
        if head is None or actor.limit.bucket.ready_at(head.cost, now) > now:
            return False
        seen = actor.breaker.snapshot(now)
        # Of those who share a limit one has its turn, if it has use for it.
        turn = next(iter(actor.limit._line), actor)
        idle = not isinstance(turn, Actor) or not turn._mailbox
        return (turn is actor or idle) and seen.in_flight < seen.limit

    def _listen(self, event: Event) -> None:
        if isinstance(event, CircuitChanged):
            now = anyio.current_time()
            self._tell(Circuit(now, event.provider, event.old, event.new))
        elif isinstance(event, ProviderPaused):
            self._tell(Paused(anyio.current_time(), event.provider, event.seconds))

    def _final(self, tasks: int) -> Final:
        seen = self._broker.statistics()
        providers = seen.providers.values()
        return Final(
            anyio.current_time(),
            open=seen.open,
            queued=sum(one.queued + one.at_the_door for one in providers),
            in_flight=sum(one.in_flight for one in providers),
            on_the_wire=sum(one.in_flight for one in self._providers.values()),
            reserved=sum(
                sum(actor.limit.bucket.reserved) + actor.settings.workers - actor._free
                for actor in self._actors
            ),
            tasks=tasks,
            unclosed=sum(not one.closed for one in self._providers.values()),
        )


MAP_PLACES = 16
"""Prompts of one stream that are read and not handed out."""


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


def _make_trio_deterministic(seed: int) -> None:
    """
    Make trio run its tasks in the same order each time.

    Trio shuffles tasks that are ready, so that nobody comes to rely on an order, and
    has a switch for tests, which Hypothesis turns on. Both names are private. Where a
    version of trio lacks them, runs are as good but cannot be repeated.
    """
    scheduler = importlib.import_module("trio._core._run")
    if getattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", None) is not None:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined]
    random = getattr(scheduler, "_r", None)
    if random is not None:
        random.seed(seed)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt what runs for more *seconds* of processor time, in the main thread."""
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "SIGVTALRM"):
        yield
        return
    old = signal.signal(signal.SIGVTALRM, partial(_interrupt, seconds))
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, old)


def _interrupt(seconds: float, _number: int, _frame: FrameType | None) -> None:
    raise RunawayError(f"still running after {seconds} s of processor time")
