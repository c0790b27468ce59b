"""
What each target begins with: a few inputs that reach deep, for a fuzzer to change.
"""

import json
from typing import Any

__all__ = ("SEEDS",)

CHAT_DOCUMENT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "gpt-5.5",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f"}}
                ],
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}

RESPONSE_DOCUMENT: dict[str, Any] = {
    "id": "resp_1",
    "model": "gpt-6-astra",
    "status": "completed",
    "output": [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ],
    "usage": {"input_tokens": 10, "output_tokens": 20},
}

MESSAGE_DOCUMENT: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 20},
}


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHAT_STREAM = (
    _chunk({"role": "assistant", "content": "Hel", "reasoning_content": "Hm"}),
    _chunk({"content": "lo"}),
    _chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    _chunk({}, "tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
)

RESPONSE_STREAM = (
    {"type": "response.output_text.delta", "delta": "Hello"},
    {"type": "response.completed", "response": RESPONSE_DOCUMENT},
)

MESSAGE_STREAM = (
    {"type": "message_start", "message": {**MESSAGE_DOCUMENT, "content": []}},
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    },
    {"type": "ping"},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "Hello"},
    },
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'},
    },
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 20},
    },
    {"type": "message_stop"},
)


def _stream(documents: tuple[dict[str, Any], ...], end: bytes = b"") -> bytes:
    texts = (json.dumps(each, separators=(",", ":")) for each in documents)
    return b"".join(f"data: {text}\n\n".encode() for text in texts) + end


def _document(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


ERRORS = (
    (
        b'{"error":{"message":"Incorrect API key provided: swordfish. You can find it",'
        b'"type":"invalid_request_error","param":null,"code":"invalid_api_key"}}'
    ),
    b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    (
        b'{"error":{"message":"Unsupported parameter: \'max_tokens\' is not supported '
        b"with this model. Use 'max_completion_tokens' instead.\","
        b'"param":"max_tokens","code":"unsupported_parameter"}}'
    ),
    b'{"error":{"message":"max_tokens: 9000 > 8192, which is the maximum"}}',
    (
        b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":'
        b'"37s"}],"message":"Please retry in 37.2s"}}'
    ),
    b'{"error":{"message":"{\\"error\\":{\\"code\\":\\"model_not_found\\"}}"}}',
    b'[{"error":{"code":400,"message":"API key not valid"}}]',
    b'{"detail":[{"type":"extra_forbidden","loc":["body","top_p"],"msg":"swordfish"}]}',
    b"<html><body>502 Bad Gateway</body></html>",
    b"upstream swordfish error: try again in 1m30s",
)

LIMITS = b"""retry-after: 20
retry-after-ms: 1500
x-ratelimit-limit-requests: 500
x-ratelimit-remaining-requests: 0
x-ratelimit-reset-requests: 6m0.5s
anthropic-ratelimit-tokens-limit: 40000
anthropic-ratelimit-tokens-remaining: 0
anthropic-ratelimit-tokens-reset: 2027-01-15T08:00:30Z"""

DATES = b"""retry-after: Fri, 15 Jan 2027 08:00:30 GMT
x-ratelimit-remaining-tokens: 0.0
x-ratelimit-reset-tokens: 28ms"""

TOML = b"""failover = ["openai", "claude"]
backend = "trio"
retry_ratio = 0.5

[providers.openai]
model = "gpt-5.5"
api_key = "env:KEY"
requests_per_minute = 500
workers = 8
headers = {"x-team" = "a"}

[providers.openai.breaker]
failures = 5

[providers.openai.rules."gpt-9"]
context_window = 1_000

[providers.claude]
kind = "anthropic"
api_key = "sk-ant"
limits = "acme"

[providers.local]
kind = "compatible"
base_url = "http://127.0.0.1:8000/v1"
timeout = 1e1

[providers.pretended]
kind = "mock"
responses = {"sky" = "Rayleigh"}

[limits.acme]
requests_per_minute = 50.5

[tenants]
blue = 2.0
"""

ENVIRONMENT = b"""OPENAI_API_KEY=sk-one
OPENAI_MODEL=gpt-5.5
OPENAI_TEMPERATURE=0.5
OPENAI_MAX_TOKENS=100
ANTHROPIC_API_KEY=sk-two
ANTHROPIC_MAX_TOKENS=1000
CUSTOM_LLM_API_KEY=sk-three
CUSTOM_LLM_BASE_URL=https://host/v1
DEFAULT_LLM_PROVIDER=anthropic"""

ROWS = b"""{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":\
{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":5}}
{"custom_id":"b","params":{"model":"m","messages":[{"role":"user","content":"Hi"}]}}

{"id":7,"prompt":"Hi","temperature":0.5}\r
{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}],"stream":true}
not JSON"""

SEEDS: dict[str, tuple[bytes, ...]] = {
    "http1": (
        b"\x00\x09HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nHello",
        (
            b"\x00\x20HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
        ),
        b"\x00\x20HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 No\r\n\r\nto the end",
        b"\x00\x01HTTP/1.1 204 \r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ),
    "events": (
        b"\x00\x05\x40event: a\ndata: 1\ndata: 2\n\n: hi\r\ndata:x\r\rid: 1\n\n",
        b"\x00\x02\x03\xef\xbb\xbfdata: [DONE]\r\n\r\ndata\n\ndata: cut",
    ),
    "answers": (
        b"\x00\x00\x00\x09" + _document(CHAT_DOCUMENT),
        b"\x01\x00\x00\x09" + _document(RESPONSE_DOCUMENT),
        b"\x02\x00\x00\x09" + _document(MESSAGE_DOCUMENT),
        b"\x00\x01\x00\x40" + _stream(CHAT_STREAM, b"data: [DONE]\n\n"),
        b"\x01\x01\x00\x40" + _stream(RESPONSE_STREAM),
        b"\x02\x01\x00\x40" + _stream(MESSAGE_STREAM),
        *(b"\x00\x00\x00\x01" + error for error in ERRORS),
        b"\x00\x01\x00\x01event: error\ndata: " + ERRORS[1] + b"\n\n",
    ),
    "refusals": tuple(
        bytes([number]) + LIMITS + b"\n\n" + error
        for number, error in enumerate(ERRORS, start=2)
    ),
    "headers": (LIMITS, DATES),
    "rows": (b"\x10" + ROWS, b"\x00\xef\xbb\xbf" + ROWS),
    "toml": (TOML,),
    "environment": (b"\x00" + ENVIRONMENT, b"\x01" + ENVIRONMENT),
    "journal": (
        b"\x00" + b"\x02\x00\x60\x10\x04abcd",
        b"\x01" + b"\x03\x00\x40\x00\x01a" + b"\x01\x00\x80\x00\x00",
        b"\x02" + b"\x00\x00\x00\x40\x00" + b"\x01\x00\x00\x30\x00",
        b"\x03" + b"\x04\x00\x00\x40\x02{}" + b"\x07\x00\x00\x30\x05",
    ),
}
"""By the target's name."""
