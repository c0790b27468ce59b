"""
Statistics that can be shown: as JSON, in a pickle, in a log, by whatever framework.

The kind: a value that is for the outside and made for the inside.
"""

import dataclasses
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import anyio
import pydantic_core
import pytest
from pydantic import TypeAdapter
from tests.broker.conftest import opens_after

from aitor.broker import tenants
from aitor.broker.broker import Broker
from aitor.broker.cache import Cache
from aitor.broker.ledger import Ledger
from aitor.broker.prices import Prices
from aitor.broker.statistics import Statistics
from aitor.broker.tenants import OTHERS, TenantStatistics
from aitor.errors import LLMError, ServerError
from aitor.messages import Answer, Attempt, Request, Usage, Waits
from aitor.outcomes import Outcome
from aitor.testing.scripted import Hang, ScriptedProvider, Slow

pytestmark = pytest.mark.anyio


async def seen() -> Statistics:
    """Return statistics with something in every part."""
    bad = [ServerError("no")] * 3
    script: list[Any] = [Slow(0.5, "ok"), Slow(1.0, "ok"), *bad, Hang()]
    first = ScriptedProvider(
        script,
        workers=2,
        requests_per_minute=600,
        max_retries=0,
        breaker=opens_after(3),
    )
    second = ScriptedProvider("ok", tokens_per_minute=1_000_000)
    broker = Broker({"first": first, "second": second}, cache=Cache())
    async with broker:
        for number in range(7):
            await broker.submit(f"{number}", tenant=f"t{number % 2}", timeout=60.0)
        await broker.submit("1", tenant="t1")
        return broker.statistics()


async def test_they_are_json_all_the_way_down() -> None:
    told = (await seen()).as_dict()
    read = json.loads(json.dumps(told, allow_nan=False))
    assert read == told
    assert told["answered"] == 7
    assert told["cached"] == 1
    assert told["providers"]["first"]["circuit"] == "open"
    assert told["providers"]["first"]["totals"]["attempts"] == {
        "answer": 2,
        "server": 3,
    }
    assert told["providers"]["first"]["levels"]["requests"]["limit"] == 600
    assert told["providers"]["first"]["totals"]["p99"] == pytest.approx(1.0, rel=0.05)
    assert told["tenants"]["t0"]["answered"] == 4
    assert set(told["totals"]["waits"]) == set(Waits._fields)


async def test_what_is_not_finite_is_nothing_in_json() -> None:
    statistics = await seen()
    first = dataclasses.replace(statistics.providers["first"], retry_in=math.inf)
    endless = dataclasses.replace(statistics, providers={"first": first})
    told = json.dumps(endless.as_dict(), allow_nan=False)
    assert json.loads(told)["providers"]["first"]["retry_in"] is None


async def test_they_are_a_snapshot_and_can_be_pickled() -> None:
    statistics = await seen()
    again = pickle.loads(pickle.dumps(statistics))
    assert again == statistics
    assert again.as_dict() == statistics.as_dict()
    told = statistics.as_dict()
    told["providers"].clear()
    told["totals"]["attempts"].clear()
    assert statistics.providers
    assert statistics.totals.sent > 0


async def test_frameworks_may_return_them_as_they_are() -> None:
    """FastAPI and the like ask one of these."""
    statistics = await seen()
    assert dataclasses.asdict(statistics)["answered"] == 7
    written = TypeAdapter(Statistics).dump_json(statistics)
    assert json.loads(written)["answered"] == 7
    assert json.loads(pydantic_core.to_json(statistics))["answered"] == 7


def test_the_price_list_is_loaded_for_nobody_who_asks_no_price() -> None:
    program = """
import sys, anyio
from aitor import Broker
from aitor.providers import OpenAIProvider
from aitor.messages import Attempt, Usage, Waits
from aitor.outcomes import Outcome

async def main():
    broker = Broker({"p": OpenAIProvider(api_key="k")})
    broker.ledger.record(Attempt("p", "m", Outcome.ANSWER, 1.0, Waits(), Usage(1, 1)))
    seen = broker.statistics()
    print(seen, broker.ledger)
    assert "genai_prices" not in sys.modules
    print(seen.cost, seen.unpriced)

anyio.run(main)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("None 1\n")


async def test_they_can_be_read_in_a_log() -> None:
    text = repr(await seen())
    assert "answered=7" in text
    assert "first: open, 0 queued, 0 of 2 in flight" in text
    assert len(text) < 400
    empty = repr(Broker([ScriptedProvider("ok")]).statistics())
    assert "p50=unknown" in empty


async def test_a_ledger_can_be_read_too() -> None:
    broker = Broker([ScriptedProvider("ok")])
    assert repr(broker.ledger).startswith("Ledger(sent=0, answered=0, cached=0")
    await broker.submit("x")
    assert repr(broker.ledger).startswith("Ledger(sent=1, answered=1, cached=0")


# Latency.


async def test_quantiles_are_of_answers_and_of_everybody_together() -> None:
    fast = ScriptedProvider(Slow(0.1, "ok"))
    slow = ScriptedProvider(Slow(10.0, "ok"))
    broker = Broker({"fast": fast, "slow": slow})
    for _ in range(9):
        await broker.submit("x", provider=["fast"])
    await broker.submit("x", provider=["slow"])
    totals = broker.statistics().totals
    assert totals.p50 == pytest.approx(0.1, rel=0.05)
    assert totals.p90 == pytest.approx(0.1, rel=0.05)
    assert totals.p99 == pytest.approx(10.0, rel=0.05)
    assert broker.ledger.by_provider()["slow"].p50 == pytest.approx(10.0, rel=0.05)


async def test_what_failed_has_no_quantile() -> None:
    broker = Broker([ScriptedProvider(Slow(3.0, ServerError("no")), max_retries=0)])
    with pytest.raises(ServerError):
        await broker.submit("x")
    assert broker.statistics().totals.p50 is None


# Cost.


def attempt(provider: str, model: str | None, usage: Usage | None) -> Attempt:
    outcome = Outcome.ANSWER if usage else Outcome.SERVER
    return Attempt(provider, model, outcome, 1.0, Waits(), usage)


class Listed(Prices):
    """A price list of our own: dearer above 200,000 tokens of input, as some are."""

    def __init__(self) -> None:
        super().__init__({})

    def price(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        if provider != "listed" or usage.estimated:
            return None
        each = 2 if usage.input_tokens > 200_000 else 1
        return Decimal(usage.input_tokens * each + usage.output_tokens) / 1_000_000


def test_cost_is_of_what_is_known_and_says_what_is_not() -> None:
    ledger = Ledger()
    assert ledger.bill({}).cost(Listed()) == (None, 0)
    ledger.record(attempt("other", "m", Usage(5, 5)))
    assert ledger.bill({}).cost(Listed()) == (None, 1)
    for _ in range(1_000):
        ledger.record(attempt("listed", "m", Usage(999, 1)))
    ledger.record(attempt("listed", "m", Usage(70, 70, estimated=True)))
    ledger.record(attempt("listed", None, Usage(70, 70)))
    ledger.record(attempt("listed", "m", None))
    cost, unpriced = ledger.bill({}).cost(Listed())
    # A thousand small calls are not one large one, which would be dearer.
    assert cost == Decimal(1)
    assert unpriced == 3


def test_one_small_call_is_priced_as_it_is() -> None:
    ledger = Ledger()
    ledger.record(attempt("listed", "m", Usage(3, 4)))
    assert ledger.bill({}).cost(Listed()) == (Decimal(7) / 1_000_000, 0)


async def test_a_broker_s_cost_is_by_its_providers_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def price(_: Prices, provider: str, model: str, usage: Usage) -> Decimal:
        asked.append((provider, model, usage))
        return Decimal("0.5")

    async def answer(_: Request) -> Answer:
        return Answer("ok", "m-1", "stop", Usage(3, 4))

    monkeypatch.setattr(Prices, "price", price)
    broker = Broker([ScriptedProvider(lambda _: answer, model="m")])
    await broker.submit("x")
    statistics = broker.statistics()
    assert (statistics.cost, statistics.unpriced) == (Decimal("0.5"), 0)
    assert set(asked) == {("scripted", "m", Usage(3, 4))}
    assert statistics.as_dict()["cost"] == "0.5"


# Tenants.


async def test_tenants_are_counted_by_what_became_of_their_requests() -> None:
    async def answer(_: Request) -> Answer:
        return Answer("ok", "m", "stop", Usage(3, 4))

    script: dict[int, Any] = {1: ServerError("no"), 2: Hang(), 3: Hang()}
    provider = ScriptedProvider(lambda n: script.get(n, answer), max_retries=0)
    async with Broker([provider], cache=Cache()) as broker:
        await broker.submit("a", tenant="t")
        with pytest.raises(LLMError):
            await broker.submit("b", tenant="t")
        with anyio.move_on_after(1.0):
            await broker.submit("c", tenant="t")
        await broker.submit("a", tenant="t")
        waiting = broker.submit_nowait("d", tenant="t")
        await anyio.sleep(0.1)
        await broker.submit("a", tenant="other")
        await broker.submit("a")
        assert not waiting.done
        told = broker.statistics().tenants
    assert told == {
        "t": TenantStatistics(2, 1, 1, 1, 3, 4),
        "other": TenantStatistics(1, 0, 0, 0, 3, 4),
    }


async def test_a_wrong_tenant_is_not_counted() -> None:
    broker = Broker([ScriptedProvider("ok")])
    with pytest.raises(ValueError, match="tenant"):
        await broker.submit("x", tenant=["t"])  # type: ignore[arg-type]
    assert broker.statistics().tenants == {}


async def test_tenants_without_end_are_counted_in_bounded_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenants, "MOST_TENANTS", 10)
    async with Broker([ScriptedProvider("ok")]) as broker:
        for number in range(100):
            await broker.submit("x", tenant=f"t{number}")
        told: Mapping[str, TenantStatistics] = broker.statistics().tenants
    assert len(told) <= 12
    assert sum(one.answered for one in told.values()) == 100
    assert told[OTHERS].answered >= 88
    assert all(one.open == 0 for one in told.values())
    assert "t99" in told


async def test_one_that_is_forgotten_while_it_waits_stays_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenants, "MOST_TENANTS", 3)
    slow = ScriptedProvider(lambda n: Slow(100.0, "ok") if n == 0 else "ok")
    async with Broker([slow]) as broker, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: broker.submit("x", tenant="slow"))
        await anyio.sleep(1.0)
        for number in range(20):
            await broker.submit("x", tenant=f"t{number}")
        await anyio.sleep(200.0)
        told = broker.statistics().tenants
    assert sum(one.answered for one in told.values()) == 21
    assert all(one.open == 0 for one in told.values())
