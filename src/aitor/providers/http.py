"""
A provider over HTTP: one exchange, from a request to an answer or an error.

What is the same for every vendor is here: sending, reading, classifying, and the life
of the connection pool. What differs (an address, headers, a dialect) is brought by a
subclass. An answer is read as it comes, whole or in a stream, by the same loop; when a
limit on the first content or on silence is set, the vendor is asked to stream, so that
there is something which such a limit can see.
"""

import abc
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

import anyio

from aitor.errors import ConfigurationError, LLMError, UnusableProviderError
from aitor.events import ParameterDropped, ParameterRaised
from aitor.messages import Answer, Request
from aitor.providers.base import Progress, Provider
from aitor.providers.classify import Refusal
from aitor.providers.composer import Call, Composer
from aitor.providers.concealed import concealed
from aitor.providers.dialect import Dialect, Exchange
from aitor.providers.pools import Pools
from aitor.providers.readers import AnswerReader
from aitor.providers.rules import Rule, rule_of, rules_of
from aitor.providers.settings import HTTPSettings, load, sendable_headers
from aitor.wire import Response, Wire, WireSettings, find_proxy, open_wire
from aitor.wire.address import Address

__all__ = ("HTTPProvider",)

MAX_ERROR_BYTES = 64 * 1024
"""No more of an error's body is read: what it has to say stands at its beginning."""

MAX_ERROR_SECONDS = 1.0
"""Nor for longer: it comes with its head, and status and headers say enough."""

LINGER = 0.1
"""Seconds to wait for the body's end once the answer is whole."""

BROUGHT_BY_A_CLIENT = (
    "api_key",
    "auth_token",
    "base_url",
    "headers",
    "key_header",
    "organization",
    "project",
    "version",
    "transport",
    "connect_timeout",
    "connection_pool_size",
    "connection_pool_maxsize",
    "keep_alive",
)
"""Settings that would have no effect beside a client, and so are refused."""


class HTTPProvider(Provider):
    """
    A vendor over HTTP.

    Args:
        client: A client of the vendor's SDK to send with. It brings address, key and
            connections, and stays its owner's: it is not closed here.
        settings: The keys of `Settings`.

    Raises:
        ConfigurationError: Naming key, value and what was expected.
    """

    Settings: ClassVar[type[HTTPSettings]] = HTTPSettings
    settings: HTTPSettings

    home: ClassVar[str | None] = None
    """The vendor's own address, which is the default."""

    vendor: ClassVar[str | None] = None
    """Whose rules for models apply."""

    variables: ClassVar[Mapping[str, str]] = {}
    """Environment variables for settings that are not given, as the SDK reads them."""

    headers_variable: ClassVar[str | None] = None
    """The environment variable for more headers, one a line."""

    usual_output_limit: ClassVar[int | None] = None
    """The answer's limit when nobody gives one, where there has to be one."""

    def __init__(self, *, client: Any = None, **settings: Any) -> None:
        settings = concealed(settings)
        self._wire = None if client is None else _wire_of(client)
        super().__init__(**self._completed(client, settings))
        if client is None and self.settings.base_url:
            find_proxy(self.settings.transport, self.settings.base_url)
        self.wall_clock: Callable[[], float] = time.time
        """Seconds since 1970: waits may be dates, and models retire on a day."""
        self._headers = {
            "accept": "application/json",
            "content-type": "application/json",
            # Answers are short, streams come without a compressor's delay.
            "accept-encoding": "identity",
            "user-agent": "aitor",
            **({} if client is not None else self._identify()),
        }
        self._composer = Composer(
            self.settings,
            self.dialect,
            rules=self._all_rules(),
            version=self.version,
            output_limit=self.usual_output_limit,
            today=self._today if self._is_at_home() else None,
            tell=self._tell,
        )
        self._pools = Pools(self._open_wire)
        address = urlsplit(self.settings.base_url or "")
        # A path may hold a secret, and is not told.
        self._address = (address.hostname or "", f"{address.scheme}://{address.netloc}")

    # What a vendor brings.

    @property
    def version(self) -> str | None:
        """The API version that is asked for, where the vendor has such."""
        return None

    @abc.abstractmethod
    def headers(self) -> dict[str, str]:
        """
        Return the headers that say who asks, their names in lower case.

        Raises:
            ConfigurationError: If there is no key and there must be one.
        """

    @abc.abstractmethod
    def dialect(self, rule: Rule, parameters: Mapping[str, Any]) -> Dialect:
        """Return the dialect in which a model with *rule* is asked."""

    @abc.abstractmethod
    def sdk_client(self, **options: Any) -> Any:
        """
        Return a new client of the vendor's SDK, made of the settings.

        Args:
            options: What such clients have in common, to be passed on.
        """

    # What an actor needs.

    def output_limit(self, request: Request) -> int | None:
        """Return the most tokens that the answer to *request* may have, if known."""
        return self._composer.output_limit(request)

    def window(self, request: Request) -> int | None:
        """Return how many tokens the model of *request* takes, where known."""
        model = self.model_of(request)
        return self._composer.rule(model).context_window if model else None

    def check(self) -> list[str]:
        """Return what about the settings is allowed and yet will cause trouble."""
        return self._composer.doubts()

    async def complete(self, request: Request, progress: Progress) -> Answer:
        """Have *request* answered: one exchange, sent once; see `Provider`."""
        call = self._composer.compose(request)
        line = self._pools.take()
        try:
            async with line.wire.post(call.dialect.path, call.data) as response:
                if response.status // 100 != 2:
                    raise self._refused(call, response, await _beginning(response))
                reader = self._reader(call, response)
                await _read(aiter(response), reader, progress)
                return reader.close()
        except LLMError as error:
            # Its trace begins here: what is further in handles what the vendor sent,
            # which may quote the key, and a trace may be shown with its variables.
            raise error.with_traceback(None) from None
        finally:
            if self._pools.give_back(line):
                await self._pools.tidy()

    def restart(self) -> None:
        """Let the next call open a new connection pool."""
        self._pools.retire()

    async def aclose(self) -> None:
        """Close the connection pools of this event loop."""
        await self._pools.aclose()

    # One exchange.

    def _reader(self, call: Call, response: Response) -> AnswerReader:
        exchange = Exchange(
            call.request,
            call.model,
            response.status,
            response.headers,
            self.settings.max_answer_bytes,
            partial(self._refused, call, response),
        )
        return AnswerReader(call.dialect, exchange, stream=call.stream)

    def _refused(self, call: Call, response: Response, body: Any) -> LLMError:
        refusal = Refusal.read(
            response.status,
            response.headers,
            body,
            now=self.wall_clock(),
            longest_wait=self.settings.max_retry_after,
            sent=call.body,
            named=(call.model, *self._address),
        )
        return self._composer.learn(call, refusal)

    def _open_wire(self) -> Wire:
        settings = self.settings
        if self._wire is not None:
            return self._wire
        try:
            if settings.transport == "sdk":
                return self._own_sdk()
            return open_wire(settings.transport, self._wire_settings())
        except ConfigurationError as error:
            problem = error.message
        # It is found out here, in the middle of a request that others can answer.
        raise UnusableProviderError(f"no connection can be made: {problem}")

    def _wire_settings(self) -> WireSettings:
        settings = self.settings
        return WireSettings(
            base_url=settings.base_url or "",
            headers=self._headers,
            connect_timeout=settings.connect_timeout,
            max_connections=self._connections(),
            max_idle=settings.connection_pool_size or self._connections(),
            keep_alive=settings.keep_alive,
        )

    def _connections(self) -> int:
        return self.settings.connection_pool_maxsize or self.settings.workers

    def _own_sdk(self) -> Wire:
        # Imported here: an SDK and its HTTP client cost a second and more.
        from aitor.wire.sdk import OwnSDKWire

        settings = self._wire_settings()
        proxy = find_proxy("sdk", settings.base_url)
        return OwnSDKWire(self._sdk_client_with, settings, proxy)

    def _sdk_client_with(self, http_client: Any) -> Any:
        return self.sdk_client(
            base_url=Address.of(self.settings.base_url or "").url,
            default_headers=dict(self.settings.headers),
            max_retries=0,
            http_client=http_client,
        )

    # Settings.

    def _completed(self, client: Any, settings: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in settings.items() if value is not None}
        if client is not None:
            for name in BROUGHT_BY_A_CLIENT:
                if name in given:
                    raise ConfigurationError(f"'{name}': a client brings its own")
            return {**given, "base_url": str(getattr(client, "base_url", ""))}
        home = {} if self.home is None else {"base_url": self.home}
        completed: dict[str, Any] = concealed({**home, **self._found(given), **given})
        return completed

    def _found(self, given: Mapping[str, Any]) -> dict[str, str]:
        # What the environment has for settings that are not given.
        return {
            name: value
            for name, variable in self.variables.items()
            if name not in given and (value := os.environ.get(variable))
        }

    def _identify(self) -> dict[str, str]:
        try:
            found = _headers_in(os.environ.get(self.headers_variable or "", ""))
        except ValueError as error:
            problem = f"{self.headers_variable}: {error}"
        else:
            return {**self.headers(), **found, **self.settings.headers}
        # Outside the handler: the trace of the first one has the headers in it.
        raise ConfigurationError(problem)

    def _all_rules(self) -> dict[str, Rule]:
        rules = dict(rules_of(self.vendor)) if self.vendor else {}
        for name, keys in self.settings.rules.items():
            # What is not said anew stays as it was.
            known = rule_of(name, rules).model_dump(exclude_unset=True)
            rules[name] = load(Rule, {**known, **keys}, f"rules.{name!r}: ")
        return rules

    def _is_at_home(self) -> bool:
        home = urlsplit(self.home or "").hostname
        here = urlsplit(self.settings.base_url or "").hostname
        return bool(home and here) and f".{here}".endswith(f".{home}")

    def _today(self) -> date:
        return datetime.fromtimestamp(self.wall_clock(), UTC).date()

    def _tell(
        self, model: str, parameter: str, asked: int | None, sent: int | None
    ) -> None:
        if self.on_drop is None:
            return
        name = self.name or self.kind
        if asked is None or sent is None:
            self.on_drop(ParameterDropped(name, model, parameter))
        else:
            self.on_drop(ParameterRaised(name, model, parameter, asked, sent))


def _headers_in(text: str) -> dict[str, str]:
    lines = [line.partition(":") for line in text.split("\n") if ":" in line]
    return sendable_headers({name.strip(): each.strip() for name, _, each in lines})


def _wire_of(client: Any) -> Wire:
    # Imported here: it brings httpx2, which the default transport does without.
    from aitor.wire.sdk import SDKWire

    return SDKWire(client)


async def _read(
    body: AsyncIterator[bytes], reader: AnswerReader, progress: Progress
) -> None:
    async for data in body:
        if reader.feed(data):
            progress()
        if reader.done:
            break
    else:
        return
    # The answer is whole. The body's end is worth a moment, because it lets the
    # connection be used again; but neither waiting nor an error.
    with anyio.move_on_after(LINGER), suppress(LLMError):
        async for _ in body:
            pass


async def _beginning(response: Response) -> bytes:
    parts, size = [], 0
    # The status is known, so a body that breaks off or stalls says enough.
    with anyio.move_on_after(MAX_ERROR_SECONDS), suppress(LLMError):
        async for data in response:
            parts.append(data)
            size += len(data)
            if size >= MAX_ERROR_BYTES:
                break
    return b"".join(parts)[:MAX_ERROR_BYTES]
