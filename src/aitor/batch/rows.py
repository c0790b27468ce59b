"""
One line of the input becomes one row.

Three shapes are told apart by their keys: `body` is OpenAI's Batch file, whose `url`
says which API it means, `params` is Anthropic's, `prompt` or `messages` is a bare line.
A bare line may come from a data set: what of it is no parameter of a request that is
known here is a column of that, is kept for the record, and is not sent; `extra_body`
takes what else is meant for a vendor. A line that is none of them
becomes a row that has failed already: a batch of a million is not given up for one
of them, and its record says what is wrong with it. Texts of errors name the place
and the keys, never the content.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from aitor.batch.shapes import api_of, from_messages_api, from_responses_api
from aitor.errors import BadRequestError
from aitor.messages import Request

__all__ = ("Row", "read_name", "read_row")

PARAMETERS = frozenset(
    """
    audio cache_control chat_template_kwargs chat_template add_generation_prompt
    best_of context_management enable_thinking extra_headers frequency_penalty
    function_call functions grammar guided_choice guided_decoding_backend guided_grammar
    guided_json guided_regex ignore_eos include_reasoning inference_geo json_schema
    length_penalty logit_bias logprobs max_completion_tokens max_tokens mcp_servers
    min_p min_tokens mirostat mirostat_eta mirostat_tau modalities models moderation n
    num_ctx output_config parallel_tool_calls plugins prediction presence_penalty
    priority prompt_cache_key prompt_cache_options prompt_cache_retention
    prompt_logprobs provider reasoning reasoning_effort reasoning_format
    repeat_penalty repetition_penalty response_format route safe_prompt
    safety_identifier safety_settings search_parameters seed service_tier
    skip_special_tokens spaces_between_special_tokens stop stop_sequences
    stop_token_ids store structured_outputs system temperature text thinking
    thinking_budget timeout tool_choice tools top_a top_k top_logprobs top_p
    transforms typical_p use_beam_search user verbosity web_search_options
    """.split()  # noqa: SIM905  # so that they can be read
)
"""What of a bare line is a request's: by OpenAI, Anthropic, and those who speak so."""

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
        columns: What else it holds, which is for the record and not sent.
    """

    custom_id: str
    line: int
    fingerprint: str
    request: Request | None = None
    error: BadRequestError | None = None
    columns: Mapping[str, Any] = MappingProxyType({})

    @property
    def record_id(self) -> str:
        """The id of its record, which tells what row it is the record of."""
        told = f"{self.fingerprint} {self.custom_id}".encode()
        return f"batch_req_{hashlib.sha256(told).hexdigest()[:32]}"

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
        request, columns = _request(fields)
        fingerprint = request.fingerprint()
        return Row(custom_id, line, fingerprint, request, columns=columns)
    except BadRequestError as problem:
        error = BadRequestError(f"{source}, line {line}: {problem.message}")
        fingerprint = hashlib.sha256(text).hexdigest()
        return Row(custom_id, line, fingerprint, error=error)


def read_name(text: bytes, line: int) -> str:
    """Return the name of the row that `read_row` makes of a line."""
    with suppress(BadRequestError):
        if name := _custom_id(_object(text)):
            return name
    return f"row-{line}"


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


def _request(fields: dict[str, Any]) -> tuple[Request, dict[str, Any]]:
    if "body" in fields:
        return _from_body(fields["body"], "body", _target(fields)), {}
    if "params" in fields:
        return _from_body(fields["params"], "params", "/messages"), {}
    if "prompt" in fields and "messages" in fields:
        raise BadRequestError("both 'prompt' and 'messages'; expected one of them")
    _check_delivery(fields)
    columns = _columns(fields)
    if "prompt" in fields:
        return _bare(fields, fields.pop("prompt")), columns
    if "messages" in fields:
        return _from_body(fields, None, "/chat/completions"), columns
    raise BadRequestError(f"none of the keys that tell a request; {EXPECTED}")


def _target(fields: dict[str, Any]) -> str:
    """Return which API a line of OpenAI's Batch means."""
    method = fields.get("method", "POST")
    if method != "POST":
        raise BadRequestError(f"'method' = {method!r:.80}: only 'POST' is supported")
    return api_of(fields.get("url", "/chat/completions"))


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Take out of a bare line what is no request's."""
    extra = fields.pop("extra_body", None)
    if extra is not None and not isinstance(extra, dict):
        raise BadRequestError(f"'extra_body' must be an object, not {_kind(extra)}")
    known = PARAMETERS | {"prompt", "messages", "model", "stream", "stream_options"}
    columns = {key: fields.pop(key) for key in fields.keys() - known}
    fields.update(extra or {})
    return columns


def _check_delivery(fields: dict[str, Any]) -> None:
    for key in DELIVERY:
        # OpenRouter has a parameter of that name, but it is an object.
        if key in fields and (key != "provider" or isinstance(fields[key], str)):
            raise BadRequestError(
                f"{key!r} is the same for all rows: see --{key.replace('_', '-')}"
            )


def _from_body(body: Any, key: str | None, api: str) -> Request:
    if not isinstance(body, dict):
        raise BadRequestError(f"'{key}' must be an object, not {_kind(body)}")
    if api == "/responses":
        body = from_responses_api(body)
    elif api == "/messages":
        body = from_messages_api(body)
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
