"""
A request that was taken in without waiting, and its outcome when it comes.
"""

from collections.abc import Awaitable, Callable

import anyio

from aitor.errors import BrokerClosedError
from aitor.messages import Reply

__all__ = ("Submission",)


class Submission:
    """
    The handle that `Broker.submit_nowait` gives.

    Args:
        deliver: Carries the request out.
    """

    def __init__(self, deliver: Callable[[], Awaitable[Reply]]) -> None:
        self._deliver = deliver
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._reply: Reply | None = None
        self._error: Exception | None = None

    async def run(self) -> None:
        """Carry the request out and keep its outcome; never raises it."""
        try:
            with self._scope:
                self._reply = await self._deliver()
        except Exception as error:  # noqa: BLE001  # for whoever asks for the reply
            self._error = error
        finally:
            self._done.set()

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._done.is_set()

    async def reply(self) -> Reply:
        """
        Wait for the outcome; may be called more than once.

        Raises:
            LLMError: If there is no answer.
        """
        await self._done.wait()
        if self._reply is None:
            raise self._error or BrokerClosedError("the request was cancelled")
        return self._reply

    def cancel(self) -> None:
        """Give the request up, wherever it is."""
        self._scope.cancel()
