"""Guards of the broker that no other test would miss; see docs/mutation.md."""

import contextlib
from typing import Any

import anyio
import pytest
from tests.broker.conftest import opens_after

from aitor.broker.broker import Broker
from aitor.broker.cache import Cache, identity
from aitor.broker.limit import Limit
from aitor.errors import (
    AttemptTimeoutError,
    BadRequestError,
    BrokerClosedError,
    CircuitOpenError,
    ConnectionFailedError,
    DeadlineExceededError,
    LLMError,
    ProviderCrashError,
    RateLimitError,
    ServerError,
)
from aitor.events import Event
from aitor.messages import Answer, Request, Usage
from aitor.outcomes import Outcome
from aitor.providers import CompatibleProvider, OpenAIProvider
from aitor.providers.settings import LimitSettings
from aitor.testing.scripted import Hang, ScriptedProvider, Slow

pytestmark = pytest.mark.anyio

OK = Answer("ok", "scripted", "stop", Usage(10, 5))
GUESSED = Answer("ok", "scripted", "stop", Usage(10, 5, estimated=True))
"""Nothing is learned of it, and nothing given back."""


def order(provider: ScriptedProvider) -> list[str]:
    return [str(sent.request.messages[0]["content"]) for sent in provider.sent]


# Slots and queues.


async def test_who_waits_at_the_door_is_not_overtaken() -> None:
    """Not even by one who comes in the tick in which a place has come free."""
    broker: Broker

    async def answer_and_ask(_: Request) -> Answer:
        # The place that this call frees belongs to the door.
        tasks.start_soon(broker.submit, "late")
        return OK

    provider = ScriptedProvider(
        [Slow(1.0, answer_and_ask), Slow(1.0, "ok")], workers=1, queue_size=2
    )
    broker = Broker([provider])
    async with anyio.create_task_group() as tasks:
        for name in ("wire", "first", "second", "door"):
            tasks.start_soon(broker.submit, name)
            await anyio.sleep(0.01)
        assert broker.statistics().providers["scripted"].at_the_door == 1
    assert order(provider) == ["wire", "first", "second", "door", "late"]


async def test_who_moves_in_from_the_door_comes_before_who_comes_later() -> None:
    provider = ScriptedProvider(Slow(1.0, "ok"), workers=1, queue_size=1)
    broker = Broker([provider])
    async with anyio.create_task_group() as tasks:
        for name in ("wire", "mailbox", "door", "door too"):
            tasks.start_soon(broker.submit, name)
            await anyio.sleep(0.01)
        statistics = broker.statistics().providers["scripted"]
        assert (statistics.queued, statistics.at_the_door) == (1, 2)
    assert order(provider) == ["wire", "mailbox", "door", "door too"]


@pytest.mark.parametrize("dimension", ["tokens", "input_tokens", "output_tokens"])
async def test_who_has_left_is_not_reckoned_with_when_a_start_is_foretold(
    dimension: str,
) -> None:
    provider = ScriptedProvider(GUESSED, **{f"{dimension}_per_minute": 6_000})
    broker = Broker([provider])

    async def large(tokens: int) -> None:
        await broker.submit("x" * 4 * tokens, max_tokens=tokens)

    await large(500)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(large, 200)
        await anyio.sleep(0.01)
        async with anyio.create_task_group() as leaving:
            for _ in range(3):
                leaving.start_soon(large, 2_000)
            await anyio.sleep(0.01)
            leaving.cancel_scope.cancel()
        assert broker.statistics().cancelled == 3
        reply = await broker.submit("x", timeout=10.0, max_tokens=100)
    assert reply.text == "ok"


async def test_who_leaves_in_the_tick_of_starting_gives_the_place_back() -> None:
    """The place is one of the few of a circuit that has just been closed again."""
    scope = anyio.CancelScope()

    async def answer_and_cancel(_: Request) -> Answer:
        scope.cancel()
        return OK

    provider = ScriptedProvider(
        [ServerError("no"), Slow(1.0, answer_and_cancel), "ok"],
        max_retries=0,
        breaker=opens_after(1),
    )
    broker = Broker([provider])

    async def probe() -> None:
        await broker.submit("probe", when_unavailable="wait")

    async def leave() -> None:
        with scope:
            await broker.submit("leaves", when_unavailable="wait")

    with pytest.raises(ServerError):
        await broker.submit("opens the circuit")
    async with anyio.create_task_group() as tasks:
        for ask in (probe, leave):
            tasks.start_soon(ask)
            await anyio.sleep(0.01)
    assert scope.cancelled_caught
    assert order(provider) == ["opens the circuit", "probe"]
    reply = await broker.submit("next", timeout=10.0)
    assert reply.text == "ok"


async def test_an_open_broker_has_one_task_of_its_own() -> None:
    """However many providers and workers, and also when they have worked."""
    before = len(anyio.get_running_tasks())
    providers = {f"p{n}": ScriptedProvider("ok", workers=100) for n in range(10)}
    async with Broker(providers) as broker:
        assert len(anyio.get_running_tasks()) == before + 1
        async with anyio.create_task_group() as tasks:
            for name in providers:
                tasks.start_soon(lambda name: broker.submit("x", provider=name), name)
        assert len(anyio.get_running_tasks()) == before + 1
    assert len(anyio.get_running_tasks()) == before


# Limits.


async def test_traffic_that_grew_too_fast_is_halved_for_a_while() -> None:
    refusal = RateLimitError("slow down", code="slow_down", retry_after=1.0)
    provider = ScriptedProvider([refusal, "ok"], requests_per_minute=600)
    broker = Broker([provider])

    def rate() -> float:
        return broker.statistics().providers["scripted"].levels["requests"].rate

    usual = rate()
    await broker.submit("x")
    assert rate() == pytest.approx(usual / 2)
    await anyio.sleep(300)
    assert rate() == usual


async def test_what_timed_out_stays_taken() -> None:
    provider = ScriptedProvider(
        Hang(), timeout=5.0, max_retries=0, tokens_per_minute=1_000_000
    )
    broker = Broker([provider])

    def tokens() -> float:
        return broker.statistics().providers["scripted"].levels["tokens"].available

    full = tokens()
    with pytest.raises(AttemptTimeoutError):
        await broker.submit("x", max_tokens=9_000)
    # The pace has brought some back by now, and the minute has not.
    actor = broker._actors["scripted"]
    assert actor.limit.bucket._window.totals[1] > 9_000
    assert full == 10_000


async def test_providers_that_share_a_limit_take_turns() -> None:
    """The one with the small requests does not get all of it."""
    shared = Limit("shared", LimitSettings(requests_per_minute=60))
    one, two = (ScriptedProvider("ok", limits="shared") for _ in range(2))
    broker = Broker({"one": one, "two": two}, limits={"shared": shared})
    async with anyio.create_task_group() as tasks:
        for name in ("one", "one", "one", "two", "two", "two"):
            tasks.start_soon(lambda name: broker.submit("x", provider=[name]), name)
    starts = sorted(
        [(round(sent.started, 3), "one") for sent in one.sent]
        + [(round(sent.started, 3), "two") for sent in two.sent]
    )
    who = [name for _, name in starts]
    assert who.count("one") == who.count("two") == 3
    assert who[1:5] in (["one", "two", "one", "two"], ["two", "one", "two", "one"])


async def test_who_was_passed_over_starts_when_its_turn_comes() -> None:
    """And not only when the call of the one before it has ended."""
    shared = Limit("shared", LimitSettings(tokens_per_minute=6_000))
    one = ScriptedProvider(Slow(100.0, "ok"), limits="shared", timeout=200.0)
    two = ScriptedProvider(GUESSED, limits="shared")
    broker = Broker({"one": one, "two": two}, limits={"shared": shared})
    await ask(broker, "two", 1_000)
    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, broker, "one", 500)
        await anyio.sleep(0.01)
        # Its few tokens are there long before, but it stands behind.
        tasks.start_soon(ask, broker, "two", 10)
    assert 1 < one.sent[0].started - begin < two.sent[1].started - begin < 10


async def test_what_one_gives_back_another_that_shares_the_limit_may_use() -> None:
    shared = Limit("shared", LimitSettings(tokens_per_minute=6_000, burst=0.5))
    one = ScriptedProvider(Slow(1.0, "ok"), limits="shared")
    two = ScriptedProvider("ok", limits="shared")
    broker = Broker({"one": one, "two": two}, limits={"shared": shared})
    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, broker, "one", 2_900)
        await anyio.sleep(0.01)
        tasks.start_soon(ask, broker, "two", 2_000)
    assert two.sent[0].started - begin == pytest.approx(1.0)


async def ask(broker: Broker, provider: str, max_tokens: int) -> None:
    await broker.submit("x", provider=[provider], max_tokens=max_tokens)


# Deadlines.


async def test_a_deadline_ends_the_wait_for_a_worker() -> None:
    provider = ScriptedProvider(Hang(), workers=1, timeout=60.0, max_retries=0)
    broker = Broker([provider])
    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker_submit_and_fail, broker)
        await anyio.sleep(1.0)
        with pytest.raises(DeadlineExceededError):
            await broker.submit("waits", timeout=5.0)
        assert anyio.current_time() - begin == pytest.approx(6.0)
        tasks.cancel_scope.cancel()
    assert len(provider.sent) == 1


async def broker_submit_and_fail(broker: Broker) -> None:
    with pytest.raises(LLMError):
        await broker.submit("hangs")


async def test_what_has_become_too_late_in_the_mailbox_is_not_sent() -> None:
    """Its worker came free later than was to be expected."""
    usual: list[Slow] = [Slow(1.0, "ok")] * 30
    provider = ScriptedProvider([*usual, Slow(1.4, "ok"), "ok"], workers=1)
    broker = Broker([provider])
    for _ in usual:
        await broker.submit("x")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker.submit, "takes longer")
        await anyio.sleep(0.01)
        with pytest.raises(DeadlineExceededError, match="nothing was sent"):
            await broker.submit("waits", timeout=2.19)
    assert len(provider.sent) == 31


# The circuit.


@pytest.mark.parametrize(
    "error", [RateLimitError("later", retry_after=1.0), BadRequestError("no"), None]
)
async def test_what_says_nothing_of_the_providers_health_opens_no_circuit(
    error: LLMError | None,
) -> None:
    """A rate limit, a bad request, a caller who leaves."""
    provider = ScriptedProvider(
        error or Hang(), max_retries=0, breaker=opens_after(2), timeout=99.0
    )
    broker = Broker([provider])
    for _ in range(5):
        with anyio.move_on_after(10.0), contextlib.suppress(LLMError):
            await broker.submit("x")
    assert len(provider.sent) == 5
    assert broker.statistics().providers["scripted"].circuit == "closed"


async def test_who_waits_when_a_circuit_opens_is_told_at_once() -> None:
    provider = ScriptedProvider(
        Slow(1.0, ServerError("no")), workers=1, max_retries=0, breaker=opens_after(1)
    )
    broker = Broker([provider])
    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker_submit_and_fail, broker)
        await anyio.sleep(0.01)
        with pytest.raises(CircuitOpenError):
            await broker.submit("waits")
        assert anyio.current_time() - begin == pytest.approx(1.0)


# Retries.


async def test_what_may_have_been_read_is_not_sent_again_unseen() -> None:
    provider = ScriptedProvider([ConnectionFailedError("lost"), "ok"], max_retries=0)
    with pytest.raises(ConnectionFailedError) as caught:
        await Broker([provider]).submit("x")
    assert len(provider.sent) == len(caught.value.attempts) == 1


async def test_the_text_of_a_crash_goes_nowhere() -> None:
    provider = ScriptedProvider(RuntimeError("sk-canary"), max_retries=0)
    told: list[Event] = []
    with pytest.raises(ProviderCrashError) as caught:
        await Broker([provider], listeners=[told.append]).submit("x")
    assert "RuntimeError" in str(caught.value)
    assert "canary" not in f"{caught.value} {caught.value!r} {told}"


async def test_every_call_is_in_the_books() -> None:
    broker = Broker([ScriptedProvider([ServerError("no"), "ok"])])
    await broker.submit("x")
    total = broker.ledger.total()
    assert total.attempts == {Outcome.SERVER: 1, Outcome.ANSWER: 1}
    assert (total.usage.input_tokens, total.usage.output_tokens) == (10, 5)


# Closing, and those who watch.


async def test_closing_waits_for_its_drain_time_and_no_longer() -> None:
    broker = Broker([ScriptedProvider(Hang())], drain_timeout=7.0)
    begin = anyio.current_time()
    with anyio.move_on_after(1_000):
        async with broker:
            broker.submit_nowait("x")
    assert anyio.current_time() - begin == pytest.approx(7.0)


async def test_closing_does_not_wait_for_a_wait_between_two_tries() -> None:
    provider = ScriptedProvider(ServerError("no", retry_after=3_000.0))
    broker = Broker([provider])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refused, broker)
        await anyio.sleep(1.0)
        begin = anyio.current_time()
        await broker.aclose(drain_timeout=0.0)
        assert anyio.current_time() == begin


async def refused(broker: Broker) -> None:
    with pytest.raises(BrokerClosedError):
        await broker.submit("x")


async def test_a_broker_that_drains_takes_no_more() -> None:
    broker = Broker([ScriptedProvider("ok")])
    await broker.submit("x")
    await broker.drain()
    await refused(broker)


async def test_an_owner_who_is_cancelled_closes_connections_that_take_a_moment() -> (
    None
):
    class Leisurely(ScriptedProvider):
        async def aclose(self) -> None:
            await anyio.sleep(1.0)
            await super().aclose()

    provider = Leisurely(Hang())
    with anyio.move_on_after(2.0):
        async with Broker([provider]) as broker:
            await broker.submit("x")
    assert provider.closed


async def test_a_listener_that_raises_breaks_no_call() -> None:
    def listen(_: Event) -> None:
        raise RuntimeError

    reply = await Broker([ScriptedProvider("ok")], listeners=[listen]).submit("x")
    assert reply.text == "ok"


# The cache.


def test_each_part_of_a_providers_identity_is_part_of_the_key() -> None:
    def key(
        kind: type[OpenAIProvider | CompatibleProvider] = CompatibleProvider,
        name: str = "one",
        **settings: Any,
    ) -> str:
        usual = {"model": "m", "base_url": "http://one.test/v1", "api_key": "k"}
        provider = kind(**{**usual, **settings})
        provider.name = name
        return Cache.key(Request.of("Hi"), identity(provider, None))

    keys = {
        key(),
        key(OpenAIProvider),
        key(name="two"),
        key(model="n"),
        key(base_url="http://two.test/v1"),
        key(temperature=0.5),
    }
    assert len(keys) == 6
    assert key(workers=3) == key(api_key="other") == key()


async def test_another_prompt_is_another_question() -> None:
    provider = ScriptedProvider("ok")
    broker = Broker([provider], cache=Cache())
    for prompt in ("one", "two", "one"):
        await broker.submit(prompt)
    assert order(provider) == ["one", "two"]


async def test_tenants_share_no_answers() -> None:
    provider = ScriptedProvider("ok")
    broker = Broker([provider], cache=Cache())
    for tenant in ("a", "b", "a", "b", None):
        await broker.submit("x", tenant=tenant)
    assert len(provider.sent) == 3
