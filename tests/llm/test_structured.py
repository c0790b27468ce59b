"""Answers that are data: S16, S38, S61, S62, S90."""

import json
import pickle
from contextlib import suppress
from datetime import date
from enum import Enum
from typing import Any, Generic, Literal, TypeVar, assert_type

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, create_model
from tests.llm.pasted import pasted
from tests.providers.fake import FakeWire, completion, message

from aitor.errors import BadRequestError, ConfigurationError, DeadlineExceededError
from aitor.llm import (
    CachedLLMProvider,
    LLMManager,
    LLMProvider,
    StructuredOutputError,
)
from aitor.llm.dialects import OPENAI
from aitor.llm.schema import closed, problems, schema_of
from aitor.llm.structured import Format, MismatchError
from aitor.messages import Request
from aitor.outcomes import Outcome
from aitor.testing import FakeProvider
from aitor.testing.schema import smallest

real = pytest.mark.anyio

ASKED = [{"role": "user", "content": "Where is it?"}]


class Place(BaseModel):
    city: str
    kind: Literal["town", "village"] = "town"
    near: "list[Place]" = []


class Town(BaseModel):
    city: str
    people: int = 0
    names: list[str] = []


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city"],
}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def mock(*answers: str) -> LLMManager:
    manager = LLMManager()
    config = {"script": answers, "default_response": "no more", "record": True}
    manager.add_provider("mock", "mock", config)
    return manager


def requests(manager: LLMManager) -> list[Any]:
    mock: Any = manager._providers["mock"]
    found: list[Any] = mock.requests
    return found


# Formats.


@real
@pytest.mark.parametrize(
    "given",
    [
        SCHEMA,
        {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        {"type": "json_object"},
        {"city": "Rome", "people": 3},
    ],
)
async def test_s16_a_schema_or_an_example_brings_a_dictionary(given: Any) -> None:
    manager = mock('{"city": "Paris", "people": 2}')
    answer = await manager.generate_structured_response("mock", ASKED, given)
    assert answer == {"city": "Paris", "people": 2}


@real
async def test_s16_a_model_of_pydantic_brings_its_instance() -> None:
    manager = mock('{"city": "Paris", "near": [{"city": "Sèvres"}]}')
    answer = await manager.generate_structured_response("mock", ASKED, Place)
    assert answer == Place(city="Paris", near=[Place(city="Sèvres")])


@real
async def test_s16_a_type_checker_knows_what_comes_back() -> None:
    """mypy reads this test too."""
    manager = mock(*['{"city": "Paris"}'] * 5)
    ask = manager.generate_structured_response
    assert_type(await ask("mock", ASKED, Town), Town)
    assert_type(await ask(ASKED, Town), Town)
    assert_type(await ask(messages=ASKED, response_format=Town), Town)
    provider = manager.get_provider("mock")
    assert_type(await provider.generate_structured_response(ASKED, Town), Town)
    cached = CachedLLMProvider(provider)
    assert_type(await cached.generate_structured_response(ASKED, Town), Town)


@pytest.mark.parametrize("given", [None, 3, "x", [], dict])
def test_s16_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="'response_format' is a JSON schema"):
        Format.of(given)


@real
async def test_s11_the_provider_may_be_left_out() -> None:
    answer = await mock("[1]").generate_structured_response(ASKED, {"type": "array"})
    assert answer == [1]
    answer = await mock("[1]").generate_structured_response(
        messages="How many?", response_format={"type": "array"}
    )
    assert answer == [1]


def test_s16_a_schema_of_several_types_is_one() -> None:
    read = Format.of({"type": ["array", "null"]}).read
    assert read("null") is None
    assert Format.of({"type": ["fire", "water"]}).schema["required"] == ["type"]


class Odd(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    lock: LLMManager


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"properties": {"a": object()}}, "cannot be written as JSON"),
        ({"type": "json_schema", "json_schema": None}, "has no 'schema'"),
        (Odd, "Odd cannot be written as a JSON schema"),
    ],
)
def test_s16_a_format_that_cannot_be_sent_is_refused_at_once(
    given: Any, told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Format.of(given)


@real
@pytest.mark.parametrize(
    "messages", [[], ["Hi"], ASKED[0], 5, Request.of("Hi"), [{"content": "Hi"}]]
)
async def test_what_is_no_conversation_is_refused_as_everywhere(messages: Any) -> None:
    manager = mock("{}")
    with pytest.raises(BadRequestError):
        await manager.generate_structured_response("mock", messages, {"a": 1})
    with pytest.raises(BadRequestError):
        await Own("{}").generate_structured_response(messages, {"a": 1})
    assert requests(manager) == []


# Finding the data.


@pytest.mark.parametrize(
    "text",
    [
        '{"city": "Paris"}',
        ' \n{"city": "Paris"}\n',
        'Sure!\n```json\n{"city": "Paris"}\n```\nAnything else?',
        'It is {not this} but {"city": "Paris"}.',
        '[1] {"a": 1} {"city": "Paris"}',
    ],
)
def test_s38_the_data_is_found_in_the_text(text: str) -> None:
    assert Format.of(SCHEMA).read(text) == {"city": "Paris"}


def test_a_model_that_ends_in_line_breaks_holds_nobody_up() -> None:
    """As some do up to their limit; a square of their number would be minutes."""
    with pytest.raises(MismatchError, match="is no JSON"):
        Format.of(SCHEMA).read("```json\n" + "\n" * 200_000)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """A model may say anything."""
    with suppress(MismatchError):
        assert "city" in Format.of(SCHEMA).read(text)


# Models of pydantic.


class Color(Enum):
    RED = "red"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    day: date
    color: Color = Color.RED


def test_a_strict_model_takes_what_json_has_no_type_for() -> None:
    read = Format.of(Strict).read
    assert read('{"day": "2024-01-02"}') == Strict(day=date(2024, 1, 2))
    with pytest.raises(MismatchError, match="'day': date_"):
        read('{"day": "tomorrow", "color": "red"}')
    with pytest.raises(MismatchError, match="'color': enum"):
        read('{"day": "2024-01-02", "color": "blue"}')


@pytest.mark.parametrize(
    "more", ['"\\ud83d"', "[" * 300 + "]" * 300, "9" * 1_000, "1e999", "NaN"]
)
def test_what_is_odd_in_a_part_that_a_model_passes_over_does_no_harm(more: str) -> None:
    answer = Format.of(Town).read(f'{{"city": "Paris", "more": {more}}}')
    assert answer == Town(city="Paris")


@given(JSON)
def test_any_value_is_an_instance_or_refused(value: Any) -> None:
    with suppress(MismatchError):
        assert isinstance(Format.of(Strict).read(json.dumps(value)), Strict)
    town = json.dumps({"city": "Paris", "more": value})
    assert Format.of(Town).read(town) == Town(city="Paris")


# By instruction, with one repair.


@real
async def test_s61_the_format_is_told_in_json_and_the_messages_stay() -> None:
    manager = mock('{"city": "Paris"}')
    asked = [{"role": "system", "content": "Be brief."}, *ASKED]
    before = json.dumps(asked)
    await manager.generate_structured_response("mock", asked, SCHEMA, temperature=0)
    (request,) = requests(manager)
    system, user = request.messages
    assert system["content"].startswith("Be brief.")
    assert json.dumps(SCHEMA) in system["content"]
    assert user == ASKED[0]
    assert request.parameters == {"temperature": 0}
    assert json.dumps(asked) == before


@real
async def test_s62_a_wrong_answer_is_sent_back_once() -> None:
    manager = mock('{"people": "many"}', '{"city": "Paris"}')
    answer = await manager.generate_structured_response("mock", ASKED, SCHEMA)
    assert answer == {"city": "Paris"}
    _, second = requests(manager)
    wrong, told = second.messages[-2:]
    assert wrong == {"role": "assistant", "content": '{"people": "many"}'}
    assert "the answer has no 'city'" in told["content"]
    assert "the answer.people is not of type integer" in told["content"]


@real
async def test_s62_two_wrong_answers_are_an_error_that_has_the_text_apart() -> None:
    manager = mock("canary one", '{"canary": 2}')
    with pytest.raises(StructuredOutputError) as caught:
        await manager.generate_structured_response("mock", ASKED, SCHEMA)
    error = caught.value
    assert error.text == '{"canary": 2}'
    assert "canary" not in f"{error} {error!r}"
    assert error.outcome is Outcome.MALFORMED
    assert (error.provider, len(error.attempts)) == ("mock", 2)
    assert pickle.loads(pickle.dumps(error)).text == error.text
    assert error.__context__ is None
    assert len(requests(manager)) == 2


@real
async def test_s62_a_model_of_pydantic_tells_places_and_never_values() -> None:
    manager = mock('{"city": 3, "kind": "canary"}', '{"canary": 1}')
    with pytest.raises(StructuredOutputError, match="'city': missing") as caught:
        await manager.generate_structured_response("mock", ASKED, Place)
    assert "canary" not in str(caught.value)
    told = requests(manager)[1].messages[-1]["content"]
    assert "'city': string_type; 'kind': literal_error" in told


@real
async def test_a_timeout_is_for_both_tries() -> None:
    manager = mock("wrong", "wrong")
    manager.add_provider("slow", "mock", {"delay": 0.03, "default_response": "wrong"})
    with pytest.raises(DeadlineExceededError):
        await manager.generate_structured_response("slow", ASKED, SCHEMA, timeout=0.05)


@real
async def test_s9_failover_holds_for_structured_answers_too() -> None:
    fake = FakeProvider(faults=["status=500"])
    async with fake.serve() as url, LLMManager() as manager:
        config = {"api_key": "k", "base_url": url, "model": "m", "max_retries": 0}
        manager.add_provider("a", "anthropic", config)
        manager.add_provider("b", "mock", {"default_response": '{"city": "Paris"}'})
        manager.set_failover_sequence(["a", "b"])
        answer = await manager.generate_structured_response("a", ASKED, SCHEMA)
    assert answer == {"city": "Paris"}


# Native formats.


@real
async def test_s16_openai_is_given_the_schema(wire: FakeWire) -> None:
    manager = LLMManager()
    manager.add_provider("o", "openai", {"api_key": "k", "model": "gpt-4.1"})
    wire.answer(completion('{"city": "Paris"}'))
    await manager.generate_structured_response("o", ASKED, {"city": "Rome"})
    assert wire.body["messages"] == ASKED
    form = wire.body["response_format"]
    assert form["json_schema"]["schema"] == schema_of({"city": "Rome"})
    assert form["json_schema"]["strict"] is True
    await manager.generate_structured_response("o", ASKED, SCHEMA)
    assert wire.body["response_format"]["json_schema"]["strict"] is False


Value = TypeVar("Value")


class Box(BaseModel, Generic[Value]):
    value: Value


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Box[int], "Box_int_"),
        (create_model("Größe"), "Gr__e"),
        (create_model("X" * 80), "X" * 64),
        (Town, "Town"),
    ],
)
def test_a_format_has_a_name_that_openai_takes(
    model: type[BaseModel], name: str
) -> None:
    told = Format.of(model).parameter(OPENAI)
    assert told is not None
    assert told["json_schema"]["name"] == name


@real
async def test_s38_anthropic_is_given_the_schema(wire: FakeWire) -> None:
    manager = LLMManager()
    manager.add_provider("a", "anthropic", {"api_key": "k", "model": "claude-x"})
    wire.answer(message({"type": "text", "text": '{"city": "Paris"}'}))
    await manager.generate_structured_response("a", ASKED, {"city": "Rome"})
    assert wire.body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": schema_of({"city": "Rome"}),
    }


@real
@pytest.mark.parametrize("given", [[{"city": "Rome"}], {"anyOf": [SCHEMA]}])
async def test_s16_what_no_vendor_takes_is_told_in_words(
    wire: FakeWire, given: Any
) -> None:
    """Only an object may be at the root of a schema."""
    manager = LLMManager()
    manager.add_provider("o", "openai", {"api_key": "k", "model": "gpt-4.1"})
    wire.answer(completion('[{"city": "Paris"}]'))
    with suppress(StructuredOutputError):
        await manager.generate_structured_response("o", ASKED, given)
    assert "response_format" not in wire.body
    assert wire.body["messages"][0]["role"] == "system"


@real
async def test_a_sequence_that_is_not_all_native_is_told_in_words(
    wire: FakeWire,
) -> None:
    manager = LLMManager()
    manager.add_provider("o", "openai", {"api_key": "k", "model": "gpt-4.1"})
    manager.add_provider("mock", "mock")
    manager.set_failover_sequence(["o", "mock"])
    wire.answer(completion('{"city": "Paris"}'))
    await manager.generate_structured_response("o", ASKED, SCHEMA)
    assert "response_format" not in wire.body
    assert wire.body["messages"][0]["role"] == "system"


@real
@pytest.mark.parametrize("kind", ["openai", "anthropic", "compatible"])
async def test_s16_it_works_over_http(kind: str) -> None:
    fake = FakeProvider()
    async with fake.serve() as url, LLMManager() as manager:
        base = url if kind == "anthropic" else f"{url}/v1"
        manager.add_provider(
            "p", kind, {"api_key": "k", "base_url": base, "model": "m"}
        )
        town = await manager.generate_structured_response("p", ASKED, Town)
    assert isinstance(town, Town)
    assert len(fake.log) == 1


# Providers of one's own.


class Own(LLMProvider):
    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def generate_response(self, messages: list[Any], **kwargs: Any) -> str:
        self.asked.append(messages)
        return self.answers.pop(0)


@real
async def test_s16_s90_the_base_class_does_it_by_itself() -> None:
    own = Own("no", '{"city": "Paris"}')
    answer = await own.generate_structured_response(ASKED, SCHEMA)
    assert answer == {"city": "Paris"}
    assert len(own.asked) == 2
    own = Own('{"city": "Paris"}')
    await own.generate_structured_response("Where?", SCHEMA)
    assert own.asked[0][-1] == {"role": "user", "content": "Where?"}
    with pytest.raises(StructuredOutputError):
        await Own("no", "no").generate_structured_response(ASKED, SCHEMA)


@real
async def test_s61_s62_the_pasted_class_is_repaired_by_the_manager() -> None:
    fake = FakeProvider(answer="no JSON")
    async with fake.serve() as url, LLMManager() as manager:
        pasted("custom", llm_manager=manager)
        kind = manager._classes["custom"]
        config = {"api_key": "k", "base_url": url}
        manager.add_provider("mine", kind, config)
        with pytest.raises(StructuredOutputError) as caught:
            await manager.generate_structured_response("mine", ASKED, SCHEMA)
    assert caught.value.text == "no JSON"
    assert ASKED == [{"role": "user", "content": "Where is it?"}]


# Schemas.


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, [1, 2.0], [1.5, True, "1"]),
        ({"type": ["string", "null"]}, ["a", None], [1]),
        ({"type": "number", "minimum": 1, "exclusiveMaximum": 3}, [1, 2.9], [0, 3]),
        ({"type": "string", "minLength": 1, "pattern": "^a"}, ["ab"], ["", "b"]),
        (
            {"type": "array", "items": {"const": 1}, "maxItems": 2},
            [[1]],
            [[2], [1] * 3],
        ),
        ({"enum": ["a", 1]}, ["a", 1], ["b"]),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, [None, "a"], [1]),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1], [3]),
        ({"additionalProperties": {"type": "string"}}, [{"a": "b"}], [{"a": 1}]),
        ({"properties": {"a": False}}, [{}], [{"a": 1}]),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}, [None], [1]),
        ({"$ref": "#"}, [1], []),
        (True, [1], []),
        # Keywords that others, not known here, give another meaning.
        ({"patternProperties": {}, "additionalProperties": False}, [{"a": 1}], []),
        ({"prefixItems": [{"type": "string"}], "items": False}, [["a"]], []),
        # Keywords whose value makes no sense here.
        ({"pattern": "("}, ["a"], []),
        ({"pattern": "^\\p{L}+$"}, ["a"], []),
        ({"minLength": "3", "exclusiveMinimum": True}, ["a", 1], []),
        ({"required": None, "properties": None}, [{"a": 1}], []),
        ({"required": "name"}, [{"a": 1}], []),
        ({"enum": None, "anyOf": 1, "allOf": {"a": 1}, "$ref": 5}, [1], []),
        ({"type": ["text", 5]}, [1, "a"], []),
    ],
)
def test_a_value_is_held_against_a_schema(
    schema: Any, good: list[Any], bad: list[Any]
) -> None:
    assert not [value for value in good if list(problems(value, schema))]
    assert not [value for value in bad if not list(problems(value, schema))]


WORDS = (
    *("$ref", "additionalProperties", "allOf", "anyOf", "const", "enum", "items"),
    *("maximum", "minLength", "minimum", "oneOf", "patternProperties", "prefixItems"),
    *("properties", "required", "type"),
)


@given(st.dictionaries(st.sampled_from(WORDS), JSON), JSON)
def test_any_schema_can_be_held_against_any_value(schema: Any, value: Any) -> None:
    """What is wrong with a schema by hand would be found out when a call is paid."""
    form = Format.of({"$schema": "x", **schema})
    native = form.parameter(OPENAI)
    assert native is None or native["type"] == "json_schema"
    with suppress(MismatchError):
        form.read(json.dumps(value))


@given(st.dictionaries(st.text(min_size=1), JSON, min_size=1))
def test_an_example_keeps_to_its_own_schema(example: dict[str, Any]) -> None:
    schema = schema_of({key: value for key, value in example.items() if value != []})
    assert not list(problems(smallest(schema, "x"), schema))


def test_a_closed_schema_is_what_vendors_enforce() -> None:
    schema = closed(Place.model_json_schema())
    assert schema["$defs"]["Place"]["additionalProperties"] is False
    assert "default" not in json.dumps(schema)
    assert schema["$defs"]["Place"]["required"] == ["city", "kind", "near"]


class Village(BaseModel):
    kind: Literal["village"]


class City(BaseModel):
    kind: Literal["city"]


class Where(BaseModel):
    place: City | Village = Field(discriminator="kind")


def test_a_union_with_a_discriminator_is_told_as_vendors_take_it() -> None:
    form = Format.of(Where)
    told = form.parameter(OPENAI)
    assert told is not None
    assert told["json_schema"]["strict"]
    assert len(form.schema["properties"]["place"].pop("anyOf")) == 2
    assert form.schema["properties"]["place"] == {"title": "Place"}
    assert form.read('{"place": {"kind": "city"}}') == Where(place=City(kind="city"))


def test_a_model_that_holds_itself_has_an_object_at_its_root() -> None:
    """Vendors refuse a reference there."""
    assert Format.of(Place).schema["type"] == "object"
    assert "$ref" not in Format.of(Place).schema
