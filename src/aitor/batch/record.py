"""
What a row that has ended looks like in the output.

The shape is that of OpenAI's Batch files, so that what reads those reads this. All
that is ours stands under the one key `aitor`. The body is the provider's own
answer, in its own shape, or one in OpenAI's shape where a provider brings none;
`aitor.text` is the same for all.

Everything outside ASCII is escaped. So no line is broken by a reader that takes
more than a newline for the end of one, and half a character, as models do send
them, can be written at all.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from pydantic_core import to_json

from aitor.batch.journal import Record
from aitor.batch.rows import Row
from aitor.errors import LLMError
from aitor.messages import Attempt, Reply, Usage

__all__ = ("answered", "failed", "read_record")

# A custom provider's answer may hold what JSON has no word for: its text goes in.
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)


def answered(row: Row, reply: Reply, *, seconds: float, cost: Decimal | None) -> Record:
    """
    Return the record of a row that was answered.

    Args:
        row: The row.
        reply: Its answer.
        seconds: From when it was handed to the broker.
        cost: In US dollars; None where it is unknown.
    """
    response = {"status_code": 200, "request_id": reply.request_id}
    ours = {
        "provider": reply.provider,
        "model": reply.model,
        "finish_reason": reply.finish_reason,
        "text": reply.text,
        "usage": _usage(reply.usage),
        "cost_usd": None if cost is None else float(cost),
        "seconds": round(seconds, 6),
        "attempts": _attempts(reply.attempts),
    }
    try:
        return _record(row, {**response, "body": _body(reply)}, None, ours)
    except Exception:  # noqa: BLE001  # the answer is paid for
        # A provider of one's own may bring what cannot be written down.
        return _record(row, {**response, "body": _made(reply, {})}, None, ours)


def failed(row: Row, error: LLMError, *, seconds: float) -> Record:
    """
    Return the record of a row that failed.

    Args:
        row: The row.
        error: Why.
        seconds: From when it was handed to the broker.
    """
    told = {"code": error.code or str(error.outcome), "message": str(error)}
    ours = {
        "provider": error.provider,
        "error": type(error).__name__,
        "outcome": str(error.outcome),
        "status": error.status,
        "request_id": error.request_id,
        "line": row.line,
        "seconds": round(seconds, 6),
        "attempts": _attempts(error.attempts),
    }
    return _record(row, None, told, ours)


def read_record(text: bytes) -> Record | None:
    """
    Return the record that a line of an output is; None if it is none.

    Of its row no more is known than the record tells: its name, and as its fingerprint
    the record's own id; see `Row.record_id`.
    """
    try:
        fields = json.loads(text)
        name, custom_id = fields["id"], fields["custom_id"]
        failed = fields["error"] is not None
        ours = fields["aitor"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    if not (isinstance(name, str) and isinstance(custom_id, str)):
        return None
    if not (name.startswith("batch_req_") and isinstance(ours, dict)):
        return None
    line = ours.get("line")
    row = Row(custom_id, line if isinstance(line, int) else 0, name)
    return Record(row, failed=failed, text=text)


def _record(
    row: Row,
    response: dict[str, Any] | None,
    error: dict[str, Any] | None,
    ours: dict[str, Any],
) -> Record:
    if row.columns:
        ours["columns"] = dict(row.columns)
    fields = {
        "id": row.record_id,
        "custom_id": row.custom_id,
        "response": response,
        "error": error,
        "aitor": ours,
    }
    return Record(row, failed=error is not None, text=_line(fields))


def _line(fields: dict[str, Any]) -> bytes:
    # Thrice as fast, but it knows neither half a character nor how to escape one.
    with suppress(ValueError):
        text: bytes = to_json(fields, fallback=str)
        if text.isascii():
            return text + b"\n"
    return _ENCODER.encode(fields).encode("ascii") + b"\n"


def _body(reply: Reply) -> dict[str, Any]:
    if reply.body:
        return dict(reply.body)
    # A provider of one's own may bring none, and who reads the file looks for it.
    return _made(reply, reply.message)


def _made(reply: Reply, message: Mapping[str, Any]) -> dict[str, Any]:
    message = message or {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return {
        "object": "chat.completion",
        "model": reply.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": reply.usage.input_tokens,
            "completion_tokens": reply.usage.output_tokens,
            "total_tokens": reply.usage.total_tokens,
        },
    }


def _usage(usage: Usage) -> dict[str, Any]:
    # By hand: `dataclasses.asdict` takes longer than all the rest of a record.
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "estimated": usage.estimated,
    }


def _attempts(attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
    return [
        {
            "provider": attempt.provider,
            "model": attempt.model,
            "outcome": str(attempt.outcome),
            "status": attempt.status,
            "seconds": round(attempt.seconds, 6),
            "waited": round(attempt.waits.total, 6),
        }
        for attempt in attempts
    ]
