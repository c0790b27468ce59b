"""
One exchange with a provider, under all its time limits.

One limit stands for all of them, because it moves: the first content has to come in
time, each further piece has to follow in time, and neither content nor pings nor a
trickle of bytes moves the limit on the whole. The caller's own deadline bounds them
all. What is cut off ends at a cancel scope, in which every exchange runs.
"""

from functools import partial

import anyio

from aitor.broker.envelope import Call
from aitor.broker.watch import Watch
from aitor.errors import (
    AttemptTimeoutError,
    BrokerClosedError,
    ConnectionFailedError,
    DeadlineExceededError,
    LLMError,
)
from aitor.messages import Answer
from aitor.providers.base import Provider
from aitor.providers.settings import ProviderSettings

__all__ = ("exchange",)


async def exchange(call: Call, provider: Provider, watch: Watch) -> Answer:
    """
    Have *call* answered by *provider* before one of its time limits passes.

    Raises:
        AttemptTimeoutError: One of the provider's time limits passed.
        DeadlineExceededError: The caller's deadline passed.
        BrokerClosedError: The broker closed.
        LLMError: What the provider says.
        TypeError: The provider returned something that is no answer.
    """
    progress = partial(_progressed, call, provider.settings, watch)
    with anyio.CancelScope() as call.scope:
        watch.begin(call, _first_limit(call, provider.settings))
        if call.aborted:
            call.scope.cancel()
        try:
            answer = await provider.complete(call.request, progress)
        except ConnectionFailedError as error:
            if not error.unused:
                raise
            # The server had closed a kept-alive connection before it can have read
            # anything: sending again, once and at once, is the same try.
            answer = await provider.complete(call.request, progress)
        finally:
            watch.end(call)
        if not isinstance(answer, Answer):
            raise TypeError(f"an Answer was expected, not {type(answer).__name__}")
        return answer
    raise _cut_off(call, provider.settings)


def _first_limit(call: Call, settings: ProviderSettings) -> float:
    seconds = settings.timeout
    first = settings.first_token_timeout
    if first is not None and first < seconds:
        seconds = first
    return min(call.envelope.deadline, call.started + seconds)


def _progressed(call: Call, settings: ProviderSettings, watch: Watch) -> None:
    call.progressed = True
    idle = settings.idle_timeout
    if idle is None and settings.first_token_timeout is None:
        return
    limit = min(call.envelope.deadline, call.started + settings.timeout)
    if idle is not None:
        limit = min(limit, anyio.current_time() + idle)
    watch.move(call, limit)


def _cut_off(call: Call, settings: ProviderSettings) -> LLMError:
    """Say which limit ended *call*."""
    if call.aborted:
        return BrokerClosedError("the broker closed while the request ran")
    now = anyio.current_time()
    if now >= call.envelope.deadline:
        return DeadlineExceededError(
            f"the deadline passed {now - call.started:.3f} s after the request was sent"
        )
    if now >= call.started + settings.timeout:
        return AttemptTimeoutError(
            f"no whole answer within {settings.timeout} s (see 'timeout')"
        )
    if not call.progressed:
        return AttemptTimeoutError(
            f"no content within {settings.first_token_timeout} s "
            f"(see 'first_token_timeout')"
        )
    return AttemptTimeoutError(
        f"no content for {settings.idle_timeout} s (see 'idle_timeout')"
    )
