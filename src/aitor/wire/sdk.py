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

Three things to know: the SDK client's own timeouts still apply; Bedrock streams come
in Amazon's event format instead of server-sent events; and each call has a connection
of its own, since the client's pool cannot be asked whether a server has sent more than
an answer, which would be the next call's.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any

import httpx2
from anyio import current_time
from anyio.lowlevel import current_token

from aitor.errors import ConfigurationError, ConnectionFailedError, LLMError
from aitor.wire.base import Response, WholeResponse, WireSettings
from aitor.wire.failures import Call, Fault, Heard, explain
from aitor.wire.httpx2 import StreamedResponse, first_values, no_cookies
from aitor.wire.places import Places
from aitor.wire.proxies import Proxy
from aitor.wire.transport import Transport, calling

__all__ = ("OwnSDKWire", "SDKWire")

CLOSED = {"connection": "close"}


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
    """Never, where there is no other client; see `Wire`."""

    keeps = False
    """Whether connections are used again."""

    def __init__(self, client: Any, proxy: Proxy | None = None) -> None:
        # The synchronous clients have the same `post`; only these have this too.
        if not (hasattr(client, "post") and hasattr(client, "__aenter__")):
            raise ConfigurationError(
                f"'client' is a {type(client).__name__}: must be an asynchronous "
                "client of openai or anthropic, such as AsyncOpenAI"
            )
        self._client = client
        self._proxy = proxy
        # How many the client allows itself is not known, and its own limit to keep.
        self._places = Places(inf, inf)
        self._heard = Heard()
        self._loop: object = None
        self._calls = 0

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Response]:
        """Send *body* to *path* once, and hand out the response; see `Wire`."""
        self._come_to(current_token())
        self._calls += 1
        try:
            send = partial(self._send, path, body, headers or {})
            async with self._places.sending(send) as response:
                yield response
        finally:
            self._calls -= 1

    def _come_to(self, loop: object) -> None:
        # A client of somebody's own goes with its provider into every loop.
        if loop == self._loop:
            return
        if self._calls:
            raise ConfigurationError(
                "'client' is in use by another event loop, and an SDK's client serves "
                "one at a time: give each thread a provider with a client of its own"
            )
        if self._loop is not None:
            self._places = Places(inf, inf)
        self._loop = loop

    async def _send(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> WholeResponse | StreamedResponse:
        # Whether it was kept says its transport, where that is ours.
        call = Call(kept=False, started=current_time(), heard=self._heard)
        try:
            with calling(call):
                answer = await self._client.post(
                    path,
                    cast_to=httpx2.Response,
                    # A dictionary, not bytes: for some clouds the SDK takes the model
                    # out of it and puts it into the path.
                    body=json.loads(body),
                    options={
                        "headers": {**headers, **({} if self.keeps else CLOSED)},
                        "max_retries": 0,
                        "follow_redirects": False,
                    },
                    stream=True,
                )
        except Exception as error:  # noqa: BLE001  # all are told in our words
            outcome = _outcome(error, call, self._proxy)
        else:
            self._heard.anything = True
            return StreamedResponse(answer)
        # Outside the handler, so that the original is not its context.
        if isinstance(outcome, LLMError):
            unused = isinstance(outcome, ConnectionFailedError) and outcome.unused
            self.stale = self.stale or unused
            raise outcome
        self._heard.anything = True
        return outcome

    async def aclose(self) -> None:
        """Do nothing: the client is its owner's to close."""


class OwnSDKWire(SDKWire):
    """
    The connections of an SDK client that was made here, and is closed here.

    Args:
        make_client: Makes the client; it is given what it sends with.
        settings: What the pool needs to know.
        proxy: What it goes through.
    """

    keeps = True

    def __init__(
        self,
        make_client: Callable[[httpx2.AsyncClient], Any],
        settings: WireSettings,
        proxy: Proxy | None = None,
    ) -> None:
        places = Places(settings.max_connections, settings.connect_timeout)
        client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=settings.connect_timeout),
            cookies=no_cookies(),
            transport=Transport(settings, proxy, places),
        )
        super().__init__(make_client(client), proxy)
        self._places = places
        self._closed = False

    def _come_to(self, loop: object) -> None:
        # It is opened in the loop that uses it.
        if self._closed:
            raise Fault.CLOSED.error()

    async def aclose(self) -> None:
        """Close every connection; closing twice does nothing."""
        self._closed = True
        await self._client.close()


def _outcome(error: Any, call: Call, proxy: Proxy | None) -> WholeResponse | LLMError:
    names = {kind.__name__ for kind in type(error).__mro__}
    if "APIStatusError" in names:
        answer = error.response
        return WholeResponse(
            answer.status_code, first_values(answer.headers), answer.content
        )
    if (refusal := _refusal_in(error)) is not None:
        headers = first_values(refusal.headers)
        return _CutResponse(refusal.status_code, headers, b"")
    if "APIConnectionError" in names and isinstance(error.__cause__, Exception):
        # The SDK's own says less than what it was raised from.
        return explain(error.__cause__, call, proxy)
    return explain(error, call, proxy)


class _CutResponse(WholeResponse):
    """A refusal whose body broke off, of which status and headers say enough."""

    async def __anext__(self) -> bytes:
        raise Fault.CUT.error()


def _refusal_in(error: BaseException | None) -> Any:
    """Return the refusal that was being read when *error* was raised, if any."""
    while error is not None and type(error).__name__ != "HTTPStatusError":
        error = error.__context__
    return getattr(error, "response", None)
