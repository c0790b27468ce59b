"""
Answers whenever they can be had: providers that fail a part of the time.

A broker that never sends too much is safe; one that gives up while a provider answers
some of the calls is of no use. Each test here has something that must go on.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest
from tests.broker.conftest import opens_after

from aitor import Broker, Reply
from aitor.errors import (
    AuthenticationError,
    CircuitOpenError,
    LLMError,
    OverloadedError,
    RateLimitError,
    ServerError,
)
from aitor.messages import Answer, Request, Usage
from aitor.testing.scripted import Hang, ScriptedProvider, Slow, Step

pytestmark = pytest.mark.anyio

CALL = 0.01
"""Seconds that a call takes."""

FAULTS: dict[str, Callable[[], Step]] = {
    "500": lambda: ServerError("no", status=500),
    "503 with a wait": lambda: ServerError("no", status=503, retry_after=1.0),
    "overloaded": lambda: OverloadedError("no", status=529),
    "hangs": Hang,
    "429 with a wait": lambda: RateLimitError("no", status=429, retry_after=1.0),
    "429 without": lambda: RateLimitError("no", status=429),
}


def flaky(
    share: float, fault: Callable[[], Step], seed: int = 1, **settings: Any
) -> ScriptedProvider:
    """Return a provider that fails *share* of its calls at random."""
    chance = Random(seed)
    return ScriptedProvider(
        lambda _: Slow(CALL, fault() if chance.random() < share else "ok"), **settings
    )


async def ask(
    broker: Broker, requests: int, timeout: float | None = 30.0
) -> list[Reply | LLMError]:
    """Ask by 64 callers, one request after the other, and return what they got."""
    ends: list[Reply | LLMError] = []
    numbers = iter(range(requests))

    async def caller() -> None:
        for _ in numbers:
            try:
                ends.append(await broker.submit("x", timeout=timeout))
            except LLMError as error:
                ends.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(caller)
    return ends


def failed(ends: list[Reply | LLMError]) -> list[LLMError]:
    return [end for end in ends if isinstance(end, LLMError)]


# Alone.


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_provider_that_fails_a_part_answers_everybody(
    fault: str, share: float
) -> None:
    """Kind: down and flaky taken for one. With no more calls than chance requires."""
    provider = flaky(share, FAULTS[fault], timeout=1.0)
    async with Broker([provider], seed=1) as broker:
        assert not failed(await ask(broker, 200, 60.0))
    assert len(provider.sent) <= 200 / (1.0 - share) * 1.25


async def test_one_call_in_twenty_that_gets_through_is_enough() -> None:
    """Within the time there is: a plain client with three retries gets 18 of 100."""
    provider = flaky(0.95, FAULTS["500"])
    async with Broker([provider], seed=1) as broker:
        assert len(failed(await ask(broker, 200, 120.0))) <= 60


async def test_a_map_loses_no_row_to_a_provider_that_fails_six_calls_in_ten() -> None:
    provider = flaky(0.6, FAULTS["500"])
    async with Broker([provider], seed=1) as broker:
        results = [one async for one in broker.map(["x"] * 500, max_in_flight=64)]
    assert sum(one.reply is not None for one in results) == 500


async def test_a_row_that_always_fails_ends_and_holds_up_nobody() -> None:
    """A request of its own fault is given up once chance cannot explain it."""

    async def answer(request: Request) -> Answer:
        await anyio.sleep(CALL)
        if request.messages[0]["content"] == "poison":
            raise ServerError("no", status=500)
        return Answer("ok", "scripted", "stop", Usage(1, 1))

    provider = ScriptedProvider(lambda _: answer)
    async with Broker([provider], seed=1) as broker:
        rows = ["poison", *["x"] * 300]
        results = [one async for one in broker.map(rows, max_in_flight=8)]
    ends = {one.index: one for one in results}
    assert isinstance(ends[0].error, ServerError)
    assert 4 <= len(ends[0].error.attempts) <= 40
    assert sum(one.reply is not None for one in results) == 300


class Busy(ScriptedProvider):
    """Has room for *room* calls, and none for more."""

    def __init__(self, room: int, seconds: float, **settings: Any) -> None:
        super().__init__(lambda _: self.serve, **settings)
        self.room, self.seconds, self.inside = room, seconds, 0

    async def serve(self, request: Request) -> Answer:
        if self.inside >= self.room:
            await anyio.sleep(0.001)
            raise ServerError("full", status=503)
        self.inside += 1
        try:
            await anyio.sleep(self.seconds)
        finally:
            self.inside -= 1
        return Answer("ok", "scripted", "stop", Usage(1, 1))


async def test_a_server_that_is_merely_full_is_not_taken_for_one_that_is_down() -> None:
    busy = Busy(2, 0.05)
    async with Broker([busy], seed=1) as broker:
        begin = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(lambda: broker.submit("x", timeout=30.0))
        seconds = anyio.current_time() - begin
        assert broker.statistics().providers["scripted"].concurrency <= 4
    # Twice the time of the right number of workers, and few calls for nothing.
    assert seconds <= 2 * 200 / 2 * 0.05
    assert len(busy.sent) <= 600


async def test_a_total_outage_costs_a_fifth_of_a_call_more_for_each_request() -> None:
    """Persistence bounds answers and not calls: the budget holds as it did."""
    provider = ScriptedProvider(lambda _: Slow(CALL, ServerError("no", status=500)))
    async with Broker([provider], seed=1) as broker:
        ends = await ask(broker, 1_000, 5.0)
    assert len(failed(ends)) == 1_000
    assert len(provider.sent) <= 1.2 * 1_000


async def test_after_an_outage_the_former_rate_is_back_within_the_open_time() -> None:
    down = True

    async def answer(request: Request) -> Answer:
        await anyio.sleep(10 * CALL)
        if down:
            raise ServerError("no", status=500)
        return Answer("ok", "scripted", "stop", Usage(1, 1))

    provider = ScriptedProvider(lambda _: answer)
    async with Broker([provider], seed=1) as broker, anyio.create_task_group() as tasks:

        async def caller() -> None:
            while True:
                await broker.submit("x", timeout=300.0)

        for _ in range(64):
            tasks.start_soon(caller)
        await anyio.sleep(60.0)
        down = False
        await anyio.sleep(30.0)
        before = len(provider.sent)
        await anyio.sleep(1.0)
        assert len(provider.sent) - before >= 0.95 * 64 / (10 * CALL)
        tasks.cancel_scope.cancel()


# With time left, wait.


async def dead_for(seconds: float) -> Broker:
    """Return a broker whose only circuit has just opened for so long."""
    provider = ScriptedProvider(
        [ServerError("no"), "ok"], max_retries=0, breaker=opens_after(1, seconds)
    )
    broker = Broker([provider])
    with pytest.raises(ServerError):
        await broker.submit("x", when_unavailable="fail")
    return broker


async def test_a_request_with_time_left_waits_for_an_open_circuit() -> None:
    broker = await dead_for(10.0)
    begin = anyio.current_time()
    reply = await broker.submit("x", timeout=30.0)
    assert anyio.current_time() - begin == pytest.approx(10.0)
    assert reply.attempts[0].waits.circuit == pytest.approx(10.0)


@pytest.mark.parametrize(
    "delivery",
    [{}, {"timeout": 30.0, "when_unavailable": "fail"}, {"timeout": 5.0}],
)
async def test_without_time_or_by_its_own_wish_it_fails_at_once_with_the_number(
    delivery: dict[str, Any],
) -> None:
    broker = await dead_for(10.0)
    begin = anyio.current_time()
    with pytest.raises(CircuitOpenError) as caught:
        await broker.submit("x", **delivery)
    assert anyio.current_time() == begin
    assert caught.value.retry_after == pytest.approx(10.0)


async def test_who_waits_when_a_circuit_opens_stays_if_there_is_time() -> None:
    script: list[Step] = [Slow(1.0, ServerError("no")), "ok"]
    provider = ScriptedProvider(
        script, workers=1, max_retries=0, breaker=opens_after(1, 10.0)
    )
    broker = Broker([provider])

    async def opens() -> None:
        with pytest.raises(ServerError):
            await broker.submit("opens", when_unavailable="fail")

    async def in_a_hurry() -> None:
        with pytest.raises(CircuitOpenError):
            await broker.submit("leaves", timeout=5.0)

    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for each in (opens, in_a_hurry):
            tasks.start_soon(each)
            await anyio.sleep(0.01)
        assert (await broker.submit("stays", timeout=30.0)).text == "ok"
    assert anyio.current_time() - begin == pytest.approx(11.0)


async def test_for_want_of_retry_budget_a_request_with_time_left_waits() -> None:
    provider = ScriptedProvider([ServerError("no")] * 14 + ["ok"], retry_delay=0.0)
    broker = Broker([provider], retry_ratio=0.0)
    reply = await broker.submit("x", timeout=60.0)
    assert len(reply.attempts) == 15


async def test_a_wait_of_our_own_is_cut_where_it_would_miss_the_deadline() -> None:
    def slow() -> Broker:
        script: list[Step] = [ServerError("no"), "ok"]
        return Broker([ScriptedProvider(script, retry_delay=9.0)], seed=3)

    assert (await slow().submit("x", timeout=1.0)).text == "ok"
    with pytest.raises(ServerError) as caught:
        await slow().submit("x", timeout=1.0, when_unavailable="fail")
    assert caught.value.cut_short


async def test_how_often_a_request_is_tried_again_is_what_the_setting_says() -> None:
    for retries in (0, 2):
        provider = ScriptedProvider(ServerError("no"), max_retries=retries)
        with pytest.raises(ServerError):
            await Broker([provider]).submit("x", timeout=1_000.0)
        assert len(provider.sent) == 1 + retries
    provider = ScriptedProvider(ServerError("no"))
    with pytest.raises(ServerError):
        await Broker([provider]).submit("x")
    assert len(provider.sent) == 4


# A pause ends with a probe.


async def test_a_pause_ends_with_a_probe_and_calls_return_little_by_little() -> None:
    refused: list[Step] = [Slow(0.2, RateLimitError("no", retry_after=5.0))] * 64
    provider = ScriptedProvider([*refused, Slow(1.0, "ok")])
    async with Broker([provider]) as broker, anyio.create_task_group() as tasks:
        begin = anyio.current_time()
        for _ in range(64):
            tasks.start_soon(lambda: broker.submit("x", timeout=600.0))
    starts = [round(one.started - begin, 3) for one in provider.sent[64:]]
    waves = [starts.count(start) for start in sorted(set(starts))]
    assert starts[0] == pytest.approx(5.2)
    assert waves == [1, 2, 4, 8, 16, 32, 1]


async def test_a_server_that_answers_later_calls_meant_one_call_alone() -> None:
    """The pause is void; the call that was refused keeps its own wait."""
    provider = ScriptedProvider(
        lambda number: (
            Slow(0.1, RateLimitError("no", retry_after=7.0))
            if number == 0
            else Slow(0.2, "ok")
        )
    )
    async with Broker([provider]) as broker, anyio.create_task_group() as tasks:
        begin = anyio.current_time()
        tasks.start_soon(broker.submit, "refused")
        await anyio.sleep(0.01)
        tasks.start_soon(broker.submit, "second")
        await anyio.sleep(0.01)
        tasks.start_soon(broker.submit, "third")
        await anyio.sleep(0.1)
        assert broker.statistics().providers["scripted"].paused_for > 6.0
        await anyio.sleep(0.11)
        await broker.submit("others")
        assert anyio.current_time() - begin == pytest.approx(0.43)
    assert [one.started - begin for one in provider.sent][-1] == pytest.approx(7.1)


async def test_a_429_that_names_no_wait_stops_everybody_only_briefly() -> None:
    provider = ScriptedProvider([RateLimitError("no"), "ok"])
    async with Broker([provider]) as broker:
        with pytest.raises(RateLimitError):
            await broker.submit("x", timeout=0.01)
        begin = anyio.current_time()
        await broker.submit("x")
        assert anyio.current_time() - begin <= 0.1001


# Two providers.

DOWN: dict[str, Callable[[], Step]] = {
    **FAULTS,
    "429 with a long wait": lambda: RateLimitError("no", retry_after=60.0),
    "a dead key": lambda: AuthenticationError("no", status=401),
}


@pytest.mark.parametrize("fault", DOWN)
async def test_a_first_provider_that_is_down_costs_64_calls_and_its_probes(
    fault: str,
) -> None:
    first = flaky(1.0, DOWN[fault], timeout=1.0)
    second = ScriptedProvider(Slow(CALL, "ok"))
    async with Broker({"first": first, "second": second}, seed=1) as broker:
        begin = anyio.current_time()
        assert not failed(await ask(broker, 6_400))
        seconds = anyio.current_time() - begin
    assert len(first.sent) <= 64 + 3 * (1 + seconds)
    hung = 1.0 if fault == "hangs" else 0.0
    assert seconds <= (6_400 / 64 * CALL + hung) * 1.2


async def test_a_first_provider_that_refuses_every_other_call_is_asked_last() -> None:
    first = ScriptedProvider(
        lambda number: Slow(CALL, "ok" if number % 2 else FAULTS["429 with a wait"]())
    )
    second = ScriptedProvider(Slow(CALL, "ok"))
    async with Broker({"first": first, "second": second}, seed=1) as broker:
        begin = anyio.current_time()
        assert not failed(await ask(broker, 6_400))
        seconds = anyio.current_time() - begin
    assert len(first.sent) / 2 <= 64 + 3 * (1 + seconds)
    assert seconds <= 6_400 / 64 * CALL * 1.2


async def test_a_request_starts_wherever_it_can_start_now() -> None:
    """A small first provider is filled, and the second takes the rest at once."""
    first = ScriptedProvider(Slow(5 * CALL, "ok"), workers=8)
    second = ScriptedProvider(Slow(CALL, "ok"))
    async with Broker({"first": first, "second": second}) as broker:
        begin = anyio.current_time()
        await ask(broker, 6_400)
        seconds = anyio.current_time() - begin
    # Eight of the 64 callers are at the first, which takes five times as long.
    assert seconds <= 6_400 / (56 / CALL + 8 / (5 * CALL)) * 1.1
    assert len(first.sent) >= 0.9 * 8 * seconds / (5 * CALL)


async def test_to_prefer_an_earlier_provider_is_a_setting() -> None:
    first = ScriptedProvider(Slow(1.0, "first"), workers=1, max_queue_wait=2.5)
    second = ScriptedProvider(Slow(1.0, "second"))
    async with Broker({"first": first, "second": second}) as broker:
        await broker.submit("its time is known")
        served: list[str] = []

        async def caller() -> None:
            served.append((await broker.submit("x")).text)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(caller)
    assert sorted(served) == ["first", "first", "first", "second", "second"]


async def test_who_waits_at_one_provider_moves_to_another_that_becomes_free() -> None:
    """Kind: work done later than somebody else could do it."""
    longer: list[Step] = [Slow(1.0, "slow"), Slow(60.0, "slow")]
    slow = ScriptedProvider(longer, workers=1)
    quick = ScriptedProvider(Slow(5.0, "quick"), workers=1)
    async with Broker({"slow": slow, "quick": quick}) as broker:
        await broker.submit("x", provider=["slow"])
        await broker.submit("x", provider=["quick"])
        async with anyio.create_task_group() as tasks:
            begin = anyio.current_time()
            tasks.start_soon(broker.submit, "takes a minute")
            tasks.start_soon(broker.submit, "takes five seconds")
            await anyio.sleep(0.1)
            assert broker.statistics().providers["slow"].queued == 0
            async with anyio.create_task_group() as waiting:
                for _ in range(2):
                    waiting.start_soon(broker.submit, "waits")
                await anyio.sleep(0.1)
                seen = broker.statistics().providers
                assert seen["slow"].queued == 2
            assert anyio.current_time() - begin == pytest.approx(15.0)
