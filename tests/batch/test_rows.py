"""Lines of every shape become rows; wrong ones become rows that have failed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.batch.rows import Row, read_row
from aitor.messages import Request

HELLO = [{"role": "user", "content": "hello"}]


def read(fields: Any, line: int = 17) -> Row:
    return read_row(json.dumps(fields).encode(), line, "in.jsonl")


def request_of(fields: Any) -> Request:
    row = read(fields)
    assert row.error is None
    assert row.request is not None
    return row.request


def test_openai_batch_line() -> None:
    body = {"model": "gpt-5.5", "messages": HELLO, "max_tokens": 5, "stream": False}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
    row = read({**line, "body": body})
    assert (row.custom_id, row.line) == ("a", 17)
    assert row.request == Request(tuple(HELLO), "gpt-5.5", {"max_tokens": 5})


def test_anthropic_batch_line() -> None:
    """
    The system prompt is a parameter, and content in blocks passes as it is.
    """
    blocks = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    params = {
        "model": "claude-opus-5",
        "max_tokens": 5,
        "system": "Be brief.",
        "messages": blocks,
    }
    row = read({"custom_id": "a", "params": params})
    rest = {"max_tokens": 5, "system": "Be brief."}
    assert row.request == Request(tuple(blocks), "claude-opus-5", rest)


@pytest.mark.parametrize("key", ["prompt", "messages"])
def test_bare_line(key: str) -> None:
    prompt = "hello" if key == "prompt" else HELLO
    request = request_of({key: prompt, "id": 7, "model": "m", "temperature": 0})
    assert request == Request(tuple(HELLO), "m", {"temperature": 0})


def test_what_a_vendor_may_take_is_left_to_it() -> None:
    """
    OpenRouter takes `provider`, vLLM `priority`, and gateways `timeout`.
    """
    given = {"provider": {"order": ["a"]}, "priority": 1, "timeout": 5}
    assert request_of({"prompt": "hello", **given}).parameters == given
    given = {"provider": "a", "tenant": "b"}
    assert request_of({"body": {"messages": HELLO, **given}}).parameters == given


def test_a_prompt_may_be_messages() -> None:
    assert request_of({"prompt": HELLO}) == Request(tuple(HELLO))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"custom_id": "a"}, "a"),
        ({"id": "b"}, "b"),
        ({"id": 7}, "7"),
        ({"id": "b", "custom_id": "a"}, "a"),
        ({}, "row-17"),
        ({"id": None}, "row-17"),
    ],
)
def test_the_name_of_a_row(fields: dict[str, Any], name: str) -> None:
    """
    A line without a name is named after its number.
    """
    row = read({"prompt": "hello", **fields})
    assert (row.custom_id, row.error) == (name, None)


def test_the_same_request_in_any_shape_has_one_fingerprint() -> None:
    """
    A file that is converted to another shape can be resumed.
    """
    rows = [
        read({"prompt": "hello", "model": "m", "max_tokens": 5}),
        read({"body": {"messages": HELLO, "model": "m", "max_tokens": 5}}),
        read({"params": {"max_tokens": 5, "model": "m", "messages": HELLO}}),
    ]
    assert len({row.fingerprint for row in rows}) == 1
    assert read({"prompt": "hello", "model": "m"}).fingerprint != rows[0].fingerprint


EXPECTED = (
    "expected an object with 'body' (OpenAI Batch), 'params' (Anthropic), 'prompt' "
    "or 'messages'"
)

QUOTES = "property name enclosed in double quotes"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{ ", f"not JSON (Expecting {QUOTES} at column 3); {EXPECTED}"),
        (b"\xff", "not UTF-8 at byte 1"),
        (b"[1]", f"a JSON list; {EXPECTED}"),
        (b"null", f"a JSON null; {EXPECTED}"),
        (b'{"prompt": NaN}', "not JSON, which has no NaN"),
        (b"[" * 100_000, "not JSON (RecursionError)"),
        (b'{"text": "hello"}', f"none of the keys that tell a request; {EXPECTED}"),
        (b'{"prompt": "", "messages": []}',
         "both 'prompt' and 'messages'; expected one of them"),
        (b'{"prompt": 5}',
         "a prompt is a text, a sequence of messages or a Request, not int"),
        (b'{"messages": []}', "a request needs at least one message, got none"),
        (b'{"messages": "hello"}', "'messages' must be a list, not text"),
        (b'{"messages": [1]}', "message 0 is not a mapping with a 'role': it is a int"),
        (b'{"body": []}', "'body' must be an object, not list"),
        (b'{"params": {}}', "'params' must hold 'messages'"),
        (b'{"body": {"messages": [1], "model": 5}}',
         "'model' must be a text, not number"),
        (b'{"body": {}, "url": "/v1/embeddings"}',
         "'url' = '/v1/embeddings': only '/v1/chat/completions' is supported"),
        (b'{"body": {}, "method": "GET"}',
         "'method' = 'GET': only 'POST' is supported"),
        (b'{"prompt": "hello", "tenant": "t"}',
         "'tenant' is the same for all rows: see --tenant"),
        (b'{"messages": [], "max_in_flight": 3, "tenant": "t"}',
         "'max_in_flight' is the same for all rows: see --max-in-flight"),
        (b'{"prompt": "hello", "provider": "openai"}',
         "'provider' is the same for all rows: see --provider"),
        (b'{"prompt": "hello", "id": ""}',
         "'custom_id' is empty"),
        (b'{"prompt": "hello", "custom_id": true}',
         "'custom_id' must be a text, not true or false"),
        (b'{"prompt": "hello", "custom_id": "\\ud83d"}',
         "'custom_id' holds half a character"),
    ],
)  # fmt: skip
def test_a_wrong_line_says_what_was_expected(text: bytes, problem: str) -> None:
    row = read_row(text, 17, "in.jsonl")
    assert row.request is None
    assert str(row.error) == f"in.jsonl, line 17: {problem}"


def test_a_wrong_line_keeps_its_name() -> None:
    row = read({"custom_id": "a", "body": {}})
    assert (row.custom_id, row.request) == ("a", None)


def test_no_text_of_a_row_is_shown() -> None:
    row = read({"custom_id": "a", "prompt": "secret"})
    wrong = read({"custom_id": "b", "prompt": {"secret": "secret"}})
    assert "secret" not in f"{row!r} {wrong!r} {wrong.error}"


@given(st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["prompt", "messages", "body", "params", "id", "model"]), inner
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_become_a_row(text: bytes) -> None:
    """
    Nothing that a line can hold ends the run.
    """
    row = read_row(text, 17, "in.jsonl")
    assert (row.request is None) != (row.error is None)
    assert row.custom_id.encode()
    assert len(row.fingerprint) == 64
