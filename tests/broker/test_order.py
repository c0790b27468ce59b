"""Who goes first, and what waiting is called."""

import anyio
import pytest

from aitor.broker.broker import Broker
from aitor.broker.limit import Limit
from aitor.errors import RateLimitError
from aitor.messages import Answer, Reply, Usage
from aitor.providers.settings import LimitSettings, load
from aitor.testing.scripted import ScriptedProvider, Slow

pytestmark = pytest.mark.anyio


async def ask_all(broker: Broker, requests: list[dict[str, object]]) -> list[Reply]:
    """Submit all in this order, and return the replies as they came."""
    replies: list[Reply] = []

    async def ask(arguments: dict[str, object]) -> None:
        replies.append(await broker.submit(**arguments))  # type: ignore[arg-type]

    async with anyio.create_task_group() as tasks:
        for arguments in requests:
            tasks.start_soon(ask, arguments)
            await anyio.sleep(0.001)
    return replies


async def order_of(requests: list[dict[str, object]]) -> list[str]:
    provider = ScriptedProvider(Slow(1.0, "ok"), workers=1)
    await ask_all(Broker([provider]), [{"prompt": "first"}, *requests])
    return [str(sent.request.messages[0]["content"]) for sent in provider.sent][1:]


async def test_first_come_first_served() -> None:
    names = [f"{number}" for number in range(20)]
    assert await order_of([{"prompt": name} for name in names]) == names


async def test_higher_priority_goes_first() -> None:
    order = await order_of(
        [
            {"prompt": "bulk", "priority": -1},
            {"prompt": "usual"},
            {"prompt": "urgent", "priority": 5},
        ]
    )
    assert order == ["urgent", "usual", "bulk"]


async def test_tenants_take_turns_by_tokens() -> None:
    many = [{"prompt": "a" * 400, "tenant": "a", "max_tokens": 1} for _ in range(6)]
    few = [{"prompt": "b" * 400, "tenant": "b", "max_tokens": 1} for _ in range(2)]
    order = "".join(text[0] for text in await order_of(many + few))
    # The one who asked for less need not wait until the other's flood is over.
    assert order.index("b") <= 1
    assert order[:5].count("b") == 2


async def test_waiting_is_booked_under_what_was_waited_for() -> None:
    provider = ScriptedProvider(Slow(2.0, "ok"), workers=1)
    replies = await ask_all(Broker([provider]), [{"prompt": "x"}, {"prompt": "y"}])
    waits = replies[1].attempts[0].waits
    assert waits.worker == pytest.approx(2.0, abs=0.01)
    assert waits.total == waits.worker

    limited = ScriptedProvider("ok", requests_per_minute=6)
    replies = await ask_all(Broker([limited]), [{"prompt": "x"}, {"prompt": "y"}])
    waits = replies[1].attempts[0].waits
    assert waits.rate > 5.0
    assert waits.total == waits.rate


async def test_more_workers_than_calls_never_wait() -> None:
    provider = ScriptedProvider(Slow(1.0, "ok"), workers=50)
    begin = anyio.current_time()
    await ask_all(Broker([provider]), [{"prompt": "x"}] * 50)
    assert anyio.current_time() - begin == pytest.approx(1.05, abs=0.01)
    assert provider.most_in_flight == 50


async def test_a_limit_holds_in_every_minute_and_is_used() -> None:
    provider = ScriptedProvider("ok", requests_per_minute=60, queue_size=500)
    broker = Broker([provider])
    with anyio.move_on_after(600.0):
        async with anyio.create_task_group() as tasks:
            for _ in range(800):
                tasks.start_soon(broker.submit, "x")
    starts = [sent.started for sent in provider.sent]
    for first in starts:
        assert sum(first <= start <= first + 60.0 for start in starts) <= 60
    assert len(starts) >= 0.98 * 600


async def test_a_request_larger_than_its_limit_is_not_stuck() -> None:
    provider = ScriptedProvider("ok", tokens_per_minute=1_000)
    broker = Broker([provider])
    reply = await broker.submit("x" * 40_000, timeout=3_600.0)
    assert reply.text == "ok"
    assert (await broker.submit("x", max_tokens=5)).text == "ok"


async def test_a_shared_limit_is_shared() -> None:
    limit = Limit("acme", load(LimitSettings, {"requests_per_minute": 60}))
    one = ScriptedProvider("ok", limits="acme")
    two = ScriptedProvider("ok", limits="acme")
    broker = Broker({"one": one, "two": two}, limits={"acme": limit})
    requests: list[dict[str, object]] = [
        {"prompt": "x", "provider": [name]} for name in ("one", "two") * 60
    ]
    with anyio.move_on_after(60.0):
        await ask_all(broker, requests)
    assert len(one.sent) + len(two.sent) <= 60
    assert min(len(one.sent), len(two.sent)) >= 20


async def test_spare_tokens_go_back_to_whoever_waits() -> None:
    limit = Limit("acme", load(LimitSettings, {"tokens_per_minute": 60_000}))
    provider = ScriptedProvider("ok", limits="acme")
    broker = Broker([provider], limits={"acme": limit})
    begin = anyio.current_time()
    # Each reserves 3,000 tokens and uses 15.
    requests: list[dict[str, object]] = [{"prompt": "x", "max_tokens": 3_000}] * 40
    await ask_all(broker, requests)
    assert anyio.current_time() - begin < 30.0


def with_headers(**headers: str) -> Answer:
    usage = Usage(input_tokens=10, output_tokens=5)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer("ok", "m", "stop", usage, headers=named)


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [
        ("x_ratelimit_limit_requests", "x_ratelimit_remaining_requests"),
        (
            "anthropic_ratelimit_requests_limit",
            "anthropic_ratelimit_requests_remaining",
        ),
    ],
)
async def test_what_a_server_says_of_its_limits_bounds_ours(
    limit: str, remaining: str
) -> None:
    told = with_headers(**{limit: "60", remaining: "0"})
    provider = ScriptedProvider([told, "ok"], requests_per_minute=6_000)
    broker = Broker([provider])
    await broker.submit("x")
    level = broker.statistics().providers["scripted"].levels["requests"]
    assert level.limit == 60
    await broker.submit("x")
    assert provider.sent[1].started - provider.sent[0].started > 0.9


async def test_headers_with_nonsense_change_nothing() -> None:
    told = with_headers(
        x_ratelimit_limit_requests="-1",
        x_ratelimit_remaining_requests="-1",
        x_ratelimit_limit_tokens="nan",
        x_ratelimit_remaining_tokens="0",
    )
    provider = ScriptedProvider(told, requests_per_minute=6_000)
    broker = Broker([provider])
    await ask_all(broker, [{"prompt": "x"}] * 5)
    levels = broker.statistics().providers["scripted"].levels
    assert {name: level.limit for name, level in levels.items()} == {"requests": 6_000}


async def test_a_refusal_s_headers_count_too() -> None:
    refusal = RateLimitError("slow", retry_after=1.0)
    refusal.headers = {"x-ratelimit-limit-requests": "60"}
    provider = ScriptedProvider([refusal, "ok"])
    broker = Broker([provider])
    await broker.submit("x")
    levels = broker.statistics().providers["scripted"].levels
    assert levels["requests"].limit == 60
