"""Settings of providers over HTTP: checked once, and no secret in any error."""

import pickle
from typing import Any

import pytest

from aitor.errors import ConfigurationError
from aitor.providers import AnthropicProvider, OpenAIProvider
from aitor.providers.settings import HTTPSettings, load

GUIDE = {
    "api_key": "sk-your-key",
    "model": "gpt-4",
    "temperature": 0.7,
    "max_tokens": 500,
    "top_p": 0.9,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "base_url": "https://api.custom-llm.com",
    "timeout": 30.0,
    "max_retries": 3,
    "retry_delay": 1.0,
    "backoff_factor": 2.0,
    "connection_pool_size": 10,
    "connection_pool_maxsize": 20,
    "keep_alive": True,
}


def wrong(**settings: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        OpenAIProvider(**{"api_key": "k", "model": "m", **settings})
    return str(caught.value)


def test_all_keys_of_the_guide_are_taken() -> None:
    settings = OpenAIProvider(**GUIDE).settings
    assert settings.defaults == {
        "temperature": 0.7,
        "max_tokens": 500,
        "top_p": 0.9,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
    }
    assert settings.timeout == 30.0
    AnthropicProvider(**GUIDE)


def test_there_are_no_more_workers_than_connections() -> None:
    """A call that waits inside the pool would use up its own time limits there."""
    assert OpenAIProvider(**GUIDE).settings.workers == 20
    assert load(HTTPSettings, {"connection_pool_maxsize": 500}).workers == 64
    assert load(HTTPSettings, {"workers": 9, "connection_pool_maxsize": 9}).workers == 9
    told = wrong(workers=30, connection_pool_maxsize=20)
    assert "'workers' = 30" in told
    assert "'connection_pool_maxsize' = 20" in told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"temprature": 1}, "unknown key 'temprature'; did you mean 'temperature'?"),
        ({"timeout": -1}, "'timeout' = -1"),
        ({"base_url": "api.openai.com"}, "must begin with http:// or https://"),
        ({"base_url": "http://x/v1?a=b"}, "paths are appended"),
        ({"base_url": "http://me:pw@x/v1"}, "must hold no password"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "both limit the answer"),
        ({"max_tokens": 5, "parameters": {"max_output_tokens": 5}}, "both limit"),
        ({"on_unsupported": "ignore"}, "'on_unsupported' = 'ignore'"),
        ({"api": "completions"}, "'api' = 'completions'"),
        ({"rules": {"m": {"sampling_": "x"}}}, "rules.'m': unknown key 'sampling_'"),
        ({"rules": {"m": {"api": "x"}}}, "rules.'m': 'api' = 'x'"),
        ({"rules": {"m": {"sampling": "nevr"}}}, "rules.'m': 'sampling' = 'nevr'"),
        ({"transport": "carrier pigeon"}, "'transport' = 'carrier pigeon'"),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], told: str) -> None:
    assert told in wrong(**settings)


@pytest.mark.parametrize(
    "key", ["sk-secret\n", "sk-sécret", "sk secret", "", " sk-secret"]
)
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    told = wrong(api_key=key)
    assert "api_key" in told
    assert "secret" not in told
    assert "sécret" not in told


@pytest.mark.parametrize("value", ["secret\nx: y", "sécret"])
def test_a_header_that_cannot_be_sent_is_refused_without_being_shown(
    value: str,
) -> None:
    told = wrong(headers={"x-secret": value})
    assert "headers" in told
    assert value not in told


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-from-env")
    provider = OpenAIProvider(api_key="env:MY_KEY", headers={"X-Two": "env:MY_KEY"})
    assert provider.settings.api_key is not None
    assert provider.settings.api_key.get_secret_value() == "sk-from-env"
    assert provider.settings.headers == {"x-two": "sk-from-env"}
    monkeypatch.setenv("MY_KEY", "sk-from-env\n")
    assert "sk-from" not in wrong(api_key="env:MY_KEY")
    monkeypatch.delenv("MY_KEY")
    assert "the environment variable MY_KEY is not set" in wrong(api_key="env:MY_KEY")


def test_settings_keep_their_secrets() -> None:
    settings = OpenAIProvider(api_key="sk-canary", headers={"x": "sk-canary"}).settings
    assert "sk-canary" not in repr(settings)
    assert "sk-canary" not in str(settings)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(settings)


def test_none_means_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    settings = OpenAIProvider(api_key=None, base_url=None, max_tokens=None).settings
    assert settings.base_url == "https://api.openai.com/v1"
    assert settings.api_key is not None
