"""The provider that does not ask twice, ours and the pasted one: S87 to S91."""

import threading
from typing import Any

import anyio
import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, computed_field
from tests.llm.pasted import pasted

from aitor.errors import MalformedAnswerError, ServerError
from aitor.llm import CachedLLMProvider, LLMManager, LLMProvider, Response
from aitor.llm.answers import settled
from aitor.messages import Answer, Usage
from aitor.testing import FakeProvider

pytestmark = pytest.mark.anyio

ASKED = [{"role": "user", "content": "Hi"}]


class Counting(LLMProvider):
    """Answers with a number, or an error."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.asked = 0

    async def generate_response(self, messages: Any, **kwargs: Any) -> str:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        outcome = self.outcomes.pop(0) if self.outcomes else f"answer {self.asked}"
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)


async def test_s87_an_answer_is_a_text_and_is_asked_once() -> None:
    base = Counting()
    cached = CachedLLMProvider(base, cache_size=256)
    for _ in range(3):
        answer = await cached.generate_response(ASKED)
        assert answer == "answer 1"
        assert isinstance(answer, Response)
    again = await cached.generate_response(ASKED)
    assert isinstance(again, Response)
    assert again.reply.cached
    assert (cached.statistics().hits, base.asked) == (3, 1)


class Telling(LLMProvider):
    """Returns what it was made with."""

    def __init__(self, said: Any) -> None:
        self.said = said

    async def generate_response(self, messages: Any, **kwargs: Any) -> Any:
        return self.said


async def test_s87_an_answer_with_its_usage_is_a_text_as_well() -> None:
    base = Telling(Answer("Paris", "m", "length", Usage(3, 4)))
    answer = await CachedLLMProvider(base).generate_response(ASKED)
    assert answer == "Paris"
    reply = answer.reply
    assert (reply.model, reply.finish_reason, reply.usage) == (
        "m",
        "length",
        Usage(3, 4),
    )
    data = Telling(Answer('{"name": "Paris"}', "m", "stop", Usage(3, 4)))
    for provider in (data, CachedLLMProvider(data)):
        city = await provider.generate_structured_response(ASKED, City)
        assert city == City(name="Paris")


async def test_s89_what_is_no_text_is_an_error_and_not_kept() -> None:
    cached = CachedLLMProvider(Telling(None))
    with pytest.raises(MalformedAnswerError, match="returned NoneType, not a text"):
        await cached.generate_response(ASKED)
    with pytest.raises(MalformedAnswerError, match="Telling"):
        await cached.generate_structured_response(ASKED, City)
    assert cached.statistics().entries == 0


async def test_s88_what_differs_is_asked() -> None:
    base = Counting()
    cached = CachedLLMProvider(base)
    await cached.generate_response(ASKED, temperature=0.5)
    await cached.generate_response(ASKED, temperature=0.7)
    await cached.generate_response("Hi")
    assert base.asked == 2 + 1


async def test_s89_tools_are_part_of_the_question_and_errors_are_not_kept() -> None:
    base = Counting(ServerError("no"))
    cached = CachedLLMProvider(base)
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(ServerError):
        await cached.generate_response(ASKED, tools=tools)
    for _ in range(2):
        await cached.generate_response(ASKED, tools=tools)
    assert base.asked == 2


async def test_s89_what_cannot_be_a_key_is_asked_each_time() -> None:
    base = Counting()
    cached = CachedLLMProvider(base)
    for _ in range(2):
        await cached.generate_response(ASKED, strange=object())
    assert base.asked == 2


async def test_s89_of_equal_questions_at_one_time_one_is_asked() -> None:
    base = Counting()
    cached = CachedLLMProvider(base)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(cached.generate_response, ASKED)
    assert base.asked == 1


async def test_s89_the_oldest_goes_when_there_are_too_many() -> None:
    base = Counting()
    cached = CachedLLMProvider(base, cache_size=1)
    for text in ("a", "b", "a"):
        await cached.generate_response(text)
    assert base.asked == 3


class City(BaseModel):
    name: str


async def test_s90_structured_answers_are_kept_too() -> None:
    base = Counting('{"name": "Paris"}', '{"name": "Rome"}', '{"name": "Bonn"}')
    cached = CachedLLMProvider(base)
    for _ in range(2):
        city = await cached.generate_structured_response(ASKED, City)
        assert city == City(name="Paris")
    for _ in range(2):
        answer = await cached.generate_structured_response(ASKED, {"name": "x"})
        assert answer == {"name": "Rome"}
        answer["name"] = "changed"
    other = {"type": "object", "required": ["name"]}
    assert await cached.generate_structured_response(ASKED, other) == {"name": "Bonn"}
    assert base.asked == 3


class Alias(BaseModel):
    name: str = Field(alias="fullName")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str

    @computed_field  # type: ignore[prop-decorator]  # as pydantic has it
    @property
    def length(self) -> int:
        return len(self.name)


class Hidden(BaseModel):
    name: str
    age: int = Field(0, exclude=True)


class Locked(City):
    _lock: Any = PrivateAttr(default_factory=threading.Lock)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Alias, '{"fullName": "Paris"}'),
        (Computed, '{"name": "Paris"}'),
        (Hidden, '{"name": "Paris", "age": 3}'),
    ],
)
async def test_s90_a_kept_answer_is_what_it_was(
    model: type[BaseModel], text: str
) -> None:
    """What a model writes need not be what it reads."""
    base = Counting(text)
    cached = CachedLLMProvider(base)
    first = await cached.generate_structured_response(ASKED, model)
    again = await cached.generate_structured_response(ASKED, model)
    assert first == again == model.model_validate_json(text)
    assert first is not again
    assert base.asked == 1


async def test_s90_an_answer_is_kept_for_its_own_class() -> None:
    def made() -> type[BaseModel]:
        class City(BaseModel):
            name: str

        return City

    base = Counting(*['{"name": "Paris"}'] * 2)
    cached = CachedLLMProvider(base)
    for model in (made(), made()):
        for _ in range(2):
            answer = await cached.generate_structured_response(ASKED, model)
            assert type(answer) is model
    assert base.asked == 2


async def test_s90_what_cannot_be_copied_is_asked_each_time() -> None:
    base = Counting('{"name": "Paris"}', '{"name": "Rome"}')
    cached = CachedLLMProvider(base)
    first = await cached.generate_structured_response(ASKED, Locked)
    again = await cached.generate_structured_response(ASKED, Locked)
    assert (first.name, again.name) == ("Paris", "Rome")


async def test_s91_a_managers_provider_can_be_cached_and_added_again() -> None:
    fake = FakeProvider()
    async with fake.serve() as url, LLMManager() as manager:
        config = {"api_key": "k", "base_url": f"{url}/v1", "model": "m"}
        manager.add_provider("openai", "openai", config)
        cached = CachedLLMProvider(manager.get_provider("openai"), cache_size=256)
        manager.add_provider("cached", cached)
        for _ in range(2):
            answer = await manager.generate_response("cached", ASKED)
            assert isinstance(answer, Response)
            assert not answer.reply.usage.estimated
    assert len(fake.log) == 1


# The example as it stands.


def pasted_cache(base: LLMProvider) -> Any:
    """The example, which ends by putting itself before *base*."""
    return pasted("cached", openai_provider=base)["cached_provider"]


async def test_s87_the_pasted_example_answers_with_texts_and_asks_once() -> None:
    manager = LLMManager()
    manager.add_provider("mock", "mock", {"responses": {"hi": ["one", "two"]}})
    cached = pasted_cache(manager.get_provider("mock"))
    for _ in range(3):
        assert await cached.generate_response(ASKED, temperature=0) == "one"
    other = [{"role": "user", "content": "hi, other"}]
    assert await cached.generate_response(other) == "two"
    manager.add_provider("cached", cached)
    assert await manager.generate_response("cached", ASKED, temperature=0) == "one"
    assert manager.get_usage_report()["by_provider"]["mock"]["requests"] == 2


async def test_s89_the_pasted_example_asks_for_tools_each_time() -> None:
    """A list cannot be its key; it goes past the cache, as it says."""
    base = Counting()
    cached = pasted_cache(base)
    assert await cached.generate_response(ASKED, tools=[1]) == "answer 1"
    assert await cached.generate_response(ASKED, tools=[1]) == "answer 2"


async def test_s89_the_pasted_example_shares_what_is_being_asked() -> None:
    base = Counting()
    cached = pasted_cache(base)
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await cached.generate_response(ASKED))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    assert answers == ["answer 1"] * 3


async def test_s89_what_failed_in_the_pasted_example_stays_failed() -> None:
    """It keeps whatever came first; ours does not."""
    cached = pasted_cache(Counting(ServerError("no")))
    with pytest.raises(ServerError):
        await cached.generate_response(ASKED)
    with pytest.raises(RuntimeError, match="had failed"):
        await cached.generate_response(ASKED)


def test_an_answer_that_another_loop_awaits_is_an_error_and_no_wait() -> None:
    """
    The kind: misuse that can be seen and is not.

    Siblings: the other loop's own answer, once it is there, is anybody's.
    """
    begun, asked = threading.Event(), threading.Event()

    async def answer() -> str:
        begun.set()
        await anyio.to_thread.run_sync(asked.wait, 10)
        return "kept"

    pending = answer()
    found: list[str] = []

    async def first() -> None:
        found.append(await settled(pending))

    thread = threading.Thread(target=lambda: anyio.run(first))
    thread.start()
    assert begun.wait(10)
    with pytest.raises(RuntimeError, match="in another event loop"):
        anyio.run(settled, pending)
    asked.set()
    thread.join()
    assert [*found, anyio.run(settled, pending)] == ["kept", "kept"]
