"""Formats at vendors that enforce a part of JSON Schema, each another one."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field
from tests.llm.vendor import (
    Vendor,
    anthropic,
    openai,
    without_formats,
    without_schemas,
)

from aitor.errors import BadRequestError, LLMError
from aitor.llm import LLMManager, StructuredOutputError
from aitor.llm.dialects import ANTHROPIC, OPENAI, InexpressibleError, translated
from aitor.llm.schema import problems
from aitor.llm.structured import Format

pytestmark = pytest.mark.anyio


class Color(Enum):
    RED = "red"


class Rating(BaseModel):
    stars: int = Field(ge=1, le=5)


class Person(BaseModel):
    name: str = Field(min_length=1, max_length=9)


class Letter(BaseModel):
    sender: Person = Field(description="who wrote it")
    color: Color = Field(Color.RED, description="of the paper")


class Tally(BaseModel):
    votes: dict[str, int]


class Optionals(BaseModel):
    a: int | None = None
    b: str = "x"
    c: list[int] = Field(default=[1], min_length=1, max_length=3)


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")
    other: int | str


class Odd(BaseModel):
    pair: tuple[int, str]
    tags: set[str]
    price: Decimal
    word: str = Field(json_schema_extra={"pattern": r"^(?!no)\w+$"})
    five: int = Field(multiple_of=5)


class Formats(BaseModel):
    day: date
    at: datetime
    url: AnyUrl
    id: UUID
    took: timedelta
    raw: bytes


class Tree(BaseModel):
    name: str
    left: "Tree | None" = Field(None, description="the left one")
    right: "Tree | None" = Field(None, description="the right one")


class Branch(BaseModel):
    twigs: "list[Branch]" = []


class Anything(BaseModel):
    value: Any


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    a: int


class Empty(BaseModel):
    pass


class Deep(BaseModel):
    values: Annotated[list[Annotated[list[Person], Field(min_length=2)]], Field()]


PERSON = {"type": "object", "properties": {"name": {"type": "string"}}}
WITH_A_DESCRIPTION = {"$ref": "#/definitions/p", "description": "who"}


def objects(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


ID = "00000000-0000-0000-0000-000000000001"
CASES: dict[str, tuple[Any, Any]] = {
    "bounds": (Rating, {"stars": 3}),
    "reference-beside": (Letter, {"sender": {"name": "x"}, "color": "red"}),
    "open-values": (Tally, {"votes": {"a": 1}}),
    "defaults": (Optionals, {"a": None, "b": "y", "c": [1, 2]}),
    "unions": (Owner, {"pet": {"kind": "dog"}, "other": 3}),
    "odd": (
        Odd,
        {"pair": [1, "a"], "tags": ["a"], "price": "1.5", "word": "yes", "five": 10},
    ),
    "formats": (
        Formats,
        {
            "day": "2024-01-02",
            "at": "2024-01-02T03:04:05Z",
            "url": "https://x.example/",
            "id": ID,
            "took": "PT3S",
            "raw": "abc",
        },
    ),
    "tree": (Tree, {"name": "a", "left": {"name": "b"}, "right": None}),
    "recursive": (Branch, {"twigs": [{"twigs": []}]}),
    "anything": (Anything, {"value": {"a": [1]}}),
    "extra": (Open, {"a": 1, "b": 2}),
    "empty": (Empty, {}),
    "deep": (Deep, {"values": [[{"name": "a"}, {"name": "b"}]]}),
    "not-closed": (objects(name={"type": "string"}), {"name": "x"}),
    "optional": (PERSON, {}),
    "several-types": (
        objects(a={"type": ["integer", "null"], "minimum": 1, "description": "x"}),
        {"a": None},
    ),
    "all-of": (
        objects(
            a={"allOf": [objects(x={"type": "integer"}), objects(y={"type": "null"})]}
        ),
        {"a": {"x": 1, "y": None}},
    ),
    "all-of-bounds": (
        objects(a={"type": "integer", "allOf": [{"minimum": 1}, {"minimum": 2}]}),
        {"a": 2},
    ),
    "one-of": (
        objects(a={"oneOf": [{"type": "string"}, {"type": "integer"}], "title": "A"}),
        {"a": 1},
    ),
    "any-of-beside": (
        objects(
            a={"type": "integer", "anyOf": [{"minimum": 9}, {"maximum": 1}]},
        ),
        {"a": 9},
    ),
    "definitions": (
        {
            **objects(a=WITH_A_DESCRIPTION, b={"$ref": "#/definitions/p"}),
            "definitions": {"p": PERSON},
        },
        {"a": {"name": "x"}, "b": {}},
    ),
    "elsewhere": (
        objects(a={"type": "integer"}, b={"$ref": "#/properties/a"}),
        {"a": 1, "b": 2},
    ),
    "root": (
        {**objects(a={"anyOf": [{"$ref": "#"}, {"type": "null"}]})},
        {"a": {"a": None}},
    ),
    "external": (objects(a={"$ref": "https://x.example/s.json"}), {"a": 1}),
    "literals": (
        objects(a={"enum": ["x", 1, None]}, b={"const": "y"}, c={"enum": [[1], 2]}),
        {"a": 1, "b": "y", "c": [1]},
    ),
    "patterns": (
        {**objects(a={"type": "string"}), "patternProperties": {"^x": {}}},
        {"a": "b", "x1": 1},
    ),
    "names": (
        {
            **objects(a={"type": "string"}),
            "propertyNames": {"maxLength": 1},
            "minProperties": 1,
            "additionalProperties": False,
        },
        {"a": "b"},
    ),
    "tuple": (
        objects(a={"type": "array", "prefixItems": [{"type": "integer"}, PERSON]}),
        {"a": [1, {"name": "x"}]},
    ),
    "no-items": (objects(a={"type": "array", "uniqueItems": True}), {"a": [1, "a"]}),
    "conditions": (
        {
            **objects(a={"type": "integer", "not": {"const": 3}}),
            "if": objects(a={"const": 1}),
            "then": {"required": ["b"]},
        },
        {"a": 2},
    ),
    "formats-unknown": (
        objects(a={"type": "string", "format": "password", "default": "x"}),
        {"a": "b"},
    ),
    "any-value": (objects(a=True, b={}), {"a": 1, "b": [2]}),
    "any-object": ({"type": "json_object"}, {"a": 1}),
    "list": ({"type": "array", "items": PERSON}, [{"name": "x"}]),
    "choice": ({"anyOf": [PERSON, {"type": "null"}]}, {"name": "x"}),
    "example": ({"city": "Rome", "near": [{"km": 1.5}], "any": None}, None),
}
CASES["example"] = (CASES["example"][0], {"city": "x", "near": [], "any": {"a": 1}})

VENDORS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "openai": ("openai", {}, openai),
    "responses": ("openai", {"rules": {"m": {"api": "responses"}}}, openai),
    "anthropic": ("anthropic", {"max_tokens": 99}, anthropic),
    "compatible": ("compatible", {}, openai),
    "json-only": ("compatible", {}, without_schemas),
    "no-formats": ("compatible", {}, without_formats),
}


def manager_at(
    vendor: Vendor, kind: str, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> LLMManager:
    monkeypatch.setattr("aitor.providers.http.open_wire", vendor.open)
    manager = LLMManager()
    config = {"api_key": "k", "model": "m", "base_url": "http://x.example/v1", **more}
    manager.add_provider("p", kind, config)
    return manager


# Every format at every vendor.


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("case", CASES)
async def test_every_format_brings_data_at_every_vendor(
    case: str, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The kind: what works at one vendor and is refused by another.

    Tuples, sets, decimals, references to the root or to a property, conditions,
    `extra="allow"`, and two described references to oneself are siblings.
    """
    form, answer = CASES[case]
    kind, more, refuses = VENDORS[vendor]
    server = Vendor(json.dumps(answer), refuses)
    manager = manager_at(server, kind, monkeypatch, **more)
    data = await manager.generate_structured_response("p", "Q", form)
    if isinstance(form, type) and issubclass(form, BaseModel):
        assert data == form.model_validate_json(json.dumps(answer))
    else:
        assert data == answer


@pytest.mark.parametrize("vendor", ["openai", "responses", "anthropic"])
async def test_a_vendors_own_schema_is_taken_at_once(
    vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No format is refused by those whose limits are known."""
    kind, more, refuses = VENDORS[vendor]
    for form, answer in CASES.values():
        server = Vendor(json.dumps(answer), refuses)
        manager = manager_at(server, kind, monkeypatch, **more)
        await manager.generate_structured_response("p", "Q", form)
        assert len(server.sent) == 1


@pytest.mark.parametrize(
    ("dialect", "refuses"), [(OPENAI, openai), (ANTHROPIC, anthropic)]
)
@pytest.mark.parametrize("both", [False, True])
def test_most_models_are_enforced(dialect: Any, refuses: Any, both: bool) -> None:
    """Words are for what cannot be said otherwise, not for what is a little work."""
    if both:
        dialect = OPENAI & ANTHROPIC
    for model in (Rating, Letter, Optionals, Owner, Odd, Formats, Empty, Deep):
        form = Format.of(model).parameter(dialect)
        assert form is not None
        inner = form["json_schema"]
        assert inner["strict"]
        assert refuses(inner) is None


# What is taken out.


@pytest.mark.parametrize(
    ("form", "answer", "told"),
    [
        (objects(n={"type": "integer", "maximum": 5}), {"n": 6}, "'maximum' of 5"),
        (objects(n={"type": "number", "multipleOf": 0.1}), {"n": 0.25}, "multipleOf"),
        (objects(s={"type": "string", "minLength": 2}), {"s": "a"}, "'minLength'"),
        (objects(s={"type": "string", "format": "ipv4"}), {"s": "1.2"}, "no 'ipv4'"),
        (
            objects(a={"type": "array", "items": {}, "uniqueItems": True}),
            {"a": [1, 1]},
            "uniqueItems",
        ),
        (
            objects(a={"type": "array", "items": {}, "contains": {"const": 1}}),
            {"a": [2]},
            "contains",
        ),
        (
            objects(a={"type": "array", "prefixItems": [{"type": "integer"}]}),
            {"a": ["x"]},
            r"a\[0\] is not of type integer",
        ),
        (
            {**objects(a={"type": "null"}), "propertyNames": {"pattern": "^b"}},
            {"a": None},
            "propertyNames",
        ),
        ({**objects(a={}), "minProperties": 2}, {"a": 1}, "minProperties"),
        ({**objects(a={}), "dependentRequired": {"a": ["b"]}}, {"a": 1}, "dependentR"),
        (objects(a={"not": {"type": "null"}}), {"a": None}, "'not'"),
        ({**objects(a={}), "if": {}, "then": {"required": ["b"]}}, {"a": 1}, "'then'"),
    ],
)
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_what_a_vendor_does_not_enforce_is_checked_afterwards(
    form: Any, answer: Any, told: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind: a promise of the schema that gets lost on the way to a vendor."""
    refuses = {"openai": openai, "anthropic": anthropic}[kind]
    server = Vendor(json.dumps(answer), refuses)
    manager = manager_at(server, kind, monkeypatch)
    with pytest.raises(StructuredOutputError, match=told):
        await manager.generate_structured_response("p", "Q", form)


def test_what_is_taken_out_is_told_in_a_description() -> None:
    schema = objects(
        stars={"type": "integer", "minimum": 1, "description": "How many."},
        name={"type": "string", "format": "password"},
    )
    made = translated(schema, ANTHROPIC)["properties"]
    assert made["stars"] == {"type": "integer", "description": "How many. (minimum: 1)"}
    assert made["name"] == {"type": "string", "description": '(format: "password")'}
    assert translated(schema, OPENAI)["properties"]["stars"]["minimum"] == 1


def test_a_described_reference_is_written_out_and_keeps_its_words() -> None:
    made = translated(Format.of(Letter).schema, OPENAI)
    sender = made["properties"]["sender"]
    assert sender["description"] == "who wrote it"
    assert sender["type"] == "object"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "null"}},
        {**objects(a={"type": "null"}), "additionalProperties": True},
        {**objects(a={"type": "null"}), "patternProperties": {"^b": {}}},
        {**objects(a={"type": "null"}), "required": ["a", "b"]},
        {},
        True,
        {"type": "array"},
        {"enum": [[1]]},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#/$defs/itself"},
        {"$ref": "https://x.example/s.json"},
        {"type": "integer", "allOf": [{"minimum": 1}, {"minimum": 2}]},
    ],
)
@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC])
def test_what_would_mean_something_else_is_not_translated(
    part: Any, dialect: Any
) -> None:
    """A closed object in the place of an open one would be enforced, and empty."""
    itself = {"$ref": "#/$defs/itself", "title": "A"}
    schema = {**objects(x={"type": "null"}), "$defs": {"itself": itself}}
    translated(schema, dialect)
    schema["properties"]["x"] = part
    with pytest.raises(InexpressibleError):
        translated(schema, dialect)


@pytest.mark.parametrize("model", [Tree, Branch])
def test_what_refers_to_itself_goes_where_it_may(model: Any) -> None:
    assert translated(Format.of(model).schema, OPENAI)
    for dialect in (ANTHROPIC, OPENAI & ANTHROPIC):
        with pytest.raises(InexpressibleError):
            translated(Format.of(model).schema, dialect)


def test_references_that_double_at_each_step_end() -> None:
    """Written out they would be 2 ** 30."""
    steps = {
        f"s{n}": objects(
            a={"$ref": f"#/$defs/s{n + 1}", "title": "A"},
            b={"$ref": f"#/$defs/s{n + 1}", "title": "B"},
        )
        for n in range(30)
    }
    steps["s30"] = {"type": "null"}
    with pytest.raises(InexpressibleError):
        translated({**objects(a={"$ref": "#/$defs/s0"}), "$defs": steps}, OPENAI)


WORDS = st.sampled_from(
    ["$ref", "allOf", "anyOf", "const", "enum", "items", "type", "properties"]
)
VALUES = st.recursive(
    st.sampled_from(["#", "#/$defs/a", "string", "object", "array", 1, None, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner),
    max_leaves=12,
)


@given(st.dictionaries(WORDS, VALUES), VALUES)
def test_whatever_is_translated_is_what_the_vendor_takes(
    properties: Any, definition: Any
) -> None:
    """And whatever cannot be is told, not raised as something else."""
    schema = {**objects(**properties), "$defs": {"a": definition}}
    for dialect, refuses in ((OPENAI, openai), (ANTHROPIC, anthropic)):
        try:
            made = translated(schema, dialect)
        except InexpressibleError:
            continue
        assert refuses({"schema": made, "strict": True}) is None
        json.dumps(made)
        list(problems({}, made))


# Who refuses.


def _ways(server: Vendor) -> list[str]:
    return [form["type"] if form else "words" for form in server.forms]


async def ask(manager: LLMManager, form: Any = Rating, **more: Any) -> Any:
    return await manager.generate_structured_response("p", "Q", form, **more)


@pytest.mark.parametrize(
    ("refuses", "ways"),
    [
        (without_schemas, ["json_schema", "json_object"]),
        (without_formats, ["json_schema", "json_object", "words"]),
    ],
)
async def test_a_refused_way_is_not_tried_again(
    refuses: Any, ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind: a lesson that each request pays for anew."""
    server = Vendor('{"stars": 3}', refuses)
    manager = manager_at(server, "compatible", monkeypatch)
    for _ in range(3):
        assert await ask(manager) == Rating(stars=3)
    assert _ways(server) == [*ways, ways[-1], ways[-1]]
    # Another schema may be one that is taken; after that, none is tried.
    for schema in ({"type": "integer"}, {"type": "number"}):
        await ask(manager, objects(stars=schema))
    assert _ways(server)[len(ways) + 2 :] == ["json_schema", ways[-1], ways[-1]]


async def test_what_is_remembered_is_remembered_of_one_model_and_one_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Vendor('{"stars": 3}', without_schemas)
    manager = manager_at(server, "compatible", monkeypatch)
    await ask(manager)
    await ask(manager, model="other")
    assert _ways(server) == ["json_schema", "json_object"] * 2
    await ask(manager, model={"p": "other"})
    assert _ways(server)[4:] == ["json_object"]
    config = {"model": "m", "base_url": "http://x.example/v1"}
    manager.add_provider("p", "compatible", config, replace=True)
    await ask(manager)
    assert _ways(server)[5:] == ["json_schema", "json_object"]


@pytest.mark.parametrize(
    "sentence",
    [
        "Invalid schema for response_format 'answer'",
        "`json_schema` is not supported by this model",
        "The provided JSON schema contains features not supported by xgrammar",
        "'response_format.type' must be 'text'",
        "Zzyzx kwyjibo",
    ],
)
async def test_vendors_have_many_sentences_for_it(
    sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of which nothing may be repeated may be about the format, too."""

    def refuses(form: Any) -> str | None:
        return sentence if form["type"] == "json_schema" else None

    server = Vendor('{"stars": 3}', refuses)
    assert await ask(manager_at(server, "compatible", monkeypatch)) == Rating(stars=3)
    assert _ways(server) == ["json_schema", "json_object"]


async def test_another_fault_of_a_request_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Vendor("{}", lambda form: "messages: the last message must be of a user")
    with pytest.raises(BadRequestError):
        await ask(manager_at(server, "compatible", monkeypatch))
    assert len(server.sent) == 1


async def test_a_fault_that_stays_whatever_is_asked_teaches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told in the end, and the next request begins where this one did."""
    server = Vendor("{}", lambda form: "Zzyzx")
    manager = manager_at(server, "anthropic", monkeypatch)
    real = server.answer
    monkeypatch.setattr(
        server,
        "answer",
        lambda body, *, status=200: real(
            {"type": "error", "error": {"message": "Zzyzx", "type": "x"}}, status=400
        ),
    )
    for _ in range(2):
        with pytest.raises(LLMError):
            await ask(manager)
    assert _ways(server) == ["json_schema", "words"] * 2


async def test_who_refuses_is_known_also_when_another_one_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kind: a lesson that is lost because the request went well elsewhere."""

    def refuses(form: Any) -> str | None:
        return without_schemas(form) if form["model"] == "m" else None

    server = Vendor('{"stars": 3}', refuses)
    manager = manager_at(server, "compatible", monkeypatch)
    config = {"model": "n", "base_url": "http://y.example/v1"}
    manager.add_provider("q", "compatible", config)
    manager.set_failover_sequence(["p", "q"])
    for _ in range(2):
        assert await ask(manager) == Rating(stars=3)
    models = [sent.body["model"] for sent in server.sent]
    assert list(zip(models, _ways(server), strict=True)) == [
        ("m", "json_schema"),
        ("n", "json_schema"),
        ("m", "json_object"),
    ]
