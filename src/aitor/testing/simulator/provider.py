"""
A simulated provider: takes its time, fails as the nemesis says, writes history.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from random import Random
from typing import Any

import anyio

from aitor.errors import LLMError, ServerError
from aitor.messages import Answer, Request, Usage
from aitor.outcomes import Outcome
from aitor.providers.base import Progress, Provider
from aitor.testing.simulator.history import Ended, Line, Sent, Struck, name_of
from aitor.testing.simulator.nemesis import Fate, Nemesis
from aitor.testing.simulator.script import Plan
from aitor.testing.simulator.server import Server
from aitor.testing.virtual import sleep_until

__all__ = ("ASKING", "SimulatedProvider", "id_of")

ASKING: ContextVar[int] = ContextVar("asking")
"""The number of the request whose caller runs: an exchange runs in its task."""


def id_of(request: Request) -> int:
    """Return the number of *request*, which is its prompt, or else its caller's."""
    prompt = _prompt(request)
    return int(prompt) if prompt.isdigit() else ASKING.get()


def _prompt(request: Request) -> str:
    prompt: str = request.messages[0]["content"]
    return prompt


class SimulatedProvider(Provider):
    """
    Answers a request with its prompt.

    Args:
        label: What it is called in the history.
        latency: Mean seconds of a call.
        seed: Of the generators of its calls.
        nemesis: Decides what becomes of each call.
        plans: Requests by prompt, one of each.
        tell: Takes lines of history.
        settings: Those of every provider.
    """

    kind = "simulated"

    def __init__(
        self,
        label: str,
        latency: float,
        seed: int,
        nemesis: Nemesis,
        plans: Mapping[str, Plan],
        tell: Callable[[Line], object],
        **settings: Any,
    ) -> None:
        name = name_of(label)
        super().__init__(**{"model": name, **settings})
        self.name = name
        self.label = label
        self._latency = latency
        self._seed = seed
        self._nemesis = nemesis
        self._plans = plans
        self._tell = tell
        self._asked: dict[int, int] = {}
        self._random = Random()  # noqa: S311  # a simulation, no secret
        self._server = Server()
        self._calls = 0
        self.in_flight = 0
        self.closed = False

    def guess_input(self, request: Request) -> float:
        """Return what the plan says."""
        self._look(request)
        return self._plans[_prompt(request)].input_tokens

    def window(self, request: Request) -> int | None:
        """Return that nobody knows."""
        self._look(request)
        return None

    async def complete(self, request: Request, progress: Progress) -> Answer:
        """Do what the nemesis decides."""
        number = id_of(request)
        call = self._calls = self._calls + 1
        now = anyio.current_time()
        recovery = self._plans[_prompt(request)].recovery
        fate = Fate(0.1) if recovery else self._fate(number, now)
        error: BaseException | None = None
        self.closed = False
        self._tell(Sent(now, self.label, number, call))
        for kind in fate.struck:
            self._tell(Struck(now, self.label, number, kind))
        self.in_flight += 1
        try:
            return await self._meet(fate, request, now, progress)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self.in_flight -= 1
            self._tell(self._ended(number, call, error))

    async def aclose(self) -> None:
        """Remember that it was closed; what is asked later opens it again."""
        self.closed = True

    def _look(self, request: Request) -> None:
        now = anyio.current_time()
        chance = self._nemesis.blindness(self.name, now)
        if not chance or self._plans[_prompt(request)].recovery:
            return
        # The same request fails each time, whoever wants to know.
        number = id_of(request)
        self._random.seed(self._seed * 1_000_003 + number)
        if self._random.random() < chance:
            self._tell(Struck(now, self.label, number, "blind"))
            raise RuntimeError("a bug")

    def _fate(self, number: int, now: float) -> Fate:
        # Each call has a seed of its own, so that a run that leaves out some
        # requests treats the others alike.
        asked = self._asked[number] = self._asked.get(number, 0) + 1
        self._random.seed(
            (self._seed * 1_000_003 + number) * 1_009 + asked * 31 + ord(self.name[0])
        )
        return self._nemesis.fate(self.name, now, self._latency, self._random)

    async def _meet(
        self, fate: Fate, request: Request, now: float, progress: Progress
    ) -> Answer:
        async with AsyncExitStack() as places:
            fate = await self._serve(fate, now, progress, places)
            if fate.chatty:
                progress()
            if fate.silent:
                await anyio.sleep_forever()
            await sleep_until(now + fate.seconds)
        if fate.error is not None:
            raise fate.error
        plan = self._plans[_prompt(request)]
        usage = Usage(plan.input_tokens, plan.output_tokens)
        return Answer(plan.prompt, self.name, "stop", usage, headers=fate.headers)

    async def _serve(
        self, fate: Fate, now: float, progress: Progress, places: AsyncExitStack
    ) -> Fate:
        """Do what depends on how much the server has to do."""
        for phase in fate.server:
            match phase.kind:
                case "runs":
                    if self._server.in_a_run(phase):
                        fate = fate._replace(error=ServerError("sorry", status=500))
                case "rate_limited":
                    self._server.rate_limit(phase, now, self._random)
                case "slow_under_load":
                    slower = self._latency * self.in_flight / phase.amount
                    fate = fate._replace(seconds=fate.seconds + slower, chatty=False)
                    await sleep_until(now + slower)
                    progress()
                case _:
                    await places.enter_async_context(self._server.place(phase))
                    waited = anyio.current_time() - now
                    fate = fate._replace(seconds=fate.seconds + waited)
        return fate

    def _ended(self, number: int, call: int, error: BaseException | None) -> Ended:
        wait = None
        if error is None:
            outcome = Outcome.ANSWER
        elif isinstance(error, LLMError):
            outcome, wait = error.outcome, error.retry_after
        elif isinstance(error, Exception):
            outcome = Outcome.CRASH
        else:
            outcome = Outcome.CANCELLED
        return Ended(anyio.current_time(), self.label, number, call, outcome, wait)
