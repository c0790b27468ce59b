"""A configuration that only the environment gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aitor.config import configuration_from_environment
from aitor.errors import ConfigurationError

CANARY = "sk-canary-4711"

OPENAI = {"OPENAI_API_KEY": CANARY}
CLAUDE = {"ANTHROPIC_API_KEY": CANARY}
CUSTOM = {
    "CUSTOM_LLM_API_KEY": CANARY,
    "CUSTOM_LLM_BASE_URL": "https://llm.example/v1/",
    "CUSTOM_LLM_MODEL": "own-1",
}


def settings(environ: Mapping[str, str], name: str) -> Any:
    return configuration_from_environment(environ).providers[name].settings


def test_one_key_is_enough() -> None:
    configuration = configuration_from_environment(OPENAI)
    (configured,) = configuration.providers.values()
    assert configuration.source == "environment"
    assert configuration.failover == ("openai",)
    assert configured.kind == "openai"
    assert configured.key_origin == "OPENAI_API_KEY"
    assert settings(OPENAI, "openai").api_key.get_secret_value() == CANARY


def test_each_key_adds_a_provider() -> None:
    configuration = configuration_from_environment({**CUSTOM, **CLAUDE, **OPENAI})
    kinds = {name: each.kind for name, each in configuration.providers.items()}
    assert kinds == {"openai": "openai", "claude": "anthropic", "custom": "compatible"}
    assert configuration.failover == ("openai", "claude", "custom")


@pytest.mark.parametrize(
    ("environ", "name", "variables"),
    [(OPENAI, "openai", "OPENAI"), (CLAUDE, "claude", "ANTHROPIC")],
)
def test_model_and_parameters_are_taken(
    environ: Mapping[str, str], name: str, variables: str
) -> None:
    given = {
        f"{variables}_MODEL": "model-9",
        f"{variables}_TEMPERATURE": "0.7",
        f"{variables}_MAX_TOKENS": "500",
        f"{variables}_BASE_URL": "https://proxy.example/v1",
    }
    found = settings({**environ, **given}, name)
    assert (found.model, found.temperature, found.max_tokens, found.base_url) == (
        "model-9",
        0.7,
        500,
        "https://proxy.example/v1",
    )


@pytest.mark.parametrize(("environ", "name"), [(OPENAI, "openai"), (CLAUDE, "claude")])
def test_what_is_not_said_is_not_sent(environ: Mapping[str, str], name: str) -> None:
    found = settings(environ, name)
    assert found.temperature is None
    assert found.max_tokens is None


def test_a_custom_provider_has_address_key_and_model() -> None:
    found = settings(CUSTOM, "custom")
    assert found.base_url == "https://llm.example/v1"
    assert found.api_key.get_secret_value() == CANARY
    assert found.model == "own-1"


def test_a_custom_provider_may_need_no_key() -> None:
    environ = {
        "CUSTOM_LLM_BASE_URL": "http://127.0.0.1:11434/v1",
        "CUSTOM_LLM_MODEL": "m",
    }
    assert settings(environ, "custom").api_key is None


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("", ("openai", "claude", "custom")),
        ("openai", ("openai", "claude", "custom")),
        ("claude", ("claude", "openai", "custom")),
        ("anthropic", ("claude", "openai", "custom")),
        (" Anthropic ", ("claude", "openai", "custom")),
        ("custom", ("custom", "openai", "claude")),
        ("compatible", ("custom", "openai", "claude")),
    ],
)
def test_the_default_provider_is_asked_first(
    default: str, expected: tuple[str, ...]
) -> None:
    environ = {**OPENAI, **CLAUDE, **CUSTOM, "DEFAULT_LLM_PROVIDER": default}
    assert configuration_from_environment(environ).failover == expected


NOTHING = (
    "no provider is configured: write aitor.toml with a table [providers.NAME], or "
    "name such a file in AITOR_CONFIG, or set one of OPENAI_API_KEY, "
    "ANTHROPIC_API_KEY, CUSTOM_LLM_BASE_URL; without a key: the table "
    "[providers.mock] answers by itself, and 'aitor fake-provider' is a provider on "
    "this machine, for which CUSTOM_LLM_BASE_URL is the address that it tells and "
    "CUSTOM_LLM_MODEL any name"
)


HALF = "environment: CUSTOM_LLM_API_KEY is set, but CUSTOM_LLM_BASE_URL is not"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, NOTHING),
        ({"OPENAI_API_KEY": ""}, NOTHING),
        ({"OPENAI_MODEL": "gpt-9"}, NOTHING),
        ({"CUSTOM_LLM_API_KEY": CANARY}, f"{HALF}\n{NOTHING}"),
        ({**OPENAI, "CUSTOM_LLM_API_KEY": CANARY}, HALF),
        (
            {**OPENAI, "DEFAULT_LLM_PROVIDER": "anthropic"},
            (
                "environment: DEFAULT_LLM_PROVIDER = 'anthropic': no such provider "
                "is configured; known: openai"
            ),
        ),
        (
            {**OPENAI, **CLAUDE, "DEFAULT_LLM_PROVIDER": "gemini"},
            (
                "environment: DEFAULT_LLM_PROVIDER = 'gemini': no such provider is "
                "configured; known: openai, claude"
            ),
        ),
        (
            {**OPENAI, "OPENAI_TEMPERATURE": "warm"},
            (
                "environment: [providers.openai] 'temperature' = 'warm' (from "
                "OPENAI_TEMPERATURE): Input should be a valid number, unable to "
                "parse string as a number"
            ),
        ),
        (
            {**CLAUDE, "ANTHROPIC_MAX_TOKENS": "0"},
            (
                "environment: [providers.claude] 'max_tokens' = '0' (from "
                "ANTHROPIC_MAX_TOKENS): Input should be greater than or equal to 1"
            ),
        ),
        (
            {**OPENAI, "OPENAI_BASE_URL": "llm.example"},
            (
                "environment: [providers.openai] 'base_url' = "
                "'env:OPENAI_BASE_URL': must begin with http:// or https://"
            ),
        ),
    ],
)
def test_a_mistake_names_the_variable(
    environ: Mapping[str, str], expected: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration_from_environment(environ)
    assert str(caught.value) == expected


def test_everything_that_is_wrong_is_told_together() -> None:
    environ = {
        **OPENAI,
        "OPENAI_API_KEY": f"{CANARY} ",
        "OPENAI_MAX_TOKENS": "many",
        "CUSTOM_LLM_API_KEY": CANARY,
        "DEFAULT_LLM_PROVIDER": "gemini",
    }
    with pytest.raises(ConfigurationError) as caught:
        configuration_from_environment(environ)
    assert len(str(caught.value).splitlines()) == 4
    assert CANARY not in str(caught.value)


def test_a_file_that_is_named_says_it_all(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("[providers.mock]")
    environ = {**OPENAI, "AITOR_CONFIG": str(path)}
    configuration = configuration_from_environment(environ)
    assert list(configuration.providers) == ["mock"]
    assert configuration.source == str(path)


def test_by_default_it_is_the_environment_of_the_process_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "CUSTOM_LLM_BASE_URL", "AITOR_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-file\nANTHROPIC_API_KEY=sk-no\n")
    providers = configuration_from_environment().providers
    assert providers["openai"].key_origin == "OPENAI_API_KEY in .env"
    assert providers["claude"].key_origin == "ANTHROPIC_API_KEY"
    claude: Any = providers["claude"].settings
    assert claude.api_key.get_secret_value() == CANARY
