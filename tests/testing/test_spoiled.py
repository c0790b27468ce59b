"""Every fault as it is seen on the wire, in virtual time."""

import json
import math
from typing import Any

import anyio
import pytest
from tests.testing.client import CHAT, MESSAGES, PATHS, RESPONSES, memory, question

from aitor.testing import KINDS, FakeProvider
from aitor.testing.errors import ERROR_NAMES
from aitor.testing.virtual import virtual_backend

pytestmark = pytest.mark.anyio

TERMINAL = {
    CHAT: b"data: [DONE]\n\n",
    RESPONSES: b"event: response.completed\n",
    MESSAGES: b"event: message_stop\n",
}
CONTENT = {CHAT: "choices", RESPONSES: "output", MESSAGES: "content"}


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


def events(body: bytes) -> list[bytes]:
    """Return the data of every event in a stream."""
    frames = body.decode().split("\n\n")[:-1]
    lines = [line for frame in frames for line in frame.split("\n")]
    return [line[6:].encode() for line in lines if line.startswith("data: ")]


async def body_of(fault: str, path: str, **more: Any) -> bytes:
    """Return the body of an answer with status 200 that *fault* strikes."""
    async with memory(FakeProvider(faults=[fault])) as client:
        answer = await client.ask(path, question(path, **more))
        assert answer.status == 200
        return answer.body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", sorted(ERROR_NAMES))
async def test_errors_have_the_shape_of_the_vendor(path: str, name: str) -> None:
    provider = FakeProvider(faults=[f"{name} retry_after=7 header:x-should-retry=true"])
    async with memory(provider) as client:
        answer = await client.ask(path)
    assert 400 <= answer.status < 600
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-should-retry"] == "true"
    assert b"{model}" not in answer.body
    assert b"{param}" not in answer.body
    if answer.headers["content-type"] == "application/json":
        error = answer.json()["error"]
        assert error["type"]
        assert error["message"]
        assert ("code" in error) == (path != MESSAGES)
        assert answer.json().get("type") == ("error" if path == MESSAGES else None)
    assert provider.bill().requests == 0


@pytest.mark.parametrize(
    ("path", "fault", "status", "expected"),
    [
        (CHAT, "insufficient_quota", 429, b'"code": "insufficient_quota"'),
        (CHAT, "slow_down", 429, b'"code": "slow_down"'),
        (CHAT, "context_length", 400, b'"code": "context_length_exceeded"'),
        (CHAT, "unsupported_parameter param=seed", 400, b'"param": "seed"'),
        (CHAT, "model_not_found", 404, b"The model `model-1` does not exist"),
        (CHAT, "overloaded", 503, b'"code": "server_is_overloaded"'),
        (CHAT, "status=502", 502, b"<h1>502 Bad Gateway</h1>"),
        (CHAT, "status=520", 520, b"<center>cloudflare</center>"),
        (CHAT, "status=402", 402, b'"type": "billing_error"'),
        (CHAT, "status=418", 418, b"418"),
        (CHAT, "overloaded status=500", 500, b'"code": "server_is_overloaded"'),
        (MESSAGES, "credit_balance", 400, b"Your credit balance is too low"),
        (MESSAGES, "overloaded", 529, b'"type": "overloaded_error"'),
        (MESSAGES, "status=503", 503, b"upstream connect error"),
        (MESSAGES, "insufficient_quota", 429, b"enforced_spend_limit_reached"),
        (MESSAGES, "slow_down", 429, b'"error_code": "ramp_limit_exceeded"'),
    ],
)
async def test_errors_have_the_words_of_the_vendor(
    path: str, fault: str, status: int, expected: bytes
) -> None:
    async with memory(FakeProvider(faults=[fault])) as client:
        answer = await client.ask(path)
        assert (answer.status, expected in answer.body) == (status, True)


@pytest.mark.parametrize("wait", ["-5", "nan", "inf", "soon", "1e400", "12 days"])
async def test_mad_waits_are_sent_as_they_are(wait: str) -> None:
    faults = [{"kind": "rate_limit", "retry_after": wait}]
    async with memory(FakeProvider(faults=faults)) as client:
        assert (await client.ask()).headers["retry-after"] == wait


async def test_headers_may_be_added_to_good_answers() -> None:
    faults = ["slow header:x-ratelimit-limit-requests=-1"]
    async with memory(FakeProvider(requests_per_minute=5, faults=faults)) as client:
        answer = await client.ask()
        assert answer.status == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "-1"
        assert answer.headers["x-ratelimit-remaining-requests"] == "4"


async def test_an_error_may_take_its_time() -> None:
    async with memory(FakeProvider(faults=["status=504 seconds=30"])) as client:
        start = anyio.current_time()
        assert (await client.ask()).status == 504
        assert anyio.current_time() - start == pytest.approx(30)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_html_is_a_page_with_status_200(path: str, stream: bool) -> None:
    assert b"<html>" in await body_of("html", path, stream=stream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_empty_is_no_byte_at_all(path: str, stream: bool) -> None:
    assert await body_of("empty", path, stream=stream) == b""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["not_json", "cut_json"])
async def test_bad_json_is_sent_with_an_honest_length(path: str, kind: str) -> None:
    body = await body_of(kind, path)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(body)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["not_json", "cut_json"])
async def test_bad_json_stands_between_the_events_of_a_stream(
    path: str, kind: str
) -> None:
    body = await body_of(kind, path, stream=True)
    assert TERMINAL[path] in body
    bad = 0
    for data in events(body):
        try:
            assert data == b"[DONE]" or json.loads(data)
        except ValueError:
            bad += 1
    assert bad == 1


@pytest.mark.parametrize("path", PATHS)
async def test_no_finish_leaves_out_the_mark_and_nothing_else(path: str) -> None:
    body = json.loads(await body_of("no_finish", path))
    good = {CHAT: "finish_reason", RESPONSES: "status", MESSAGES: "stop_reason"}[path]
    holder = body["choices"][0] if path == CHAT else body
    assert holder[good] in (None, "in_progress")
    assert "row-17" in json.dumps(body)


@pytest.mark.parametrize("path", PATHS)
async def test_no_finish_ends_a_stream_without_its_mark(path: str) -> None:
    body = await body_of("no_finish", path, stream=True)
    assert b"w-17" in body
    assert TERMINAL[path] not in body
    assert not any(b'finish_reason": "stop"' in data for data in events(body))


@pytest.mark.parametrize("path", PATHS)
async def test_no_choices_leaves_out_what_was_said(path: str) -> None:
    assert json.loads(await body_of("no_choices", path))[CONTENT[path]] == []
    assert await body_of("no_choices", path, stream=True) == b""


@pytest.mark.parametrize("path", PATHS)
async def test_an_error_may_come_with_status_200(path: str) -> None:
    error = json.loads(await body_of("error_in_200 error=rate_limit", path))["error"]
    assert error["code"] == 429
    assert error["message"]


@pytest.mark.parametrize(
    ("path", "event", "word"),
    [
        (CHAT, b'data: {"error": {', b"server_is_overloaded"),
        (RESPONSES, b"event: response.failed\n", b"server_is_overloaded"),
        (MESSAGES, b"event: error\n", b"overloaded_error"),
    ],
)
async def test_an_error_may_end_a_stream_halfway(
    path: str, event: bytes, word: bytes
) -> None:
    body = await body_of("error_in_200", path, stream=True)
    assert b"Answ" in body
    last = body.split(b"\n\n")[-2]
    assert last.startswith(event)
    assert word in last
    assert TERMINAL[path] not in body


@pytest.mark.parametrize("path", PATHS)
async def test_huge_answers_have_the_size_asked_for_and_are_whole(path: str) -> None:
    provider = FakeProvider(faults=["huge size=100000"])
    async with memory(provider) as client:
        answer = await client.ask(path)
    assert answer.text == "x" * 100_000
    assert provider.log[0].outcome == "answered"
    assert provider.log[0].fault == "huge"


@pytest.mark.parametrize("path", PATHS)
async def test_slow_answers_come_later_and_whole(path: str) -> None:
    provider = FakeProvider(latency=1, faults=["slow seconds=10"])
    async with memory(provider) as client:
        start = anyio.current_time()
        assert (await client.ask(path)).text == "Answer to row-17"
        assert anyio.current_time() - start == pytest.approx(11)
    assert provider.bill().requests == 1


@pytest.mark.parametrize("path", PATHS)
async def test_trickling_answers_come_byte_by_byte(path: str) -> None:
    provider = FakeProvider(faults=["trickle seconds=0.5"])
    async with memory(provider) as client:
        await client.send(path, question(path))
        start = anyio.current_time()
        for _ in range(20):
            assert len(await client.stream.receive()) == 1
        assert anyio.current_time() - start == pytest.approx(9.5)


@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_answers_never_come(stream: bool) -> None:
    provider = FakeProvider(faults=["hang"])
    async with memory(provider) as client:
        await client.send(CHAT, question(CHAT, stream=stream))
        with anyio.move_on_after(1_000_000) as scope:
            await client.stream.receive()
        assert scope.cancelled_caught
    assert (provider.log[0].fault, provider.log[0].status) == ("hang", 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_stalling_answers_begin_and_fall_silent(path: str, stream: bool) -> None:
    async with memory(FakeProvider(faults=["stall"])) as client:
        await client.send(path, question(path, stream=stream))
        with anyio.move_on_after(1_000_000):
            await client.everything()
        assert client.buffer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"model-1" in client.buffer
        assert TERMINAL[path] not in client.buffer
        head, _, body = client.buffer.partition(b"\r\n\r\n")
        assert stream or 0 < len(body) < int(head.rsplit(b"content-length: ")[1][:3])


@pytest.mark.parametrize(
    ("path", "stream", "filler"),
    [
        (CHAT, False, b"\n"),
        (CHAT, True, b": ping\n\n"),
        (MESSAGES, True, b'event: ping\ndata: {"type": "ping"}\n\n'),
    ],
)
async def test_white_space_or_pings_come_for_ever(
    path: str, stream: bool, filler: bytes
) -> None:
    async with memory(FakeProvider(faults=["pings seconds=15"])) as client:
        await client.send(path, question(path, stream=stream))
        status, _ = await client.head()
        with anyio.move_on_after(601):
            await client.everything()
        assert status == 200
        assert client.buffer == b"%x\r\n%b\r\n" % (len(filler), filler) * 41


async def test_a_fault_strikes_within_its_time_only() -> None:
    provider = FakeProvider(faults=["status=500 after=10 until=20"])
    statuses = []
    async with memory(provider) as client:
        for _ in range(5):
            statuses.append((await client.ask()).status)
            await anyio.sleep(5)
    assert statuses == [200, 200, 500, 500, 200]


async def test_faults_may_be_changed_while_serving() -> None:
    provider = FakeProvider()
    async with memory(provider) as client:
        assert (await client.ask()).status == 200
        provider.faults = ["overloaded"]
        assert (await client.ask()).status == 503
        provider.faults = []
        assert (await client.ask()).status == 200


@pytest.mark.parametrize("kind", sorted(KINDS - ERROR_NAMES - {"status"}))
@pytest.mark.parametrize("stream", [False, True])
async def test_every_fault_is_in_the_books(kind: str, stream: bool) -> None:
    provider = FakeProvider(faults=[{"kind": kind, "first": 1, "size": 1000}])
    async with memory(provider) as client:
        await client.send(CHAT, question(CHAT, stream=stream))
        with anyio.move_on_after(1000):
            await client.everything()
    assert provider.log[0].fault == kind
    assert provider.statistics().faults == {kind: 1}
    harmless = kind in {"slow", "trickle", "huge", "stale", "stale_reset"}
    assert provider.bill().requests == harmless
    assert math.isfinite(provider.log[0].seconds)
    assert provider.statistics().in_flight == 0
