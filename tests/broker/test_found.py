"""
Faults that simulation and review found: each test says what is expected instead.

A mark goes when its fault is mended; the tests stay.
"""

import contextlib
import itertools
import math
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import from_thread, to_thread
from tests.broker.conftest import opens_after

from aitor.broker.broker import Broker
from aitor.broker.cache import Cache
from aitor.broker.limit import Limit
from aitor.errors import (
    AuthenticationError,
    BrokerClosedError,
    CircuitOpenError,
    ConnectionFailedError,
    ContextLengthError,
    DeadlineExceededError,
    LLMError,
    ProviderCrashError,
    RateLimitError,
    ServerError,
)
from aitor.json_check import MOST_LEVELS
from aitor.laws.bucket import Cost
from aitor.laws.budget import RetryBudget
from aitor.messages import Answer, Request, Usage
from aitor.outcomes import Outcome
from aitor.providers.settings import LimitSettings
from aitor.testing.scripted import Hang, ScriptedProvider, Slow, Step

pytestmark = pytest.mark.anyio


async def test_closing_ends_whoever_moves_in_from_the_door() -> None:
    """
    Ending all that waits must not pass over those who move in from the door meanwhile.
    """
    provider = ScriptedProvider("ok", queue_size=1, requests_per_minute=1)
    broker = Broker([provider])
    ended: list[str] = []

    async def ask(prompt: str) -> None:
        with pytest.raises(BrokerClosedError):
            await broker.submit(prompt)
        ended.append(prompt)

    await broker.submit("uses up the limit")
    with anyio.fail_after(1_000.0):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "mailbox")
            await anyio.sleep(0.1)
            tasks.start_soon(ask, "door")
            await anyio.sleep(0.1)
            begin = anyio.current_time()
            await broker.aclose(drain_timeout=0.0)
            assert anyio.current_time() == begin
    assert sorted(ended) == ["door", "mailbox"]
    assert provider.closed


async def test_a_pause_moves_those_on_who_wait_at_the_door() -> None:
    """Whoever could be answered elsewhere does not wait for a pause to end."""
    first = ScriptedProvider(
        [Slow(1.0, RateLimitError("slow", retry_after=50.0)), "late"],
        workers=1,
        queue_size=1,
    )
    second = ScriptedProvider(Slow(0.4, "ok"), workers=1, queue_size=1)
    broker = Broker({"first": first, "second": second})
    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(2):  # the second is full when the third below comes
            tasks.start_soon(_ask_one, broker, "second")
            await anyio.sleep(0.01)
        for _ in range(3):
            tasks.start_soon(broker.submit, "x")
            await anyio.sleep(0.01)
        assert broker.statistics().providers["first"].at_the_door == 1
    assert anyio.current_time() - begin < 10.0


async def test_with_a_shared_limit_a_pause_is_kept_from_the_first_moment() -> None:
    """
    What is given back at the end of a call must not start another one before it was
    seen what the end of that call means.
    """
    provider = ScriptedProvider(
        [Slow(1.0, RateLimitError("slow", retry_after=50.0)), "ok"],
        workers=1,
        limits="shared",
    )
    other = ScriptedProvider("ok", limits="shared")
    limit = Limit("shared", LimitSettings(requests_per_minute=6_000))
    broker = Broker({"one": provider, "other": other}, limits={"shared": limit})
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(_ask_one, broker, "one")
    first, second, *_ = (sent.started for sent in provider.sent)
    assert second - first == pytest.approx(51.0)


async def test_with_a_shared_limit_nothing_leaves_through_an_opening_circuit() -> None:
    provider = ScriptedProvider(
        Slow(1.0, AuthenticationError("no")), workers=1, limits="shared"
    )
    other = ScriptedProvider("ok", limits="shared")
    limit = Limit("shared", LimitSettings(requests_per_minute=6_000))
    broker = Broker({"one": provider, "other": other}, limits={"shared": limit})
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(_ask_one, broker, "one")
    assert len(provider.sent) == 1


async def _ask_one(broker: Broker, name: str) -> None:
    with contextlib.suppress(LLMError):
        await broker.submit("x", provider=[name])


@pytest.mark.parametrize("wait", [1e9, float("inf")])
async def test_no_server_may_put_a_request_off_for_years(wait: float) -> None:
    """`max_retry_after` bounds every wait that a server asks for, not only a 429's."""
    provider = ScriptedProvider([ServerError("no", retry_after=wait), "ok"])
    broker = Broker([provider])
    begin = anyio.current_time()
    with anyio.fail_after(10_000.0):
        await broker.submit("x")
    assert anyio.current_time() - begin <= 3_600.1


async def test_a_wait_of_nothing_is_no_reason_to_ask_again_at_once_for_ever() -> None:
    """A server that says "slow down, wait 0 s" is not asked in a tight loop."""
    provider = ScriptedProvider(
        lambda number: RateLimitError("slow", retry_after=0.0) if number < 50 else "ok"
    )
    broker = Broker([provider])
    begin = anyio.current_time()
    await broker.submit("x", when_unavailable="wait")
    assert anyio.current_time() - begin > 10.0


async def test_what_was_taken_in_without_waiting_is_drained_too() -> None:
    """Closing waits for a request that was taken in just before, as for any other."""
    async with Broker([ScriptedProvider("ok")]) as broker:
        handle = broker.submit_nowait("x")
        assert broker.statistics().open == 1
    assert (await handle.reply()).text == "ok"


async def test_two_may_wait_for_the_same_draining() -> None:
    provider = ScriptedProvider(Slow(5.0, "ok"))
    broker = Broker([provider])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker.submit, "x")
        await anyio.sleep(1.0)
        with anyio.fail_after(60.0):
            async with anyio.create_task_group() as drains:
                drains.start_soon(broker.drain)
                drains.start_soon(broker.drain)


async def test_closing_a_map_wakes_whoever_reads_it() -> None:
    async with Broker([ScriptedProvider(Hang())]) as broker:
        results = broker.map(["x"])
        ended = anyio.Event()

        async def read() -> None:
            async for _ in results:
                pass
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.sleep(1.0)
            await results.aclose()
            with anyio.fail_after(10.0):
                await ended.wait()


async def test_a_map_that_begins_after_the_end_of_its_broker_says_so() -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        results = broker.map(["x"])
    with pytest.raises(BrokerClosedError):
        await anext(results)
    with anyio.fail_after(10.0):
        await results.aclose()


async def test_a_provider_that_returns_something_else_has_crashed() -> None:
    """A bug in a provider's code fails one request and holds nothing."""

    async def wrong(_: Request) -> Answer:
        return "no Answer"  # type: ignore[return-value]

    good = Answer("ok", "scripted", "stop", Usage(1, 1))
    provider = ScriptedProvider([wrong, good], workers=1)
    broker = Broker([provider])
    errors: list[BaseException] = []

    async def ask() -> None:
        try:
            await broker.submit("x")
        except Exception as error:  # noqa: BLE001  # of which class is the question
            errors.append(error)

    with anyio.fail_after(100.0):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            tasks.start_soon(ask)
    assert [type(error) for error in errors] == [ProviderCrashError]
    actor = next(iter(broker._actors.values()))
    assert sum(actor.limit.bucket.reserved) == 0


async def test_a_provider_that_cannot_restart_has_crashed_no_worse() -> None:
    class Broken(ScriptedProvider):
        def restart(self) -> None:
            raise RuntimeError("cannot restart")

    broker = Broker([Broken([ValueError("bug"), "ok"])])
    with pytest.raises(ProviderCrashError):
        await broker.submit("x")
    assert (await broker.submit("x")).text == "ok"


class Mute(ScriptedProvider):
    """Each of its own methods fails, as they do on a request that nobody foresaw."""

    def guess_input(self, request: Request) -> float:
        raise RuntimeError("sk-secret")

    output_limit = window = model_of = guess_input  # type: ignore[assignment]


@pytest.mark.parametrize("limit", [None, 1_000])
async def test_a_provider_whose_guess_fails_is_asked_all_the_same(
    limit: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Its fault is told once; no request fails for want of a guess."""
    first = ScriptedProvider([ServerError("no"), ContextLengthError("no")])
    second = Mute("ok", tokens_per_minute=limit)
    async with Broker({"first": first, "second": second}) as broker:
        for _ in range(2):
            reply = await broker.submit_nowait("x").reply()
            assert reply.provider == "second"
    assert caplog.text.count("method=guess_input error=RuntimeError") == bool(limit)
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize("guess", [math.nan, math.inf, -math.inf, -1.0, "five", None])
async def test_a_guess_that_is_no_number_lifts_no_limit(guess: Any) -> None:
    class Odd(ScriptedProvider):
        def guess_input(self, request: Request) -> float:
            return guess  # type: ignore[no-any-return]

    answer = Answer("ok", "scripted", "stop", Usage(100, 10))
    provider = Odd(answer, tokens_per_minute=1_100)
    begin = anyio.current_time()
    async with Broker([provider]) as broker, anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(broker.submit, "x" * 400)
    assert anyio.current_time() - begin > 60.0


async def test_a_source_that_never_yields_control_does_not_stop_the_clock() -> None:
    """Rows that fail before anything is awaited come as fast as they are taken."""

    def endless() -> Iterator[str]:
        while True:
            yield 17  # type: ignore[misc]  # no prompt

    async with Broker([ScriptedProvider("ok")]) as broker:
        results = broker.map(endless(), max_in_flight=4)
        with anyio.move_on_after(10.0) as scope:
            for _ in range(1_000):
                assert (await anext(results)).error is not None
                await anyio.lowlevel.checkpoint()
        assert not scope.cancelled_caught
        await results.aclose()


async def test_a_map_whose_broker_closes_does_not_end_as_if_it_were_whole() -> None:
    async with Broker([ScriptedProvider("ok")]) as broker:
        results = broker.map(itertools.repeat("x"), max_in_flight=4)
        await anext(results)
        await broker.aclose()
        with pytest.raises(BrokerClosedError):
            for _ in range(10):
                await anext(results)
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_connections_that_fail_in_no_time_do_not_hold_up_closing() -> None:
    broker = Broker([ScriptedProvider(ConnectionFailedError("no"))])
    with pytest.raises(ConnectionFailedError):
        await broker.submit("x")
    begin = anyio.current_time()
    await broker.aclose()
    assert anyio.current_time() == begin


async def test_who_leaves_the_line_of_a_shared_limit_lets_the_next_one_start() -> None:
    """An actor whose mailbox becomes empty gives its turn up, however it became so."""
    limit = Limit("shared", LimitSettings(requests_per_minute=6))
    one, two = (ScriptedProvider("ok", limits="shared") for _ in range(2))
    broker = Broker({"one": one, "two": two}, limits={"shared": limit})
    await broker.submit("uses up the limit", provider=["one"])
    with anyio.fail_after(1_000.0):
        async with anyio.create_task_group() as tasks:

            async def leaves() -> None:
                with anyio.move_on_after(1.0):
                    await broker.submit("first in line", provider=["one"])

            tasks.start_soon(leaves)
            await anyio.sleep(0.1)
            tasks.start_soon(_ask_one, broker, "two")
    assert len(two.sent) == 1


async def test_without_a_retry_delay_a_pause_of_unknown_length_is_still_one() -> None:
    """A server that says "slow down" and not for how long is not asked at once."""
    provider = ScriptedProvider(
        lambda number: RateLimitError("slow") if number < 50 else "ok", retry_delay=0.0
    )
    broker = Broker([provider])
    begin = anyio.current_time()
    await broker.submit("x", when_unavailable="wait")
    assert anyio.current_time() - begin > 1.0


async def test_a_newcomer_may_make_somebody_else_the_first() -> None:
    """It is urgent, but less so than one that fairness keeps back is old."""

    class Sized(ScriptedProvider):
        def guess_input(self, request: Request) -> float:
            return float(request.messages[0]["content"])

    provider = Sized(
        Slow(200.0, "ok"), workers=9, tokens_per_minute=20_000, timeout=300.0
    )
    begin = anyio.current_time()

    async def ask(tokens: int, at: float, **delivery: Any) -> None:
        await anyio.sleep_until(begin + at)
        await broker.submit(str(tokens), max_tokens=1, **delivery)

    async with Broker([provider]) as broker, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, 19_999, 0.0)
        tasks.start_soon(partial(ask, 5_000, 1.0, tenant="blue"))
        tasks.start_soon(partial(ask, 10, 2.0, tenant="blue"))
        # By fairness it is before the small one, and waits for its tokens.
        tasks.start_soon(partial(ask, 5_005, 59.0, tenant="red"))
        tasks.start_soon(partial(ask, 10, 62.0, priority=1))
    starts = [sent.started - begin for sent in provider.sent]
    assert starts[:2] == [0.0, pytest.approx(60.0, abs=0.1)]
    assert starts[2] == pytest.approx(62.0)


async def test_a_newcomer_whom_fairness_puts_first_starts_at_once() -> None:
    """And not when the one before whom it came looks again."""

    class Sized(ScriptedProvider):
        def guess_input(self, request: Request) -> float:
            return float(request.messages[0]["content"])

    provider = Sized("ok", workers=9, tokens_per_minute=20_000)
    begin = anyio.current_time()

    async def ask(tokens: int, at: float, **delivery: Any) -> None:
        await anyio.sleep_until(begin + at)
        await broker.submit(str(tokens), **delivery)

    async with Broker([provider]) as broker, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, 10, 0.0)
        # This one has to save up for a minute and more.
        tasks.start_soon(partial(ask, 50_000, 1.0, priority=1))
        tasks.start_soon(ask, 10, 6.0)
        tasks.start_soon(partial(ask, 10, 35.0, priority=1, tenant="red"))
    starts = [sent.started - begin for sent in provider.sent]
    assert starts[:2] == [0.0, pytest.approx(35.0)]


async def test_what_was_kept_for_later_is_gone_when_an_outage_ends() -> None:
    """Else the first second after it would carry a burst on top of the steady rate."""
    script: list[Step] = [*[ServerError("down")] * 5, "ok"]
    provider = ScriptedProvider(
        script,
        requests_per_minute=600,
        burst=0.1,
        max_retries=0,
        breaker=opens_after(5),
    )
    async with Broker([provider]) as broker:
        for _ in range(5):
            with pytest.raises(ServerError):
                await broker.submit("x")
        await anyio.sleep(60.0)
        await broker.submit("the probe")
        begin = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(broker.submit, "x")
    at_once = [one for one in provider.sent if begin < one.started <= begin + 1.0]
    assert 9 <= len(at_once) <= 10


def test_what_a_large_request_has_saved_up_stays_its_own() -> None:
    """An outage that ends takes only what nobody waited for."""
    limit = Limit("l", LimitSettings(tokens_per_minute=600))
    large = Cost(1, 500, 0)
    limit.bucket.take(Cost(1, 6, 0), 0.0)
    ready = limit.bucket.ready_at(large, 1.0)
    limit.stand_in_line(Nobody())
    limit.calm_down(40.0)
    assert limit.bucket.ready_at(large, 40.0) == pytest.approx(ready)


class Nobody:
    def look_again(self, now: float) -> None:
        """Have nothing to start."""


# What a review found, by reading and by trying.


async def test_a_healthy_provider_is_asked_although_the_budget_is_used_up() -> None:
    """To move on to one that is well is no burden on anybody."""
    failing = {"max_retries": 1, "retry_delay": 0.0, "breaker": {"failures": 99}}
    first, second = (ScriptedProvider(ServerError("no"), **failing) for _ in range(2))
    well = ScriptedProvider("well")
    providers = {"first": first, "second": second, "well": well}
    broker = Broker(providers, retry_ratio=0.0, seed=1)
    for _ in range(60):
        assert (await broker.submit("x")).provider == "well"


async def test_nobody_left_to_ask_says_that_the_budget_is_why() -> None:
    def down(number: int) -> Step:
        return ServerError("no")

    failing = {"max_retries": 5, "retry_delay": 0.0, "breaker": {"failures": 99}}
    first, second = (ScriptedProvider(down, **failing) for _ in range(2))
    broker = Broker({"first": first, "second": second}, retry_ratio=0.0, seed=1)
    for _ in range(60):
        with pytest.raises(ServerError) as caught:
            await broker.submit("x")
    assert caught.value.__notes__ == ["the retry budget allowed no further try"]


async def test_who_takes_over_from_a_leader_begins_now() -> None:
    """And not when it came: its call has all of the provider's time limit."""
    provider = ScriptedProvider([Hang(), Slow(15.0, "ok")], timeout=40.0)
    broker = Broker([provider], cache=Cache())

    async def leads() -> None:
        with anyio.move_on_after(30.0):
            await broker.submit("q")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leads)
        await anyio.sleep(0.01)
        reply = await broker.submit("q")
    assert [attempt.seconds for attempt in reply.attempts] == [pytest.approx(15.0)]


async def test_refusals_of_one_burst_are_one_refusal() -> None:
    refused = Slow(0.2, RateLimitError("slow down"))
    provider = ScriptedProvider(lambda number: refused if number < 64 else "ok")
    broker = Broker([provider])
    async with broker, anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(broker.submit, "x")
        await anyio.sleep(0.25)
        assert 0.0 < broker.statistics().providers["scripted"].paused_for <= 0.051


async def test_a_refusal_by_another_broker_is_an_answer_that_failed() -> None:
    """A provider may stand before a broker of its own; nothing spins around it."""
    errors: list[Step] = [CircuitOpenError("no"), DeadlineExceededError("no")]
    for error in errors:
        provider = ScriptedProvider(error, max_retries=2, breaker={"failures": 99})
        well = ScriptedProvider("well")
        reply = await Broker({"behind": provider, "well": well}).submit("x")
        assert reply.provider == "well"
        with pytest.raises(ServerError):
            await Broker([provider], retry_ratio=9.0).submit("x")
        assert len(provider.sent) == 4


async def test_a_tenant_is_not_refused_for_what_another_one_has_waiting() -> None:
    provider = ScriptedProvider("ok", requests_per_minute=60)
    async with Broker([provider], drain_timeout=0.0) as broker:
        for _ in range(100):
            broker.submit_nowait("bulk", tenant="bulk")
            broker.submit_nowait("later", priority=-10)
        await anyio.sleep(0.5)
        begin = anyio.current_time()
        await broker.submit("x", tenant="other", timeout=10.0)
        assert anyio.current_time() - begin < 3.0
        with pytest.raises(DeadlineExceededError, match="at the earliest"):
            await broker.submit("x", tenant="bulk", timeout=10.0)


async def test_a_provider_that_was_slow_may_show_that_it_no_longer_is() -> None:
    provider = ScriptedProvider(lambda number: Slow(10.0 if number < 30 else 1.0, "ok"))
    broker = Broker([provider])
    for _ in range(30):
        await broker.submit("x")
    assert (await broker.submit("x", timeout=5.0)).text == "ok"


async def test_who_can_be_in_time_goes_before_who_never_was() -> None:
    slow, fast = ScriptedProvider(Slow(10.0, "slow")), ScriptedProvider(Slow(0.5, "f"))
    broker = Broker({"slow": slow, "fast": fast})
    for _ in range(30):
        await broker.submit("x")
    assert (await broker.submit("x", timeout=5.0)).provider == "fast"


async def test_one_model_s_slowness_says_nothing_of_another_one() -> None:
    provider = ScriptedProvider(Slow(0.1, "ok"), breaker=opens_after(2))
    broker = Broker([provider])
    for _ in range(30):
        await broker.submit("x", model="quick")
    provider._script = Hang()
    for _ in range(5):
        with pytest.raises(DeadlineExceededError):
            await broker.submit("x", model="thorough", timeout=1.0)
    assert broker.statistics().providers["scripted"].circuit == "closed"


async def test_a_usage_that_is_no_number_is_a_crash_and_takes_nobody_along() -> None:
    unknown = Answer("ok", "scripted", "stop", Usage(None, None))  # type: ignore[arg-type]
    odd = Answer("ok", "m", "stop", Usage(1, 1), headers={"retry-after": 5})  # type: ignore[dict-item]
    provider = ScriptedProvider([Slow(1.0, unknown), odd, "ok"], workers=1)
    broker = Broker([provider])

    async def crashes() -> None:
        with pytest.raises(ProviderCrashError):
            await broker.submit("x")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crashes)
        await anyio.sleep(0.1)
        with anyio.fail_after(10.0):
            await broker.submit("x")
            await broker.submit("x")


async def test_a_cancellation_of_the_provider_s_own_is_a_crash(
    anyio_backend_name: str,
) -> None:
    """Nobody has cancelled the caller, who is told so; a batch would lose a row."""
    if anyio_backend_name != "asyncio":
        pytest.skip("only asyncio lets anybody raise it")

    async def refreshes(request: Request) -> Answer:
        raise anyio.get_cancelled_exc_class()

    first, second = ScriptedProvider([refreshes]), ScriptedProvider("ok")
    reply = await Broker({"first": first, "second": second}).submit("x")
    assert [attempt.outcome for attempt in reply.attempts] == [
        Outcome.CRASH,
        Outcome.ANSWER,
    ]


async def test_a_real_cancellation_is_none_of_the_provider(
    anyio_backend_name: str,
) -> None:
    provider = ScriptedProvider(Hang())
    broker = Broker([provider])
    with anyio.move_on_after(1.0) as scope:
        await broker.submit("x")
    assert scope.cancelled_caught
    if anyio_backend_name == "asyncio":
        asyncio = sys.modules["asyncio"]
        task = asyncio.ensure_future(broker.submit("x"))
        await anyio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert broker.statistics().cancelled == broker.statistics().submitted


async def test_an_account_too_small_for_a_request_leaves_a_larger_one() -> None:
    """A limit of tokens is the account's; the model's window is large enough."""

    class Window(ScriptedProvider):
        def window(self, request: Request) -> int | None:
            return 128_000

    small = Window(ContextLengthError("Limit 30000, Requested 40000", status=429))
    large = Window("ok")
    reply = await Broker({"small": small, "large": large}).submit("x")
    assert reply.provider == "large"


async def test_who_does_not_wait_takes_the_provider_that_has_room() -> None:
    full = ScriptedProvider(Slow(3.0, "full"), workers=1, queue_size=1)
    room = ScriptedProvider(Slow(20.0, "room"), workers=1, queue_size=5)
    async with Broker({"full": full, "room": room}, drain_timeout=0.0) as broker:
        await broker.submit("x", provider=["full"])
        await broker.submit("x", provider=["room"])
        for name in ("full", "full", "room"):
            broker.submit_nowait("x", provider=[name])
        await anyio.sleep(0.1)
        broker.submit_nowait("x")
        seen = broker.statistics().providers
        assert (seen["full"].queued, seen["room"].queued) == (1, 1)


async def test_who_fails_while_the_broker_closes_waits_for_no_further_try() -> None:
    async def stubborn(request: Request) -> Answer:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.2)
        raise ServerError("no")

    provider = ScriptedProvider([stubborn], retry_delay=60.0)
    broker = Broker([provider], seed=1)

    async def ends() -> None:
        with pytest.raises(LLMError):
            await broker.submit("x")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends)
        await anyio.sleep(0.1)
        begin = anyio.current_time()
        await broker.aclose(drain_timeout=0.0)
        assert anyio.current_time() - begin < 1.0
    assert provider.closed


async def test_the_clock_of_waiting_stops_with_the_last_who_waits() -> None:
    provider = ScriptedProvider("ok", requests_per_minute=1)
    broker = Broker([provider])
    await broker.submit("uses up the limit")
    with anyio.move_on_after(1.0):
        await broker.submit("leaves")
    await anyio.sleep(3_600.0)
    waited = broker.statistics().providers["scripted"].waited
    assert waited.total == pytest.approx(1.0)


async def test_an_error_for_want_of_time_is_not_shared_with_who_has_more() -> None:
    script: list[Step] = [Slow(0.1, ServerError("no", retry_after=20.0)), "ok"]
    provider = ScriptedProvider(script)
    broker = Broker([provider], cache=Cache(), seed=5)

    async def hurries() -> None:
        with pytest.raises(ServerError) as caught:
            await broker.submit("q", timeout=1.0)
        assert caught.value.cut_short

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hurries)
        await anyio.sleep(0.01)
        assert (await broker.submit("q")).text == "ok"


async def test_a_broker_that_closes_leaves_the_line_of_a_limit() -> None:
    """Another one may stand behind it."""
    limit = Limit("shared", LimitSettings(requests_per_minute=6))
    one, two = (ScriptedProvider("ok", limits="shared") for _ in range(2))
    closing, staying = (Broker([each], limits={"shared": limit}) for each in (one, two))
    await closing.submit("uses up the limit")

    async def ends() -> None:
        with pytest.raises(BrokerClosedError):
            await closing.submit("first in line")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends)
        await anyio.sleep(0.1)
        tasks.start_soon(_ask_one, staying, "scripted")
        await anyio.sleep(0.1)
        await closing.aclose(drain_timeout=0.0)
        await anyio.sleep(60.0)
        assert len(two.sent) == 1


async def test_who_has_become_well_meanwhile_is_asked_after_all() -> None:
    """The budget had nothing for it while it failed; that was a moment ago."""
    first = ScriptedProvider([ServerError("no"), Slow(0.1, "ok"), "well"])
    second = ScriptedProvider(ServerError("no"), retry_delay=3.0)
    broker = Broker({"first": first, "second": second}, retry_ratio=0.0, seed=1)
    broker._delivery.budget = RetryBudget(ratio=0.0, initial=0.0, per_second=0.0)
    with contextlib.suppress(ServerError):
        await broker.submit("makes it fail", provider=["first"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_ask_one, broker, "first")
        await anyio.sleep(0.01)
        reply = await broker.submit("x", provider=["second", "first"])
    assert reply.text == "well"


async def test_what_is_larger_than_a_limit_holds_up_no_longer_than_the_limit() -> None:
    """So a start is foretold that comes true, and nobody is refused for nothing."""
    provider = ScriptedProvider("ok", tokens_per_minute=1_000)
    async with Broker([provider], drain_timeout=0.0) as broker:
        broker.submit_nowait("x" * 3_000)
        for _ in range(2):
            broker.submit_nowait("x" * 200_000)
        reply = await broker.submit("x", max_tokens=10, timeout=600.0)
    assert reply.text == "ok"


async def test_a_reply_is_no_answer_however_like_one_it_looks() -> None:
    """A provider that stands before a broker of its own may well hand it on."""
    behind = Broker([ScriptedProvider("ok")])

    async def hands_on(request: Request) -> Answer:
        return await behind.submit(request)  # type: ignore[return-value]

    broker = Broker([ScriptedProvider([hands_on, "ok"], workers=1)])
    with pytest.raises(ProviderCrashError):
        await broker.submit("x")
    with anyio.fail_after(10.0):
        assert (await broker.submit("x")).text == "ok"


async def test_a_thread_that_is_told_of_the_cancellation_first_is_no_crash() -> None:
    """Its exception is the caller's own, whoever raises it."""

    begun: list[bool] = []

    def work() -> None:
        begun.append(True)
        while True:
            from_thread.check_cancelled()
            time.sleep(0.001)

    async def in_a_thread(request: Request) -> Answer:
        await to_thread.run_sync(work)
        raise AssertionError

    first, second = ScriptedProvider([in_a_thread]), ScriptedProvider("ok")
    broker = Broker({"first": first, "second": second})
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(broker.submit, "x")
            while not begun:
                await anyio.lowlevel.checkpoint()
            scope.cancel()
    assert broker.statistics().cancelled == 1
    assert not second.sent


async def test_deep_content_is_counted() -> None:
    deep: Any = "x"
    for _ in range(MOST_LEVELS - 5):
        deep = [deep]
    provider = ScriptedProvider("ok", tokens_per_minute=1_000)
    reply = await Broker([provider]).submit([{"role": "user", "content": deep}])
    assert reply.text == "ok"


async def test_who_comes_back_has_the_place_of_its_first_arrival() -> None:
    """So it is not refused for those who came later."""
    refused = Slow(0.2, RateLimitError("later", retry_after=0.5))
    provider = ScriptedProvider([refused, "ok"], requests_per_minute=60)
    async with (
        Broker([provider], drain_timeout=0.0) as broker,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(20):
            tasks.start_soon(_ask_later, broker)
        assert (await broker.submit("x", timeout=5.0)).text == "ok"
        tasks.cancel_scope.cancel()


async def _ask_later(broker: Broker) -> None:
    await anyio.sleep(0.1)
    await broker.submit("x")
