"""Kinds, and classes that are imported when they are asked for."""

import subprocess
import sys

import pytest

import aitor.providers
from aitor.errors import ConfigurationError
from aitor.providers import MockProvider, OpenAIProvider, provider_class, register


class Mine(MockProvider):
    kind = "mine"


def test_a_kind_means_a_class() -> None:
    assert provider_class("openai") is OpenAIProvider
    assert provider_class("mock") is MockProvider
    assert {"openai", "anthropic", "compatible", "mock"} == {
        provider_class(kind).kind
        for kind in ("openai", "anthropic", "compatible", "mock")
    }


def test_a_kind_can_be_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aitor.providers, "_registered", {})
    register("mine", Mine)
    register("mine", Mine)
    assert provider_class("mine") is Mine
    for kind in ("mine", "openai"):
        with pytest.raises(ConfigurationError, match="taken"):
            register(kind, MockProvider)
    with pytest.raises(ConfigurationError, match="subclass"):
        register("other", dict)  # type: ignore[arg-type]


def test_an_unknown_kind_names_all_and_the_nearest() -> None:
    with pytest.raises(ConfigurationError) as caught:
        provider_class("opnai")
    assert str(caught.value) == (
        "must be one of 'anthropic', 'compatible', 'mock', 'openai'; "
        "did you mean 'openai'?"
    )


def test_all_names_are_there_and_no_others() -> None:
    for name in aitor.providers.__all__:
        assert getattr(aitor.providers, name) is not None
    assert set(aitor.providers.__all__) <= set(dir(aitor.providers))
    with pytest.raises(AttributeError, match="Nothing"):
        aitor.providers.Nothing  # noqa: B018  # the look-up is the test


def test_no_sdk_and_no_http_client_is_imported_before_it_is_needed() -> None:
    heavy = ("openai", "anthropic", "httpx", "httpx2", "httptools", "trio", "asyncio")
    code = (
        "import sys\n"
        "from aitor.providers import OpenAIProvider, AnthropicProvider\n"
        "OpenAIProvider(api_key='k', model='gpt-5.5')\n"
        "AnthropicProvider(api_key='k', model='claude-opus-5-5')\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
