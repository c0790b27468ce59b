"""The manager: names, defaults, failover, and every key of a configuration."""

import copy
import pickle
from typing import Any

import anyio
import pytest
from tests.providers.fake import FakeWire, completion, message
from tests.test_package import modules_after

from aitor.agents.sources import names_in, providers_asked
from aitor.errors import (
    AuthenticationError,
    BadRequestError,
    BrokerClosedError,
    ConfigurationError,
    ModelRetiredError,
    OverloadedError,
    RateLimitError,
    ServerError,
)
from aitor.llm import APIError, LLMError, LLMManager, Response
from aitor.messages import Reply, Usage
from aitor.providers.base import Provider
from aitor.testing import FakeProvider
from aitor.testing.scripted import Hang, ScriptedProvider

ASKED = [{"role": "user", "content": "Hi"}]

real = pytest.mark.anyio


def mocks(*names: str, **options: Any) -> LLMManager:
    manager = LLMManager(**options)
    for name in names:
        manager.add_provider(name, "mock", {"default_response": f"from {name}"})
    return manager


# Adding providers.


def test_s1_s2_a_new_manager_has_no_provider_and_no_default() -> None:
    manager = LLMManager()
    assert manager.get_available_providers() == []
    assert manager.default_provider is None
    with pytest.raises(ConfigurationError, match="see 'add_provider'"):
        _ = manager.broker


@real
async def test_s2_asking_a_manager_without_providers_says_how_to_add_one() -> None:
    with pytest.raises(ConfigurationError, match="see 'add_provider'"):
        await LLMManager().generate_response("mock", ASKED)


def test_s3_s4_providers_are_added_by_keyword_and_by_position() -> None:
    manager = LLMManager()
    manager.add_provider(
        name="openai",
        provider="openai",
        config={"api_key": "sk-test", "model": "gpt-4.1", "temperature": 0.7},
    )
    manager.add_provider("claude", "anthropic", {"api_key": "sk-ant-test"})
    assert manager.get_available_providers() == ["openai", "claude"]
    assert "claude" in manager.get_available_providers()
    assert manager.default_provider == "openai"


def test_s3_a_name_is_taken_once_unless_it_is_to_be_replaced() -> None:
    manager = mocks("one")
    with pytest.raises(ConfigurationError, match="there is a provider 'one' already"):
        manager.add_provider("one", "mock", {})
    manager.add_provider("one", "mock", {"default_response": "new"}, replace=True)
    assert manager.get_available_providers() == ["one"]


@real
async def test_s3_a_replaced_provider_is_asked_no_more_and_closed_in_the_end() -> None:
    old, new = ScriptedProvider("old"), ScriptedProvider("new")
    async with LLMManager() as manager:
        manager.add_provider("one", old)
        manager.add_provider("two", "mock")
        manager.set_failover_sequence(["one", "two"])
        assert await manager.generate_response("one", ASKED) == "old"
        manager.add_provider("one", new, replace=True)
        assert await manager.generate_response(ASKED) == "new"
    assert old.closed
    assert new.closed


@pytest.mark.parametrize(
    ("name", "provider", "config", "said"),
    [
        ("x", "opnai", {}, r"'x': 'provider' = 'opnai': .*did you mean 'openai'"),
        ("x", "mock", {"delai": 1}, r"'x': unknown key 'delai'; did you mean 'delay'"),
        (
            "x",
            "openai",
            {"api_key": "k", "temperature": "hot"},
            "'temperature' = 'hot'",
        ),
        ("x", "openai", {}, "OPENAI_API_KEY"),
        ("x", "openai", {"api_key": "env:NOT_SET"}, "NOT_SET is not set"),
        ("x", "mock", ["delay"], "'config' must be a dictionary, not list"),
        ("x", 3, {}, "'provider' is a kind such as 'openai'"),
        ("x", ScriptedProvider(), {"workers": 3}, "made takes no 'config'"),
        ("x", "mock", {"limits": "team"}, "shares the limit 'team'"),
        ("", "mock", {}, "a provider's name is a text, not ''"),
    ],
)
def test_s3_what_is_wrong_is_told_and_leaves_no_trace(
    name: str, provider: Any, config: Any, said: str
) -> None:
    manager = mocks("other")
    with pytest.raises(ConfigurationError, match=said):
        manager.add_provider(name, provider, config)
    assert manager.get_available_providers() == ["other"]
    manager.add_provider("x", "mock")


def test_s3_a_wrong_option_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match="limit"):
        LLMManager(limit=3)


def test_s5_several_names_of_one_kind_may_share_a_limit() -> None:
    from aitor import Limit

    manager = LLMManager(limits={"account": Limit("account")})
    for name in ("opus", "sonnet", "haiku"):
        config = {"api_key": "k", "limits": "account"}
        manager.add_provider(name, "anthropic", config)
    assert len(manager.broker.providers) == 3


def test_s6_the_default_can_be_set_and_an_unknown_one_is_an_error() -> None:
    manager = mocks("one", "two")
    manager.set_default_provider("two")
    assert manager.default_provider == "two"
    with pytest.raises(ConfigurationError, match=r"no provider 'three'.*one, two"):
        manager.set_default_provider("three")
    assert manager.default_provider == "two"


@real
async def test_s6_the_default_answers_whoever_names_nobody() -> None:
    manager = mocks("one", "two")
    assert await manager.generate_response(messages=ASKED) == "from one"
    manager.set_default_provider("two")
    assert await manager.generate_response(messages=ASKED) == "from two"
    assert (await manager.broker.submit("Hi")).text == "from two"


# Asking.


@real
async def test_s11_s15_the_answer_is_a_text_that_knows_where_it_came_from() -> None:
    manager = mocks("one", "two")
    answer = await manager.generate_response("two", ASKED)
    assert answer == "from two"
    assert isinstance(answer, Response)
    assert answer.reply.provider == "two"
    assert answer.reply.usage.input_tokens > 0


@real
async def test_s11_the_provider_may_be_left_out() -> None:
    manager = mocks("one")
    assert await manager.generate_response(ASKED) == "from one"
    assert await manager.generate_response("Say hello") == "from one"
    for wrong in ("one", None):
        with pytest.raises(BadRequestError, match="no messages"):
            await manager.generate_response(wrong)


@real
async def test_s11_the_brokers_own_words_are_refused_by_their_names_here() -> None:
    manager = mocks("one")
    for wrong, told in (
        ({"provider": "one"}, "'provider' is called 'provider_name' here"),
        ({"prompt": "Hi"}, "'prompt' is called 'messages' here"),
    ):
        with pytest.raises(BadRequestError, match=told):
            await manager.generate_response("one", ASKED, **wrong)
        with pytest.raises(BadRequestError, match=told):
            await manager.generate_structured_response("one", ASKED, {"a": 1}, **wrong)


@real
async def test_s11_an_unknown_provider_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ConfigurationError, match=r"'three'.*one, two"):
        await mocks("one", "two").generate_response("three", ASKED)


@real
async def test_s18_what_a_request_says_wins_over_the_configuration(
    wire: FakeWire,
) -> None:
    manager = LLMManager()
    config = {"api_key": "k", "model": "gpt-4.1", "temperature": 0.7, "max_tokens": 500}
    manager.add_provider("openai", "openai", config)
    wire.answer(completion())
    await manager.generate_response(
        "openai", ASKED, temperature=0.1, model="gpt-4.1-mini"
    )
    assert wire.body == {
        "model": "gpt-4.1-mini",
        "messages": ASKED,
        "temperature": 0.1,
        "max_tokens": 500,
    }


# Failover.


def failing(first: Exception) -> LLMManager:
    manager = LLMManager()
    manager.add_provider("first", ScriptedProvider(first, max_retries=0))
    manager.add_provider("second", "mock", {"default_response": "from second"})
    manager.add_provider("third", "mock", {"default_response": "from third"})
    return manager


def test_s8_a_sequence_names_known_providers_once() -> None:
    manager = mocks("one", "two")
    for wrong, said in ((["one", "three"], "'three'"), (["one", "one"], "once")):
        with pytest.raises(ConfigurationError, match=said):
            manager.set_failover_sequence(wrong)
    assert manager.default_provider == "one"
    manager.set_failover_sequence(["two", "one"])
    assert manager.default_provider == "two"


@real
async def test_s8_without_a_sequence_nobody_else_is_asked() -> None:
    with pytest.raises(ServerError):
        await failing(ServerError("no")).generate_response("first", ASKED)


@real
async def test_s8_s9_the_sequence_begins_at_the_provider_asked() -> None:
    manager = failing(ServerError("no"))
    manager.set_failover_sequence(["third", "first", "second"])
    answer = await manager.generate_response("first", ASKED)
    assert answer == "from second"
    assert [each.provider for each in answer.reply.attempts] == ["first", "second"]
    assert await manager.generate_response(ASKED) == "from third"


@real
async def test_s8_a_provider_outside_the_sequence_is_asked_alone() -> None:
    manager = failing(ServerError("no"))
    manager.set_failover_sequence(["second", "third"])
    with pytest.raises(ServerError):
        await manager.generate_response("first", ASKED)


@real
async def test_s8_a_fault_of_the_request_moves_nowhere() -> None:
    manager = failing(BadRequestError("no"))
    manager.set_failover_sequence(["first", "second"])
    with pytest.raises(BadRequestError):
        await manager.generate_response(ASKED)


# Configuration of OpenAI.


@real
async def test_s20_to_s26_openai_gets_what_is_configured_and_nothing_else(
    wire: FakeWire,
) -> None:
    manager = LLMManager()
    config = {
        "model": "gpt-4.1",
        "temperature": 0.7,
        "max_tokens": 500,
        "top_p": 0.9,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.1,
    }
    manager.add_provider("openai", "openai", {"api_key": "sk-test", **config})
    manager.add_provider("bare", "openai", {"api_key": "sk-test", "model": "gpt-4.1"})
    wire.answer(completion())
    await manager.generate_response("openai", ASKED)
    assert wire.body == {**config, "messages": ASKED}
    await manager.generate_response("bare", ASKED)
    assert wire.body == {"model": "gpt-4.1", "messages": ASKED}
    assert wire.settings[0].headers["authorization"] == "Bearer sk-test"


def test_s20_s95_a_key_may_come_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-canary")
    manager = LLMManager()
    manager.add_provider("a", "openai", {"api_key": "env:MY_KEY"})
    shown = f"{manager!r} {manager.get_provider('a')!r} {manager.broker!r}"
    assert "sk-canary" not in shown


@real
async def test_s23_s27_the_limit_has_the_name_that_the_model_takes(
    wire: FakeWire,
) -> None:
    manager = LLMManager()
    config = {"api_key": "k", "model": "o4-mini", "max_tokens": 500}
    manager.add_provider("o4", "openai", {**config, "base_url": "http://127.0.0.1:1"})
    wire.answer(completion())
    await manager.generate_response("o4", ASKED)
    assert wire.body["max_completion_tokens"] == 500
    assert "max_tokens" not in wire.body
    both = {"max_tokens": 1, "max_completion_tokens": 2}
    with pytest.raises(ConfigurationError, match="both limit the answer"):
        manager.add_provider("both", "openai", {**config, **both})


@real
async def test_s27_s28_o3_mini_is_asked_without_a_temperature(wire: FakeWire) -> None:
    manager = LLMManager()
    config = {
        "api_key": "k",
        "model": "o3-mini",
        "max_completion_tokens": 500,
        "base_url": "http://127.0.0.1:1/v1",
    }
    manager.add_provider("o3", "openai", {**config, "temperature": 0.7})
    wire.answer(completion())
    await manager.generate_response("o3", ASKED, top_p=0.5)
    assert wire.body == {
        "model": "o3-mini",
        "messages": ASKED,
        "max_completion_tokens": 500,
    }


@real
@pytest.mark.parametrize(
    ("kind", "model", "instead"),
    [
        ("openai", "o3-mini", "gpt-5.6-sol"),
        ("anthropic", "claude-3-opus-20240229", ""),
        ("anthropic", "claude-3-sonnet-20240229", ""),
    ],
)
async def test_s34_s35_a_retired_model_is_an_error_that_says_so(
    wire: FakeWire, kind: str, model: str, instead: str
) -> None:
    manager = LLMManager()
    manager.add_provider("old", kind, {"api_key": "k", "model": model})
    with pytest.raises(ModelRetiredError, match="retired") as caught:
        await manager.generate_response("old", ASKED)
    assert model in str(caught.value)
    assert instead in str(caught.value)
    assert not wire.sent


@real
async def test_s34_a_retired_model_moves_on_to_the_next_provider() -> None:
    manager = LLMManager()
    config = {"api_key": "k", "model": "claude-3-opus-20240229"}
    manager.add_provider("old", "anthropic", config)
    manager.add_provider("new", "mock", {"default_response": "from new"})
    manager.set_failover_sequence(["old", "new"])
    assert await manager.generate_response("old", ASKED) == "from new"


@real
async def test_s29_s30_s31_any_model_at_any_address_is_asked_over_http() -> None:
    fake = FakeProvider(answer="Hello")
    async with fake.serve() as url, LLMManager() as manager:
        config = {"api_key": "k", "base_url": f"{url}/v1", "timeout": 30.0}
        manager.add_provider("o", "openai", {**config, "model": "gpt-3.5-turbo"})
        config_of_c = {"api_key": "k", "base_url": url, "model": "any"}
        manager.add_provider("c", "compatible", config_of_c)
        config = {"api_key": "k", "base_url": url, "model": "claude-3-opus-20240229"}
        manager.add_provider("a", "anthropic", config)
        for name in ("o", "c", "a"):
            assert await manager.generate_response(name, ASKED) == "Hello"
    models = [seen.model for seen in fake.log]
    assert models == ["gpt-3.5-turbo", "any", "claude-3-opus-20240229"]


# Anthropic and the mock.


@real
async def test_s32_s33_s39_anthropic_gets_its_limit_and_its_system_field(
    wire: FakeWire,
) -> None:
    manager = LLMManager()
    config = {"api_key": "k", "model": "claude-sonnet-4-6", "max_tokens": 500}
    manager.add_provider("claude", "anthropic", config)
    wire.answer(message())
    asked = [{"role": "system", "content": "Be brief."}, *ASKED]
    assert await manager.generate_response("claude", asked, stop=["x"]) == "Hello"
    assert wire.body["max_tokens"] == 500
    assert wire.body["system"]
    assert [each["role"] for each in wire.body["messages"]] == ["user"]
    assert wire.body["stop_sequences"] == ["x"]


@real
async def test_s40_to_s44_the_mock_answers_by_its_patterns() -> None:
    manager = LLMManager()
    config = {
        "responses": {
            "calculator": "ACT: calculator(expression='2+2')",
            "search": "ACT: google_web_search(query='test search')",
            "default": "THINK: I need to analyze this problem step by step.",
        },
        "default_response": "I understand. Let me help you with that.",
        "delay": 0.001,
    }
    manager.add_provider("mock", "mock", config)
    plain = {**config, "responses": {}}
    manager.add_provider("plain", "mock", plain)
    assert await manager.generate_response("mock", "Use the CALCULATOR") == (
        "ACT: calculator(expression='2+2')"
    )
    assert (await manager.generate_response("mock", "Hm")).startswith("THINK")
    assert await manager.generate_response("plain", "Hm") == plain["default_response"]


# Errors and retries.


@real
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("status=401", AuthenticationError),
        ("status=400", BadRequestError),
        ("status=500", ServerError),
        ("overloaded", OverloadedError),
    ],
)
async def test_s64_to_s67_errors_are_those_of_the_broker(
    fault: str, kind: type[LLMError]
) -> None:
    fake = FakeProvider(faults=[fault])
    async with fake.serve() as url, LLMManager() as manager:
        config = {"api_key": "k", "base_url": url, "model": "m", "max_retries": 0}
        manager.add_provider("a", "anthropic", config)
        with pytest.raises(kind) as caught:
            await manager.generate_response("a", ASKED)
    error = caught.value
    assert isinstance(error, APIError)
    assert error.provider == "a"
    assert error.status == error.attempts[-1].status
    assert not issubclass(RateLimitError, APIError)
    assert ("model_overloaded" in str(error)) == (kind is OverloadedError)


@real
async def test_s68_to_s72_retries_are_counted_as_further_tries() -> None:
    provider = ScriptedProvider(
        ServerError("no"), max_retries=2, retry_delay=0.001, backoff_factor=2.0
    )
    manager = LLMManager()
    manager.add_provider("a", provider)
    with pytest.raises(ServerError):
        await manager.generate_response("a", ASKED)
    assert len(provider.sent) == 3


# Pools, life and the agents' side.


@real
async def test_s84_to_s86_pools_have_the_size_that_is_configured(
    wire: FakeWire,
) -> None:
    manager = LLMManager()
    config = {
        "api_key": "k",
        "model": "gpt-4.1",
        "connection_pool_size": 10,
        "connection_pool_maxsize": 20,
        "keep_alive": True,
        "timeout": 30.0,
    }
    manager.add_provider("a", "openai", config)
    manager.add_provider("b", "openai", {**config, "keep_alive": False})
    wire.answer(completion())
    for name in ("a", "b"):
        await manager.generate_response(name, ASKED)
    first, second = wire.settings
    assert (first.max_idle, first.max_connections, first.keep_alive) == (10, 20, True)
    assert not second.keep_alive


@real
async def test_s12_a_manager_that_is_closed_takes_no_more() -> None:
    async with mocks("one") as manager:
        await manager.generate_response("one", ASKED)
    with pytest.raises(BrokerClosedError):
        await manager.generate_response("one", ASKED)
    await manager.aclose()
    await LLMManager().aclose()


@real
async def test_s12_closing_ends_what_a_replaced_provider_still_does() -> None:
    manager = LLMManager()
    manager.add_provider("one", ScriptedProvider(Hang()))
    async with anyio.create_task_group() as tasks:
        ended = anyio.Event()

        async def ask() -> None:
            with pytest.raises(BrokerClosedError):
                await manager.generate_response("one", ASKED)
            ended.set()

        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        manager.add_provider("one", "mock", replace=True)
        await manager.aclose(drain_timeout=0)
        await ended.wait()


def test_an_answer_can_be_copied_and_pickled() -> None:
    reply = Reply("hello", "p", "m", "stop", Usage(1, 2), ())
    for same in (
        copy.deepcopy(Response(reply)),
        pickle.loads(pickle.dumps(Response(reply))),
    ):
        assert same == "hello"
        assert same.reply == reply


def test_importing_it_imports_no_sdk_and_no_client() -> None:
    heavy = {"openai", "anthropic", "httpx", "httpx2", "genai_prices", "trio"}
    assert not modules_after("from aitor.llm import LLMManager") & heavy


@real
async def test_s91_a_provider_is_handed_out_and_still_asked_by_the_broker() -> None:
    manager = failing(ServerError("no"))
    manager.set_failover_sequence(["first", "second"])
    provider = manager.get_provider("first")
    assert await provider.generate_response(ASKED) == "from second"
    with pytest.raises(ConfigurationError, match="no provider 'nobody'"):
        manager.get_provider("nobody")


@real
async def test_an_agent_finds_what_it_needs_in_a_manager() -> None:
    manager = mocks("one", "two")
    manager.set_failover_sequence(["two", "one"])
    assert names_in(manager) == ("one", "two")
    asked: dict[str, Provider] = providers_asked(manager, None)
    assert list(asked) == ["two", "one"]
    assert (await manager.submit(ASKED, provider="one")).text == "from one"
