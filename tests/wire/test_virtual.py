"""
Brokers over real clients and their real pools, in virtual time.

Every byte goes through httpx2's own pool, alone or under a vendor's SDK, and time
limits, waits and resets come to the exact second without anybody waiting. After each
fault the same provider answers again, and nothing is held.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import anyio
import pytest

from aitor import Broker
from aitor.errors import (
    AttemptTimeoutError,
    ConnectionFailedError,
    DeadlineExceededError,
    LLMError,
    RateLimitError,
)
from aitor.messages import Reply
from aitor.outcomes import Outcome
from aitor.providers import AnthropicProvider, OpenAIProvider
from aitor.providers.http import HTTPProvider
from aitor.testing.http import Connection, chunk
from aitor.testing.network import Network
from aitor.testing.streams import Stream, send_in_pieces
from aitor.testing.virtual import virtual_backend

pytestmark = pytest.mark.anyio

KINDS = ("httpx2", "openai", "anthropic")
every_kind = pytest.mark.parametrize("kind", KINDS)

Act = Callable[[Stream], Awaitable[None]]


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


# What a server says.

COMPLETION = {
    "model": "m",
    "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
MESSAGE = {
    "type": "message",
    "model": "m",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
HI = {"choices": [{"delta": {"content": "Hi"}}]}
END = {"choices": [{"delta": {}, "finish_reason": "stop"}]}


def head(status: int = 200, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Any"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(kind: str, status: int = 200, **headers: str) -> bytes:
    body = json.dumps(MESSAGE if kind == "anthropic" else COMPLETION).encode()
    headers["content_length"] = str(len(body))
    return head(status, content_type="application/json", **headers) + body


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
STREAM = head(content_type="text/event-stream", transfer_encoding="chunked")
UNBOUNDED = head(content_type="text/event-stream", connection="close")


def says(*parts: bytes | float) -> Act:
    """Return what sends bytes and waits seconds, in order."""

    async def act(stream: Stream) -> None:
        for part in parts:
            if isinstance(part, bytes):
                await stream.send(part)
            else:
                await anyio.sleep(part)

    return act


def then(first: Act, last: Callable[[Stream], Awaitable[None]]) -> Act:
    async def act(stream: Stream) -> None:
        await first(stream)
        await last(stream)

    return act


class Server:
    """Does what is in *acts* with the next requests, and then answers each."""

    def __init__(self, kind: str, *acts: Act, idle: float = inf) -> None:
        self.acts = list(acts)
        self.answer = says(whole(kind))
        self.idle = idle
        self.requests = 0

    async def serve(self, stream: Stream) -> None:
        connection = Connection(stream)
        while not stream.closed:
            with anyio.move_on_after(self.idle) as scope:
                await connection.read_request()
            if scope.cancelled_caught:
                return
            self.requests += 1
            await (self.acts.pop(0) if self.acts else self.answer)(stream)


# Whom it says it to.


def provider(kind: str, **settings: Any) -> HTTPProvider:
    """Make a provider that sends by httpx2, or by an SDK on top of it."""
    make = AnthropicProvider if kind == "anthropic" else OpenAIProvider
    settings["transport"] = "httpx2" if kind == "httpx2" else "sdk"
    settings.setdefault("base_url", "http://api.test")
    one = make(model="m", api_key="k", **settings)
    make_client = one.sdk_client

    def without_a_thread(**options: Any) -> Any:
        client = make_client(**options)
        # It would ask a thread for it, once, and virtual time waits for none.
        client._platform = "Linux"
        return client

    one.sdk_client = without_a_thread  # type: ignore[method-assign]
    return one


class Client:
    """A broker with one provider, and the network that it is on."""

    def __init__(self, broker: Broker, network: Network, server: Server) -> None:
        self.broker = broker
        self.network = network
        self.server = server

    async def ask(self, **arguments: Any) -> tuple[Reply | LLMError, float]:
        """Return what comes of a request, and after how many seconds."""
        begin = anyio.current_time()
        outcome: Reply | LLMError
        try:
            outcome = await self.broker.submit("Hello", **arguments)
        except LLMError as error:
            outcome = error
        return outcome, round(anyio.current_time() - begin, 9)

    def tokens(self) -> float:
        """Return how many tokens could be used at once."""
        (one,) = self.broker.statistics().providers.values()
        return one.levels["tokens"].available

    async def still_well(self) -> None:
        """Check that it answers, and that nothing is held."""
        reply, _ = await self.ask()
        assert isinstance(reply, Reply), reply
        assert reply.text == "Hi"
        (one,) = self.broker.statistics().providers.values()
        assert (one.queued, one.at_the_door, one.in_flight) == (0, 0, 0)
        assert self.broker.statistics().open == 0
        # The one that was used last, kept for the next.
        assert self.network.open <= 1


@asynccontextmanager
async def client(
    kind: str, *acts: Act, idle: float = inf, connect: float = 0.0, **settings: Any
) -> AsyncIterator[Client]:
    """Make a broker that gives up at its first failure, unless told otherwise."""
    settings = {"max_retries": 0, "breaker": {"failures": 10_000}, **settings}
    server = Server(kind, *acts, idle=idle)
    async with Network() as network:
        network.listen("api.test", 80, server.serve, connect_seconds=connect)
        with network.installed():
            one = provider(kind, **settings)
            async with Broker({"one": one}, seed=1) as broker:
                made = Client(broker, network, server)
                yield made
                if not connect:
                    await made.still_well()
            assert network.open == 0


# Time limits.


@every_kind
async def test_connecting_has_a_time_limit(kind: str) -> None:
    async with client(kind, connect=inf, connect_timeout=7.5) as it:
        error, seconds = await it.ask()
        assert isinstance(error, AttemptTimeoutError)
        assert error.outcome is Outcome.TIMEOUT
        assert "connect_timeout" in str(error)
        assert seconds == 7.5
        assert it.server.requests == 0
        it.network.listen("api.test", 80, it.server.serve)
        await it.still_well()


@every_kind
async def test_a_refused_connection_and_an_unknown_name_are_told_apart(
    kind: str,
) -> None:
    async with client(kind) as it:
        it.network.refuse("api.test", 80)
        error, seconds = await it.ask()
        assert isinstance(error, ConnectionFailedError)
        assert "refused" in str(error)
        assert seconds == 0
        it.network.listen("api.test", 80, it.server.serve)


PING = b": ping\n\n"


@every_kind
async def test_the_first_content_has_a_time_limit_that_pings_do_not_move(
    kind: str,
) -> None:
    pings = [x for _ in range(9) for x in (1.0, chunk(PING))]
    limits = {"first_token_timeout": 5.0, "timeout": 60.0}
    async with client(kind, says(STREAM, *pings, 99.0), **limits) as it:
        error, seconds = await it.ask()
        assert isinstance(error, AttemptTimeoutError)
        assert "first_token_timeout" in str(error)
        assert seconds == 5.0


@pytest.mark.parametrize("kind", ["httpx2", "openai"])
async def test_silence_between_two_pieces_has_a_time_limit(kind: str) -> None:
    piece = chunk(event(HI))
    act = says(STREAM, piece, 2.9, piece, 2.9, piece, chunk(PING), 99.0)
    async with client(kind, act, idle_timeout=3.0) as it:
        error, seconds = await it.ask()
        assert isinstance(error, AttemptTimeoutError)
        assert "idle_timeout" in str(error)
        assert seconds == 8.8


@pytest.mark.parametrize("kind", ["httpx2", "openai"])
async def test_a_trickle_of_content_does_not_move_the_limit_on_the_whole(
    kind: str,
) -> None:
    pieces = [x for _ in range(99) for x in (2.0, chunk(event(HI)))]
    limits = {"timeout": 60.0, "first_token_timeout": 5.0, "idle_timeout": 3.0}
    async with client(kind, says(STREAM, *pieces), **limits) as it:
        error, seconds = await it.ask()
        assert isinstance(error, AttemptTimeoutError)
        assert "'timeout'" in str(error)
        assert seconds == 60.0


@every_kind
@pytest.mark.parametrize("place", ["before the head", "in the head", "in the body"])
async def test_a_stall_ends_with_the_attempts_time(kind: str, place: str) -> None:
    data = whole(kind)
    at = {"before the head": 0, "in the head": 20, "in the body": len(data) - 5}[place]
    async with client(kind, says(data[:at], inf), timeout=60.0) as it:
        error, seconds = await it.ask()
        assert isinstance(error, AttemptTimeoutError)
        assert seconds == 60.0
        assert it.network.open == 0


@every_kind
async def test_a_byte_a_second_is_in_time_or_is_not(kind: str) -> None:
    data = whole(kind)

    async def trickle(stream: Stream) -> None:
        await send_in_pieces(stream, data, range(1, len(data)), pause=1.0)

    needed = len(data) - 1
    async with client(kind, trickle, timeout=needed + 0.5) as it:
        reply, seconds = await it.ask()
        assert isinstance(reply, Reply)
        assert seconds == needed
    async with client(kind, trickle, timeout=needed - 0.5) as it:
        error, seconds = await it.ask()
        assert isinstance(error, AttemptTimeoutError)
        assert seconds == needed - 0.5


@pytest.mark.parametrize("kind", ["httpx2", "openai"])
async def test_a_stall_after_the_terminal_mark_costs_a_moment_and_no_answer(
    kind: str,
) -> None:
    act = says(STREAM, chunk(event(HI)), chunk(event(END)), chunk(DONE), inf)
    async with client(kind, act, idle_timeout=30.0) as it:
        reply, seconds = await it.ask()
        assert isinstance(reply, Reply)
        assert reply.text == "Hi"
        assert seconds == 0.1
        # Its body has not ended, so its connection cannot be used again.
        assert it.network.open == 0


@every_kind
async def test_a_deadline_ends_the_call_to_the_second(kind: str) -> None:
    async with client(kind, says(inf)) as it:
        error, seconds = await it.ask(timeout=12.25)
        assert isinstance(error, DeadlineExceededError)
        assert seconds == 12.25
        assert it.network.open == 0


@every_kind
async def test_who_leaves_closes_the_connection_in_the_same_instant(kind: str) -> None:
    async with client(kind, says(whole(kind)[:-5], inf)) as it:
        with anyio.move_on_after(2) as scope:
            await it.ask()
        assert scope.cancelled_caught
        assert it.network.open == 0
        assert it.broker.statistics().providers["one"].in_flight == 0


# Waits that a server asks for.


@every_kind
@pytest.mark.parametrize(
    ("header", "seconds"), [("60", 60.0), ("3600", 3600.0), ("999999", 3600.0)]
)
async def test_a_wait_is_kept_to_the_second(
    kind: str, header: str, seconds: float
) -> None:
    refusal = says(whole(kind, 429, retry_after=header))
    async with client(kind, refusal, max_retries=1) as it:
        reply, waited = await it.ask()
        assert isinstance(reply, Reply)
        assert waited == seconds
        outcomes = [attempt.outcome for attempt in reply.attempts]
        assert outcomes == [Outcome.RATE_LIMITED, Outcome.ANSWER]
        assert reply.attempts[1].waits.pause == pytest.approx(seconds)


async def test_a_refusal_whose_body_stalls_counts_by_its_head() -> None:
    """A moment later than one that ends, and on another connection."""
    act = says(head(429, retry_after="7", content_length="99") + b'{"error":', inf)
    async with client("httpx2", act, max_retries=1) as it:
        reply, seconds = await it.ask()
        assert isinstance(reply, Reply)
        assert seconds == 1.0 + 7.0
        assert it.network.connected == 2
        assert it.network.open == 1


@every_kind
async def test_a_wait_holds_for_everybody(kind: str) -> None:
    refusal = says(whole(kind, 429, retry_after="60"))
    async with client(kind, refusal) as it:
        error, _ = await it.ask()
        assert isinstance(error, RateLimitError)
        assert error.retry_after == pytest.approx(60)
        reply, waited = await it.ask()
        assert isinstance(reply, Reply)
        assert waited == 60


@every_kind
async def test_a_wait_that_is_too_long_is_said_at_once(kind: str) -> None:
    refusal = says(whole(kind, 429, retry_after="60"))
    async with client(kind, refusal, max_retries=1) as it:
        error, seconds = await it.ask(timeout=59.0)
        assert isinstance(error, DeadlineExceededError)
        assert seconds == 0
        assert error.retry_after == pytest.approx(60)
        assert it.server.requests == 1
        await anyio.sleep(60)


# Connections that are kept.


@every_kind
async def test_a_connection_that_the_server_closed_while_idle_costs_no_try(
    kind: str,
) -> None:
    async with client(kind, idle=5.0) as it:
        await it.ask()
        for pause, connections in ((4.999, 1), (5.001, 2), (4.999, 2), (5.0, 3)):
            await anyio.sleep(pause)
            reply, seconds = await it.ask()
            assert isinstance(reply, Reply)
            assert len(reply.attempts) == 1
            assert seconds == 0
            assert it.network.connected == connections
        assert it.server.requests == 5


@every_kind
async def test_an_unused_connection_is_kept_for_a_minute(kind: str) -> None:
    async with client(kind) as it:
        await it.ask()
        for pause, connections in ((60.0, 1), (60.001, 2)):
            await anyio.sleep(pause)
            await it.ask()
            assert it.network.connected == connections
            assert it.network.open == 1


@every_kind
@pytest.mark.parametrize(
    ("after", "expected"),
    [(0.0, Outcome.ANSWER), (0.999, Outcome.ANSWER), (1.001, Outcome.CONNECTION)],
)
async def test_a_kept_connection_that_is_reset_soon_was_not_read(
    kind: str, after: float, expected: Outcome
) -> None:
    """Sent again at once and at no cost; what was lost later may have been billed."""
    lost = then(says(after), Stream.reset)
    async with client(kind, says(whole(kind)), lost) as it:
        await it.ask()
        outcome, seconds = await it.ask()
        assert seconds == after
        if expected is Outcome.ANSWER:
            assert isinstance(outcome, Reply)
            assert len(outcome.attempts) == 1
            assert it.server.requests == 3
        else:
            assert isinstance(outcome, ConnectionFailedError)
            assert it.server.requests == 2


async def test_kept_connections_that_all_went_stale_cost_no_request() -> None:
    """
    What cut one of them cut them all, so the second try must not have another.

    httpx2 cannot be told to close what is unused; the pool is replaced.
    """
    slow = then(says(1.0), says(whole("httpx2")))
    lost = Stream.reset
    async with client("httpx2", *[slow] * 5, lost, slow, lost) as it:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(it.ask)
        assert it.network.connected == 5
        for connected in (6, 7):
            reply, _ = await it.ask()
            assert isinstance(reply, Reply)
            assert len(reply.attempts) == 1
            assert (it.network.connected, it.network.open) == (connected, 1)


# Answers that break off at every byte.

MUCH = {"tokens_per_minute": 1_000_000_000}


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        *((kind, Stream.reset) for kind in KINDS),
        ("httpx2", Stream.aclose),
    ],
)
async def test_a_whole_answer_that_breaks_off_at_any_byte_is_none(
    kind: str, last: Callable[[Stream], Awaitable[None]]
) -> None:
    """It may be asked again, and its tokens stay taken: the work may be done."""
    data = whole(kind)
    acts = [then(says(data[:at]), last) for at in range(len(data))]
    async with client(kind, *acts, **MUCH) as it:
        costs = set()
        for at in range(len(data)):
            before = it.tokens()
            error, seconds = await it.ask()
            assert isinstance(error, ConnectionFailedError), (at, error)
            assert error.outcome is Outcome.CONNECTION
            assert not error.unused
            assert seconds == 0
            assert it.network.open == 0
            costs.add(round(before - it.tokens()))
        assert len(costs) == 1
        assert costs.pop() > 200
        before = it.tokens()
        reply, _ = await it.ask()
        assert isinstance(reply, Reply)
        assert before - it.tokens() == 5


@pytest.mark.parametrize("last", [Stream.reset, Stream.aclose])
async def test_a_stream_that_breaks_off_before_its_terminal_mark_is_none(
    last: Callable[[Stream], Awaitable[None]],
) -> None:
    data = STREAM + chunk(event(HI)) + chunk(event(END)) + chunk(DONE) + chunk(b"")
    marked = data.index(DONE) + len(DONE)
    acts = [then(says(data[:at]), last) for at in range(len(data))]
    async with client("httpx2", *acts, idle_timeout=30.0) as it:
        for at in range(len(data)):
            outcome, seconds = await it.ask()
            if at < marked:
                assert isinstance(outcome, ConnectionFailedError), (at, outcome)
            else:
                assert isinstance(outcome, Reply), (at, outcome)
                assert outcome.text == "Hi"
            assert seconds == 0
            assert it.network.open == 0


async def test_a_stream_that_ends_with_its_connection_counts_from_its_reason_on() -> (
    None
):
    """Without a length a cut looks like an end: then only the answer itself tells."""
    data = UNBOUNDED + event(HI) + event(END) + DONE
    begun = len(UNBOUNDED) + len(event(HI))
    ended = begun + len(event(END))
    acts = [then(says(data[:at]), Stream.aclose) for at in range(len(data))]
    async with client("httpx2", *acts, idle_timeout=30.0) as it:
        for at in range(len(data)):
            outcome, _ = await it.ask()
            got = Outcome.ANSWER if isinstance(outcome, Reply) else outcome.outcome
            if at < len(UNBOUNDED):
                assert got is Outcome.CONNECTION, at
            elif at < begun:
                assert got is Outcome.MALFORMED, at
            elif at < ended:
                assert got is Outcome.TRUNCATED, at
            else:
                assert got is Outcome.ANSWER, at


async def test_a_broker_moves_on_when_one_says_nothing() -> None:
    silent, well = Server("openai", says(inf)), Server("anthropic")
    async with Network() as network:
        network.listen("api.test", 80, silent.serve)
        network.listen("other.test", 80, well.serve)
        with network.installed():
            one = provider("httpx2", first_token_timeout=5.0)
            other = provider("anthropic", base_url="http://other.test")
            async with Broker({"one": one, "other": other}) as broker:
                begin = anyio.current_time()
                reply = await broker.submit("Hello")
                assert anyio.current_time() - begin == pytest.approx(5.0)
                assert reply.provider == "other"
            assert network.open == 0
