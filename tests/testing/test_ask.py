"""What is answered, and how tokens are counted."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from aitor.testing import Ask, count_tokens, fingerprint
from aitor.testing.ask import RejectedError, ToolCall, make_answer, text_of
from aitor.testing.schema import smallest


def ask(last: str = "Say hello to row-17", **more: Any) -> Ask:
    return Ask(**{"model": "model-1", "prompt": last, "last": last, **more})


def test_four_characters_are_a_token_and_a_rest_is_one_too() -> None:
    assert [count_tokens("x" * n) for n in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]


def test_the_default_answer_holds_the_last_word_of_the_prompt() -> None:
    answer = make_answer(ask(), "Answer to {last}", 0)
    assert answer.text == "Answer to row-17"
    assert (answer.input_tokens, answer.output_tokens) == (5, 4)
    assert answer.finish == "stop"


def test_an_answer_is_filled_up_to_the_length_asked_for() -> None:
    answer = make_answer(ask(), "Answer to {last}", 50)
    assert answer.output_tokens == 50
    assert answer.text.startswith("Answer to row-17 and so on and")


def test_an_answer_is_cut_at_the_most_tokens_allowed() -> None:
    answer = make_answer(ask(max_tokens=2), "Answer to {last}", 0)
    assert (answer.text, answer.finish) == ("Answer t", "length")
    assert answer.output_tokens == 2


def test_a_function_may_answer() -> None:
    assert make_answer(ask(), lambda asked: asked.model.upper(), 0).text == "MODEL-1"


def test_pieces_join_to_the_text() -> None:
    answer = make_answer(ask(), "Answer to {last}", 0)
    assert answer.pieces() == ["Answ", "er t", "o ro", "w-17"]


def test_a_prompt_that_spells_a_call_gets_one() -> None:
    prompt = 'Please call:add({"a": 1, "b": {"c": 2}}) for me'
    answer = make_answer(ask(prompt, tools=frozenset({"add"})), "no", 0)
    assert answer.tool_call == ToolCall("add", '{"a": 1, "b": {"c": 2}}')
    assert answer.finish == "tool"


@pytest.mark.parametrize("prompt", ["call:sub({})", "call:add({oops})", "add"])
def test_only_known_tools_are_called_and_with_json(prompt: str) -> None:
    answer = make_answer(ask(prompt, tools=frozenset({"add"})), "no", 0)
    assert (answer.tool_call, answer.text) == (None, "no")


def test_text_is_found_in_the_content_of_every_vendor() -> None:
    assert text_of({"role": "user", "content": "a"}) == "a"
    assert (
        text_of({"content": [{"type": "text", "text": "a"}, {"text": "b"}]}) == "a\nb"
    )
    assert text_of({"type": "tool_result", "content": [{"text": "c"}]}) == "c"
    assert text_of({"type": "function_call_output", "output": "d"}) == "d"
    assert text_of({"content": None}) == text_of(None) == text_of(3) == ""


def test_a_fingerprint_stands_for_a_prompt_and_does_not_tell_it() -> None:
    assert fingerprint("a") == fingerprint("a") != fingerprint("b")
    assert len(fingerprint("\ud800")) == 16


class Inner(BaseModel):
    name: str
    tags: list[str] = Field(min_length=1)


class Outer(BaseModel):
    inner: Inner
    count: int = Field(gt=3)
    share: float
    yes: bool
    maybe: str | None
    colour: str = Field(json_schema_extra={"enum": ["red", "blue"]})


def test_the_smallest_value_keeps_to_the_schema() -> None:
    value = smallest(Outer.model_json_schema(), "row-17")
    parsed = Outer.model_validate_json(json.dumps(value))
    assert parsed.inner.name == "row-17"
    assert parsed.colour == "red"


class Chain(BaseModel):
    name: str
    next: "Chain | None"


def test_a_schema_that_holds_itself_has_a_value_if_it_may_end() -> None:
    chain = ask(schema=Chain.model_json_schema())
    assert json.loads(make_answer(chain, "no", 0).text) == {
        "name": "row-17",
        "next": None,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/Missing"},
        {"$ref": "#"},
        {"type": "object", "properties": 3},
        {"type": "array", "minItems": "many"},
        {"anyOf": 3},
    ],
)
def test_a_schema_without_sense_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(RejectedError, match="simple schemas"):
        make_answer(ask(schema=schema), "no", 0)


schemas = st.recursive(
    st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(
        lambda kind: {"type": kind}
    ),
    lambda inner: st.one_of(
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": list(properties),
            }
        ),
        inner.map(lambda item: {"type": "array", "items": item, "minItems": 1}),
        inner.map(lambda item: {"anyOf": [item, {"type": "null"}]}),
    ),
    max_leaves=6,
)


@given(schemas)
def test_every_simple_schema_has_a_value_of_its_type(schema: dict[str, Any]) -> None:
    value = smallest(schema, "word")
    types = {"object": dict, "array": list, "string": str, "boolean": bool}
    if expected := types.get(schema.get("type", "")):
        assert isinstance(value, expected)
    if schema.get("type") == "object":
        assert set(value) == set(schema["required"])
    json.dumps(value)
