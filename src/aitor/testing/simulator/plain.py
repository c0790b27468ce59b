"""
A plain client: what a program does that has no broker, for comparison.

It has the same requests to be answered at the same times, and asks the first provider
alone, with the retries of an SDK: four tries, with a wait of 0.5 s that doubles up to
8 s between them and a quarter of jitter, or what the server asks for. Nothing bounds
how many calls it has in flight.
"""

from random import Random

import anyio

from aitor.errors import (
    AttemptTimeoutError,
    ConnectionFailedError,
    LLMError,
    RateLimitError,
    ServerError,
)
from aitor.messages import Answer, Request
from aitor.testing.simulator.nemesis import Nemesis
from aitor.testing.simulator.provider import ASKING, SimulatedProvider
from aitor.testing.simulator.script import Plan, Script

__all__ = ("PlainClient",)

TRIES = 4
FIRST_WAIT, LONGEST_WAIT, LONGEST_ASKED = 0.5, 8.0, 60.0
JITTER = 0.25

REPEATED = (AttemptTimeoutError, ConnectionFailedError, RateLimitError, ServerError)


class PlainClient:
    """
    Has all requests of a script answered, as far as it can.

    Args:
        script: What is asked, and what becomes of it.

    Attributes:
        answered: When each answer came.
    """

    answered: list[float]

    def __init__(self, script: Script) -> None:
        self.answered = []
        self._plans = script.plans
        self._random = Random(script.seed)  # noqa: S311  # a simulation, no secret
        name, settings = next(iter(script.providers.items()))
        self._provider = SimulatedProvider(
            name,
            seed=script.seed,
            nemesis=Nemesis(script.phases),
            plans={plan.prompt: plan for plan in script.plans},
            tell=lambda _: None,
            **settings,
        )

    async def live(self) -> None:
        """Ask everything, each in its time."""
        async with anyio.create_task_group() as tasks:
            for plan in self._plans:
                await anyio.sleep_until(plan.at)
                tasks.start_soon(self._ask, plan)

    async def _ask(self, plan: Plan) -> None:
        ASKING.set(plan.id)
        request = Request.of(plan.prompt)
        with anyio.move_on_after(plan.timeout):
            for retry in range(TRIES):
                try:
                    await self._try(request)
                except REPEATED as error:
                    if retry + 1 < TRIES:
                        await anyio.sleep(self._wait(error, retry))
                except LLMError:
                    return
                else:
                    self.answered.append(anyio.current_time())
                    return

    async def _try(self, request: Request) -> Answer:
        with anyio.move_on_after(self._provider.settings.timeout):
            return await self._provider.complete(request, lambda: None)
        raise AttemptTimeoutError("no answer")

    def _wait(self, error: LLMError, retry: int) -> float:
        asked = error.retry_after
        if asked is not None and 0.0 < asked <= LONGEST_ASKED:
            return asked
        wait = min(FIRST_WAIT * 2.0**retry, LONGEST_WAIT)
        return wait * (1.0 - JITTER * self._random.random())
