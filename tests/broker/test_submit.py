"""What a caller of `submit` sees, whatever the providers do."""

import gc
from typing import Any

import anyio
import pytest
from tests.broker.conftest import opens_after

from aitor.broker.broker import Broker
from aitor.broker.limit import Limit
from aitor.errors import (
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    BrokerClosedError,
    CircuitOpenError,
    ConfigurationError,
    ConnectionFailedError,
    ContextLengthError,
    DeadlineExceededError,
    LLMError,
    ModelNotFoundError,
    ProviderCrashError,
    QueueFullError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
)
from aitor.messages import Reply, Request
from aitor.outcomes import Outcome
from aitor.providers.settings import LimitSettings
from aitor.testing.scripted import Hang, ScriptedProvider, Slow, Step

pytestmark = pytest.mark.anyio


def outcomes(source: Reply | LLMError) -> list[tuple[str, Outcome]]:
    return [(attempt.provider, attempt.outcome) for attempt in source.attempts]


async def test_an_answer_comes_back_with_its_provider_usage_and_attempt() -> None:
    broker = Broker({"one": ScriptedProvider("hello there", model="m-1")})
    reply = await broker.submit("Say hello")
    assert reply.text == "hello there"
    assert reply.provider == "one"
    assert reply.finish_reason == "stop"
    assert reply.usage.input_tokens == 10
    assert reply.usage.output_tokens == 5
    assert outcomes(reply) == [("one", Outcome.ANSWER)]
    assert reply.attempts[0].model == "m-1"


async def test_a_failure_moves_on_to_the_next_provider_at_once() -> None:
    first = ScriptedProvider(ServerError("no"))
    second = ScriptedProvider("from the second")
    broker = Broker({"first": first, "second": second})
    begin = anyio.current_time()
    reply = await broker.submit("x")
    assert anyio.current_time() == begin
    assert reply.text == "from the second"
    assert outcomes(reply) == [("first", Outcome.SERVER), ("second", Outcome.ANSWER)]


async def test_the_only_provider_is_asked_again_after_a_wait() -> None:
    provider = ScriptedProvider([ServerError("no"), ServerError("no"), "third time"])
    broker = Broker([provider], seed=1)
    reply = await broker.submit("x")
    assert reply.text == "third time"
    assert len(reply.attempts) == 3
    first, second, third = (sent.started for sent in provider.sent)
    assert 0 < second - first <= 1.0
    assert 0 < third - second <= 2.0
    waited = [attempt.waits.backoff for attempt in reply.attempts]
    assert waited == pytest.approx([0, second - first, third - second])


async def test_tries_end_after_max_retries_and_the_error_tells_them_all() -> None:
    provider = ScriptedProvider(ServerError("no", status=500), max_retries=2)
    broker = Broker([provider])
    with pytest.raises(ServerError) as caught:
        await broker.submit("x")
    assert len(provider.sent) == 3
    assert [attempt.status for attempt in caught.value.attempts] == [500] * 3
    assert caught.value.provider == "scripted"


async def test_the_server_s_own_wait_goes_over_the_guess() -> None:
    script: list[Step] = [ServerError("no", retry_after=40.0), "ok"]
    provider = ScriptedProvider(script)
    await Broker([provider]).submit("x")
    waited = provider.sent[1].started - provider.sent[0].started
    assert waited == pytest.approx(40.0)


@pytest.mark.parametrize(
    "error",
    [BadRequestError("bad"), BadRequestError("also", status=422)],
)
async def test_a_bad_request_is_sent_once_and_to_nobody_else(error: LLMError) -> None:
    first, second = ScriptedProvider(error), ScriptedProvider()
    broker = Broker({"first": first, "second": second})
    with pytest.raises(BadRequestError):
        await broker.submit("x")
    assert (len(first.sent), len(second.sent)) == (1, 0)


@pytest.mark.parametrize("kind", [ContextLengthError, ModelNotFoundError])
async def test_what_only_this_model_refuses_goes_to_the_next_and_never_back(
    kind: type[LLMError],
) -> None:
    first = ScriptedProvider(kind("not here"))
    second = ScriptedProvider([ServerError("no"), "ok"])
    reply = await Broker({"first": first, "second": second}).submit("x")
    assert reply.provider == "second"
    assert len(first.sent) == 1


async def test_a_context_that_is_too_long_goes_only_to_a_larger_window() -> None:
    class Window(ScriptedProvider):
        size: int | None = None

        def window(self, request: Request) -> int | None:
            return self.size

    small, same, unknown = (
        Window(ContextLengthError("too long")),
        Window(),
        Window("took it"),
    )
    small.size = same.size = 1_000
    broker = Broker({"small": small, "same": same, "unknown": unknown})
    reply = await broker.submit("x")
    assert outcomes(reply) == [("small", Outcome.TOO_LONG), ("unknown", Outcome.ANSWER)]
    assert not same.sent


async def test_a_parameter_that_is_not_taken_is_left_out_once() -> None:
    error = UnsupportedParameterError("no", parameter="temperature")
    provider = ScriptedProvider([error, "ok"])
    begin = anyio.current_time()
    reply = await Broker([provider]).submit("x", temperature=0.5)
    assert outcomes(reply) == [
        ("scripted", Outcome.PARAMETER),
        ("scripted", Outcome.ANSWER),
    ]
    assert anyio.current_time() == begin


async def test_a_provider_that_does_not_learn_is_left() -> None:
    error = UnsupportedParameterError("no", parameter="temperature")
    provider = ScriptedProvider(error)
    with pytest.raises(UnsupportedParameterError):
        await Broker([provider]).submit("x")
    assert len(provider.sent) == 2


async def test_a_dead_key_opens_the_circuit_at_the_first_answer() -> None:
    dead = ScriptedProvider(AuthenticationError("no", status=401))
    broker = Broker({"dead": dead, "well": ScriptedProvider()})
    for _ in range(20):
        assert (await broker.submit("x")).provider == "well"
    assert len(dead.sent) == 1
    assert broker.statistics().providers["dead"].circuit == "open"


async def test_a_provider_that_always_fails_gets_a_handful_of_calls() -> None:
    dead = ScriptedProvider(ServerError("no"))
    broker = Broker({"dead": dead, "well": ScriptedProvider()})
    for _ in range(1_000):
        await broker.submit("x")
    assert len(dead.sent) == 4


async def test_a_healed_provider_is_back_with_its_first_probe() -> None:
    def heal(number: int) -> ServerError | str:
        return ServerError("no") if number < 4 else "well again"

    healing = ScriptedProvider(heal)
    broker = Broker({"healing": healing, "well": ScriptedProvider()})
    for _ in range(4):
        await broker.submit("x")
    assert (await broker.submit("x")).provider == "well"
    await anyio.sleep(1.0)
    for _ in range(5):
        assert (await broker.submit("x")).provider == "healing"


async def test_with_all_circuits_open_submit_fails_at_once_and_says_when() -> None:
    broker = Broker(
        [ScriptedProvider(ServerError("no"), max_retries=0, breaker=opens_after(5))]
    )
    for _ in range(5):
        with pytest.raises(ServerError):
            await broker.submit("x")
    begin = anyio.current_time()
    with pytest.raises(CircuitOpenError, match=r"30\.000 s") as caught:
        await broker.submit("x")
    assert anyio.current_time() == begin
    assert caught.value.retry_after == pytest.approx(30.0)


async def test_who_waits_does_so_for_a_circuit_to_close() -> None:
    def heal(number: int) -> ServerError | str:
        return ServerError("no") if number < 5 else "well again"

    provider = ScriptedProvider(heal, max_retries=0, breaker=opens_after(5))
    broker = Broker([provider])
    for _ in range(5):
        with pytest.raises(ServerError):
            await broker.submit("x")
    begin = anyio.current_time()
    reply = await broker.submit("x", when_unavailable="wait")
    assert reply.text == "well again"
    assert anyio.current_time() - begin == pytest.approx(30.0)
    assert reply.attempts[0].waits.circuit == pytest.approx(30.0)


async def test_a_429_pauses_the_provider_for_everybody() -> None:
    script: list[Step] = [RateLimitError("slow", status=429, retry_after=5.0), "ok"]
    provider = ScriptedProvider(script)
    broker = Broker([provider])
    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(broker.submit, "x")
            await anyio.sleep(0.1)
    starts = [sent.started - begin for sent in provider.sent]
    assert starts[0] == 0
    assert all(start >= 5.0 for start in starts[1:])
    assert broker.statistics().providers["scripted"].circuit == "closed"


async def test_a_pause_is_waited_for_elsewhere_when_somebody_else_is_sooner() -> None:
    limited = ScriptedProvider(RateLimitError("slow", retry_after=50.0))
    broker = Broker({"limited": limited, "free": ScriptedProvider("elsewhere")})
    begin = anyio.current_time()
    reply = await broker.submit("x")
    assert (reply.provider, anyio.current_time()) == ("free", begin)
    assert (await broker.submit("x")).provider == "free"
    assert len(limited.sent) == 1


async def test_what_waits_in_a_paused_mailbox_moves_on() -> None:
    def limit_first(number: int) -> object:
        if number == 0:
            return Slow(1.0, RateLimitError("slow", retry_after=100.0))
        return "late"

    limited = ScriptedProvider(limit_first, workers=1)  # type: ignore[arg-type]
    broker = Broker({"limited": limited, "free": ScriptedProvider(Slow(2.0, "free"))})
    replies: list[Reply] = []

    async def ask(provider: str | None) -> None:
        replies.append(await broker.submit("x", provider=provider))

    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask, "limited")
    assert anyio.current_time() - begin < 10.0
    assert {reply.provider for reply in replies} == {"free"}


async def test_a_pause_longer_than_the_deadline_fails_at_once() -> None:
    provider = ScriptedProvider(RateLimitError("slow", retry_after=60.0))
    broker = Broker([provider])
    begin = anyio.current_time()
    with pytest.raises(DeadlineExceededError, match=r"60\.000 s") as caught:
        await broker.submit("x", timeout=10.0)
    assert [one.outcome for one in caught.value.attempts] == [Outcome.RATE_LIMITED]
    assert anyio.current_time() == begin
    assert len(provider.sent) == 1


async def test_a_mad_wait_is_capped() -> None:
    script: list[Step] = [RateLimitError("slow", retry_after=1e9), "ok"]
    provider = ScriptedProvider(script, max_retry_after=120.0)
    begin = anyio.current_time()
    await Broker([provider]).submit("x")
    assert anyio.current_time() - begin == pytest.approx(120.0)


async def test_an_attempt_that_hangs_is_ended_and_somebody_else_is_asked() -> None:
    hanging = ScriptedProvider(Hang(), timeout=7.0)
    broker = Broker({"hanging": hanging, "well": ScriptedProvider("ok")})
    begin = anyio.current_time()
    reply = await broker.submit("x")
    assert reply.provider == "well"
    assert anyio.current_time() - begin == pytest.approx(7.0)
    assert outcomes(reply)[0] == ("hanging", Outcome.TIMEOUT)
    assert hanging.in_flight == 0


async def test_a_silent_provider_is_the_last_to_be_asked_again() -> None:
    hanging = ScriptedProvider(Hang(), timeout=5.0)
    failing = ScriptedProvider([ServerError("no"), ServerError("no"), "ok"])
    reply = await Broker({"hanging": hanging, "failing": failing}).submit("x")
    assert reply.provider == "failing"
    assert len(hanging.sent) == 1


async def test_the_timeout_s_error_names_the_setting() -> None:
    broker = Broker([ScriptedProvider(Hang(), timeout=5.0, max_retries=0)])
    with pytest.raises(AttemptTimeoutError, match=r"5\.0 s \(see 'timeout'\)"):
        await broker.submit("x")


async def test_the_first_content_has_a_time_limit_of_its_own() -> None:
    provider = ScriptedProvider(Hang(), first_token_timeout=2.0, max_retries=0)
    broker = Broker([provider])
    begin = anyio.current_time()
    with pytest.raises(AttemptTimeoutError, match="first_token_timeout"):
        await broker.submit("x")
    assert anyio.current_time() - begin == pytest.approx(2.0)


async def test_silence_between_two_pieces_of_content_is_bounded() -> None:
    class Trickle(ScriptedProvider):
        async def complete(self, request, progress):  # type: ignore[no-untyped-def]
            for _ in range(10):
                await anyio.sleep(0.9)
                progress()
            return await super().complete(request, progress)

    steady = Trickle("ok", first_token_timeout=1.0, idle_timeout=1.0)
    assert (await Broker([steady]).submit("x")).text == "ok"
    stalled = Trickle(Hang(), first_token_timeout=1.0, idle_timeout=1.0, max_retries=0)
    begin = anyio.current_time()
    with pytest.raises(AttemptTimeoutError, match="idle_timeout"):
        await Broker([stalled]).submit("x")
    assert anyio.current_time() - begin == pytest.approx(10.0)


async def test_the_deadline_is_kept_whatever_the_provider_does() -> None:
    provider = ScriptedProvider(Hang())
    broker = Broker([provider])
    begin = anyio.current_time()
    with pytest.raises(DeadlineExceededError) as caught:
        await broker.submit("x", timeout=3.0)
    assert anyio.current_time() - begin == pytest.approx(3.0)
    assert outcomes(caught.value) == [("scripted", Outcome.EXPIRED)]
    assert provider.in_flight == 0


async def test_a_deadline_in_the_past_sends_nothing() -> None:
    provider = ScriptedProvider()
    with pytest.raises(DeadlineExceededError):
        await Broker([provider]).submit("x", timeout=0.0)
    assert not provider.sent


async def test_a_wait_past_the_deadline_is_not_begun() -> None:
    provider = ScriptedProvider(ServerError("no", retry_after=60.0))
    begin = anyio.current_time()
    with pytest.raises(ServerError):
        await Broker([provider]).submit("x", timeout=10.0)
    assert anyio.current_time() == begin


async def test_a_start_predicted_past_the_deadline_is_refused_with_the_number() -> None:
    provider = ScriptedProvider(requests_per_minute=6)
    broker = Broker([provider])
    for _ in range(3):
        await broker.submit("x")
    begin = anyio.current_time()
    with pytest.raises(DeadlineExceededError, match="at the earliest") as caught:
        await broker.submit("x", timeout=1.0)
    assert anyio.current_time() == begin
    assert caught.value.retry_after is not None
    assert 1.0 < caught.value.retry_after <= 12.0


async def test_a_crash_fails_its_request_alone_and_renews_the_provider() -> None:
    def crash_once(number: int) -> Exception | str:
        return RuntimeError("secret prompt inside") if number == 0 else "ok"

    provider = ScriptedProvider(crash_once)
    broker = Broker([provider])
    with pytest.raises(ProviderCrashError) as caught:
        await broker.submit("x")
    assert "RuntimeError" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert (await broker.submit("x")).text == "ok"
    assert provider.restarts == 1


async def test_calls_that_crash_together_renew_the_provider_once() -> None:
    provider = ScriptedProvider(Slow(1.0, RuntimeError("broken pool")))
    broker = Broker([provider])

    async def ask() -> None:
        with pytest.raises(ProviderCrashError):
            await broker.submit("x")

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask)
    assert provider.restarts == 1


async def test_a_stale_connection_costs_no_try() -> None:
    stale = ConnectionFailedError("closed before use", unused=True)
    provider = ScriptedProvider([stale, "ok"], max_retries=0)
    broker = Broker([provider])
    reply = await broker.submit("x")
    assert reply.text == "ok"
    assert outcomes(reply) == [("scripted", Outcome.ANSWER)]


async def test_a_total_outage_costs_about_one_call_a_request() -> None:
    providers = {
        name: ScriptedProvider(ServerError("no"), breaker={"failures": 1_000_000})
        for name in ("first", "second")
    }
    broker = Broker(providers)
    begin = anyio.current_time()

    async def ask() -> None:
        with pytest.raises(ServerError):
            await broker.submit("x")

    async with anyio.create_task_group() as tasks:
        for _ in range(2_000):
            tasks.start_soon(ask)
            await anyio.sleep(0.01)
    calls = sum(len(provider.sent) for provider in providers.values())
    seconds = anyio.current_time() - begin
    # One each, a fifth from the budget, what it begins with and gains with time, and
    # one to a provider that was not known to fail yet.
    assert 1.15 * 2_000 <= calls <= 1.2 * 2_000 + 10 + 0.5 * seconds + 1
    assert seconds < 30.0


async def test_a_fresh_broker_s_first_request_may_be_tried_again() -> None:
    provider = ScriptedProvider([ServerError("no")] * 3 + ["ok"])
    assert (await Broker([provider]).submit("x")).text == "ok"


async def test_provider_begins_the_sequence_there() -> None:
    a, b, c = (ScriptedProvider(name) for name in "abc")
    b_fails = ScriptedProvider(ServerError("no"))
    assert (
        await Broker({"a": a, "b": b, "c": c}).submit("x", provider="b")
    ).text == "b"
    broker = Broker({"a": a, "b": b_fails, "c": c})
    assert (await broker.submit("x", provider="b")).text == "c"
    assert not a.sent


async def test_a_provider_outside_the_sequence_is_asked_alone() -> None:
    outside = ScriptedProvider(ServerError("no"), max_retries=0)
    inside = ScriptedProvider()
    broker = Broker({"in": inside, "out": outside}, failover=["in"])
    with pytest.raises(ServerError):
        await broker.submit("x", provider="out")
    assert not inside.sent


async def test_the_model_goes_to_the_first_provider_only() -> None:
    first = ScriptedProvider(ServerError("no"), model="one")
    second = ScriptedProvider(model="two")
    broker = Broker({"first": first, "second": second})
    await broker.submit("x", model="special")
    assert first.sent[0].request.model == "special"
    assert second.sent[0].request.model is None
    models = {"first": "f", "second": "s"}
    await broker.submit("x", model=models)
    assert second.sent[1].request.model == "s"


async def test_parameters_reach_the_provider() -> None:
    provider = ScriptedProvider()
    await Broker([provider]).submit("x", temperature=0.2, max_tokens=7)
    assert provider.sent[0].request.parameters == {"temperature": 0.2, "max_tokens": 7}


async def test_a_prompt_that_is_none_is_refused_before_anything() -> None:
    provider = ScriptedProvider()
    broker = Broker([provider])
    for prompt in (17, [], [{"content": "no role"}], b"bytes"):
        with pytest.raises(BadRequestError):
            await broker.submit(prompt)  # type: ignore[arg-type]
    assert not provider.sent


async def test_unknown_names_say_which_are_known() -> None:
    with pytest.raises(ConfigurationError, match="there are: one"):
        await Broker({"one": ScriptedProvider()}).submit("x", provider="two")
    with pytest.raises(ConfigurationError, match="'failover'"):
        Broker({"one": ScriptedProvider()}, failover=["one", "one"])
    with pytest.raises(ConfigurationError, match="at least one provider"):
        Broker({})
    with pytest.raises(ConfigurationError, match="shares the limit 'acme'"):
        Broker([ScriptedProvider(limits="acme")])


async def test_a_full_mailbox_moves_on_and_with_none_left_waits() -> None:
    first = ScriptedProvider(Slow(5.0, "first"), workers=1, queue_size=1)
    second = ScriptedProvider(Slow(5.0, "second"), workers=1, queue_size=1)
    broker = Broker({"first": first, "second": second})
    replies: list[Reply] = []

    async def ask() -> None:
        replies.append(await broker.submit("x"))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(ask)
        await anyio.sleep(1.0)
        now = broker.statistics().providers
        assert [one.queued for one in now.values()] == [1, 1]
        assert sum(one.at_the_door for one in now.values()) == 2
    assert len(replies) == 6
    assert {reply.provider for reply in replies} == {"first", "second"}


async def test_a_closed_broker_refuses() -> None:
    broker = Broker([ScriptedProvider()])
    await broker.aclose()
    await broker.aclose()
    with pytest.raises(BrokerClosedError):
        await broker.submit("x")


async def test_submit_nowait_takes_or_refuses_at_once() -> None:
    provider = ScriptedProvider(Slow(1.0, "ok"), workers=1, queue_size=1)
    async with Broker([provider]) as broker:
        first = broker.submit_nowait("x")
        second = broker.submit_nowait("y")
        with pytest.raises(QueueFullError, match="queue_size"):
            broker.submit_nowait("z")
        assert (await first.reply()).text == "ok"
        assert (await second.reply()).text == "ok"
        third = broker.submit_nowait("z")
        third.cancel()
        with pytest.raises(BrokerClosedError):
            await third.reply()
        assert broker.statistics().open == 0


async def test_a_caller_who_asks_again_in_a_loop_keeps_nobody_from_running() -> None:
    broker = Broker([ScriptedProvider(AuthenticationError("no"))])
    with pytest.raises(AuthenticationError):
        await broker.submit("x")
    with anyio.move_on_after(0.0) as scope:
        for _ in range(1_000):
            with pytest.raises(CircuitOpenError):
                await broker.submit("x")
    assert scope.cancelled_caught


async def test_what_cannot_be_answered_in_time_is_not_sent() -> None:
    """A provider that always takes a second is not asked with half a second left."""
    provider = ScriptedProvider(Slow(1.0, "ok"), workers=1)
    broker = Broker([provider])
    for _ in range(30):
        await broker.submit("x")
    sent = len(provider.sent)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker.submit, "on the wire until a second from now")
        await anyio.sleep(0.1)
        with pytest.raises(DeadlineExceededError, match="at least"):
            await broker.submit("x", timeout=1.4)
    assert len(provider.sent) == sent + 1
    assert (await broker.submit("x", timeout=1.4)).text == "ok"


async def test_where_calls_differ_much_a_late_one_is_still_tried() -> None:
    times = [0.1, 3.0] * 20 + [0.1]
    provider = ScriptedProvider([Slow(seconds, "ok") for seconds in times])
    broker = Broker([provider])
    for _ in range(40):
        await broker.submit("x")
    assert (await broker.submit("x", timeout=0.5)).text == "ok"


async def test_a_provider_that_was_replaced_is_closed_when_it_is_done() -> None:
    """Who renews a key every hour keeps no connections of all the keys before."""
    limit = Limit("account", LimitSettings(requests_per_minute=6_000))
    old, new = (ScriptedProvider(Slow(1.0, name), limits="account") for name in "on")
    async with Broker({"p": old}, limits={"account": limit}) as broker:
        async with anyio.create_task_group() as tasks:
            replies: list[Reply] = []

            async def ask() -> None:
                replies.append(await broker.submit("x"))

            tasks.start_soon(ask)
            await anyio.sleep(0.1)
            broker.add_provider("p", new)
            tasks.start_soon(ask)
            await anyio.sleep(0.1)
            assert not old.closed
        assert [reply.text for reply in replies] == ["o", "n"]
        await broker.submit("x")
        assert old.closed
        assert not new.closed


async def test_a_provider_that_comes_back_under_another_name_stays_open() -> None:
    """It is the same connections that would be closed."""
    provider = ScriptedProvider("ok")
    async with Broker({"p": provider}) as broker:
        broker.add_provider("p", ScriptedProvider("other"))
        broker.add_provider("q", provider)
        await broker.submit("x")
        assert not provider.closed
    assert provider.closed


@pytest.mark.parametrize("name", ["when_unavailable", "cache"])
async def test_submit_nowait_refuses_what_it_cannot_do(name: str) -> None:
    """Else it would go to the vendor as a parameter of the request."""
    given: dict[str, Any] = {name: True}
    async with Broker([ScriptedProvider("ok")]) as broker:
        with pytest.raises(TypeError, match=f"takes no '{name}'"):
            broker.submit_nowait("x", **given)


async def test_who_comes_back_to_a_provider_that_was_replaced_finds_it_open() -> None:
    """A request between two tries knows the old provider still."""
    script: list[Step] = [ServerError("down"), "late"]
    old = ScriptedProvider(script, retry_delay=10.0, max_retries=1)
    async with Broker({"p": old}) as broker, anyio.create_task_group() as tasks:
        tasks.start_soon(broker.submit, "x")
        await anyio.sleep(0.001)
        broker.add_provider("p", ScriptedProvider("new"))
        await broker.submit("x")
        assert not old.closed
        await anyio.sleep(60.0)
        assert len(old.sent) == 2
        gc.collect()
    assert old.closed
