"""The protocol in plain text: what is read of it, and that nothing is ever run."""

import builtins
import json
import keyword
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aitor.agents import Tool
from aitor.agents.protocol import (
    GO_ON,
    UNREADABLE,
    as_text,
    instructions,
    observed,
    read_text,
)
from aitor.agents.tools import by_name


def search(query: str, most: int = 3) -> str:
    """Search the web."""
    raise AssertionError("reading must not run anything")


TOOLS = by_name([search, Tool(search, name="look-up")])


def calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, dict(call.arguments)) for call in read_text(text, TOOLS).calls]


def test_a_text_without_marks_is_the_answer() -> None:
    said = read_text("  It is 4.\nReally.\n", TOOLS)
    assert (said.answer, said.thought, said.calls) == ("It is 4.\nReally.", "", ())


def test_an_answer_goes_to_the_end_and_may_speak_of_the_protocol() -> None:
    said = read_text("THINK: easy\nANSWER: Write\nACT: search(query='x')", TOOLS)
    assert said.thought == "easy"
    assert said.answer == "Write\nACT: search(query='x')"
    assert said.calls == ()


def test_thoughts_and_calls_are_told_apart() -> None:
    said = read_text(
        "Well.\nTHINK: two of\nthem\nACT: search(query='a')\n  ACT: look-up('b', 4)",
        TOOLS,
    )
    assert said.thought == "Well.\ntwo of\nthem"
    assert [(call.name, call.arguments) for call in said.calls] == [
        ("search", {"query": "a"}),
        ("look-up", {"query": "b", "most": 4}),
    ]
    assert said.answer is None


def test_what_a_model_invents_after_a_call_is_dropped() -> None:
    text = "ACT: search(query='a')\nOBSERVATION: 7\nACT: search(query='b')\nANSWER: 7"
    said = read_text(text, TOOLS)
    assert said.answer is None
    assert calls(text) == [("search", {"query": "a"})]
    assert read_text("ACT: search(query='a')\nANSWER: 7", TOOLS).answer is None


def test_a_thought_alone_is_asked_to_go_on() -> None:
    said = read_text("THINK: hm", TOOLS)
    assert (said.thought, said.answer, said.correction) == ("hm", None, GO_ON)


def test_a_call_may_take_lines_and_may_be_followed_by_words() -> None:
    assert calls("ACT: search(\n  query='a',\n  most=2,\n)") == [
        ("search", {"query": "a", "most": 2})
    ]
    assert calls("ACT: search(query='a')\nThen I shall see.") == [
        ("search", {"query": "a"})
    ]


def test_arguments_are_literals_of_every_kind_that_json_has() -> None:
    text = "ACT: search(a=None, b=True, c=-1.5, d=[1, (2,)], e={'k': 'v'}, f='(\\n)')"
    read = {"a": None, "b": True, "c": -1.5, "d": [1, [2]], "e": {"k": "v"}}
    assert calls(text) == [("search", {**read, "f": "(\n)"})]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("query=open('/etc/passwd')", "argument 'query' is not a literal value"),
        ("query=x", "argument 'query' is not a literal value"),
        ("query='a' + 'b'", "argument 'query' is not a literal value"),
        ("query=f'{x}'", "argument 'query' is not a literal value"),
        ("*['a']", "argument 'query' is not a literal value"),
        ("**{'query': 'a'}", "'**' is not allowed: give each argument by its name"),
        ("'a', query='b'", "argument 'query' is given twice"),
        ("query='a', query='b'", "argument 'query' is given twice"),
        ("'a', 1, 2", "give arguments by name: search takes query, most"),
        ("query={1, 2}", "the arguments cannot be written as JSON"),
        ("query=b'a'", "the arguments cannot be written as JSON"),
        ("query=1e999", "the arguments cannot be written as JSON"),
        ("query=" + "-" * 90 + "1", "argument 'query' is not a literal value"),
    ],
)
def test_a_call_with_bad_arguments_is_a_call_with_a_problem(
    arguments: str, problem: str
) -> None:
    (call,) = read_text(f"ACT: search({arguments})", TOOLS).calls
    assert (call.name, call.arguments, call.problem) == ("search", {}, problem)


@pytest.mark.parametrize(
    "act",
    [
        "",
        "search",
        "search query='a'",
        "search(query='a'",
        "search(query='a'))",
        "search(query='a')()",
        "search(query='a').x",
        "search(query='a') + 1",
        "[search(query='a')]",
        "os.system('ls')",
        "(lambda: 1)()",
        "search(query='\0')",
        "search(" * 5_000,
        "search(x=" + "[" * 5_000,
        "search(x=" + "-" * 50_000 + "1)",
        "search(x=" + "9" * 5_000 + ")",
        "search(x='" + "a" * 100_000 + "')",
    ],
)
def test_what_is_no_call_is_told_to_be_none_and_nothing_of_it_runs(act: str) -> None:
    said = read_text(f"THINK: t\nACT: {act}\nACT: search(query='fine')", TOOLS)
    assert said.calls == ()
    assert said.answer is None
    assert said.correction == observed([UNREADABLE])


def test_reading_gives_no_warning_of_the_compilers() -> None:
    assert calls(r"ACT: search(query='\d')") == [("search", {"query": r"\d"})]
    assert read_text("ACT: search(query=1('x'))", TOOLS).calls[0].problem


DRESSED = [
    *("**ACT:** {}", "**ACT**: {}", "**ACT: {}**", "__Act:__ {}", "*act*: {}"),
    *("- ACT: {}", "* ACT: {}", "1. ACT: {}", "2) **Act:** {}", "### ACT: {}"),
    *("Act: {}", "act: {}", "ACT\uff1a {}", "ACT : {}", "Action: {}", "  ACT:{}"),
    *("`ACT: {}`", "ACT: `{}`", "ACT:\n```python\n{}\n```", "```\nACT: {}\n```"),
    *("Thought: so\nAction: {}\nObservation: 7\nFinal Answer: 7",),
]


@pytest.mark.parametrize("dressed", DRESSED)
def test_a_call_is_seen_however_it_is_dressed(dressed: str) -> None:
    """
    The kind: a mark that is not written as told makes the whole text the answer.

    Siblings: emphasis around all of it, code, numbers, ReAct's own words.
    """
    said = read_text(dressed.format("search(query='a')"), TOOLS)
    assert said.answer is None
    assert [(call.name, call.arguments) for call in said.calls] == [
        ("search", {"query": "a"})
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("ANSWER: 4", "**ANSWER:** 4", "**ANSWER: 4**", "- Answer: 4", "answer : 4"),
        *(
            "Final Answer: 4",
            "ANSWER\uff1a4",
            "# Answer:\n\n4",
            "Thought: x\nAnswer: 4",
        ),
    ],
)
def test_an_answer_is_seen_however_it_is_dressed(text: str) -> None:
    assert read_text(text, TOOLS).answer == "4"


@pytest.mark.parametrize(
    "text",
    [
        "Three steps:\n- Think: it over\n- Act: go outside",
        "Observation: it rains.\nThought: stay in.",
        "Action: none is needed",
        "I react: search(query='a')",
        "> ACT: search(query='a')",
    ],
)
def test_words_that_only_look_like_the_protocol_are_an_answer(text: str) -> None:
    assert read_text(text, TOOLS).answer == text


@pytest.mark.parametrize(
    "text", ["**ACT:** search query='a'", "Action: search\nAction Input: {}"]
)
def test_a_dressed_call_that_cannot_be_read_is_told_to_be_none(text: str) -> None:
    said = read_text(text, TOOLS)
    assert (said.answer, said.calls) == (None, ())
    assert said.correction == observed([UNREADABLE])


@pytest.mark.parametrize(
    ("text", "made", "answer"),
    [
        ("<think>Or\nACT: search('x')\n?</think>\nACT: search('a')", ["a"], None),
        ("<think>\nANSWER: 4\n</think>\nANSWER: 5", [], "5"),
        ("<think>\nANSWER: 4\n</think>\n5", [], "5"),
        ("Hm\nACT: search('x')\n</think>\nACT: search('a')", ["a"], None),
        ("[THINK]\nACT: search('x')\n[/THINK]ANSWER: 5", [], "5"),
        ("<think>\nACT: search('x')\n<think>\n</think>\nNo\n</think>\n5", [], "5"),
        ("Well <think>\nACT: search('x')\n</think>", [], "Well"),
        ("<think>\nACT: search('x')", [], None),
        ("<think>\nANSWER: 4</think>", [], None),
        ("**THINK:** <think>\nACT: search('x')\n</think> it\nANSWER: 5", [], "5"),
    ],
)
def test_what_is_only_thought_is_neither_run_nor_the_answer(
    text: str, made: list[str], answer: str | None
) -> None:
    """
    The kind: a draft that is carried out.

    Siblings: marks of other models, a thought without a beginning or an end, in
    another, within a line.
    """
    said = read_text(text, TOOLS)
    assert [call.arguments["query"] for call in said.calls] == made
    assert said.answer == answer
    if answer is None and not made:
        assert said.correction == GO_ON


MARKS = st.sampled_from(["THINK:", "ACT:", "ANSWER:", "OBSERVATION:", "\n", " ", "x"])
CODE = st.sampled_from(
    [
        *("search(", "query=", "'a'", ")", "(", ",", "**", "lambda: boom()", "boom()"),
        *("__import__('os')", "[", "{", "}", "\\", "f'{boom()}'", "1", "-", "\0"),
    ]
)


@given(st.lists(MARKS | CODE | st.text(max_size=20), max_size=30).map("".join))
@example("ACT: search(query=(boom() for _ in [1]))")
@example("ACT: boom()")
def test_whatever_a_model_writes_reading_it_runs_nothing(text: str) -> None:
    """Every text gives a value: an answer, calls, or a word to the model."""

    def boom() -> None:
        raise AssertionError("this ran")

    builtins.boom = boom  # type: ignore[attr-defined]  # the bait
    try:
        said = read_text(text, TOOLS)
    finally:
        del builtins.boom  # type: ignore[attr-defined]  # the bait again
    told = [said.answer is not None, bool(said.calls), bool(said.correction)]
    assert told.count(True) == 1
    for call in said.calls:
        json.dumps(call.arguments)


ARGUMENTS = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(
        lambda name: not keyword.iskeyword(name)
    ),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


@given(ARGUMENTS)
def test_a_call_written_as_text_is_read_as_the_same_call(
    arguments: dict[str, Any],
) -> None:
    """So a provider without tool calls can take a conversation over."""
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "search", "arguments": json.dumps(arguments)},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    (written,) = as_text([message])
    assert calls(written["content"]) == [("search", json.loads(json.dumps(arguments)))]


def test_a_conversation_with_calls_is_written_as_text() -> None:
    def called(name: str, arguments: str) -> dict[str, Any]:
        return {"id": name, "function": {"name": name, "arguments": arguments}}

    both = [called("a", '{"x": "1"}'), called("b", "{}")]
    assert list(
        as_text(
            [
                {"role": "user", "content": "Q"},
                {"role": "assistant", "content": "hm", "tool_calls": both},
                {"role": "tool", "tool_call_id": "a", "content": "one"},
                {"role": "tool", "tool_call_id": "b", "content": "two"},
                {"role": "assistant", "content": "A", "thinking_blocks": [1]},
            ]
        )
    ) == [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "THINK: hm\nACT: a(x='1')\nACT: b()"},
        {"role": "user", "content": "OBSERVATION: one\nOBSERVATION: two"},
        {"role": "assistant", "content": "A"},
    ]


def test_the_instructions_name_every_tool_and_its_arguments() -> None:
    text = instructions(TOOLS.values(), only=True)
    assert text.startswith("To use a tool, write a line\nACT: name(")
    assert "- search: Search the web.\n  arguments: " in text
    assert '"query": {"type": "string"}' in text
    assert "- look-up" in text
    assert instructions((), only=False).startswith("If you cannot call functions")
