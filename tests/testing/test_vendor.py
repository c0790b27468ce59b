"""What the vendor makes of requests that nobody should send."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.client import PATHS

from aitor.testing import Behaviour
from aitor.testing.http import Head, HTTPRequest
from aitor.testing.vendor import Arrival, Vendor

NAMES = (
    *("model", "messages", "input", "instructions", "system", "content", "role"),
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "temperature"),
    *("stream", "stream_options", "include_usage", "tools", "function", "name"),
    *("response_format", "json_schema", "schema", "text", "format", "type", "output"),
    *("output_config", "properties", "required", "items", "minItems", "anyOf", "$ref"),
    *("enum", "default", "minimum", "exclusiveMinimum"),
)
WORDS = ("m", "user", "#", "json_schema", "json_object", "object", "array", "integer")

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.floats(allow_nan=False),
        st.sampled_from(WORDS),
        st.text(max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    ),
    max_leaves=12,
)
bodies = st.builds(
    lambda good, odd: {**good, **odd},
    st.just(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "call:m({})"}],
            "input": "call:m({})",
            "max_tokens": 9,
        }
    ),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=4),
)


@given(
    path=st.sampled_from((*PATHS, "/v1/messages/count_tokens")), body=bodies | values
)
@settings(max_examples=100)
def test_any_json_is_answered_or_refused_and_breaks_nothing(
    path: str, body: object
) -> None:
    head = Head(f"POST {path} HTTP/1.1\r\nx-api-key: sk-any\r\n".encode())
    request = HTTPRequest(head, json.dumps(body).encode())
    vendor = Vendor(Behaviour(reasoning_models=["x"], context_window=1000))
    plan = vendor.plan(Arrival(request, 1, 0.0, 1, None))
    assert plan.outcome in ("answered", "rejected")
    assert plan.response.status == (200 if plan.outcome == "answered" else 400)
    assert plan.response.wire().startswith(b"HTTP/1.1 ")


def test_text_nested_without_end_is_refused() -> None:
    nested: Any = "x"
    for _ in range(900):
        nested = [nested]
    body = {"model": "m", "messages": [{"content": nested}]}
    head = Head(b"POST /chat/completions HTTP/1.1\r\nx-api-key: sk-any\r\n")
    request = HTTPRequest(head, json.dumps(body).encode())
    plan = Vendor(Behaviour()).plan(Arrival(request, 1, 0.0, 1, None))
    assert plan.response.status == 400
