"""The callers of a soak: they ask, leave, flood and rearrange, as fast as they can."""

from collections import Counter
from collections.abc import Iterator
from random import Random

import anyio

from aitor import Broker, LLMError
from aitor.errors import BadRequestError, QueueFullError

from .providers import NAMES, make

__all__ = ("Callers",)

TENANTS = (None, "blue", "green", "red")


class Callers:
    """
    Everybody who asks.

    Args:
        broker: Whom they ask; open.
        urls: Addresses of the fake providers, for a provider that is put in another's
            place.
        transport: How that one sends.
        seed: Decides what is asked when, by whom.
    """

    def __init__(
        self, broker: Broker, urls: dict[str, str], transport: str, seed: int
    ) -> None:
        self.broker = broker
        self.outcomes: Counter[str] = Counter()
        self.surprises: list[str] = []
        self.begun = self.ended = 0
        self._urls = urls
        self._transport = transport
        self._random = Random(seed)
        self._stop = False

    def stop(self) -> None:
        """Let everybody end with the request that is under way."""
        self._stop = True

    async def run(self, count: int, rearrange: float) -> None:
        """
        Ask until `stop` is called.

        Args:
            count: How many callers ask one request after the other.
            rearrange: Seconds between two changes of the providers.
        """
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self._ask_on)
            for _ in range(2):
                tasks.start_soon(self._map_on)
            tasks.start_soon(self._flood_on)
            tasks.start_soon(self._rearrange_on, rearrange)

    # One request.

    async def _ask_on(self) -> None:
        while not self._stop:
            with self._book():
                await self._ask()

    async def _ask(self) -> None:
        dice = self._random
        patience = dice.choice([0.001, 0.01, 0.05, 0.5, 60.0, 60.0, 60.0])
        with anyio.CancelScope(deadline=anyio.current_time() + patience):
            await self.broker.submit(
                "word " * dice.choice([1, 10, 1_000]),
                timeout=dice.choice([0.02, 0.2, 2.0, 10.0, None]),
                priority=dice.choice([0, 0, 0, 1, 5]),
                tenant=dice.choice(TENANTS),
                provider=dice.choice([None, None, None, *NAMES]),
                patient=dice.random() < 0.1,
            )
            self.outcomes["answered"] += 1
            return
        self.outcomes["left"] += 1

    def _book(self) -> "_Entry":
        return _Entry(self)

    # Many.

    def _prompts(self) -> Iterator[str]:
        number = 0
        while not self._stop:
            number += 1
            yield f"row {number}"

    async def _map_on(self) -> None:
        dice = self._random
        while not self._stop:
            left = dice.choice([20, 200, 2_000])
            async with self.broker.map(
                self._prompts(),
                max_in_flight=20,
                ordered=dice.random() < 0.5,
                timeout=5.0,
            ) as results:
                async for result in results:
                    kind = "row answered" if result.reply else "row failed"
                    self.outcomes[kind] += 1
                    left -= 1
                    if left <= 0:
                        break

    async def _flood_on(self) -> None:
        while not self._stop:
            taken = []
            try:
                for _ in range(500):
                    taken.append(self.broker.submit_nowait("flood", provider="local"))
            except QueueFullError:
                self.outcomes["queue full"] += 1
            except LLMError as error:
                self.outcomes[type(error).__name__] += 1
            for submission in taken[::2]:
                submission.cancel()
            for submission in taken:
                with self._book():
                    await submission.reply()
                    self.outcomes["answered"] += 1
            await anyio.sleep(0.5)

    # The providers.

    async def _rearrange_on(self, seconds: float) -> None:
        # A provider that is replaced is kept until its broker closes, so this is
        # done a few times and not thousands of times.
        begin = anyio.current_time()
        for turn in range(6):
            while anyio.current_time() < begin + seconds * (turn + 1):
                if self._stop:
                    return
                await anyio.sleep(0.1)
            name = NAMES[turn % len(NAMES)]
            guest = make(name, self._urls[name], self._transport)
            if turn % 2:
                self.broker.add_provider(name, guest)
            else:
                self.broker.add_provider("guest", guest)
                self.broker.set_failover(["guest", *NAMES])
                await anyio.sleep(seconds / 2)
                self.broker.set_failover(NAMES)
            self.outcomes["rearranged"] += 1


class _Entry:
    """Notes how one request ended; whatever is no error of ours is a surprise."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def __enter__(self) -> None:
        self._callers.begun += 1

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: object
    ) -> bool:
        callers = self._callers
        callers.ended += 1
        if isinstance(error, BadRequestError) or not isinstance(error, LLMError | None):
            callers.surprises.append(f"{type(error).__name__}: {error}"[:200])
        if isinstance(error, LLMError):
            callers.outcomes[type(error).__name__] += 1
        return isinstance(error, Exception)
