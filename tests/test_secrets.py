"""
Key, prompt and answer get nowhere: every sink after everything that can happen.

What is looked for is one word each, and a server plays what a vendor sends back, with
the words in it where vendors have been seen to put them. What holds:

- The key is in no log line of any library at DEBUG, no event, number, text of an error,
  `repr`, pickle, warning, output, journal or cache. Nor is it in a variable of a frame
  of ours that a traceback with its variables would show, whatever a vendor quotes, and
  however a configuration is wrong.
- Prompt and answer are in none of these either, but where they belong: a value holds
  what it holds, so the pickle of a reply has the answer in it; a cache keeps answers;
  and a batch keeps records, which have the answers and no prompts.
- In a traceback with its variables a prompt shows wherever it was handed over as the
  text it is: in the caller's frames, and in the first ones of ours. Answers do not.
- What a vendor puts into a response's headers is its own: HTTP libraries write them to
  their loggers at DEBUG, and a request's name is told as it came.
"""

import json
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.wire.server import Server, Step, Then, answer, serve

import aitor
from aitor import BlockingBroker, Broker, LLMError, ReactAgent, Request
from aitor.batch import run_batch
from aitor.broker.cache import Cache
from aitor.config import configuration_from_environment, load_configuration
from aitor.config.meaning import describe
from aitor.errors import (
    AnswerTooLargeError,
    APIError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConnectionFailedError,
    DeclinedError,
    MalformedAnswerError,
    ProviderCrashError,
    RateLimitError,
    ServerError,
    TruncatedAnswerError,
)
from aitor.events import Event
from aitor.llm import LLMManager, LLMProvider
from aitor.llm.environment import create_llm_manager_from_env
from aitor.llm.monitored import MonitoredLLMManager
from aitor.logs import log_events
from aitor.messages import Answer
from aitor.providers import (
    AnthropicProvider,
    CompatibleProvider,
    MockProvider,
    OpenAIProvider,
    Provider,
)
from aitor.providers.base import Progress

KEY = "sk-canary-Key123"
PROMPT = "canaryprompt 4111111111111111"
ANSWER = "canaryanswer 5500000000000004"

MESSAGES = [{"role": "user", "content": PROMPT}]

SECRETS = {"key": "Key123", "prompt": "canaryprompt", "answer": "canaryanswer"}
SOURCE = str(Path(aitor.__file__).parent)
LOGGERS = (
    *("asyncio", "anyio", "aitor", "structlog", "httpx", "httpcore", "httpx2"),
    *("httpcore2", "openai", "anthropic", "urllib3", "concurrent.futures"),
)

TRANSPORTS = ("sockets", "httpx2", "sdk")


def found_in(text: object) -> set[str]:
    """Return which secrets are in *text*."""
    shown = text if isinstance(text, str) else repr(text)
    return {name for name, word in SECRETS.items() if word in shown}


def locals_of_ours(error: BaseException) -> str:
    """Return what a traceback with its locals shows in frames of ours."""
    told, links = (
        [],
        [traceback.TracebackException.from_exception(error, capture_locals=True)],
    )
    while links:
        link = links.pop()
        links += [each for each in (link.__cause__, link.__context__) if each]
        links += link.exceptions or []
        for frame in link.stack:
            if frame.filename.startswith(SOURCE):
                told.append(f"{frame.filename}:{frame.name} {frame.locals}")
    return "\n".join(told)


class Sinks:
    """Whatever may tell a secret, collected while a test runs."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.warnings: list[warnings.WarningMessage] = []
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def leaks(self, **shown: object) -> dict[str, set[str]]:
        """Return where secrets were found, by the name of the sink."""
        formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
        lines = (f"{formatter.format(each)} {each.args!r}" for each in self._records)
        sinks: dict[str, object] = {
            "logs": "\n".join(lines),
            "events": self.events,
            "pickled events": pickle.dumps(self.events).decode("latin-1"),
            "warnings": [str(each.message) for each in self.warnings],
            **shown,
        }
        leaks = {name: found_in(sink) for name, sink in sinks.items()}
        return {name: found for name, found in leaks.items() if found}


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sinks]:
    """Listen to every logger at DEBUG, and to every warning."""
    sinks = Sinks()
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", sinks.emit)
    loggers = [logging.getLogger(name) for name in ("", *LOGGERS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sinks.warnings = caught
        yield sinks
    logging.getLogger().removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def shown_of(error: BaseException) -> dict[str, object]:
    """Return what there is to see of *error*."""
    links: list[BaseException] = [error]
    for link in links:
        links += [each for each in (link.__cause__, link.__context__) if each]
    return {
        "str": [str(link) for link in links],
        "repr": [repr(link) for link in links],
        "attributes": [vars(link) for link in links],
        "notes": [getattr(link, "__notes__", []) for link in links],
        "traceback": "".join(traceback.format_exception(error)),
        "pickled error": pickle.dumps(error).decode("latin-1"),
    }


def shown_of_broker(broker: Broker) -> dict[str, object]:
    """Return what there is to see of *broker* and all that belongs to it."""
    statistics = broker.statistics()
    return {
        "broker": f"{broker} {broker!r}",
        "actors": list(broker._actors.values()),
        "providers": [actor.provider for actor in broker._actors.values()],
        "settings": [
            f"{actor.settings} {actor.settings!r}" for actor in broker._actors.values()
        ],
        "statistics": statistics,
        "ledger": [broker.ledger.entries(), broker.ledger.by_provider()],
    }


# What a vendor sends back.


def completion(text: str = ANSWER) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "c-1", "model": "m", "choices": [choice]}).encode()


def said(status: str, *messages: str, **more: Any) -> list[Step]:
    body = json.dumps({"error": {"message": " ".join(messages), **more}}).encode()
    return [answer(body, status, ["Content-Type: application/json"])]


ECHO = f"Incorrect API key provided: {KEY}. You asked {PROMPT} and I say {ANSWER}"
UNSUPPORTED = said("400 No", ECHO, code="unsupported_value", param="temperature")
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
)


def chunk(finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": ANSWER}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


@dataclass(frozen=True)
class Case:
    """
    Something that happens on the wire.

    Args:
        error: What comes of it; None for an answer.
        scripts: What the server does, request by request.
        settings: Of the provider.
    """

    error: type[LLMError] | None
    scripts: tuple[list[Step], ...]
    settings: dict[str, Any] = field(default_factory=dict)


STREAMED: dict[str, Any] = {"idle_timeout": 5.0}
CASES: dict[str, Case] = {
    "answered": Case(None, ([answer(completion())],)),
    "a wrong key": Case(
        AuthenticationError, (said("401 No", ECHO, code="invalid_api_key"),)
    ),
    "a key for a code": Case(
        AuthenticationError, (said("401 No", ECHO, code=KEY, type=PROMPT),)
    ),
    "a bad request": Case(
        BadRequestError, (said("400 No", f"Invalid. {ECHO}", param=PROMPT),)
    ),
    "a wrong key by 400": Case(AuthenticationError, (said("400 No", ECHO),)),
    "no word of the request": Case(DeclinedError, (said("400 No", f"No. {ECHO}"),)),
    "no parameter": Case(None, (UNSUPPORTED, [answer(completion())])),
    "slow down": Case(RateLimitError, (said("429 Wait", ECHO),)),
    "a failure": Case(ServerError, (said("500 Oh", ECHO),)),
    "a failure in words": Case(ServerError, ([answer(ECHO.encode(), "503 Oh")],)),
    "a redirect": Case(
        MalformedAnswerError, ([answer(b"", "302 There", ["Location: /v2"])],)
    ),
    "no JSON": Case(MalformedAnswerError, ([answer(ECHO.encode())],)),
    "no HTTP": Case(ConnectionFailedError, ([ECHO.encode(), Then.CLOSE],)),
    "cut off": Case(
        APIError,
        ([answer(completion() + b" " * 9)[:-5], Then.CLOSE],),
    ),
    "too large": Case(
        AnswerTooLargeError, ([answer(completion())],), {"max_answer_bytes": 99}
    ),
    "reset": Case(ConnectionFailedError, ([Then.RESET],)),
    "too late": Case(AttemptTimeoutError, ([Then.HANG],), {"timeout": 0.1}),
    "a stream": Case(
        None, ([EVENTS, chunk(), chunk("stop"), b"data: [DONE]\n\n"],), STREAMED
    ),
    "an error in a stream": Case(
        ServerError,
        ([EVENTS, chunk(), f'data: {{"error": "{ECHO}"}}\n\n'.encode()],),
        STREAMED,
    ),
    "a stream cut off": Case(
        TruncatedAnswerError, ([EVENTS, chunk(), Then.CLOSE],), STREAMED
    ),
}


def provider_of(port: int, transport: str, **settings: Any) -> OpenAIProvider:
    return OpenAIProvider(
        model="gpt-4.1",
        api_key=KEY,
        base_url=f"http://127.0.0.1:{port}/v1",
        headers={"x-also": KEY},
        transport=transport,
        max_retries=0,
        **settings,
    )


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", CASES)
async def test_whatever_a_vendor_does(
    sinks: Sinks, capfd: pytest.CaptureFixture[str], name: str, transport: str
) -> None:
    case = CASES[name]
    server = Server(*case.scripts)
    error: LLMError | None = None
    async with serve(server):
        provider = provider_of(server.port, transport, **case.settings)
        listeners = [sinks.events.append, log_events]
        async with Broker([provider], listeners=listeners) as broker:
            try:
                with anyio.fail_after(10):
                    reply = await broker.submit(MESSAGES, temperature=0.5, timeout=9)
            except LLMError as caught:
                error = caught
            shown = shown_of_broker(broker)
    shown["console"] = capfd.readouterr()
    if case.error is None:
        assert error is None
        assert ANSWER in reply.text
        shown["reply"] = f"{reply} {reply!r} {reply.attempts}"
    else:
        assert isinstance(error, case.error)
        shown |= shown_of(error)
        private = found_in(locals_of_ours(error))
        assert "key" not in private
    assert sinks.leaks(**shown) == {}


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_whoever_leaves(sinks: Sinks, transport: str) -> None:
    server = Server([Then.HANG])
    async with serve(server):
        listeners = [sinks.events.append, log_events]
        provider = provider_of(server.port, transport, workers=1)
        async with Broker([provider], listeners=listeners) as broker:
            submission = broker.submit_nowait(MESSAGES)
            await server.requests_reach(1)
            with anyio.move_on_after(0.01):
                await broker.submit(MESSAGES)
            with pytest.raises(LLMError) as late:
                await broker.submit(MESSAGES, timeout=0.01)
            shown = shown_of_broker(broker)
            submission.cancel()
            with pytest.raises(LLMError) as left:
                await submission.reply()
            shown["submission"] = f"{submission} {submission!r}"
    for caught in (late, left):
        assert "key" not in found_in(locals_of_ours(caught.value))
        assert sinks.leaks(**shown, **shown_of(caught.value)) == {}


@pytest.mark.anyio
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nobody_is_there(sinks: Sinks, transport: str) -> None:
    provider = provider_of(9, transport)
    async with Broker([provider], listeners=[log_events]) as broker:
        with pytest.raises(ConnectionFailedError) as caught:
            await broker.submit(MESSAGES)
    assert "key" not in found_in(locals_of_ours(caught.value))
    assert sinks.leaks(**shown_of(caught.value)) == {}


@pytest.mark.anyio
async def test_the_other_vendors(sinks: Sinks) -> None:
    server = Server(said("401 No", ECHO, type=KEY))
    async with serve(server):
        url = f"http://127.0.0.1:{server.port}"
        for provider in (
            AnthropicProvider(model="claude-opus-5-5", api_key=KEY, base_url=url),
            CompatibleProvider(model="m", api_key=KEY, base_url=url),
        ):
            async with Broker([provider], listeners=[sinks.events.append]) as broker:
                with pytest.raises(AuthenticationError) as caught:
                    await broker.submit(MESSAGES)
                shown = shown_of_broker(broker)
            assert "key" not in found_in(locals_of_ours(caught.value))
            assert sinks.leaks(**shown, **shown_of(caught.value)) == {}


class Clumsy(Provider):
    """Raises what quotes everything, as libraries do."""

    kind = "clumsy"

    async def complete(self, request: Request, progress: Progress) -> Answer:
        raise KeyError(f"{KEY} {request.messages}")


@pytest.mark.anyio
async def test_a_crash_in_a_providers_code(sinks: Sinks) -> None:
    def broken(event: Event) -> None:
        raise ValueError("a listener's own words")

    listeners = [sinks.events.append, log_events, broken]
    async with Broker([Clumsy(max_retries=0)], listeners=listeners) as broker:
        with pytest.raises(ProviderCrashError) as caught:
            await broker.submit(MESSAGES)
    assert "key" not in found_in(locals_of_ours(caught.value))
    assert sinks.leaks(**shown_of(caught.value)) == {}


# Settings and configurations.


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": f"{KEY}\n"},
        {"api_key": [KEY]},
        {"api_key": KEY, "headers": {"authorization": f"{KEY}\n"}},
        {"api_key": KEY, "base_url": f"http://me:{KEY}@host"},
        {"api_key": KEY, "workers": 0},
        {"api_key": KEY, "worker": 1},
        {"apikey": KEY},
        {"api_key": KEY, "parameters": {"token": KEY}, "headers": {"x": [KEY]}},
        {"api_key": KEY, "base_url": f"http://host/{KEY}", "workers": 0},
        {"api_key": KEY, "limits": "none", "requests_per_minute": 5},
    ],
)
@pytest.mark.parametrize("way", ["class", "tables", "broker", "blocking", "manager"])
def test_a_wrong_setting(sinks: Sinks, way: str, settings: dict[str, Any]) -> None:
    """
    Of the kind: a secret in a frame of ours while its neighbour is refused.

    Siblings: keyword arguments, mappings of every shape, names that are misspelt,
    lists, addresses, classes of the user's own.
    """
    tables = {"providers": {"openai": settings}}
    ways: dict[str, Callable[[], object]] = {
        "class": lambda: OpenAIProvider(model="m", **settings),
        "tables": lambda: load_configuration(tables, {}),
        "broker": lambda: Broker.from_config(tables),
        "blocking": lambda: BlockingBroker.from_config(tables),
        "manager": lambda: LLMManager().add_provider("a", "openai", settings),
    }
    with pytest.raises(ConfigurationError) as caught:
        ways[way]()
    assert sinks.leaks(**shown_of(caught.value)) == {}
    assert "key" not in found_in(locals_of_ours(caught.value))


@dataclass
class Settings:
    """The guide's way to write a configuration down."""

    api_key: str = KEY
    workers: int = 0


class Refuses(LLMProvider):
    """A class of one's own that takes no configuration as it is."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        raise ValueError(KEY)

    async def generate_response(self, messages: list[Any], **kwargs: Any) -> str:
        return ""


def test_a_wrong_configuration_of_other_kinds(sinks: Sinks) -> None:
    own = MonitoredLLMManager()
    own.register_provider_class("own", Own)
    own.register_provider_class("refuses", Refuses)
    makes: list[Callable[[], object]] = [
        lambda: MockProvider(default_response=KEY, workers=0),
        lambda: CompatibleProvider(api_key=KEY),
        lambda: AnthropicProvider(api_key=KEY, auth_token=KEY),
        lambda: own.add_provider("a", "openai", Settings()),
        lambda: own.add_provider("a", "own", {"token": KEY, "workers": 0}),
        lambda: own.add_provider("a", "own", {"token": "env:NONE", "secret": KEY}),
        lambda: own.add_provider("a", "refuses", {"token": KEY}),
        lambda: own.add_provider("", "openai", {"api_key": KEY}),
        lambda: own.add_provider("a", "nobody", {"api_key": KEY}),
        lambda: own.add_provider("a", "openai", [KEY]),
    ]
    for make in makes:
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert sinks.leaks(**shown_of(caught.value)) == {}
        assert "key" not in found_in(locals_of_ours(caught.value))


def test_settings_without_an_end_are_refused() -> None:
    nested: dict[str, Any] = {}
    nested["parameters"] = [nested, nested]
    for make in (
        lambda: OpenAIProvider(api_key=KEY, **nested),
        lambda: load_configuration({"providers": {"openai": nested}}, {}),
        lambda: LLMManager().add_provider("a", "openai", nested),
    ):
        with pytest.raises(ConfigurationError, match="nested too deep"):
            make()


@pytest.mark.parametrize(
    "make",
    [
        configuration_from_environment,
        Broker.from_env,
        BlockingBroker.from_env,
        create_llm_manager_from_env,
    ],
)
@pytest.mark.parametrize(
    "wrong",
    [{"OPENAI_TEMPERATURE": "warm"}, {"ANTHROPIC_API_KEY": f"{KEY}\n"}],
)
def test_a_wrong_environment(
    sinks: Sinks, make: Callable[..., object], wrong: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"http://h/{KEY}", **wrong})
    assert sinks.leaks(**shown_of(caught.value)) == {}
    assert "key" not in found_in(locals_of_ours(caught.value))


def test_a_wrong_variable_of_a_class(
    sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"x-key: {KEY}\nbad name: {KEY}")
    for settings in ({}, {"workers": 0}):
        with pytest.raises(ConfigurationError) as caught:
            OpenAIProvider(model="m", **settings)
        assert sinks.leaks(**shown_of(caught.value)) == {}
        assert "key" not in found_in(locals_of_ours(caught.value))


def test_a_wrong_variable(sinks: Sinks, tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": f"{KEY}\n", "ANTHROPIC_API_KEY": f" {KEY}"}
    with pytest.raises(ConfigurationError) as caught:
        configuration_from_environment(environ)
    assert sinks.leaks(**shown_of(caught.value)) == {}
    path = tmp_path / "aitor.toml"
    table = f'[providers.openai]\napi_key = "{KEY}"\n'
    for wrong in (f'headers = "{KEY}\n', "workers = 0", "workers = 1" + "0" * 5_000):
        path.write_text(f"{table}{wrong}")
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(path, {})
        assert sinks.leaks(**shown_of(caught.value)) == {}
        assert "key" not in found_in(locals_of_ours(caught.value))


@pytest.mark.anyio
async def test_what_a_configuration_shows(sinks: Sinks) -> None:
    tables = {
        "openai": {"api_key": KEY, "model": "m", "headers": {"x-key": KEY}},
        "mock": {"responses": {PROMPT: ANSWER}, "default_response": ANSWER},
    }
    environ = {"ANTHROPIC_API_KEY": KEY}
    configuration = load_configuration({"providers": tables}, environ)
    providers = configuration.make_providers()
    broker = configuration.broker()
    shown = shown_of_broker(broker)
    shown["configuration"] = f"{configuration} {configuration!r}"
    shown["description"] = json.dumps(describe(configuration, providers))
    shown["from the environment"] = configuration_from_environment(environ)
    for value in (*providers.values(), providers["openai"].settings):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(value)
    assert sinks.leaks(**shown) == {}


# What stands in front of a broker, and behind it.


def contents(folder: Path) -> list[str]:
    return [path.read_bytes().decode("latin-1") for path in folder.iterdir()]


@pytest.mark.anyio
async def test_a_batch(
    sinks: Sinks, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    The key is in none of its files. The records have the answers, and no prompts.
    """
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": f"row {n}", "prompt": f"{PROMPT} {n}"} for n in range(3)]
    lines = [json.dumps(row) for row in rows]
    source.write_text("\n".join([*lines, f'{{"prompt": "{PROMPT}", "id": []}}']))
    wrong = said("400 No", ECHO, param=PROMPT)
    server = Server([answer(completion())], wrong, said("401 No", ECHO, code=KEY))
    async with serve(server):
        provider = provider_of(server.port, "sockets", workers=1)
        listeners = [sinks.events.append, log_events]
        async with Broker([provider], listeners=listeners) as broker:
            with pytest.raises(AuthenticationError) as caught:
                await run_batch(broker, source, output, settings={"model": "m"})
    source.unlink()
    written = contents(tmp_path)
    assert [found_in(text) for text in written] == [{"answer"}, {"answer"}]
    assert "key" not in found_in(locals_of_ours(caught.value))
    shown = shown_of(caught.value) | {"console": capfd.readouterr()}
    assert sinks.leaks(**shown) == {}


@pytest.mark.anyio
@pytest.mark.parametrize("on_disk", [False, True])
async def test_a_cache(sinks: Sinks, tmp_path: Path, on_disk: bool) -> None:
    cache = Cache(path=tmp_path / "cache" if on_disk else None)
    server = Server([answer(completion())])
    async with serve(server):
        provider = provider_of(server.port, "sockets")
        async with Broker([provider], cache=cache, listeners=[log_events]) as broker:
            for _ in range(2):
                reply = await broker.submit(MESSAGES)
    assert reply.cached
    for text in contents(tmp_path):
        assert found_in(text) <= {"answer"}
    shown = {"cache": f"{cache} {cache!r} {cache.statistics()}", "reply": reply}
    assert sinks.leaks(**shown) == {}


class Own(LLMProvider):
    """A provider of one's own, with a key by a name of its own."""

    async def generate_response(self, messages: list[Any], **kwargs: Any) -> str:
        raise RuntimeError(f"{self.config['token']} {messages}")


@pytest.mark.anyio
async def test_a_manager(sinks: Sinks) -> None:
    server = Server([answer(completion())], said("401 No", ECHO))
    async with serve(server):
        manager = MonitoredLLMManager(listeners=[sinks.events.append, log_events])
        manager.register_provider_class("own", Own)
        url = f"http://127.0.0.1:{server.port}/v1"
        settings = {"api_key": KEY, "model": "m", "base_url": url, "max_retries": 0}
        manager.add_provider("openai", "openai", settings)
        manager.add_provider("own", "own", {"token": KEY, "max_retries": 0})
        async with manager:
            reply = await manager.submit(MESSAGES, provider="openai")
            shown: dict[str, object] = {"reply": reply}
            for name in ("openai", "own"):
                with pytest.raises(LLMError) as caught:
                    await manager.submit(MESSAGES, provider=name)
                assert "key" not in found_in(locals_of_ours(caught.value))
                assert sinks.leaks(**shown_of(caught.value)) == {}
            shown["manager"] = f"{manager} {manager!r} {manager.get_usage_report()}"
            shown["its providers"] = [
                manager.get_provider(name) for name in ("openai", "own")
            ]
            assert manager._broker is not None
            shown |= shown_of_broker(manager._broker)
    assert sinks.leaks(**shown) == {}


@pytest.mark.anyio
async def test_an_agent(sinks: Sinks) -> None:
    provider = MockProvider(default_response=f"Final Answer: {ANSWER}")
    async with Broker([provider], listeners=[sinks.events.append]) as broker:
        agent = ReactAgent("a", broker=broker)
        assert ANSWER in await agent.solve(PROMPT)
        shown = shown_of_broker(broker)
        shown["agent"] = f"{agent} {agent!r} {agent.trace} {agent.trace!r}"
    failing = MockProvider(fail=ServerError("no"), max_retries=0)
    async with Broker([failing]) as broker:
        with pytest.raises(ServerError) as caught:
            await ReactAgent("a", broker=broker).solve(PROMPT)
    assert sinks.leaks(**shown, **shown_of(caught.value)) == {}


def test_a_broker_that_blocks(sinks: Sinks) -> None:
    failing = MockProvider(script=[ANSWER], fail=ServerError("no"), max_retries=0)
    with BlockingBroker(Broker([failing])) as broker:
        reply = broker.submit(MESSAGES)
        with pytest.raises(ServerError) as caught:
            broker.submit(MESSAGES)
        (result,) = broker.map([PROMPT])
        shown = {"broker": f"{broker} {broker!r}", "result": result, "reply": reply}
    assert sinks.leaks(**shown, **shown_of(caught.value)) == {}


@pytest.mark.anyio
async def test_a_map(sinks: Sinks) -> None:
    provider = MockProvider(script=[ANSWER], fail=ServerError("no"), max_retries=0)
    broker = Broker([provider], listeners=[log_events])
    async with broker, broker.map([PROMPT] * 3) as results:
        seen = [result async for result in results]
        shown = {"map": f"{results} {results!r}", "results": f"{seen} {seen!r}"}
    # Which of them is answered is for the event loop to say.
    errors = [result.error for result in seen if result.error is not None]
    assert len(errors) == 2
    for error in errors:
        assert sinks.leaks(**shown, **shown_of(error)) == {}
