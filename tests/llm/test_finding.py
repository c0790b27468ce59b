"""Which of the data in a model's text is the answer, and when there is none."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.llm.test_dialects import manager_at
from tests.llm.vendor import Vendor

from aitor.llm import LLMManager, LLMProvider, StructuredOutputError
from aitor.llm.finding import UnclosedError, values_in
from aitor.llm.structured import Format, MismatchError
from aitor.llm.thoughts import split_thoughts
from aitor.messages import Answer, Usage

real = pytest.mark.anyio


class Part(BaseModel):
    label: str
    parts: "list[Part]" = []


class Summary(BaseModel):
    title: str | None = None
    source: dict[str, str] | None = None
    points: list[str] = []


FINAL = Part(label="final")
DRAFT, ANSWER = '{"label": "draft"}', '{"label": "final"}'

WHOLE = {
    Part: json.dumps(
        {
            "label": "engine",
            "parts": [
                {"label": "bolt", "parts": []},
                {"label": 'n"u{t', "parts": [{"label": "é\\", "parts": []}]},
            ],
        }
    ),
    Summary: json.dumps(
        {"title": "Plan", "source": {"file": "a.txt"}, "points": ["one", "[two]"]},
        indent=1,
    ),
}


def read(text: str, form: Any = Part) -> Any:
    return Format.of(form).read(text)


# Cut off.


@pytest.mark.parametrize("before", ["", "Here it is:\n```json\n", "<think>hm</think>"])
@pytest.mark.parametrize("form", WHOLE)
def test_no_cut_point_leaves_a_part_that_is_taken_for_the_whole(
    form: Any, before: str
) -> None:
    """
    The kind: the first thing that parses.

    Whatever `finish_reason` says. Siblings: cut in a fence, after a thought, within an
    escape, and between two closing brackets.
    """
    text = before + WHOLE[form]
    assert read(text, form) == form.model_validate_json(WHOLE[form])
    for end in range(len(text)):
        with pytest.raises(MismatchError):
            read(text[:end], form)


@pytest.mark.parametrize(
    "text",
    [
        'Like {"label": "x"}. So: {"label": "fi',
        '```json\n{"label": "x"}\n```\nand\n```json\n{"label": "fin',
        '{"label": "x"}\n<think>\nperhaps not',
        '[{"label": "x"}, {"label": "y"',
    ],
)
def test_a_text_that_ends_within_a_value_has_none(text: str) -> None:
    with pytest.raises(MismatchError, match="ends in the middle"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "a", "parts": [{"label": "inner"}],}',
        "{'label': 'a', 'parts': [{\"label\": \"inner\"}]}",
        '{label: "a", parts: [{"label": "inner"}]}',
        '{"label": "a" // why\n, "parts": [{"label": "inner"}]}',
        '{"a": {"label": "inner"}}',
        '[{"label": "inner"}, {"label": "other"}]',
    ],
)
def test_no_part_of_a_value_that_is_no_answer_is_one(text: str) -> None:
    """Siblings: what is no JSON outside, or is of another form there."""
    with pytest.raises(MismatchError):
        read(text)


# Meant as the answer.


@pytest.mark.parametrize(
    "text",
    [
        f"<think>perhaps {DRAFT}</think>{ANSWER}",
        f"<think>\n```json\n{DRAFT}\n```\n</think>\n```json\n{ANSWER}\n```",
        f"<thinking>{DRAFT}</thinking>\n\n{ANSWER}",
        f"[THINK]{DRAFT}[/THINK]{ANSWER}",
        f"◁think▷{DRAFT}◁/think▷{ANSWER}",
        f"perhaps {DRAFT}\n</think>\n{ANSWER}",
        f"<think>so {DRAFT}\n<think>\n</think>\n{DRAFT}\n</think>\n{ANSWER}",
        f'<think>\n{{"label": \n</think>\n{ANSWER}',
        f"<think>\nlike [1, 2, so</think>\n{ANSWER}",
        f"First:\n```json\n{DRAFT}\n```\nBetter:\n```json\n{ANSWER}\n```\n",
        f"```\n{DRAFT}\n```\nNo.\n```JSON\n{ANSWER}\n```\nThat is it.",
        f"The answer is {ANSWER}.",
        f"Said again, {ANSWER}:\n\n{ANSWER}\n\nBye.",
        f"**Answer:** `{ANSWER}`",
        f"{{curly}} words, and a list [1]:\n{ANSWER}",
    ],
)
def test_the_value_that_is_meant_is_found(text: str) -> None:
    """The kind: a draft, an example, or what is said by the way, as the answer."""
    assert read(text) == FINAL


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Summary, "Sorry, I have no data, use {} instead."),
        (Summary, "Sorry, I have no data:\n{}\n"),
        (Summary, "Nothing, so {}."),
        (Part, f"<think>{ANSWER}</think>"),
        (Part, f"<think>{ANSWER}</think>\nI cannot tell."),
        (Part, f"{ANSWER}\n</think>\nI cannot tell."),
        (Part, f"I would write {ANSWER} if I knew it."),
        (Part, f"Your example was {DRAFT}, mine is {ANSWER}"),
        (Part, f"```json\n{DRAFT}\n```\nThe answer is {ANSWER}"),
        ({"type": "array"}, "I found nothing [1]."),
        ({"type": "array"}, "Nothing at all: []"),
        ({"type": "null"}, "That is null"),
    ],
)
def test_what_is_not_meant_is_no_answer(form: Any, text: str) -> None:
    with pytest.raises(MismatchError):
        read(text, form)


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        ({"type": "null"}, "<think>hm</think>\nnull", None),
        ({"type": "string"}, '```json\n"x"\n```', "x"),
        ({"type": "array"}, "The list:\n[1, 2]", [1, 2]),
        ({"type": "array"}, "[]", []),
        (Summary, "{}", Summary()),
        (Summary, "```json\n{}\n```", Summary()),
        (
            {"html": "x"},
            '```json\n{"html": "<think>x</think>"}\n```',
            {"html": "<think>x</think>"},
        ),
    ],
)
def test_small_values_are_answers_where_they_stand_alone(
    form: Any, text: str, value: Any
) -> None:
    assert read(text, form) == value


@given(st.text(alphabet='{}[]"\\`<>/think:, \n1a'))
def test_any_text_has_values_or_ends_within_one(text: str) -> None:
    with suppress(UnclosedError):
        for each in values_in(text):
            json.dumps(each.value)


@pytest.mark.parametrize(
    "piece",
    ['{"', "[" * 9, "{{", "<think>", "a<think>", "```\n{", "</think>", "a\n</think>"],
)
def test_a_long_text_is_read_in_no_time(piece: str) -> None:
    """A square of its length would be minutes."""
    with suppress(UnclosedError):
        values_in(piece * 50_000)
    split_thoughts(piece * 50_000)


# Why it ended.


@real
@pytest.mark.parametrize("kind", ["openai", "anthropic", "compatible"])
@pytest.mark.parametrize(
    ("finish", "told"),
    [("length", "max_tokens"), ("content_filter", "filter"), ("refusal", "declined")],
)
async def test_the_ending_is_looked_at_first(
    kind: str, finish: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The kind: half an answer as a whole one.

    It is not paid for a second time either: the same limit would cut it again.
    """
    server = Vendor(ANSWER, lambda form: None, finish=finish)
    manager = manager_at(server, kind, monkeypatch)
    with pytest.raises(StructuredOutputError, match=told) as caught:
        await manager.generate_structured_response("p", "Q", Part)
    assert caught.value.text == ANSWER
    assert "final" not in str(caught.value)
    assert len(server.sent) == 1


class Own(LLMProvider):
    async def generate_response(self, messages: list[Any], **kwargs: Any) -> Any:
        return Answer(ANSWER, "m", "length", Usage(1, 1))


@real
async def test_the_ending_counts_for_providers_of_ones_own() -> None:
    manager = LLMManager()
    manager.add_provider("own", Own())
    for asked in (Own(), manager.get_provider("own")):
        with pytest.raises(StructuredOutputError, match="cut off"):
            await asked.generate_structured_response("Q", Part)


# Thoughts.


@pytest.mark.parametrize(
    ("text", "said", "thought"),
    [
        ("plain", "plain", ""),
        ("<think>a</think>b", "b", "a"),
        ("a\n</think>\nb", "b", "a"),
        ("a <think> b", "a <think> b", ""),
        ("a\n<think>\nb", "a", "b"),
        ("Write `<think>` and `</think>`.", "Write `<think>` and `</think>`.", ""),
        ("It ends in </think> there", "It ends in </think> there", ""),
        ("<seed:think>a</seed:think>b", "b", "a"),
        ("x <think>a</think> y <think>b</think> z", "x  y  z", "a\nb"),
        ("<|channel|>analysis<|message|>a<|channel|>final<|message|>b", "b", "a"),
    ],
)
def test_what_is_thought_is_told_from_what_is_said(
    text: str, said: str, thought: str
) -> None:
    found, hidden = split_thoughts(text)
    assert (found, hidden) == (said, thought)
