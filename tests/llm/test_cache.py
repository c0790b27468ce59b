"""The broker's cache, in virtual time: S88 to S90."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from aitor.broker.broker import Broker
from aitor.broker.cache import Cache, identity
from aitor.errors import (
    BadRequestError,
    ConfigurationError,
    DeadlineExceededError,
    ServerError,
)
from aitor.messages import Reply, Request, Usage
from aitor.providers import MockProvider
from aitor.testing.scripted import Hang, ScriptedProvider, Slow
from aitor.testing.virtual import virtual_backend


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Name the backend, with its clock replaced."""
    return virtual_backend(request.param)


real = pytest.mark.anyio


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Cache]:
    """Make a cache of either sort."""
    path = tmp_path / "cache.db" if request.param == "disk" else None
    return lambda **bounds: Cache(path=path, **bounds)


class Source:
    """Counts how often it is asked."""

    def __init__(self, *outcomes: Any, seconds: float = 0.0) -> None:
        self.outcomes = list(outcomes)
        self.seconds = seconds
        self.asked = 0

    async def __call__(self) -> Reply:
        self.asked += 1
        await anyio.sleep(self.seconds)
        outcome = self.outcomes.pop(0) if self.outcomes else "answer"
        if isinstance(outcome, Exception):
            raise outcome
        body = {"choices": [{"n": 1}]}
        return Reply(outcome, "p", "m", "stop", Usage(10, 5), (), "id", body)


# The key.


def test_s88_the_key_is_the_same_for_the_same_and_differs_for_all_that_matters() -> (
    None
):
    def key(provider: Any = None, model: str = "m", **parameters: Any) -> str:
        request = Request.of("Hi", model=model, parameters=parameters)
        return Cache.key(request, provider)

    assert key(a=1, b=2) == key(b=2, a=1)
    assert len(key()) == 64
    assert len({key(), key(a=1), key(a=2), key("p"), key(model="n")}) == 5
    with pytest.raises(BadRequestError):
        key(a=object())


def test_s88_the_identity_of_a_provider_holds_no_key() -> None:
    from aitor.providers import OpenAIProvider

    provider = OpenAIProvider(api_key="sk-canary", model="gpt-5.5", temperature=0.1)
    assert "sk-canary" not in str(identity(provider, None))
    assert identity(provider, "x") != identity(provider, None)


@pytest.mark.parametrize("name", ["max_entries", "max_bytes", "ttl"])
def test_a_bound_of_nothing_is_an_error(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' = 0"):
        Cache(**{name: 0})  # type: ignore[arg-type]  # one of the three


@pytest.mark.parametrize(
    "bound",
    [{"ttl": "5"}, {"ttl": float("nan")}, {"max_entries": None}, {"max_bytes": []}],
)
def test_a_bound_that_is_no_number_is_an_error(bound: dict[str, Any]) -> None:
    (name,) = bound
    with pytest.raises(ConfigurationError, match=f"'{name}' = .* must be a number"):
        Cache(**bound)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "'path' = '' is no file"),
        (".", "'path' = '.' is no file"),
        ("no/such/answers.db", "'path' = 'no/such/answers.db' is in a directory that"),
        ("a\0b", "is no name for a file"),
        (5, r"'path' = 5 cannot be looked at \(TypeError\)"),
    ],
)
def test_a_path_where_no_file_can_be_is_an_error(path: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Cache(path=path)


# Keeping.


@real
async def test_what_was_answered_is_not_asked_again(make: Callable[..., Cache]) -> None:
    cache, source = make(), Source("first", "second")
    first = await cache.reply("k", source)
    again = await cache.reply("k", source)
    assert (first.text, first.cached) == ("first", False)
    assert (again.text, again.cached, again.attempts) == ("first", True, ())
    assert (again.usage, again.request_id, again.body) == (
        first.usage,
        first.request_id,
        first.body,
    )
    assert await cache.reply("other", source) != first
    seen = cache.statistics()
    assert (seen.hits, seen.misses, seen.shared, seen.entries) == (1, 2, 0, 2)
    assert source.asked == 2


@real
async def test_s89_errors_are_not_kept(make: Callable[..., Cache]) -> None:
    cache, source = make(), Source(ServerError("no"), "answer")
    with pytest.raises(ServerError):
        await cache.reply("k", source)
    assert (await cache.reply("k", source)).text == "answer"
    assert source.asked == 2


@real
async def test_s89_the_oldest_use_goes_when_there_are_too_many(
    make: Callable[..., Cache],
) -> None:
    cache, source = make(max_entries=2), Source()
    for key in ("a", "b", "a", "c", "a"):
        await cache.reply(key, source)
    assert source.asked == 3
    await cache.reply("b", source)
    assert source.asked == 4
    assert cache.statistics().entries == 2


@real
async def test_s89_bytes_are_bounded_and_what_is_too_large_is_not_kept(
    make: Callable[..., Cache],
) -> None:
    cache = make(max_bytes=1_000)
    source = Source("x" * 300, "x" * 300, "x" * 2_000)
    for key in ("a", "b"):
        await cache.reply(key, source)
    assert cache.statistics().entries == 1
    await cache.reply("c", source)
    seen = cache.statistics()
    assert seen.entries == 1
    assert 300 < seen.size <= 1_000


@real
async def test_s89_a_reply_is_used_for_its_time_to_live_in_memory() -> None:
    cache, source = Cache(ttl=10), Source()
    await cache.reply("k", source)
    await anyio.sleep(9.9)
    await cache.reply("k", source)
    assert source.asked == 1
    await anyio.sleep(0.1)
    await cache.reply("k", source)
    assert source.asked == 2


@real
async def test_s89_a_reply_is_used_for_its_time_to_live_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, source = Cache(ttl=10, path=tmp_path / "c"), Source()
    for now in (1_000.0, 1_009.9, 1_010.0):
        monkeypatch.setattr("aitor.broker.cache_store.time.time", lambda now=now: now)
        await cache.reply("k", source)
    assert source.asked == 2


@real
async def test_a_file_is_shared_and_outlives_the_cache(tmp_path: Path) -> None:
    path, source = tmp_path / "cache.db", Source("kept")
    await Cache(path=path).reply("k", source)
    assert (await Cache(path=path).reply("k", source)).text == "kept"
    assert source.asked == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@real
async def test_s89_a_broken_file_is_as_good_as_none(tmp_path: Path) -> None:
    path, source = tmp_path / "cache.db", Source()
    path.write_text("this is no database, and it is longer than a header is" * 10)
    cache = Cache(path=path)
    for _ in range(2):
        assert (await cache.reply("k", source)).text == "answer"
    assert source.asked == 2
    assert cache.statistics().failures == 4


@real
async def test_s89_the_first_failure_of_a_file_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "later gone"
    directory.mkdir()
    cache = Cache(path=directory / "c")
    directory.rmdir()
    for _ in range(2):
        await cache.reply("k", Source("canary"))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("aitor", "WARNING")
    path = json.dumps(str(directory / "c"))
    assert record.getMessage() == f"cache_failed path={path} error=FileNotFoundError"
    (tmp_path / "foreign").write_text("this is no database" * 100)
    await Cache(path=tmp_path / "foreign").reply("k", Source("canary"))
    assert caplog.messages[1].endswith("error=SQLITE_NOTADB")
    assert "canary" not in caplog.text


# One flight.


@real
async def test_s89_of_identical_requests_one_is_sent(
    make: Callable[..., Cache],
) -> None:
    cache, source = make(), Source(seconds=1)
    replies: list[Reply] = []

    async def ask() -> None:
        replies.append(await cache.reply("k", source))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    assert source.asked == 1
    assert [reply.cached for reply in replies].count(False) == 1
    assert cache.statistics().shared == 99


@real
async def test_s89_a_cancelled_leader_is_followed_by_the_next() -> None:
    cache, source = Cache(), Source(seconds=2)
    replies: list[Reply] = []

    async def ask() -> None:
        replies.append(await cache.reply("k", source))

    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(1):
            async with anyio.create_task_group() as leading:
                leading.start_soon(ask)
                await anyio.sleep(0.5)
                for _ in range(3):
                    tasks.start_soon(ask)
                await anyio.sleep_forever()
    assert source.asked == 2
    assert [reply.cached for reply in replies] == [False, True, True]


@real
async def test_an_error_is_everybodys_unless_it_is_the_leaders_own() -> None:
    cache = Cache()
    errors: list[Exception] = []

    async def ask(source: Source) -> None:
        try:
            await cache.reply("k", source)
        except ServerError as error:
            errors.append(error)

    broken = Source(ServerError("no"), seconds=1)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask, broken)
    assert broken.asked == 1
    assert len({id(error) for error in errors}) == 3
    late = Source(DeadlineExceededError("late"), "answer", seconds=1)
    texts: list[str] = []

    async def try_ask() -> None:
        try:
            texts.append((await cache.reply("l", late)).text)
        except DeadlineExceededError:
            texts.append("late")

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(try_ask)
    assert sorted(texts) == ["answer", "answer", "late"]
    assert late.asked == 2


# In the broker.


@real
async def test_the_broker_asks_once_and_counts_what_was_sent() -> None:
    cache = Cache()
    provider = ScriptedProvider(Slow(1, "hello"))
    broker = Broker([provider], cache=cache)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(broker.submit, "Hi")
    again = await broker.submit("Hi")
    assert again.cached
    assert len(provider.sent) == broker.statistics().submitted == 1
    assert cache.statistics().hits == 1
    assert broker.ledger.cached == 10
    assert broker.ledger.total().sent == 1


@real
async def test_the_broker_keeps_apart_what_differs() -> None:
    provider = ScriptedProvider()
    broker = Broker({"a": provider, "b": ScriptedProvider()}, cache=Cache())
    for arguments in (
        {},
        {"provider": "b"},
        {"model": "other"},
        {"tenant": "t"},
        {"max_tokens": 3},
    ):
        assert not (await broker.submit("Hi", **arguments)).cached
        assert (await broker.submit("Hi", **arguments)).cached


@real
@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({}, True),
        ({"temperature": 0}, True),
        ({"temperature": 0.5}, False),
        ({"temperature": 0.5, "cache": True}, True),
        ({"cache": False}, False),
    ],
)
async def test_s89_sampled_answers_are_kept_only_when_asked_for(
    arguments: dict[str, Any], kept: bool
) -> None:
    provider = MockProvider()
    broker = Broker([provider], cache=Cache())
    for _ in range(2):
        await broker.submit("Hi", **arguments)
    assert provider.calls == (1 if kept else 2)


@real
async def test_a_deadline_holds_while_another_is_asked() -> None:
    provider = ScriptedProvider(Hang(), timeout=100)
    broker = Broker([provider], cache=Cache())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(broker.submit, "Hi")
        await anyio.sleep(1)
        begin = anyio.current_time()
        with pytest.raises(DeadlineExceededError, match="identical"):
            await broker.submit("Hi", timeout=5)
        assert anyio.current_time() - begin == pytest.approx(5)
        tasks.cancel_scope.cancel()


# Adding to a broker that works.


@real
async def test_a_provider_can_be_added_to_a_broker_and_put_in_anothers_place() -> None:
    broker = Broker({"a": ScriptedProvider("a")})
    broker.add_provider("b", ScriptedProvider("b"))
    assert (await broker.submit("Hi")).text == "a"
    assert (await broker.submit("Hi", provider="b")).text == "b"
    broker.add_provider("a", ScriptedProvider("new"))
    assert (await broker.submit("Hi")).text == "new"
    broker.set_failover(["b", "a"])
    assert (await broker.submit("Hi")).text == "b"
    with pytest.raises(ConfigurationError, match="'c'"):
        broker.set_failover(["c"])
