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

    Of the request it keeps nothing but the outcome.
    """

    def __init__(self) -> None:
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._reply: Reply | None = None
        self._error: BaseException | None = None

    async def run(self, deliver: Callable[[], Awaitable[Reply]]) -> None:
        """Carry the request out by *deliver*, and keep its outcome; never raise it."""
        try:
            with self._scope:
                self._reply = await deliver()
        except BaseException as error:
            # Also a `sys.exit` in a provider: it is for whoever asks for the reply, and
            # would end the event loop from here.
            if isinstance(error, anyio.get_cancelled_exc_class() | KeyboardInterrupt):
                raise
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
