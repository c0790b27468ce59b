"""Lines of every shape become rows; wrong ones become rows that have failed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitor.batch.rows import Row, read_row
from aitor.messages import Request
from aitor.providers import AnthropicProvider

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
    The system prompt is a message as everywhere else; blocks pass as they are.
    """
    blocks = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    params = {
        "model": "claude-opus-5",
        "max_tokens": 5,
        "system": "Be brief.",
        "messages": blocks,
    }
    row = read({"custom_id": "a", "params": params})
    system = {"role": "system", "content": "Be brief."}
    assert row.request == Request((system, *blocks), "claude-opus-5", {"max_tokens": 5})


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


@pytest.mark.parametrize(
    "url",
    [
        None,
        "/v1/chat/completions",
        "/chat/completions",
        "/v4/chat/completions",
        "/v1/chat/completions/",
        "https://api.z.ai/api/paas/v4/chat/completions",
        "https://host.test/openai/deployments/d/chat/completions?api-version=1",
        "v1/chat/completions",
        "/inference/v1/chat/completions#x",
    ],
)
def test_the_end_of_the_path_says_which_api_is_meant(url: str | None) -> None:
    """
    Stands for: an address that is compared letter by letter.
    """
    line = {"body": {"messages": HELLO, "seed": 1}} | ({"url": url} if url else {})
    assert request_of(line) == Request(tuple(HELLO), None, {"seed": 1})


@pytest.mark.parametrize(
    "url", ["/v1/embeddings", "/v1/completions", "/v1/responses/1", "/", "", 7, None]
)
def test_an_address_of_another_api_is_a_wrong_line(url: object) -> None:
    row = read({"url": url, "body": {"messages": HELLO}})
    assert "expected one that ends with one of /chat/completions" in str(row.error)


def test_a_line_of_the_responses_api_is_told_in_terms_of_chat_completions() -> None:
    """
    Stands for: one vendor's words, sent to another who does not know them.
    """
    schema = {"name": "n", "strict": True, "schema": {"type": "object"}}
    tool = {"name": "f", "parameters": {"type": "object"}}
    body = {
        "model": "gpt-5.5",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            {"type": "reasoning", "id": "r", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
            {"type": "function_call_output", "call_id": "d", "output": "2"},
        ],
        "max_output_tokens": 50,
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", **schema}, "verbosity": "low"},
        "tools": [{"type": "function", **tool}],
        "tool_choice": {"type": "function", "name": "f"},
        "temperature": 0,
    }
    request = request_of({"url": "/v1/responses", "body": body})
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": i, "type": "function", "function": function} for i in "cd"]
    assert request.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
        {"role": "tool", "tool_call_id": "d", "content": "2"},
    )
    assert request.model == "gpt-5.5"
    assert request.parameters == {
        "max_completion_tokens": 50,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": schema},
        "verbosity": "low",
        "tools": [{"type": "function", "function": tool}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "temperature": 0,
    }
    plain = request_of({"url": "/v1/responses", "body": {"input": "hello"}})
    assert plain == Request(tuple(HELLO))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"input": "x", "previous_response_id": "r"}, "'previous_response_id' refers"),
        ({"input": "x", "conversation": {"id": "c"}}, "'conversation' refers"),
        ({"input": "x", "prompt": {"id": "p"}}, "'prompt' refers"),
        ({"input": "x", "background": True}, "'background' refers"),
        ({}, "'body' must hold 'input'"),
        ({"input": []}, "'body' must hold 'input'"),
        ({"input": [{"type": "web_search_call"}]}, "of type 'web_search_call'"),
        ({"input": ["x"]}, "of type ''"),
    ],
)
def test_what_only_the_vendor_of_responses_has_is_a_wrong_line(
    body: dict[str, Any], problem: str
) -> None:
    row = read({"url": "/v1/responses", "body": body})
    assert problem in str(row.error)


@pytest.mark.parametrize("shape", ["params", "body"])
def test_an_anthropic_line_is_told_in_terms_of_chat_completions(shape: str) -> None:
    """
    Stands for: one vendor's words, sent to another who does not know them.

    Instructions and stop words first; tools, calls, results and pictures as well.
    """
    schema = {"type": "object"}
    body = {
        "model": "claude-opus-5",
        "max_tokens": 9,
        "system": "Answer in French.",
        "stop_sequences": ["END"],
        "tools": [{"name": "f", "description": "d", "input_schema": schema}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "u"},
        "top_k": 5,
        "messages": [
            {"role": "user", "content": "hello"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "h", "signature": "s"},
                    {"type": "text", "text": "hm"},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": "1"},
                    {"type": "text", "text": "and?"},
                    {
                        "type": "image",
                        "source": {
                            "type": "base64",
                            "media_type": "image/png",
                            "data": "AA",
                        },
                    },
                ],
            },
        ],
    }
    line = {"params": body} if shape == "params" else {"body": body}
    request = request_of({"url": "/v1/messages", **line})
    call = {"name": "f", "arguments": '{"a": 1}'}
    assert request.messages == (
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "hello"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "hm"}],
            "tool_calls": [{"id": "c", "type": "function", "function": call}],
            "thinking_blocks": [
                {"type": "thinking", "thinking": "h", "signature": "s"}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "1"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "and?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,AA"},
                },
            ],
        },
    )
    function = {"name": "f", "parameters": schema, "description": "d"}
    assert request.parameters == {
        "max_tokens": 9,
        "stop": ["END"],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "user": "u",
        "top_k": 5,
    }


def test_an_anthropic_line_reaches_anthropic_as_it_was() -> None:
    """
    Told in other terms and back, nothing of it is lost.
    """
    cached = {"type": "ephemeral"}
    body = {
        "max_tokens": 9,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": cached}],
        "stop_sequences": ["END"],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "f"},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "h", "signature": "s"},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": "1"}
                ],
            },
        ],
    }
    request = request_of({"params": {"model": "claude-opus-5", **body}})
    provider = AnthropicProvider(api_key="k", model="claude-opus-5")
    sent = dict(provider._composer.compose(request).body)
    assert sent == {"model": "claude-opus-5", **body}


@pytest.mark.parametrize("key", ["prompt", "messages"])
def test_columns_of_a_data_set_are_kept_and_not_sent(key: str) -> None:
    """
    Stands for: whatever else a line holds, sent to a vendor who refuses the row.
    """
    prompt = "hello" if key == "prompt" else HELLO
    columns = {"metadata": {"source": "x"}, "label": 3, "answer": None, "url": "u"}
    row = read({key: prompt, **columns, "temperature": 0, "extra_body": {"made_up": 1}})
    assert row.request == Request(tuple(HELLO), None, {"temperature": 0, "made_up": 1})
    assert row.columns == columns
    # They change no answer: a data set may get another column between two runs.
    bare = read({key: prompt, "temperature": 0, "extra_body": {"made_up": 1}})
    assert bare.fingerprint == row.fingerprint


def test_what_a_body_holds_is_sent_as_it_is() -> None:
    """
    Its metadata is what OpenAI calls so, and its odd keys are somebody's parameters.
    """
    given = {"metadata": {"a": "b"}, "made_up": 1}
    row = read({"body": {"messages": HELLO, **given}, "label": 3})
    assert row.request == Request(tuple(HELLO), None, given)


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

ENDS = "/chat/completions, /responses, /messages"

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
         f"'url' = '/v1/embeddings': expected one that ends with one of {ENDS}"),
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
