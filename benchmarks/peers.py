"""
The peers: who answers, each as its own documentation would have it used.

A peer is a context manager that gives a function to call: it sends one prompt and
returns when the whole answer is there and decoded, or raises. Imports are inside, and
of others by name, because each runs in an environment that has only what it needs.

Settings of a peer: `urls` (of the upstreams, in the order of failover, without `/v1`),
`in_flight`, and what single benchmarks need besides.
"""

import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

__all__ = ("PEERS", "Call", "Peer", "open_peer")

Call: TypeAlias = Callable[..., Any]
Settings: TypeAlias = dict[str, Any]
Opener: TypeAlias = Callable[[Settings], AbstractAsyncContextManager[Call]]

NOBODY = "sk-no-key-at-all"
PROMPT = "Say hello to everybody who waits."


class Peer(NamedTuple):
    """
    Somebody who answers.

    Args:
        title: What the report calls it.
        environment: The virtual environment it runs in.
        imports: What is imported before anything is measured.
        open: Makes it.
        loops: What it runs on.
    """

    title: str
    environment: str
    imports: tuple[str, ...]
    open: Opener
    loops: tuple[str, ...] = ("asyncio",)


def open_peer(name: str, settings: Settings) -> AbstractAsyncContextManager[Call]:
    """Open the peer *name*."""
    return PEERS[name].open(settings)


def messages_of(settings: Settings) -> list[dict[str, Any]]:
    """
    Return the prompt, repeated to the size that *settings* ask for, after as many
    messages of `history` as they ask for.
    """
    text = PROMPT * max(1, settings.get("prompt", 0) // len(PROMPT))
    history = [
        {"role": ("user", "assistant")[number % 2], "content": PROMPT}
        for number in range(settings.get("history", 1) - 1)
    ]
    return [*history, {"role": "user", "content": text}]


# aitor.


@asynccontextmanager
async def aitor(settings: Settings) -> AsyncIterator[Call]:
    """The broker, with a provider for each address."""
    arguments = settings.get("submit", {})
    async with _broker(settings) as (broker, request):

        async def call(**given: Any) -> None:
            await broker.submit(request, **arguments, **given)

        yield call


@asynccontextmanager
async def aitor_map(settings: Settings) -> AsyncIterator[Call]:
    """The same by `map`: how many prompts in, an error or None for each out."""
    arguments = settings.get("submit", {})
    async with _broker(settings) as (broker, request):

        async def results(count: int | None) -> AsyncIterator[Exception | None]:
            prompts = repeat(request) if count is None else repeat(request, count)
            async with broker.map(prompts, **arguments) as found:
                async for result in found:
                    yield result.error

        yield results


@asynccontextmanager
async def _broker(settings: Settings) -> AsyncIterator[tuple[Any, Any]]:
    from aitor import Broker, Request
    from aitor.providers.compatible import CompatibleProvider

    providers = {
        f"provider-{number}": CompatibleProvider(
            base_url=url,
            api_key=NOBODY,
            model="bench",
            workers=max(64, settings["in_flight"]),
            **settings.get("provider", {}),
        )
        for number, url in enumerate(settings["urls"])
    }
    async with Broker(providers, drain_timeout=0.0) as broker:
        yield broker, Request.of(messages_of(settings))


@asynccontextmanager
async def aitor_mock(settings: Settings) -> AsyncIterator[Call]:
    """The broker with mocks in place of HTTP: `mocks` are their settings."""
    from aitor import Broker, Request
    from aitor.providers.mock import MockProvider

    mocks = {
        f"mock-{number}": MockProvider(**_mock(mock))
        for number, mock in enumerate(settings["mocks"])
    }
    messages = messages_of(settings)
    prompt = Request.of(messages) if settings.get("history") else PROMPT
    arguments = settings.get("submit", {})
    async with Broker(mocks, drain_timeout=0.0) as broker:

        async def call(**given: Any) -> None:
            await broker.submit(prompt, **arguments, **given)

        yield call


def _mock(settings: Settings) -> Settings:
    from aitor.errors import ServerError

    if settings.pop("dead", False):
        settings["fail"] = ServerError("dead", status=500)
    return settings


# OpenAI's client, as it comes and as people dress it.


@asynccontextmanager
async def openai_client(settings: Settings) -> AsyncIterator[Call]:
    """OpenAI's client as its README shows it; `client` are more of its arguments."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(
        base_url=f"{settings['urls'][0]}/v1",
        api_key=NOBODY,
        **settings.get("client", {}),
    ) as client:
        yield _asks(client, settings)


@asynccontextmanager
async def openai_on_aiohttp(settings: Settings) -> AsyncIterator[Call]:
    """The same on its aiohttp transport."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    async with AsyncOpenAI(
        base_url=f"{settings['urls'][0]}/v1",
        api_key=NOBODY,
        http_client=DefaultAioHttpClient(),
    ) as client:
        yield _asks(client, settings)


def _asks(client: Any, settings: Settings) -> Call:
    messages = messages_of(settings)

    async def call(**given: Any) -> None:
        if settings.get("stream"):
            stream = await client.chat.completions.create(
                model="bench",
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
            )
            parts = [
                chunk.choices[0].delta.content or ""
                async for chunk in stream
                if chunk.choices
            ]
            assert "".join(parts)
            return
        answer = await client.chat.completions.create(
            model="bench", messages=messages, **given
        )
        assert answer.choices[0].message.content

    return call


@asynccontextmanager
async def by_hand(settings: Settings) -> AsyncIterator[Call]:
    """OpenAI's client in aiolimiter, tenacity and a semaphore, with failover."""
    # ruff: noqa: TID251  # people write this for asyncio
    import asyncio

    aiolimiter, openai = import_module("aiolimiter"), import_module("openai")
    tenacity: Any = import_module("tenacity")
    clients = [
        openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key=NOBODY,
            **{**settings.get("client", {}), "max_retries": 0},
        )
        for url in settings["urls"]
    ]
    retried = [openai.APIConnectionError, openai.InternalServerError]
    if settings.get("retries_limits"):
        retried.append(openai.RateLimitError)
    limiter = aiolimiter.AsyncLimiter(*settings.get("limiter", (1e6, 1)))
    semaphore = asyncio.Semaphore(settings["in_flight"])
    asks = [_asks(client, settings) for client in clients]
    again = tenacity.retry(
        stop=tenacity.stop_after_attempt(settings.get("attempts", 3)),
        wait=tenacity.wait_random_exponential(max=settings.get("longest_wait", 0.5)),
        retry=tenacity.retry_if_exception_type(tuple(retried)),
        reraise=True,
    )

    async def ask(number: int) -> None:
        async with limiter:
            await asks[number]()

    insist = again(ask)

    async def call() -> None:
        async with semaphore:
            for number in range(len(clients)):
                try:
                    await insist(number)
                except openai.APIError:
                    if number == len(clients) - 1:
                        raise
                else:
                    return

    yield call
    for client in clients:
        await client.close()


# Frameworks.


@asynccontextmanager
async def litellm_router(settings: Settings) -> AsyncIterator[Call]:
    """LiteLLM's Router; `router` are more of its arguments."""
    litellm: Any = import_module("litellm")
    litellm.suppress_debug_info = True
    names = [f"model-{number}" for number in range(len(settings["urls"]))]
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": "openai/bench",
                "api_base": f"{url}/v1",
                "api_key": NOBODY,
                **settings.get("model", {}),
            },
        }
        for name, url in zip(names, settings["urls"], strict=True)
    ]
    fallbacks = [{names[0]: names[1:]}] if names[1:] else []
    router = litellm.Router(
        model_list=models, fallbacks=fallbacks, **settings.get("router", {})
    )
    messages = messages_of(settings)

    async def call() -> None:
        answer = await router.acompletion(names[0], messages=messages)
        assert answer.choices[0].message.content

    yield call


@asynccontextmanager
async def litellm_mock(settings: Settings) -> AsyncIterator[Call]:
    """LiteLLM's Router without a network."""
    settings = {
        "urls": ["http://127.0.0.1:9"],
        "in_flight": settings["in_flight"],
        "model": {"mock_response": "I understand."},
    }
    async with litellm_router(settings) as call:
        yield call


@asynccontextmanager
async def tensorzero(settings: Settings) -> AsyncIterator[Call]:
    """TensorZero's gateway in this process, with nothing to observe."""
    kind: Any = import_module("tensorzero").AsyncTensorZeroGateway
    names = [f"provider-{number}" for number in range(len(settings["urls"]))]
    lines = [
        "gateway.observability.enabled = false",
        "[models.bench]",
        f"routing = {json.dumps(names)}",
    ]
    for name, url in zip(names, settings["urls"], strict=True):
        lines += [
            f"[models.bench.providers.{name}]",
            'type = "openai"',
            'model_name = "bench"',
            f'api_base = "{url}/v1/"',
            'api_key_location = "none"',
        ]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write("\n".join(lines))
        file.flush()
        gateway = await kind.build_embedded(config_file=file.name, async_setup=True)
    asked = {"messages": messages_of(settings)}

    async def call() -> None:
        answer = await gateway.inference(model_name="bench", input=asked)
        assert answer.content[0].text

    yield call


# HTTP clients alone: a prompt is encoded and an answer decoded, and that is all.


@asynccontextmanager
async def raw_sockets(settings: Settings) -> AsyncIterator[Call]:
    """What aitor sends with."""
    from aitor.wire import WireSettings, open_wire

    _, body = _chat(settings)
    url = settings["urls"][0]
    most = settings["in_flight"]
    headers = {
        "authorization": f"Bearer {NOBODY}",
        "content-type": "application/json",
    }
    wire = open_wire(
        "sockets", WireSettings(url, headers, max_connections=most, max_idle=most)
    )

    async def call() -> None:
        data = json.dumps(body).encode()
        async with wire.post("/v1/chat/completions", data) as response:
            _text(json.loads(b"".join([piece async for piece in response])))

    yield call
    await wire.aclose()


@asynccontextmanager
async def raw_aiohttp(settings: Settings) -> AsyncIterator[Call]:
    """aiohttp, with the pool that the load needs."""
    aiohttp: Any = import_module("aiohttp")
    url, body = _chat(settings)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers={"authorization": f"Bearer {NOBODY}"},
    ) as session:

        async def call() -> None:
            async with session.post(url, json=body) as response:
                if settings.get("stream"):
                    parts = [
                        json.loads(line[6:])
                        async for line in response.content
                        if line.startswith(b"data: {")
                    ]
                    assert parts
                else:
                    _text(await response.json())

        yield call


@asynccontextmanager
async def raw_pyqwest(settings: Settings) -> AsyncIterator[Call]:
    """pyqwest."""
    pyqwest: Any = import_module("pyqwest")
    url, body = _chat(settings)
    transport = pyqwest.HTTPTransport(
        http_version=pyqwest.HTTPVersion.HTTP1,
        tls_include_system_certs=True,
        pool_max_idle_per_host=settings["in_flight"],
    )
    client = pyqwest.Client(transport)
    headers = {
        "authorization": f"Bearer {NOBODY}",
        "content-type": "application/json",
    }

    async def call() -> None:
        data = json.dumps(body).encode()
        response = await client.post(url, headers, data)
        _text(json.loads(response.content))

    yield call


@asynccontextmanager
async def raw_pyreqwest(settings: Settings) -> AsyncIterator[Call]:
    """pyreqwest."""
    client_builder: Any = import_module("pyreqwest.client").ClientBuilder
    url, body = _chat(settings)
    builder = client_builder().default_headers({"authorization": f"Bearer {NOBODY}"})
    if authority := os.environ.get("SSL_CERT_FILE"):
        data = Path(authority).read_bytes()  # noqa: ASYNC240  # once, before anything
        builder = builder.add_root_certificate_pem(data)
    async with builder.build() as client:

        async def call() -> None:
            response = await client.post(url).body_json(body).build().send()
            _text(await response.json())

        yield call


@asynccontextmanager
async def raw_httpx2(settings: Settings) -> AsyncIterator[Call]:
    """httpx2, with the pool that the load needs."""
    import httpx2

    url, body = _chat(settings)
    most = settings["in_flight"]
    async with httpx2.AsyncClient(
        headers={"authorization": f"Bearer {NOBODY}"},
        limits=httpx2.Limits(max_connections=most, max_keepalive_connections=most),
        timeout=600.0,
    ) as client:

        async def call() -> None:
            response = await client.post(url, json=body)
            _text(response.json())

        yield call


@asynccontextmanager
async def floor(settings: Settings) -> AsyncIterator[Call]:
    """Bytes over a socket, neither encoded nor decoded: nobody can be faster."""
    import asyncio

    loop = asyncio.get_running_loop()
    host, _, port = settings["urls"][0].removeprefix("http://").partition(":")
    _, body = _chat(settings)
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    sent = head.encode() + data

    class Line(asyncio.Protocol):
        transport: asyncio.Transport
        waiting: asyncio.Future[None]
        read = b""

        def data_received(self, data: bytes) -> None:
            self.read += data
            head, found, body = self.read.partition(b"\r\n\r\n")
            if not found:
                return
            length = int(head.partition(b"content-length: ")[2].split(b"\r", 1)[0])
            if len(body) >= length:
                self.read = b""
                self.waiting.set_result(None)

    idle: list[Line] = []

    async def call() -> None:
        if idle:
            line = idle.pop()
        else:
            transport, line = await loop.create_connection(Line, host, int(port))
            line.transport = transport
        line.waiting = loop.create_future()
        line.transport.write(sent)
        await line.waiting
        idle.append(line)

    yield call


def _chat(settings: Settings) -> tuple[str, Settings]:
    body: Settings = {"model": "bench", "messages": messages_of(settings)}
    if settings.get("stream"):
        body["stream"] = True
    return f"{settings['urls'][0]}/v1/chat/completions", body


def _text(answer: Any) -> None:
    assert answer["choices"][0]["message"]["content"]


# What stands in for a vendor in `benchmarks.overload`.


@asynccontextmanager
async def by_hand_mock(settings: Settings) -> AsyncIterator[Call]:
    """A semaphore and a timeout around a vendor that takes `delay` seconds."""
    import asyncio

    semaphore = asyncio.Semaphore(settings["workers"])

    async def call(timeout: float | None = None, **_: Any) -> None:
        async with asyncio.timeout(timeout), semaphore:
            await asyncio.sleep(settings["delay"])

    yield call


BOTH = ("asyncio", "uvloop")
ALL = ("asyncio", "uvloop", "trio")

AITOR = ("aitor.broker.broker", "aitor.providers.compatible", "aitor.wire.sockets")
MOCK = ("aitor.broker.broker", "aitor.providers.mock")
CLIENT = ("openai", "aiohttp", "aiolimiter", "tenacity", "httpx2")

PEERS = {
    "aitor": Peer("aitor", "main", AITOR, aitor, ALL),
    "aitor-map": Peer("aitor by map", "main", AITOR, aitor_map, ALL),
    "aitor-mock": Peer("aitor, mock", "main", MOCK, aitor_mock, ALL),
    "by-hand-mock": Peer("semaphore and timeout", "main", (), by_hand_mock),
    "floor": Peer("bytes over a socket", "main", (), floor, BOTH),
    "sockets": Peer(
        "aitor's sockets alone", "main", ("aitor.wire.sockets",), raw_sockets, ALL
    ),
    "aiohttp": Peer("aiohttp alone", "wires", ("aiohttp",), raw_aiohttp, BOTH),
    "pyqwest": Peer("pyqwest alone", "wires", ("pyqwest",), raw_pyqwest, ALL),
    "pyreqwest": Peer("pyreqwest alone", "wires", ("pyreqwest",), raw_pyreqwest, BOTH),
    "httpx2": Peer("httpx2 alone", "wires", ("httpx2",), raw_httpx2, ALL),
    "openai": Peer(
        "openai client", "clients", CLIENT, openai_client, ("asyncio", "trio")
    ),
    "openai-aiohttp": Peer(
        "openai client on aiohttp", "clients", CLIENT, openai_on_aiohttp
    ),
    "by-hand": Peer(
        "openai + aiolimiter + tenacity + semaphore, by hand",
        "clients",
        CLIENT,
        by_hand,
    ),
    "litellm": Peer("LiteLLM Router", "litellm", ("litellm",), litellm_router),
    "litellm-mock": Peer("LiteLLM Router, mock", "litellm", ("litellm",), litellm_mock),
    # Its threads begin with its import, and a fork has none of them.
    "tensorzero": Peer("TensorZero, embedded", "tensorzero", (), tensorzero),
}
