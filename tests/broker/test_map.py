"""A stream of prompts in, a stream of results out, in bounded memory."""

from collections.abc import AsyncIterator, Iterator

import anyio
import anyio.lowlevel
import pytest

from aitor.broker.broker import Broker
from aitor.broker.host import Host
from aitor.broker.mapping import Map, MapResult
from aitor.errors import BadRequestError, BrokerClosedError, ServerError
from aitor.messages import Answer, Prompt, Reply, Request, Usage
from aitor.testing.scripted import ScriptedProvider, Slow

pytestmark = pytest.mark.anyio


def echo(seconds: float = 0.0) -> ScriptedProvider:
    async def answer(request: Request) -> Answer:
        text = str(request.messages[0]["content"])
        await anyio.sleep(seconds * (len(text) % 3))
        return Answer(text, "echo", "stop", Usage(1, 1))

    return ScriptedProvider(lambda number: answer, workers=8)


async def test_every_prompt_has_exactly_one_result() -> None:
    prompts = [f"{number}" * (number % 5 + 1) for number in range(300)]
    async with Broker([echo(0.1)]) as broker:
        results = [result async for result in broker.map(prompts)]
    assert sorted(result.index for result in results) == list(range(300))
    for result in results:
        assert result.reply is not None
        assert result.reply.text == prompts[result.index] == result.prompt


async def test_ordered_results_come_in_the_source_s_order() -> None:
    prompts = ["x" * number for number in range(1, 60)]
    async with Broker([echo(1.0)]) as broker:
        results = [result async for result in broker.map(prompts, ordered=True)]
    assert [result.index for result in results] == list(range(59))


async def test_one_bad_prompt_is_a_result_and_not_the_end() -> None:
    prompts = ["good", 17, [], "also good"]
    async with Broker([echo()]) as broker:
        results = {
            result.index: result
            async for result in broker.map(prompts)  # type: ignore[arg-type]
        }
    assert {index for index, result in results.items() if result.reply} == {0, 3}
    assert isinstance(results[1].error, BadRequestError)
    assert isinstance(results[2].error, BadRequestError)


async def test_the_source_is_read_only_as_there_is_room() -> None:
    read = 0

    def source() -> Iterator[str]:
        nonlocal read
        for number in range(100):
            read += 1
            yield f"{number}"

    async with Broker([echo()]) as broker:
        taken = 0
        async for _ in broker.map(source(), max_in_flight=5):
            taken += 1
            await anyio.sleep(1.0)
            assert read <= taken + 5
    assert taken == 100


async def test_no_more_are_in_flight_than_asked_for() -> None:
    provider = ScriptedProvider(Slow(1.0, "ok"))
    async with Broker([provider]) as broker:
        begin = anyio.current_time()
        results = [r async for r in broker.map(["x"] * 40, max_in_flight=4)]
    assert len(results) == 40
    assert provider.most_in_flight == 4
    assert anyio.current_time() - begin == pytest.approx(10.0)


async def test_an_asynchronous_source_may_be_slow() -> None:
    async def source() -> AsyncIterator[str]:
        for number in range(5):
            await anyio.sleep(1.0)
            yield f"{number}"

    async with Broker([echo()]) as broker:
        arrivals = []
        begin = anyio.current_time()
        async for _ in broker.map(source()):
            arrivals.append(anyio.current_time() - begin)
    # Each result is handed out when it is there, not when the source ends.
    assert arrivals == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0])


async def test_all_who_wait_for_the_source_go_on_together() -> None:
    """
    One that was slow for a moment is read at once by as many as there is room for.
    """
    opened, read = anyio.Event(), 0

    async def source() -> AsyncIterator[str]:
        nonlocal read
        for number in range(40):
            if number == 20:
                await opened.wait()
            read += 1
            yield f"{number}"

    async with Broker([echo()]) as broker, anyio.create_task_group() as tasks:
        results: list[MapResult] = []

        async def consume() -> None:
            async for result in broker.map(source(), max_in_flight=10):
                results.append(result)

        tasks.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        assert (read, len(results)) == (20, 20)
        opened.set()
        for _ in range(2):
            await anyio.lowlevel.checkpoint()
        assert read >= 30
    assert sorted(result.index for result in results) == list(range(40))


async def test_a_source_that_raises_ends_the_stream_after_what_was_in_flight() -> None:
    def source() -> Iterator[str]:
        yield "one"
        yield "two"
        raise LookupError("the file ended badly")

    async with Broker([echo(1.0)]) as broker:
        results: list[MapResult] = []
        with pytest.raises(LookupError, match="ended badly"):
            async for result in broker.map(source()):
                results.append(result)
    assert len(results) == 2


async def test_a_bug_behind_a_prompt_ends_its_stream_and_nobody_else_s() -> None:
    """What is no `LLMError` is raised to whoever reads, after what had come before."""
    running: set[Prompt] = set()

    async def submit(prompt: Prompt) -> Reply:
        running.add(prompt)
        try:
            await anyio.sleep(float(str(prompt)))
        finally:
            running.remove(prompt)
        if prompt == "2.0":
            raise LookupError("a bug")
        return Reply(str(prompt), "p", "m", "stop", Usage(1, 1), ())

    host = Host()
    prompts = ["1.0", "1.5", "2.0", "9.0"]
    stream = Map(prompts, submit, lambda: host, 4, ordered=False)
    seen: list[Prompt] = []
    with pytest.raises(LookupError, match="a bug"):
        async for result in stream:
            seen.append(result.prompt)
            await anyio.sleep(3.0)  # so that the second is there before the bug
    assert seen == ["1.0", "1.5"]
    assert not running
    assert [result async for result in stream] == []
    assert await host.join(1.0)


@pytest.mark.parametrize("ordered", [False, True])
async def test_what_submit_refuses_is_raised_though_the_source_has_no_end(
    ordered: bool,
) -> None:
    give, source = anyio.create_memory_object_stream[Prompt](2)
    async with Broker([echo()]) as broker, give, source:
        give.send_nowait("x")
        give.send_nowait("x")
        with anyio.fail_after(100.0), pytest.raises(ValueError, match="'timeout'"):
            await anext(broker.map(source, ordered=ordered, timeout=float("nan")))
        assert (await broker.submit("x")).text == "x"


async def test_it_waits_while_all_circuits_are_open() -> None:
    def outage(number: int) -> ServerError | str:
        return ServerError("no") if number < 5 else "ok"

    provider = ScriptedProvider(outage, workers=1, max_retries=10)
    async with Broker([provider]) as broker:
        results = [result async for result in broker.map(["x"] * 20)]
    assert all(result.reply for result in results)
    assert len(provider.sent) == 25


async def test_leaving_early_cancels_what_runs() -> None:
    provider = ScriptedProvider(lambda number: Slow(float(number), "ok"))
    async with Broker([provider]) as broker:
        async with broker.map(["x"] * 50, max_in_flight=10) as results:
            async for _ in results:
                break
        assert provider.in_flight == 0
        assert broker.statistics().open == 0
        sent = len(provider.sent)
        await anyio.sleep(100.0)
        assert len(provider.sent) == sent


async def test_breaking_out_ends_it_too() -> None:
    provider = ScriptedProvider(lambda number: Slow(float(number), "ok"))
    async with Broker([provider]) as broker:
        async for _ in broker.map(["x"] * 50, max_in_flight=10):
            break
        await anyio.sleep(1.0)
        assert provider.in_flight == 0


async def test_it_needs_an_open_broker() -> None:
    broker = Broker([echo()])
    with pytest.raises(BrokerClosedError, match="async with"):
        broker.map(["x"])


async def test_an_empty_source_ends_at_once() -> None:
    async with Broker([echo()]) as broker:
        assert [result async for result in broker.map([])] == []


async def test_two_streams_at_once_keep_apart() -> None:
    async with Broker([echo(0.5)]) as broker:
        seen: dict[str, list[str]] = {"a": [], "b": []}

        async def run(name: str) -> None:
            async for result in broker.map([f"{name}{n}" for n in range(30)]):
                assert result.reply is not None
                seen[name].append(result.reply.text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, "a")
            tasks.start_soon(run, "b")
    assert sorted(seen["a"]) == sorted(f"a{n}" for n in range(30))
    assert sorted(seen["b"]) == sorted(f"b{n}" for n in range(30))


@pytest.mark.parametrize("open_seconds", [0.5, 1.5, 3.0])
async def test_a_dead_provider_keeps_nothing_from_one_that_is_well(
    open_seconds: float,
) -> None:
    """Nobody waits for a circuit while somebody else could have taken the request."""
    dead = ScriptedProvider(
        ServerError("down"), workers=32, breaker={"open_seconds": open_seconds}
    )
    well = ScriptedProvider(Slow(0.5, "ok"), workers=32)
    async with Broker({"dead": dead, "well": well}) as broker:
        begin = anyio.current_time()
        results = [result async for result in broker.map(["x"] * 3_200)]
    assert all(result.reply is not None for result in results)
    assert anyio.current_time() - begin <= 3_200 / 64 * 1.03


async def test_a_provider_that_comes_back_slowly_keeps_nothing_from_the_other() -> None:
    """While it is let only a few calls at a time, the rest go where there is room."""

    async def answer(_: Request) -> Answer:
        if anyio.current_time() < begin + 10.0:
            raise ServerError("down")
        await anyio.sleep(2.0)
        return Answer("ok", "scripted", "stop", Usage(1, 1))

    back = ScriptedProvider(lambda _: answer, workers=32, breaker={"open_seconds": 1.0})
    well = ScriptedProvider(Slow(2.0, "ok"), workers=64)
    async with Broker({"back": back, "well": well}) as broker:
        begin = anyio.current_time()
        prompts = ["x"] * 2_560
        results = [one async for one in broker.map(prompts, max_in_flight=160)]
    assert all(result.reply is not None for result in results)
    in_use = sum(sent.ended - sent.started for sent in well.sent if sent.ended)
    seconds = anyio.current_time() - begin
    assert in_use / (64 * seconds) >= 0.95
