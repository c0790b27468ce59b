"""From a configuration to a broker."""

from typing import Any

import pytest

from aitor import Broker
from aitor.config import Configuration, ConfiguredProvider, load_configuration
from aitor.errors import ConfigurationError
from aitor.events import Event, RequestEnded
from aitor.messages import Answer, Request
from aitor.providers.base import Progress, Provider
from aitor.providers.settings import ProviderSettings


class Choosy(Provider):
    """Refuses one model."""

    kind = "choosy"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.settings.model == "bad":
            raise ConfigurationError("'model' = 'bad': is not for this class")

    async def complete(self, request: Request, progress: Progress) -> Answer:
        raise NotImplementedError


def choosy(model: str) -> ConfiguredProvider:
    return ConfiguredProvider("choosy", Choosy, ProviderSettings(model=model))


@pytest.mark.anyio
async def test_the_broker_answers() -> None:
    configuration = load_configuration({"providers": {"mock": {}}})
    async with configuration.broker() as broker:
        reply = await broker.submit("hello")
    assert reply.provider == "mock"


@pytest.mark.anyio
async def test_the_broker_is_made_as_configured() -> None:
    events: list[Event] = []
    configuration = load_configuration(
        {
            "failover": ["b", "a"],
            "providers": {
                "a": {"kind": "mock", "limits": "acme", "workers": 3},
                "b": {"kind": "mock", "limits": "acme", "queue_size": 7},
                "c": {"kind": "mock", "requests_per_minute": 10},
            },
            "limits": {"acme": {"requests_per_minute": 60}},
        }
    )
    async with configuration.broker(listeners=[events.append]) as broker:
        assert (await broker.submit("hello")).provider == "b"
        found = broker.statistics().providers
    assert {name: each.limit for name, each in found.items()} == {
        "a": "acme",
        "b": "acme",
        "c": "c",
    }
    assert found["a"].workers == 3
    assert found["b"].queue_size == 7
    assert found["a"].levels["requests"].limit == 60
    assert any(isinstance(event, RequestEnded) for event in events)


def test_the_broker_gets_all_that_is_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        "aitor.config.configuration.Broker", lambda _, **more: given.update(more)
    )
    load_configuration(
        {
            "tenants": {"gold": 3},
            "drain_timeout": 5,
            "retry_ratio": 0.5,
            "debug": True,
            "providers": {"mock": {}},
        }
    ).broker()
    assert given == {
        "failover": ("mock",),
        "limits": {},
        "tenants": {"gold": 3.0},
        "drain_timeout": 5.0,
        "retry_ratio": 0.5,
        "debug": True,
        "listeners": (),
    }


@pytest.mark.anyio
async def test_one_configuration_makes_several_brokers() -> None:
    configuration = load_configuration({"providers": {"mock": {}}})
    for _ in range(2):
        async with configuration.broker() as broker:
            assert (await broker.submit("hello")).provider == "mock"


@pytest.mark.anyio
async def test_the_brokers_own_ways_in_lead_here() -> None:
    async with Broker.from_config({"providers": {"mock": {}}}) as broker:
        assert broker.providers == ("mock",)
    broker = Broker.from_env({"OPENAI_API_KEY": "sk-canary"})
    assert broker.providers == ("openai",)
    await broker.aclose()


def test_a_provider_gets_what_was_given_and_nothing_else() -> None:
    table = {"kind": "openai", "api_key": "sk-canary", "model": "m", "workers": 2}
    configuration = load_configuration({"providers": {"a": table}}, {})
    settings: Any = configuration.make_providers()["a"].settings
    assert settings.api_key.get_secret_value() == "sk-canary"
    assert {"api_key", "model", "workers"} <= settings.model_fields_set
    assert "queue_size" not in settings.model_fields_set


def test_every_provider_that_refuses_is_told() -> None:
    providers = {"a": choosy("bad"), "b": choosy("good"), "c": choosy("bad")}
    configuration = Configuration("aitor.toml", providers, tuple(providers))
    with pytest.raises(ConfigurationError) as caught:
        configuration.broker()
    assert str(caught.value).splitlines() == [
        "aitor.toml: [providers.a] 'model' = 'bad': is not for this class",
        "aitor.toml: [providers.c] 'model' = 'bad': is not for this class",
    ]
