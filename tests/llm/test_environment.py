"""A manager of what the environment says: S74 to S83."""

from pathlib import Path

import pytest
from tests.providers.fake import FakeWire, completion

from aitor.errors import ConfigurationError
from aitor.llm import LLMManager, create_llm_manager_from_env

KEYS = {"OPENAI_API_KEY": "sk-openai", "ANTHROPIC_API_KEY": "sk-ant"}
CUSTOM = {
    "CUSTOM_LLM_API_KEY": "sk-custom",
    "CUSTOM_LLM_BASE_URL": "https://llm.example",
}


def test_s74_s78_s81_every_key_makes_a_provider() -> None:
    manager = create_llm_manager_from_env({**KEYS, **CUSTOM})
    assert isinstance(manager, LLMManager)
    assert manager.get_available_providers() == ["openai", "claude", "custom"]
    assert manager.default_provider == "openai"
    assert manager.broker.providers == ("openai", "claude", "custom")


def test_s74_an_empty_key_counts_as_none() -> None:
    manager = create_llm_manager_from_env({**KEYS, "OPENAI_API_KEY": ""})
    assert manager.get_available_providers() == ["claude"]


def test_s83_nothing_set_is_an_error_that_tells_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY, ANTHROPIC_API_KEY"):
        create_llm_manager_from_env({})


def test_s83_the_process_is_asked_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant")
    assert create_llm_manager_from_env().default_provider == "claude"


@pytest.mark.anyio
async def test_s75_s76_s77_openai_gets_what_is_set_and_nothing_else(
    wire: FakeWire,
) -> None:
    wire.answer(completion())
    more = {
        "OPENAI_MODEL": "gpt-4.1",
        "OPENAI_TEMPERATURE": "0.7",
        "OPENAI_MAX_TOKENS": "500",
    }
    manager = create_llm_manager_from_env({**KEYS, **more})
    await manager.generate_response("openai", "Hi")
    assert (wire.body["temperature"], wire.body["max_tokens"]) == (0.7, 500)
    manager = create_llm_manager_from_env({**KEYS, "OPENAI_MODEL": "gpt-4.1"})
    await manager.generate_response("openai", "Hi")
    assert wire.body.keys() == {"model", "messages"}


@pytest.mark.anyio
async def test_s76_a_reasoning_model_gets_no_temperature(wire: FakeWire) -> None:
    wire.answer(completion())
    more = {"OPENAI_MODEL": "gpt-5.5", "OPENAI_TEMPERATURE": "0.7"}
    manager = create_llm_manager_from_env({**KEYS, **more})
    await manager.generate_response("openai", "Hi")
    assert "temperature" not in wire.body


def test_s79_s80_claude_takes_its_variables_and_a_current_model() -> None:
    more = {
        "ANTHROPIC_TEMPERATURE": "0.5",
        "ANTHROPIC_MAX_TOKENS": "300",
    }
    manager = create_llm_manager_from_env({**KEYS, **more})
    settings = manager._providers["claude"].settings
    assert settings.model == "claude-sonnet-5-5"
    assert settings.defaults == {"temperature": 0.5, "max_tokens": 300}  # type: ignore[attr-defined]  # over HTTP
    named = create_llm_manager_from_env({**KEYS, "ANTHROPIC_MODEL": "claude-x"})
    assert named._providers["claude"].settings.model == "claude-x"


def test_s81_a_custom_key_without_an_address_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="CUSTOM_LLM_BASE_URL is not"):
        create_llm_manager_from_env({"CUSTOM_LLM_API_KEY": "k", **KEYS})


@pytest.mark.parametrize(
    ("word", "default"),
    [("claude", "claude"), ("anthropic", "claude"), ("custom", "custom")],
)
def test_s82_the_default_is_a_name_or_a_kind(word: str, default: str) -> None:
    environ = {**KEYS, **CUSTOM, "DEFAULT_LLM_PROVIDER": word}
    assert create_llm_manager_from_env(environ).default_provider == default


def test_s82_an_unknown_default_is_an_error_that_names_the_variable() -> None:
    environ = {**KEYS, "DEFAULT_LLM_PROVIDER": "gemini"}
    with pytest.raises(ConfigurationError, match="DEFAULT_LLM_PROVIDER = 'gemini'"):
        create_llm_manager_from_env(environ)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OPENAI_TEMPERATURE", "hot"), ("OPENAI_MAX_TOKENS", "many")],
)
def test_s76_s77_a_wrong_number_is_an_error_that_names_the_variable(
    variable: str, value: str
) -> None:
    with pytest.raises(
        ConfigurationError, match=f"'{value}' .from {variable}."
    ) as seen:
        create_llm_manager_from_env({**KEYS, variable: value})
    assert "sk-openai" not in str(seen.value)


def test_a_file_may_say_it_all(tmp_path: Path) -> None:
    path = tmp_path / "aitor.toml"
    path.write_text(
        """
        failover = ["b", "a"]
        [limits.team]
        requests_per_minute = 60
        [providers.a]
        kind = "mock"
        limits = "team"
        [providers.b]
        kind = "mock"
        """
    )
    manager = create_llm_manager_from_env({"AITOR_CONFIG": str(path)})
    assert manager.get_available_providers() == ["a", "b"]
    assert manager.default_provider == "b"
