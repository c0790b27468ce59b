"""
One line of the input becomes one row.

Three shapes are told apart by their keys: `body` is OpenAI's Batch file, `params`
is Anthropic's, `prompt` or `messages` is a bare line. A line that is none of them
becomes a row that has failed already: a batch of a million is not given up for one
of them, and its record says what is wrong with it. Texts of errors name the place
and the keys, never the content.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from aitor.errors import BadRequestError
from aitor.messages import Request

__all__ = ("Row", "read_row")

URLS = ("/v1/chat/completions", "/chat/completions")
"""What an OpenAI line may ask for; the second is how Azure writes it."""

DELIVERY = ("max_in_flight", "provider", "tenant")
"""
What of a bare line would be meant for us and not for a vendor, who would refuse each
row of the batch. `timeout` and `priority` are left alone: some gateways take them.
"""

EXPECTED = (
    "expected an object with 'body' (OpenAI Batch), 'params' (Anthropic), "
    "'prompt' or 'messages'"
)


def _refuse(name: str) -> None:
    raise BadRequestError(f"not JSON, which has no {name}")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


class Row(NamedTuple):
    """
    A row of the input: who it is, and what it asks.

    Args:
        custom_id: Its name, unique in the file; `row-17` where line 17 has none.
        line: Its line in the input, counted from 1.
        fingerprint: A hash of everything in the row that can change the answer.
        request: What it asks; None if the line is wrong.
        error: What is wrong with the line; None if nothing is.
    """

    custom_id: str
    line: int
    fingerprint: str
    request: Request | None = None
    error: BadRequestError | None = None

    def __repr__(self) -> str:
        return f"Row(custom_id={self.custom_id!r}, line={self.line})"


def read_row(text: bytes, line: int, source: str) -> Row:
    """
    Read one line.

    Args:
        text: The line, in UTF-8.
        line: Its number, counted from 1.
        source: The file's name, for the error.
    """
    custom_id = f"row-{line}"
    try:
        fields = _object(text)
        custom_id = _custom_id(fields) or custom_id
        request = _request(fields)
        return Row(custom_id, line, request.fingerprint(), request)
    except BadRequestError as problem:
        error = BadRequestError(f"{source}, line {line}: {problem.message}")
        fingerprint = hashlib.sha256(text).hexdigest()
        return Row(custom_id, line, fingerprint, error=error)


def _object(text: bytes) -> dict[str, Any]:
    try:
        fields = _DECODER.decode(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequestError(f"not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise BadRequestError(
            f"not JSON ({error.msg} at column {error.colno}); {EXPECTED}"
        ) from None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or brackets nested as deep.
        raise BadRequestError(f"not JSON ({type(error).__name__})") from None
    if not isinstance(fields, dict):
        raise BadRequestError(f"a JSON {_kind(fields)}; {EXPECTED}")
    return fields


def _custom_id(fields: dict[str, Any]) -> str | None:
    # Taken out, so that what is left of a bare line is its parameters.
    plain = fields.pop("id", None)
    value = fields.pop("custom_id", plain)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadRequestError(f"'custom_id' must be a text, not {_kind(value)}")
    if not value:
        raise BadRequestError("'custom_id' is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequestError("'custom_id' holds half a character") from None
    return value


def _request(fields: dict[str, Any]) -> Request:
    if "body" in fields:
        _check_target(fields)
        return _from_body(fields["body"], "body")
    if "params" in fields:
        return _from_body(fields["params"], "params")
    if "prompt" in fields and "messages" in fields:
        raise BadRequestError("both 'prompt' and 'messages'; expected one of them")
    _check_delivery(fields)
    if "prompt" in fields:
        return _bare(fields, fields.pop("prompt"))
    if "messages" in fields:
        return _from_body(fields, None)
    raise BadRequestError(f"none of the keys that tell a request; {EXPECTED}")


def _check_target(fields: dict[str, Any]) -> None:
    url = fields.get("url", URLS[0])
    if url not in URLS:
        raise BadRequestError(f"'url' = {url!r:.80}: only {URLS[0]!r} is supported")
    method = fields.get("method", "POST")
    if method != "POST":
        raise BadRequestError(f"'method' = {method!r:.80}: only 'POST' is supported")


def _check_delivery(fields: dict[str, Any]) -> None:
    for key in DELIVERY:
        # OpenRouter has a parameter of that name, but it is an object.
        if key in fields and (key != "provider" or isinstance(fields[key], str)):
            raise BadRequestError(
                f"{key!r} is the same for all rows: see --{key.replace('_', '-')}"
            )


def _from_body(body: Any, key: str | None) -> Request:
    if not isinstance(body, dict):
        raise BadRequestError(f"'{key}' must be an object, not {_kind(body)}")
    if "messages" not in body:
        raise BadRequestError(f"'{key}' must hold 'messages'")
    messages = body.pop("messages")
    if isinstance(messages, str) or not isinstance(messages, Sequence):
        raise BadRequestError(f"'messages' must be a list, not {_kind(messages)}")
    return _bare(body, messages)


def _bare(fields: dict[str, Any], prompt: Any) -> Request:
    model = fields.pop("model", None)
    if model is not None and not isinstance(model, str):
        raise BadRequestError(f"'model' must be a text, not {_kind(model)}")
    # How an answer travels is the broker's affair; a record holds it whole.
    fields.pop("stream", None)
    return Request.of(prompt, model=model, parameters=fields)


def _kind(value: Any) -> str:
    """Return JSON's word for *value*'s type."""
    if value is None:
        return "null"
    names = {bool: "true or false", str: "text", dict: "object", list: "list"}
    return names.get(type(value), "number")
