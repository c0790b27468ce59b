"""
One exchange with a provider, under all its time limits.

One limit stands for all of them, because it moves: the first content has to come in
time, each further piece has to follow in time, and neither content nor pings nor a
trickle of bytes moves the limit on the whole. The caller's own deadline bounds them
all. What is cut off ends at a cancel scope, in which every exchange runs.
"""

from types import MethodType

import anyio

from aitor.broker.envelope import Call
from aitor.broker.native import is_stray
from aitor.errors import (
    AttemptTimeoutError,
    BrokerClosedError,
    ConnectionFailedError,
    DeadlineExceededError,
    LLMError,
    OutOfDescriptorsError,
    ServerError,
)
from aitor.messages import Answer
from aitor.outcomes import Outcome

__all__ = ("exchange",)

OURS = frozenset({Outcome.REFUSED, Outcome.EXPIRED, Outcome.CANCELLED})
"""Outcomes of which this broker alone decides."""


async def exchange(call: Call, *, fresh: bool = False) -> Answer:
    """
    Carry *call* out, which has started.

    However it ends, its actor has everything back when this returns.

    Args:
        call: The call.
        fresh: Whether nothing was awaited since it started.

    Raises:
        AttemptTimeoutError: One of the provider's time limits passed.
        DeadlineExceededError: The caller's deadline passed.
        BrokerClosedError: The broker closed.
        ProviderCrashError: The provider's code has a fault.
        LLMError: What the provider says.
    """
    actor = call.actor
    provider, progress = actor.provider, MethodType(_progressed, call)
    answer: Answer | None = None
    error: LLMError | None = None
    try:
        with anyio.CancelScope() as call.scope:
            actor.watch.begin(call, _first_limit(call))
            # Where nothing ran for a while, its time may have been up before it came
            # here. Then nothing is sent.
            if call.aborted or (not fresh and _is_late(call)):
                call.scope.cancel()
            try:
                answer = _checked(await provider.complete(call.request, progress))
            except ConnectionFailedError as lost:
                if not lost.unused:
                    raise
                if _is_late(call):
                    call.scope.cancel()
                # The server had closed a kept-alive connection before it can have
                # read anything: sending again, once and at once, is the same try.
                answer = _checked(await provider.complete(call.request, progress))
        if answer is None:
            error = _cut_off(call)
    except BaseException as caught:
        error = _error_of(call, caught)
        if error is None:
            raise
    finally:
        actor.watch.end(call)
        actor.release(call, answer, error)
    if answer is not None:
        return answer
    assert error is not None  # noqa: S101  # one of the two, by now
    try:
        raise error
    finally:
        # It knows this frame, which would know it: garbage for the collector alone.
        del error


def _checked(answer: Answer) -> Answer:
    if not isinstance(answer, Answer):
        raise TypeError(f"an Answer was expected, not {type(answer).__name__}")
    usage = answer.usage
    if not usage.input_tokens + usage.output_tokens >= 0:
        raise ValueError("an Answer's usage is told in numbers of at least 0")
    return answer


def _error_of(call: Call, caught: BaseException) -> LLMError | None:
    """Return what *caught* means, whatever it is; None that the caller has left."""
    if isinstance(caught, LLMError):
        # A want of descriptors is this process's own, and nobody else's.
        if caught.outcome not in OURS or isinstance(caught, OutOfDescriptorsError):
            return caught
        # Of another broker, behind the provider; here it was asked and did not answer.
        return ServerError(
            f"the provider refused by itself ({type(caught).__name__})",
            retry_after=caught.retry_after,
        )
    # Something that the provider awaited may have been cancelled, and not the caller:
    # that is a fault like any other.
    if isinstance(caught, Exception) or is_stray(caught):
        return call.actor.crashed(call, caught)
    return None


def _first_limit(call: Call) -> float:
    settings = call.actor.settings
    seconds = settings.timeout
    first = settings.first_token_timeout
    if first is not None and first < seconds:
        seconds = first
    return min(call.envelope.deadline, call.started + seconds)


def _is_late(call: Call) -> bool:
    return anyio.current_time() >= call.limit


def _progressed(call: Call) -> None:
    if call.first_byte is None:
        call.first_byte = anyio.current_time()
    settings = call.actor.settings
    idle = settings.idle_timeout
    if idle is None and settings.first_token_timeout is None:
        return
    limit = min(call.envelope.deadline, call.started + settings.timeout)
    if idle is not None:
        limit = min(limit, anyio.current_time() + idle)
    call.actor.watch.move(call, limit)


def _cut_off(call: Call) -> LLMError:
    """Say which limit ended *call*."""
    settings = call.actor.settings
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
    if call.first_byte is None:
        return AttemptTimeoutError(
            f"no content within {settings.first_token_timeout} s "
            f"(see 'first_token_timeout')"
        )
    return AttemptTimeoutError(
        f"no content for {settings.idle_timeout} s (see 'idle_timeout')"
    )
