"""
Anthropic's wire: messages, whole and as events.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aitor.testing.ask import Answer, Ask, RejectedError, count_tokens, text_of
from aitor.testing.dialect import CREATED, Dialect, Rules, event
from aitor.testing.errors import ANTHROPIC_ERRORS, VendorError
from aitor.testing.limits import Excess, LimitState

__all__ = ("Messages",)

_SAMPLING = ("temperature", "top_p", "top_k")
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", None: None}


class Messages(Dialect):
    """
    `POST /v1/messages`.
    """

    vendor = "anthropic"
    errors = ANTHROPIC_ERRORS
    id_header = "request-id"
    content = "content"
    ping = event("ping", {})

    def read(self, body: Mapping[str, Any], rules: Rules) -> Ask:
        """
        Return what *body* asks for.
        """
        ask = self.read_prompt(body, rules)
        if ask.max_tokens is None:
            raise _invalid("max_tokens: Field required")
        tokens = count_tokens(ask.prompt)
        if rules.context_window and tokens > rules.context_window:
            raise _invalid(
                f"prompt is too long: {tokens} tokens > {rules.context_window} maximum"
            )
        return ask

    def read_prompt(self, body: Mapping[str, Any], rules: Rules) -> Ask:
        """
        Return what *body* asks for, also without a limit, as for counting tokens.
        """
        for name in ("model", "messages"):
            if name not in body:
                raise _invalid(f"{name}: Field required")
        model = self.check_model(body, rules)
        messages = body["messages"]
        if not isinstance(messages, list):
            raise self.reject("bad_request", model)
        if not messages:
            raise _invalid("messages: at least one message is required")
        for name in _SAMPLING if rules.reasons(model) else ():
            if body.get(name) is not None:
                raise self.reject("unsupported_parameter", model, name)
        system = body.get("system")
        form = (body.get("output_config") or {}).get("format") or {}
        schema = form.get("schema")
        return Ask(
            model=model,
            prompt="\n".join(map(text_of, [system, *messages] if system else messages)),
            last=text_of(messages[-1]),
            stream=body.get("stream") is True,
            max_tokens=self.check_limit(body, "max_tokens"),
            tools=frozenset(
                tool["name"] for tool in body.get("tools") or () if "name" in tool
            ),
            schema=schema if isinstance(schema, dict) else None,
        )

    def whole(self, ask: Ask, answer: Answer, number: int) -> dict[str, Any]:
        """
        Return the body of a `message`.
        """
        return _message(
            ask,
            number,
            content=[_block(answer, number)],
            stop_reason=_STOP[answer.finish],
            usage=_usage(answer.input_tokens, answer.output_tokens),
        )

    def events(self, ask: Ask, answer: Answer, number: int) -> Iterator[bytes]:
        """
        Yield the events of a message, `message_stop` last.
        """
        usage = _usage(answer.input_tokens, 1)
        message = _message(ask, number, content=[], stop_reason=None, usage=usage)
        yield event("message_start", {"message": message})
        block = _block(answer, number)
        block["input" if answer.tool_call else "text"] = {} if answer.tool_call else ""
        yield event("content_block_start", {"index": 0, "content_block": block})
        yield self.ping
        for piece in answer.pieces():
            delta = (
                {"type": "input_json_delta", "partial_json": piece}
                if answer.tool_call
                else {"type": "text_delta", "text": piece}
            )
            yield event("content_block_delta", {"index": 0, "delta": delta})
        yield event("content_block_stop", {"index": 0})
        if answer.finish is None:
            return
        yield event(
            "message_delta",
            {
                "delta": {"stop_reason": _STOP[answer.finish], "stop_sequence": None},
                "usage": _usage(answer.input_tokens, answer.output_tokens),
            },
        )
        yield event("message_stop", {})

    def error_body(self, error: VendorError, number: int) -> dict[str, Any]:
        """
        Return the body of *error*.
        """
        inner: dict[str, Any] = {"type": error.type, "message": error.message}
        if error.code is not None:
            inner["details"] = {"error_code": error.code}
        return {"type": "error", "error": inner, "request_id": f"req_fake{number}"}

    def error_event(self, error: VendorError, number: int) -> bytes:
        """
        Return *error* as an event within a stream.
        """
        return event("error", self.error_body(error, number))

    def limit_error(self, excess: Excess, model: str) -> VendorError:
        """
        Return the words in which a limit refuses a request.
        """
        what = excess.name.replace("_", " ")
        return VendorError(
            429,
            "rate_limit_error",
            "This request would exceed the rate limit for your organization of "
            f"{excess.limit:,} {what} per minute.",
        )

    def limit_headers(self, states: Mapping[str, LimitState]) -> dict[str, str]:
        """
        Return `anthropic-ratelimit-*` with resets as dates of RFC 3339.
        """
        headers = {}
        now = datetime.now(UTC)
        for dimension, state in states.items():
            prefix = f"anthropic-ratelimit-{dimension.replace('_', '-')}"
            # Whole seconds, rounded up: a date too early invites a refusal.
            reset = now + timedelta(seconds=math.ceil(state.reset) + 1)
            headers[f"{prefix}-limit"] = str(state.limit)
            headers[f"{prefix}-remaining"] = str(state.remaining)
            headers[f"{prefix}-reset"] = f"{reset:%Y-%m-%dT%H:%M:%SZ}"
        return headers

    def wait_headers(self, delay: float) -> dict[str, str]:
        """
        Return `retry-after` in whole seconds.
        """
        return {"retry-after": str(math.ceil(delay))}

    def models(self, names: Sequence[str]) -> dict[str, Any]:
        """
        Return the body of a list of models.
        """
        created = f"{datetime.fromtimestamp(CREATED, UTC):%Y-%m-%dT%H:%M:%SZ}"
        shared = {"type": "model", "created_at": created, "lifecycle": "active"}
        return {
            "data": [{"id": name, "display_name": name, **shared} for name in names],
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }


def _invalid(message: str) -> RejectedError:
    return RejectedError(VendorError(400, "invalid_request_error", message))


def _message(ask: Ask, number: int, **rest: Any) -> dict[str, Any]:
    return {
        "id": f"msg_fake{number}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "stop_sequence": None,
        **rest,
    }


def _block(answer: Answer, number: int) -> dict[str, Any]:
    if answer.tool_call is None:
        return {"type": "text", "text": answer.text}
    return {
        "type": "tool_use",
        "id": f"toolu_fake{number}",
        "name": answer.tool_call.name,
        "input": json.loads(answer.tool_call.arguments),
    }


def _usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }
