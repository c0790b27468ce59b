"""
A provider that does what a script says, and remembers what was asked of it.

For tests of whatever stands in front of a provider: it needs no socket, waits
through anyio (so it runs in virtual time), and keeps a record of each call.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel

from aitor.messages import Answer, Request, Usage
from aitor.providers.base import Progress, Provider

__all__ = ("Hang", "ScriptedProvider", "Sent", "Slow", "Step")


@dataclass(frozen=True, slots=True)
class Slow:
    """
    A step that takes its time.

    Args:
        seconds: How long it takes.
        then: The step after that.
    """

    seconds: float
    then: "Step"


class Hang:
    """A step that never ends."""


Step: TypeAlias = (
    str | Answer | Exception | Slow | Hang | Callable[[Request], Awaitable[Answer]]
)
"""An answer, an error to raise, a wait before either, silence, or a function."""

Script: TypeAlias = Step | Iterable[Step] | Callable[[int], Step]
"""One step for every call, one a call (the last repeats), or chosen by number."""


@dataclass(slots=True)
class Sent:
    """
    One call that reached the provider.

    Args:
        request: What was asked.
        started: When.
        ended: When it ended, however it did.
    """

    request: Request
    started: float
    ended: float | None = None


class ScriptedProvider(Provider):
    """
    Answers by a script.

    Args:
        script: What each call gets.
        settings: Those of every provider.
    """

    kind = "scripted"

    def __init__(self, script: Script = "hello", **settings: Any) -> None:
        super().__init__(**{"model": "scripted", **settings})
        self._script = script
        self._steps: Iterator[Step] | None = None
        self._last: Step = "hello"
        self.sent: list[Sent] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.restarts = 0
        self.closed = False

    async def complete(self, request: Request, progress: Progress) -> Answer:
        """Do the next step of the script."""
        sent = Sent(request, anyio.current_time())
        self.sent.append(sent)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._perform(self._step(len(self.sent) - 1), request)
        finally:
            self.in_flight -= 1
            sent.ended = anyio.current_time()

    def restart(self) -> None:
        """Count that the provider was renewed."""
        self.restarts += 1

    async def aclose(self) -> None:
        """Remember that the provider was closed."""
        self.closed = True

    def _step(self, number: int) -> Step:
        script = self._script
        if isinstance(script, str | Answer | Exception | Slow | Hang):
            return script
        if callable(script):
            return script(number)  # type: ignore[arg-type,return-value]  # by number
        if self._steps is None:
            self._steps = iter(script)
        self._last = next(self._steps, self._last)
        return self._last

    async def _perform(self, step: Step, request: Request) -> Answer:
        while isinstance(step, Slow):
            await anyio.sleep(step.seconds)
            step = step.then
        await anyio.lowlevel.checkpoint()
        if isinstance(step, Hang):
            await anyio.sleep_forever()
        if isinstance(step, Exception):
            raise step
        if isinstance(step, str):
            usage = Usage(input_tokens=10, output_tokens=5)
            return Answer(step, "scripted", "stop", usage)
        if isinstance(step, Answer):
            return step
        return await step(request)  # type: ignore[operator]  # what is left is a function
