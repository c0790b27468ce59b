"""
The broker against a small synchronous model, over any sequence of operations.

The model is what mailbox, door, workers and pauses ought to be, as plain lists. After
each operation the broker has to agree with it: who waits, who stands at the door, who
runs, and who got which outcome.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.laws.test_order import Naive

from aitor.broker.broker import Broker
from aitor.broker.submission import Submission
from aitor.errors import (
    BadRequestError,
    LLMError,
    QueueFullError,
    RateLimitError,
    ServerError,
)
from aitor.laws.order import Entry
from aitor.messages import Answer, Request, Usage
from aitor.outcomes import Outcome
from aitor.testing.scripted import ScriptedProvider
from aitor.testing.virtual import virtual_backend

WORKERS, PLACES, AGING = 2, 3, 30.0

MOMENT = 0.001
"""Virtual time in which everything that can happen now does."""

PAUSE = 20.25
"""Seconds that the provider asks for."""


@dataclass(eq=False)
class Asked:
    """One request in the model."""

    number: int
    priority: int
    tenant: str | None
    arrived: float
    deadline: float
    entry: Entry["Asked"] = field(init=False)

    def __post_init__(self) -> None:
        # All are of a size.
        self.entry = Entry(
            self, self.priority, self.tenant, 1.0, self.arrived, self.number
        )


@dataclass
class Model:
    """What should be."""

    running: list[Asked] = field(default_factory=list)
    seats: Naive[Asked] = field(default_factory=lambda: Naive(AGING))
    door: list[Asked] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    paused_until: float = 0.0
    closed: bool = False

    @property
    def queue(self) -> list[Asked]:
        return [entry.item for entry in self.seats.waiting]

    @property
    def everybody(self) -> list[Asked]:
        return [*self.running, *self.queue, *self.door]

    def submit(self, asked: Asked, *, wait: bool) -> None:
        if self.closed:
            self.outcomes[asked.number] = Outcome.CANCELLED
        elif len(self.queue) >= PLACES and not wait:
            self.outcomes[asked.number] = Outcome.REFUSED
        else:
            self.door.append(asked)
            self.move(asked.arrived)

    def move(self, now: float) -> None:
        while True:
            if self.door and len(self.queue) < PLACES:
                self.seats.push(self.door.pop(0).entry)
            elif (
                self.queue and len(self.running) < WORKERS and now >= self.paused_until
            ):
                first = self.seats.next()
                assert first is not None
                self.seats.take(first)
                self.running.append(first.item)
            else:
                return

    def end(self, asked: Asked, outcome: Outcome, now: float) -> None:
        self.outcomes[asked.number] = outcome
        if asked in self.running:
            self.running.remove(asked)
        elif asked in self.door:
            self.door.remove(asked)
        else:
            self.seats.remove(asked.entry)
        # A place at the door is taken before a worker looks.
        self.move(now)

    def pass_time(self, now: float) -> None:
        due = [(asked.deadline, asked) for asked in self.everybody]
        for deadline, asked in sorted(due, key=lambda pair: pair[0]):
            if deadline <= now:
                # What may start before does; one that could only begin at its
                # deadline does not begin.
                self.move(math.nextafter(deadline, 0.0))
                self.end(asked, Outcome.EXPIRED, deadline)
        self.move(now)

    def close(self) -> None:
        self.closed = True
        for asked in self.everybody:
            self.outcomes[asked.number] = Outcome.CANCELLED
        self.running, self.seats, self.door = [], Naive(AGING), []


class Constant(ScriptedProvider):
    """All requests are of a size, and no usage teaches otherwise."""

    def guess_input(self, request: Request) -> float:
        return 1.0


class Real:
    """The broker, driven step by step."""

    def __init__(self, tasks: Any) -> None:
        self.provider = Constant(
            lambda number: self._answer,
            workers=WORKERS,
            queue_size=PLACES,
            max_retries=0,
            timeout=10_000.0,
            breaker={"failures": 1_000_000},
        )
        self.broker = Broker([self.provider])
        self.outcomes: dict[int, Outcome] = {}
        self.running: dict[int, anyio.Event] = {}
        self.fates: dict[int, Exception | None] = {}
        self.scopes: dict[int, anyio.CancelScope] = {}
        self.handles: dict[int, Submission] = {}
        self.tasks = tasks

    async def _answer(self, request: Request) -> Answer:
        number = int(request.messages[0]["content"])
        self.running[number] = anyio.Event()
        try:
            await self.running[number].wait()
        finally:
            del self.running[number]
        error = self.fates[number]
        if error is not None:
            raise error
        return Answer(str(number), "m", "stop", Usage(estimated=True))

    async def ask(self, number: int, **delivery: Any) -> None:
        with anyio.CancelScope() as self.scopes[number]:
            try:
                reply = await self.broker.submit(str(number), **delivery)
            except LLMError as error:
                self.outcomes[number] = error.outcome
            else:
                assert reply.text == str(number)
                self.outcomes[number] = Outcome.ANSWER
        self.outcomes.setdefault(number, Outcome.CANCELLED)

    async def wait_for(self, number: int, handle: Submission) -> None:
        try:
            await handle.reply()
        except LLMError as error:
            self.outcomes[number] = error.outcome
        else:
            self.outcomes[number] = Outcome.ANSWER


FATES: dict[str, tuple[Callable[[], Exception | None], Outcome]] = {
    "answer": (lambda: None, Outcome.ANSWER),
    "server": (lambda: ServerError("no"), Outcome.SERVER),
    "bad": (lambda: BadRequestError("no"), Outcome.BAD_REQUEST),
    "crash": (lambda: RuntimeError("no"), Outcome.CRASH),
    "pause": (lambda: RateLimitError("no", retry_after=PAUSE), Outcome.RATE_LIMITED),
}

priorities = st.sampled_from([0, 0, 1, -1])
tenants = st.sampled_from([None, "red", "green"])

operations = st.one_of(
    st.tuples(
        st.just("submit"), priorities, tenants, st.sampled_from([None, None, 5.5])
    ),
    st.tuples(st.just("nowait"), priorities, tenants),
    st.tuples(st.just("cancel"), st.integers(0, 7)),
    st.tuples(st.just("answer"), st.integers(0, 3), st.sampled_from(sorted(FATES))),
    st.tuples(st.just("tick"), st.sampled_from([1.0, 4.0, 40.0])),
)


ask, answer = ("submit", 0, None, None), ("answer", 0, "answer")

TENANTS_TAKE_TURNS = [
    *(ask, ask),
    *(("submit", 0, tenant, None) for tenant in ("red", "red", "green")),
    *(answer, answer, answer),
]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@example(steps=TENANTS_TAKE_TURNS, closes=False)
@settings(max_examples=80, deadline=None)
@given(steps=st.lists(operations, max_size=50), closes=st.booleans())
def test_the_broker_does_what_the_model_does(
    backend: str, steps: list[tuple[Any, ...]], closes: bool
) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            real, model = Real(tasks), Model()
            async with real.broker:
                for number, step in enumerate(steps):
                    perform(real, model, number, step)
                    seconds = step[1] if step[0] == "tick" else 0.0
                    await anyio.sleep(seconds + MOMENT)
                    model.pass_time(anyio.current_time())
                    agree(real, model)
                if closes:
                    await real.broker.aclose(drain_timeout=0.0)
                    model.close()
                    await anyio.sleep(MOMENT)
                    agree(real, model)
                    perform(real, model, len(steps), ("submit", 0, None, None))
                    await anyio.sleep(MOMENT)
                    agree(real, model)
                for scope in real.scopes.values():
                    scope.cancel()
                for handle in real.handles.values():
                    handle.cancel()

    _, options = virtual_backend(backend)
    anyio.run(main, backend=backend, backend_options=options)


def perform(real: Real, model: Model, number: int, step: tuple[Any, ...]) -> None:
    now = anyio.current_time()
    match step:
        case ("submit", priority, tenant, timeout):
            # Where one has to wait, a deadline may be refused by prediction.
            if model.queue or len(model.running) == WORKERS or now < model.paused_until:
                timeout = None
            deadline = math.inf if timeout is None else now + timeout
            model.submit(Asked(number, priority, tenant, now, deadline), wait=True)
            delivery = {"priority": priority, "tenant": tenant, "timeout": timeout}
            real.tasks.start_soon(partial(real.ask, number, **delivery))
        case ("nowait", priority, tenant):
            asked = Asked(number, priority, tenant, now, math.inf)
            submit_nowait(real, model, asked)
        case ("cancel", which):
            if which < len(model.everybody):
                cancel(real, model, model.everybody[which])
        case ("answer", which, fate):
            if which < len(model.running):
                asked = model.running[which]
                make, outcome = FATES[fate]
                real.fates[asked.number] = make()
                real.running[asked.number].set()
                if fate == "pause":
                    model.paused_until = max(model.paused_until, now + PAUSE)
                model.end(asked, outcome, now)


def submit_nowait(real: Real, model: Model, asked: Asked) -> None:
    number = asked.number
    model.submit(asked, wait=False)
    try:
        handle = real.broker.submit_nowait(
            str(number), priority=asked.priority, tenant=asked.tenant
        )
    except QueueFullError as error:
        real.outcomes[number] = error.outcome
    else:
        real.handles[number] = handle
        real.tasks.start_soon(real.wait_for, number, handle)


def cancel(real: Real, model: Model, asked: Asked) -> None:
    model.end(asked, Outcome.CANCELLED, anyio.current_time())
    if asked.number in real.handles:
        real.handles[asked.number].cancel()
    else:
        real.scopes[asked.number].cancel()


def agree(real: Real, model: Model) -> None:
    seen = real.broker.statistics().providers["scripted"]
    assert seen.queued == len(model.queue)
    assert seen.at_the_door == len(model.door)
    assert seen.in_flight == len(model.running)
    assert set(real.running) == {asked.number for asked in model.running}
    assert real.outcomes == model.outcomes


waits = st.sampled_from([0.5, 5.0, 20.0])


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("submit"), st.just(0.0)),
            st.tuples(st.just("throttle"), waits),
            st.tuples(st.just("tick"), waits),
        ),
        max_size=40,
    )
)
def test_with_two_providers_pauses_move_work_and_hold(
    steps: list[tuple[str, float]],
) -> None:
    """
    Nothing is sent to a provider that pauses, and everybody is answered in the end.
    """
    backend, options = virtual_backend("trio")

    async def main() -> None:
        pauses = {"one": 0.0, "two": 0.0}
        throttled: list[float] = []
        answered: list[int] = []

        def make(name: str) -> ScriptedProvider:
            async def answer(request: Request) -> Answer:
                assert anyio.current_time() >= pauses[name]
                if throttled:
                    wait = throttled.pop()
                    pauses[name] = max(pauses[name], anyio.current_time() + wait)
                    raise RateLimitError("slow", retry_after=wait)
                await anyio.sleep(0.01)
                return Answer("ok", name, "stop", Usage(1, 1))

            return ScriptedProvider(lambda number: answer, workers=1, queue_size=2)

        broker = Broker({"one": make("one"), "two": make("two")})

        async def ask(number: int) -> None:
            await broker.submit(str(number), when_unavailable="wait")
            answered.append(number)

        submitted = 0
        async with anyio.create_task_group() as tasks:
            for kind, seconds in steps:
                if kind == "submit":
                    tasks.start_soon(ask, submitted)
                    submitted += 1
                elif kind == "throttle":
                    throttled.append(seconds)
                else:
                    await anyio.sleep(seconds)
        assert sorted(answered) == list(range(submitted))
        assert broker.statistics().open == 0

    anyio.run(main, backend=backend, backend_options=options)
