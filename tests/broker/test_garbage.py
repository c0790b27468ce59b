"""
A call that fails leaves no circle of references behind.

An error knows its traceback, and that the frames which it passed; a frame that knows
the error closes a circle, with the prompt in it, which only Python's garbage collector
finds, and in an outage there are thousands of them.
"""

import gc
import weakref
from collections.abc import Callable, Iterator

import anyio
import pytest
from tests.broker.conftest import opens_after

from aitor.broker.broker import Broker
from aitor.broker.envelope import Call
from aitor.errors import LLMError, RateLimitError, ServerError
from aitor.messages import Answer, Request, Usage
from aitor.providers.base import Progress, Provider

pytestmark = pytest.mark.anyio


class CodeError(Exception):
    """One that can be watched; Python's own cannot."""


class Fails(Provider):
    """Makes errors of its own, and keeps none of them."""

    def __init__(
        self, make: Callable[[], Exception] | None = None, **settings: object
    ) -> None:
        super().__init__(max_retries=0, retry_delay=0.0, **settings)
        self._make = make
        self.raised: list[weakref.ref[Exception]] = []

    async def complete(self, request: Request, progress: Progress) -> Answer:
        await anyio.sleep(1.0)
        if self._make is None:
            return Answer("ok", "model", "stop", Usage())
        error = self._make()
        self.raised.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    def nothing_left(self) -> bool:
        return bool(self.raised) and not any(one() for one in self.raised)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def fails(broker: Broker) -> None:
    try:
        await broker.submit("x")
    except LLMError:
        return
    raise AssertionError("it was answered")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServerError("no", status=500),
        lambda: RateLimitError("slow down", retry_after=100.0),
        lambda: CodeError("of the code"),
    ],
    ids=["server", "limit", "fault"],
)
async def test_a_failed_request_is_gone_with_its_error(
    make: Callable[[], Exception],
) -> None:
    provider = Fails(make)
    await fails(Broker({"only": provider}))
    assert provider.nothing_left()


async def test_so_is_an_error_that_another_provider_made_up_for() -> None:
    provider = Fails(lambda: ServerError("no", status=500))
    broker = Broker({"first": provider, "second": Fails()})
    assert (await broker.submit("x")).provider == "second"
    assert provider.nothing_left()


async def test_so_are_those_who_were_refused_while_they_waited() -> None:
    provider = Fails(
        lambda: ServerError("no", status=500), workers=1, breaker=opens_after(1)
    )
    broker = Broker({"only": provider})
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(fails, broker)
    assert len(provider.raised) == 1
    assert provider.nothing_left()
    # Others have a class of that name, too.
    calls = [one for one in gc.get_objects() if type(one) is Call]
    assert not [one for one in calls if one.actor.provider is provider]
