"""
The broker against a small synchronous model, over any sequence of operations.

The model is what mailbox, door and workers ought to be, as plain lists. After each
operation the broker has to agree with it: who waits, who stands at the door, who runs,
and who got which outcome.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from aitor.broker.broker import Broker
from aitor.broker.submission import Submission
from aitor.errors import (
    BadRequestError,
    LLMError,
    QueueFullError,
    RateLimitError,
    ServerError,
)
from aitor.messages import Answer, Request, Usage
from aitor.outcomes import Outcome
from aitor.testing.scripted import ScriptedProvider
from aitor.testing.virtual import virtual_backend

WORKERS, PLACES, AGING = 2, 2, 30.0

MOMENT = 0.001
"""Virtual time in which everything that can happen now does."""


@dataclass
class Asked:
    """One request in the model."""

    number: int
    priority: int
    arrived: float
    deadline: float

    @property
    def due(self) -> tuple[float, float, int]:
        return self.arrived - self.priority * AGING, self.arrived, self.number


@dataclass
class Model:
    """What should be."""

    running: list[Asked] = field(default_factory=list)
    queue: list[Asked] = field(default_factory=list)
    door: list[Asked] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    closed: bool = False

    def submit(self, asked: Asked, *, wait: bool) -> None:
        if self.closed:
            self.outcomes[asked.number] = Outcome.CANCELLED
        elif len(self.queue) >= PLACES and not wait:
            self.outcomes[asked.number] = Outcome.REFUSED
        else:
            self.door.append(asked)
            self.move()

    def move(self) -> None:
        while True:
            if self.door and len(self.queue) < PLACES:
                self.queue.append(self.door.pop(0))
            elif self.queue and len(self.running) < WORKERS:
                first = min(self.queue, key=lambda asked: asked.due)
                self.queue.remove(first)
                self.running.append(first)
            else:
                return

    def end(self, number: int, outcome: Outcome) -> None:
        for place in (self.running, self.queue, self.door):
            for asked in place:
                if asked.number == number:
                    place.remove(asked)
                    self.outcomes[number] = outcome
                    # A place at the door is taken before a worker looks.
                    self.move()
                    return

    def pass_time(self, now: float) -> None:
        late = [
            asked
            for asked in (*self.running, *self.queue, *self.door)
            if asked.deadline <= now
        ]
        for asked in sorted(late, key=lambda asked: asked.deadline):
            # One that could only begin at its deadline does not begin.
            self.end(asked.number, Outcome.EXPIRED)

    def close(self) -> None:
        self.closed = True
        for asked in (*self.running, *self.queue, *self.door):
            self.outcomes[asked.number] = Outcome.CANCELLED
        self.running, self.queue, self.door = [], [], []


class Real:
    """The broker, driven step by step."""

    def __init__(self, tasks: Any) -> None:
        self.provider = ScriptedProvider(
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
        return Answer(str(number), "m", "stop", Usage(1, 1))

    async def ask(self, number: int, priority: int, timeout: float | None) -> None:
        with anyio.CancelScope() as self.scopes[number]:
            try:
                reply = await self.broker.submit(
                    str(number), priority=priority, timeout=timeout
                )
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


FATES: dict[str, tuple[type[Exception] | None, Outcome]] = {
    "answer": (None, Outcome.ANSWER),
    "server": (ServerError, Outcome.SERVER),
    "bad": (BadRequestError, Outcome.BAD_REQUEST),
    "crash": (RuntimeError, Outcome.CRASH),
}

operations = st.one_of(
    st.tuples(
        st.just("submit"),
        st.sampled_from([0, 0, 1, -1]),
        st.sampled_from([None, None, 5.5]),
    ),
    st.tuples(st.just("nowait"), st.sampled_from([0, 1])),
    st.tuples(st.just("cancel"), st.integers(0, 7)),
    st.tuples(st.just("answer"), st.integers(0, 3), st.sampled_from(sorted(FATES))),
    st.tuples(st.just("tick"), st.sampled_from([1.0, 4.0, 40.0])),
)


@settings(max_examples=120, deadline=None)
@given(steps=st.lists(operations, max_size=50), closes=st.booleans())
def test_the_broker_does_what_the_model_does(
    steps: list[tuple[Any, ...]], closes: bool
) -> None:
    backend, options = virtual_backend("trio")

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
                    perform(real, model, len(steps), ("submit", 0, None))
                    await anyio.sleep(MOMENT)
                    agree(real, model)
                for scope in real.scopes.values():
                    scope.cancel()
                for handle in real.handles.values():
                    handle.cancel()

    anyio.run(main, backend=backend, backend_options=options)


def perform(real: Real, model: Model, number: int, step: tuple[Any, ...]) -> None:
    match step:
        case ("submit", priority, timeout):
            submit(real, model, number, priority, timeout)
        case ("nowait", priority):
            submit_nowait(real, model, number, priority)
        case ("cancel", which):
            everybody = [*model.running, *model.queue, *model.door]
            if which < len(everybody):
                cancel(real, model, everybody[which].number)
        case ("answer", which, fate):
            if which < len(model.running):
                asked = model.running[which].number
                kind, outcome = FATES[fate]
                real.fates[asked] = None if kind is None else kind("no")
                real.running[asked].set()
                model.end(asked, outcome)


def submit(
    real: Real, model: Model, number: int, priority: int, timeout: float | None
) -> None:
    # Where workers are the bound, a deadline may be refused by prediction.
    if model.queue or len(model.running) == WORKERS:
        timeout = None
    now = anyio.current_time()
    deadline = math.inf if timeout is None else now + timeout
    model.submit(Asked(number, priority, now, deadline), wait=True)
    real.tasks.start_soon(real.ask, number, priority, timeout)


def submit_nowait(real: Real, model: Model, number: int, priority: int) -> None:
    asked = Asked(number, priority, anyio.current_time(), math.inf)
    model.submit(asked, wait=False)
    try:
        handle = real.broker.submit_nowait(str(number), priority=priority)
    except QueueFullError as error:
        real.outcomes[number] = error.outcome
    else:
        real.handles[number] = handle
        real.tasks.start_soon(real.wait_for, number, handle)


def cancel(real: Real, model: Model, number: int) -> None:
    model.end(number, Outcome.CANCELLED)
    if number in real.handles:
        real.handles[number].cancel()
    else:
        real.scopes[number].cancel()


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
            await broker.submit(str(number), patient=True)
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
