"""The fake provider in virtual time: answers, limits, books and control."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from tests.testing.client import CHAT, MESSAGES, PATHS, RESPONSES, memory, question

from aitor.testing import Behaviour, FakeProvider, fingerprint
from aitor.testing.virtual import virtual_backend

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


@pytest.mark.parametrize("path", [*PATHS, "/chat/completions", "/proxy/v2/messages"])
async def test_every_dialect_answers_with_the_last_word_asked(path: str) -> None:
    async with memory(FakeProvider()) as client:
        body = question(MESSAGES if "messages" in path else path)
        answer = await client.ask(path, body)
        assert (answer.status, answer.text) == (200, "Answer to row-17")


async def test_answers_never_reach_another_request() -> None:
    provider = FakeProvider(latency="uniform(0, 2)", seed=3)

    async def ask(row: int) -> None:
        async with memory(provider) as client:
            answer = await client.ask(CHAT, question(CHAT, f"This is row-{row}"))
            assert answer.text == f"Answer to row-{row}"

    async with anyio.create_task_group() as tasks:
        for row in range(50):
            tasks.start_soon(ask, row)
    assert provider.bill().requests == 50
    assert provider.statistics().peak_in_flight == 50


async def test_the_latency_passes_before_the_answer() -> None:
    async with memory(FakeProvider(latency=2.5)) as client:
        start = anyio.current_time()
        await client.ask()
        assert anyio.current_time() - start == pytest.approx(2.5)


async def test_a_stream_keeps_its_pace_after_the_latency() -> None:
    provider = FakeProvider(latency=1, tokens_per_second=10, answer_tokens=20)
    async with memory(provider) as client:
        start = anyio.current_time()
        answer = await client.ask(CHAT, question(CHAT, stream=True))
        # Twenty tokens, and the first and the last two events.
        assert anyio.current_time() - start == pytest.approx(1 + 2.2)
        assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_the_same_seed_gives_the_same_bytes_and_times() -> None:
    async def run(seed: int) -> list[tuple[int, float]]:
        provider = FakeProvider(
            seed=seed,
            latency="lognormal(0.8, 0.5)",
            answer_tokens="exponential(50)",
            faults=["status=500 probability=0.3", "truncate probability=0.2"],
        )
        for row in range(30):
            async with memory(provider) as client:
                await client.send(CHAT, question(CHAT, f"row-{row}"))
                await client.head()
        return [(seen.output_tokens, round(seen.seconds, 9)) for seen in provider.log]

    assert await run(1) == await run(1) != await run(2)


async def test_the_limit_is_exact_over_the_sliding_window() -> None:
    provider = FakeProvider(requests_per_minute=3)
    statuses = []
    async with memory(provider) as client:
        for _ in range(4):
            statuses.append((await client.ask()).status)
            await anyio.sleep(10)
        await anyio.sleep(20)
        for _ in range(3):
            statuses.append((await client.ask()).status)
            await anyio.sleep(5)
    # Full until the first one is a minute old, at 60 s, and the second at 70 s.
    assert statuses == [200, 200, 200, 429, 200, 429, 200]
    statistics = provider.statistics()
    assert statistics.violations == 2
    assert statistics.limits["requests"].worst == 5


async def test_waiting_as_told_is_enough() -> None:
    provider = FakeProvider(requests_per_minute=2, tokens_per_minute=20)
    async with memory(provider) as client:
        for _ in range(6):
            answer = await client.ask()
            while answer.status == 429:
                await anyio.sleep(float(answer.headers["retry-after"]))
                answer = await client.ask()
            assert answer.status == 200
    assert provider.bill().requests == 6
    assert provider.statistics().violations == 2


async def test_what_is_sent_to_a_dead_provider_counts_and_what_was_wrong_does_not() -> (
    None
):
    provider = FakeProvider(
        requests_per_minute=2, faults=["status=500 first=3", "bad_request first=9"]
    )
    async with memory(provider) as client:
        for _ in range(9):
            await client.ask()
    statistics = provider.statistics()
    assert statistics.limits["requests"].remaining == 0
    assert (statistics.limits["requests"].worst, statistics.violations) == (3, 1)


async def test_openai_tells_its_limits_in_its_way() -> None:
    provider = FakeProvider(requests_per_minute=2, tokens_per_minute=1000)
    async with memory(provider) as client:
        first = await client.ask()
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-reset-requests"] == "1m0s"
        assert first.headers["x-ratelimit-remaining-tokens"] == "991"
        await anyio.sleep(40.25)
        await client.ask()
        refused = await client.ask()
    assert refused.status == 429
    assert refused.headers["retry-after"] == "20"
    assert refused.headers["retry-after-ms"] == "19750"
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert re.search(r"Limit 2, Used 2, Requested 1\..* in 19.75s", error["message"])


async def test_anthropic_tells_its_limits_in_its_way() -> None:
    provider = FakeProvider(input_tokens_per_minute=9, output_tokens_per_minute=4000)
    async with memory(provider) as client:
        first = await client.ask(MESSAGES)
        assert first.headers["anthropic-ratelimit-input-tokens-limit"] == "9"
        assert first.headers["anthropic-ratelimit-input-tokens-remaining"] == "4"
        text = first.headers["anthropic-ratelimit-output-tokens-reset"]
        assert text.endswith("Z")
        reset = datetime.fromisoformat(text) - datetime.now(UTC)
        assert 50 < reset.total_seconds() <= 62
        refused = await client.ask(MESSAGES)
    assert refused.status == 429
    assert refused.headers["retry-after"] == "60"
    assert refused.json()["error"] == {
        "type": "rate_limit_error",
        "message": "This request would exceed the rate limit for your organization of "
        "9 input tokens per minute.",
    }


async def test_a_request_beyond_the_whole_limit_is_told_so_and_not_to_wait() -> None:
    async with memory(FakeProvider(tokens_per_minute=5)) as client:
        refused = await client.ask()
    assert refused.status == 429
    assert "Request too large" in refused.json()["error"]["message"]
    assert "retry-after" not in refused.headers


async def test_limits_may_be_held_without_telling() -> None:
    provider = FakeProvider(requests_per_minute=1, limit_headers=False)
    async with memory(provider) as client:
        answers = [await client.ask(), await client.ask()]
    assert [answer.status for answer in answers] == [200, 429]
    told = {name for answer in answers for name in answer.headers}
    assert told == {"content-type", "content-length", "x-request-id"}


@pytest.mark.parametrize(
    ("path", "error", "status"),
    [
        (CHAT, "overloaded", 503),
        (MESSAGES, "overloaded", 529),
        (CHAT, "rate_limit", 429),
    ],
)
async def test_requests_beyond_the_concurrency_are_refused_at_once(
    path: str, error: str, status: int
) -> None:
    provider = FakeProvider(latency=5, concurrency=2, concurrency_error=error)
    statuses: list[int] = []

    async def ask() -> None:
        async with memory(provider) as client:
            statuses.append((await client.ask(path)).status)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    assert statuses == [status, 200, 200]
    assert provider.statistics().violations == 1


async def test_the_log_says_what_became_of_each_request() -> None:
    provider = FakeProvider(latency=2, faults=["status=500 at=2 seconds=1"])
    async with memory(provider) as client:
        await client.ask(CHAT, question(CHAT, "one"))
        await client.ask(MESSAGES, question(MESSAGES, "two", stream=True))
        await client.ask(CHAT, b"{}")
    first, second, third = provider.log
    assert (first.number, first.path, first.model) == (1, CHAT, "model-1")
    assert (first.status, first.outcome, first.fault) == (200, "answered", "")
    assert [first.time, first.seconds] == pytest.approx([0, 2])
    assert (first.input_tokens, first.output_tokens) == (1, 4)
    assert (first.fingerprint, first.stream) == (fingerprint("one"), False)
    assert (second.status, second.outcome, second.fault) == (500, "faulty", "status")
    assert [second.time, second.seconds] == pytest.approx([2, 1])
    assert (second.fingerprint, second.stream) == (fingerprint("two"), True)
    assert (third.status, third.outcome) == (400, "rejected")
    assert "one" not in repr(provider.log)


async def test_the_bill_shows_what_was_answered_twice() -> None:
    provider = FakeProvider(faults=["no_finish at=4"])
    async with memory(provider) as client:
        for text in ("one", "two", "one", "three"):
            await client.ask(CHAT, question(CHAT, text))
    bill = provider.bill()
    assert (bill.requests, bill.input_tokens, bill.output_tokens) == (3, 3, 12)
    assert bill.answers == {fingerprint("one"): 2, fingerprint("two"): 1}
    assert bill.unfinished == 1


async def test_the_log_is_bounded_and_the_counts_are_not() -> None:
    provider = FakeProvider(log_limit=2)
    async with memory(provider) as client:
        for _ in range(5):
            await client.ask()
    assert [seen.number for seen in provider.log] == [4, 5]
    assert provider.statistics().outcomes == {"answered": 5}


async def test_a_client_that_hangs_up_is_seen_while_it_waits() -> None:
    provider = FakeProvider(latency=60)
    async with memory(provider) as client:
        await client.send(CHAT, question(CHAT))
        await anyio.sleep(0.5)
        assert provider.statistics().in_flight == 1
    (seen,) = provider.log
    assert seen.client_gone
    assert [seen.status, seen.seconds] == pytest.approx([0, 0.5])
    assert (provider.bill().requests, provider.bill().unfinished) == (0, 1)
    assert provider.statistics().in_flight == 0


async def test_a_client_that_hangs_up_is_seen_within_a_stream() -> None:
    provider = FakeProvider(tokens_per_second=1, answer_tokens=100)
    async with memory(provider) as client:
        await client.send(CHAT, question(CHAT, stream=True))
        await client.head()
        await anyio.sleep(3.5)
    (seen,) = provider.log
    assert (seen.status, seen.outcome) == (200, "client_gone")
    assert seen.seconds == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("path", "header", "message"),
    [
        (CHAT, "authorization", "Incorrect API key"),
        (MESSAGES, "x_api_key", "invalid x-api-key"),
        (CHAT, "api_key", "Incorrect API key"),
    ],
)
async def test_the_wrong_key_is_refused_and_not_repeated(
    path: str, header: str, message: str
) -> None:
    provider = FakeProvider(api_key="sk-right")
    assert "sk-right" not in repr(provider.behaviour)
    async with memory(provider) as client:
        keys = {"authorization": "", header: "sk-wrong"}
        wrong = await client.ask(path, question(path), **keys)
        assert wrong.status == 401
        assert message in wrong.body.decode()
        assert "sk-wrong" not in wrong.body.decode()
        right = await client.ask(path, question(path), **{**keys, header: "sk-right"})
        assert right.status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_no_key_at_all_is_refused_where_there_is_one(path: str) -> None:
    for key, status in ((None, 200), ("sk-right", 401)):
        async with memory(FakeProvider(api_key=key)) as client:
            answer = await client.ask(path, question(path), authorization="")
            assert answer.status == status


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"{not json",
        b"[]",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"model": "m", "messages": 3, "input": 3, "max_tokens": 1}',
        b'{"model": "m", "messages": [], "input": [], "max_tokens": 1}',
        b'{"model": 3, "messages": ["x"], "input": ["x"], "max_tokens": 1}',
        b'{"model": "m", "messages": "x", "input": 0, "max_tokens": 0}',
        b'{"model": "m", "messages": [0], "input": [0], "max_tokens": 1, "tools": 3}',
    ],
)
async def test_bodies_of_the_wrong_shape_are_refused_as_bad(
    path: str, body: bytes
) -> None:
    async with memory(FakeProvider()) as client:
        answer = await client.ask(path, body)
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert (await client.ask(path)).status == 200


async def test_anthropic_asks_for_max_tokens() -> None:
    async with memory(FakeProvider()) as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        answer = await client.ask(MESSAGES, json.dumps(body).encode())
        assert answer.status == 400
        error = answer.json()["error"]
        assert error["message"] == "max_tokens: Field required"


@pytest.mark.parametrize(
    ("path", "parameter", "code"),
    [
        (CHAT, {"max_tokens": 5}, "unsupported_parameter"),
        (CHAT, {"temperature": 0.5}, "unsupported_value"),
        (CHAT, {"temperature": 1, "max_completion_tokens": 5}, None),
        (RESPONSES, {"top_p": 0.5}, "unsupported_value"),
        (MESSAGES, {"temperature": 1}, "temperature: Extra inputs are not permitted"),
        (MESSAGES, {}, None),
    ],
)
async def test_reasoning_models_refuse_what_they_do_not_take(
    path: str, parameter: dict[str, Any], code: str | None
) -> None:
    async with memory(FakeProvider(reasoning_models=["model-"])) as client:
        answer = await client.ask(path, question(path, **parameter))
        assert answer.status == (400 if code else 200)
        if code:
            error = answer.json()["error"]
            assert code in (error.get("code"), error["message"])
            assert path == MESSAGES or error["param"] == next(iter(parameter))
        other = question(path, **{**parameter, "model": "gpt-4o"})
        assert (await client.ask(path, other)).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_only_models_that_exist_answer(path: str) -> None:
    async with memory(FakeProvider(models=["model-2"])) as client:
        answer = await client.ask(path)
        assert answer.status == 404
        assert "model-1" in answer.json()["error"]["message"]
        assert (await client.ask(path, question(path, model="model-2"))).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_prompts_beyond_the_context_window_are_refused(path: str) -> None:
    async with memory(FakeProvider(context_window=10)) as client:
        assert (await client.ask(path, question(path, "x" * 40))).status == 200
        answer = await client.ask(path, question(path, "x" * 41))
        assert answer.status == 400
        assert "11 tokens" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", CHAT), ("POST", "/v1/embeddings"), ("POST", "/"), ("POST", MESSAGES)],
)
async def test_unknown_addresses_are_not_found(method: str, path: str) -> None:
    async with memory(FakeProvider(dialects=["openai"])) as client:
        await client.send(path, question(path), method)
        assert (await client.answer()).status == 404


async def test_a_malformed_request_is_answered_and_the_connection_closed() -> None:
    async with memory(FakeProvider()) as client:
        await client.stream.send(b"hello\r\n\r\n")
        assert (await client.everything()).startswith(b"HTTP/1.1 400 ")


async def test_models_and_token_counts_are_told_and_not_billed() -> None:
    provider = FakeProvider(models=["model-1", "model-2"])
    async with memory(provider) as client:
        listed = (await client.get("/v1/models")).json()
        assert [model["id"] for model in listed["data"]] == ["model-1", "model-2"]
        version = {"anthropic_version": "2023-06-01"}
        listed = (await client.get("/v1/models", **version)).json()
        assert listed["last_id"] == "model-2"
        count = await client.ask(
            f"{MESSAGES}/count_tokens", question(MESSAGES, "x" * 9)
        )
        assert count.json() == {"input_tokens": 3}
    assert provider.bill().requests == 0
    assert provider.statistics().outcomes == {"answered": 3}


async def test_faults_and_books_are_under_control_over_http() -> None:
    provider = FakeProvider(requests_per_minute=5, faults=["status=503 first=1"])
    async with memory(provider) as client:
        assert (await client.ask()).status == 503
        faults = json.dumps(["status=500 at=3", {"kind": "overloaded", "at": [4]}])
        changed = await client.ask("/_fake/faults", faults.encode())
        assert changed.json() == (await client.get("/_fake/faults")).json()
        assert changed.json()[1] == {"kind": "overloaded", "at": [4]}
        assert [(await client.ask()).status for _ in range(3)] == [200, 500, 503]
        log = (await client.get("/_fake/log")).json()
        assert [seen["status"] for seen in log] == [503, 200, 500, 503]
        bill = (await client.get("/_fake/bill")).json()
        assert bill["answers"] == {fingerprint("Say hello to row-17"): 1}
        statistics = (await client.get("/_fake/statistics")).json()
        assert statistics["faults"] == {"status": 2, "overloaded": 1}
        assert statistics["limits"]["requests"]["remaining"] == 1


async def test_a_reset_starts_everything_afresh() -> None:
    provider = FakeProvider(requests_per_minute=1, faults=["dead after=5"])
    async with memory(provider) as client:
        assert (await client.ask()).status == 200
        provider.faults = []
        await anyio.sleep(10)
        assert (await client.ask()).status == 429
        assert (await client.ask("/_fake/reset", b"[]")).status == 200
        assert (await client.ask()).status == 200
        assert provider.bill().requests == 1
        assert provider.log[0].time == 0
        await anyio.sleep(5)
        await client.send(CHAT, question(CHAT))
        assert await client.everything() == b""


@pytest.mark.parametrize("body", [b"{not json", b'["explode"]', b"3", b"[3]"])
async def test_bad_faults_are_refused_and_the_old_ones_stay(body: bytes) -> None:
    async with memory(FakeProvider(faults=["status=500"])) as client:
        assert (await client.ask("/_fake/faults", body)).status == 400
        assert (await client.ask()).status == 500
        assert (await client.get("/_fake/nothing")).status == 404


@pytest.mark.parametrize(
    "settings",
    [
        {"latency": "soon"},
        {"answer_tokens": "many"},
        {"requests_per_minute": 0},
        {"window": 0},
        {"faults": ["explode"]},
        {"dialects": ["google"]},
        {"concurrency_error": "full"},
        {"tokens_per_second": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|above zero|at least"):
        FakeProvider(**settings)


def test_settings_may_be_given_as_one_value_and_changed() -> None:
    provider = FakeProvider(Behaviour(latency=1, seed=3), latency=2)
    assert (provider.behaviour.latency, provider.behaviour.seed) == (2, 3)
