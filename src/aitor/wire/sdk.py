"""
A caller's own SDK client as a wire: whatever it knows, works.

`AsyncOpenAI`, `AsyncAzureOpenAI`, `AsyncAnthropic` and their kin for other clouds
bring tokens that renew themselves, signed requests, proxies and pools of their own.
All share one public method, `post`, which sends a dictionary and can hand back the
bare answer, so none of them needs to be imported here. The client stays its
owner's: nothing about it is changed, and it is not closed.

What the SDK would do beyond sending is declined. It makes no second try, follows no
redirect, and what it raises never leaves this page: its exceptions hold the whole
request, and with it the key. A refusal, which the SDK reads whole and raises, is an
ordinary response again.

Two things to know: the SDK client's own timeouts still apply, and Bedrock streams
come in Amazon's event format instead of server-sent events.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx2
from anyio import current_time

from aitor.errors import ConfigurationError, LLMError
from aitor.wire.base import Response, WholeResponse
from aitor.wire.failures import Call, KeptConnections, explain
from aitor.wire.httpx2 import StreamedResponse, first_values, stays_open
from aitor.wire.proxies import Proxy

__all__ = ("SDKWire",)


class SDKWire:
    """
    The connections of an SDK client.

    Paths are appended to the client's own base URL.

    Args:
        client: An asynchronous client of `openai` or `anthropic`, of any cloud.
        proxy: What it goes through, where that is known.

    Raises:
        ConfigurationError: It is no such client.
    """

    stale = False
    """Never: there is no other client; see `Wire`."""

    def __init__(self, client: Any, proxy: Proxy | None = None) -> None:
        # The synchronous clients have the same `post`; only these have this too.
        if not (hasattr(client, "post") and hasattr(client, "__aenter__")):
            raise ConfigurationError(
                f"'client' is a {type(client).__name__}: must be an asynchronous "
                "client of openai or anthropic, such as AsyncOpenAI"
            )
        self._client = client
        self._proxy = proxy
        self._kept = KeptConnections()

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Response]:
        """Send *body* to *path* once, and hand out the response; see `Wire`."""
        response = await self._send(path, body, headers)
        if isinstance(response, WholeResponse):
            yield response
            return
        async with aclosing(response):
            yield response

    async def _send(
        self, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> WholeResponse | StreamedResponse:
        call = Call(self._kept.take(), current_time())
        try:
            answer = await self._client.post(
                path,
                cast_to=httpx2.Response,
                # A dictionary, not bytes: for some clouds the SDK takes the model
                # out of it and puts it into the path.
                body=json.loads(body),
                options={
                    "headers": dict(headers or {}),
                    "max_retries": 0,
                    "follow_redirects": False,
                },
                stream=True,
            )
        except Exception as error:  # noqa: BLE001  # all are told in our words
            outcome = _outcome(error, call, self._kept, self._proxy)
        else:
            return StreamedResponse(answer, self._kept)
        # Outside the handler, so that the original is not its context.
        if isinstance(outcome, LLMError):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        """Do nothing: the client is its owner's to close."""


def _outcome(
    error: Any, call: Call, connections: KeptConnections, proxy: Proxy | None
) -> WholeResponse | LLMError:
    names = {kind.__name__ for kind in type(error).__mro__}
    if "APIStatusError" in names:
        answer = error.response
        if stays_open(answer):
            connections.give_back()
        return WholeResponse(
            answer.status_code, first_values(answer.headers), answer.content
        )
    if "APIConnectionError" in names and isinstance(error.__cause__, Exception):
        # The SDK's own says less than what it was raised from.
        return explain(error.__cause__, call, proxy)
    return explain(error, call, proxy)
