"""
A simulated provider: takes its time, fails as the nemesis says, writes history.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import anyio

from aitor.errors import LLMError
from aitor.messages import Answer, Request, Usage
from aitor.outcomes import Outcome
from aitor.providers.base import Progress, Provider
from aitor.testing.simulator.history import Ended, Line, Sent, Struck
from aitor.testing.simulator.nemesis import Fate, Nemesis
from aitor.testing.simulator.script import Plan
from aitor.testing.virtual import sleep_until

__all__ = ("SimulatedProvider", "id_of")


def id_of(request: Request) -> int:
    """Return the number of *request*, which is its prompt."""
    return int(request.messages[0]["content"])


class SimulatedProvider(Provider):
    """
    Answers a request with its number.

    Args:
        name: The provider's name in the broker.
        latency: Mean seconds of a call.
        seed: Of the generators of its calls.
        nemesis: Decides what becomes of each call.
        plans: Requests by number.
        tell: Takes lines of history.
        settings: Those of every provider.
    """

    kind = "simulated"

    def __init__(
        self,
        name: str,
        latency: float,
        seed: int,
        nemesis: Nemesis,
        plans: Mapping[int, Plan],
        tell: Callable[[Line], object],
        **settings: Any,
    ) -> None:
        super().__init__(**{"model": name, **settings})
        self.name = name
        self._latency = latency
        self._seed = seed
        self._nemesis = nemesis
        self._plans = plans
        self._tell = tell
        self._asked: dict[int, int] = {}
        self._random = Random()  # noqa: S311  # a simulation, no secret
        self._calls = 0
        self.in_flight = 0
        self.closed = False

    def guess_input(self, request: Request) -> float:
        """Return what the plan says."""
        return self._plans[id_of(request)].input_tokens

    async def complete(self, request: Request, progress: Progress) -> Answer:
        """Do what the nemesis decides."""
        number = id_of(request)
        call = self._calls = self._calls + 1
        now = anyio.current_time()
        recovery = self._plans[number].recovery
        fate = Fate(0.1) if recovery else self._fate(number, now)
        error: BaseException | None = None
        self._tell(Sent(now, self.name, number, call))
        for kind in fate.struck:
            self._tell(Struck(now, self.name, number, kind))
        self.in_flight += 1
        try:
            return await self._meet(fate, number, now, progress)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self.in_flight -= 1
            self._tell(self._ended(number, call, error))

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _fate(self, number: int, now: float) -> Fate:
        # Each call has a seed of its own, so that a run that leaves out some
        # requests treats the others alike.
        asked = self._asked[number] = self._asked.get(number, 0) + 1
        self._random.seed(
            (self._seed * 1_000_003 + number) * 1_009 + asked * 31 + ord(self.name[0])
        )
        return self._nemesis.fate(self.name, now, self._latency, self._random)

    async def _meet(
        self, fate: Fate, number: int, now: float, progress: Progress
    ) -> Answer:
        if fate.chatty:
            progress()
        if fate.silent:
            await anyio.sleep_forever()
        await sleep_until(now + fate.seconds)
        if fate.error is not None:
            raise fate.error
        plan = self._plans[number]
        usage = Usage(plan.input_tokens, plan.output_tokens)
        return Answer(f"{number}", self.name, "stop", usage, headers=fate.headers)

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
        return Ended(anyio.current_time(), self.name, number, call, outcome, wait)
