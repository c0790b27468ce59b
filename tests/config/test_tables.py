"""What tables mean, and what is said about those that mean nothing."""

from collections.abc import Mapping
from typing import Any

import pytest

from aitor.config import Configuration, load_configuration
from aitor.errors import ConfigurationError
from aitor.providers.rules import rule_of, rules_of

CANARY = "sk-canary-4711"

MOCK = {"kind": "mock"}


def read(
    document: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Configuration:
    return load_configuration(document, environ or {})


def problems(
    document: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> list[str]:
    """Return what is wrong with *document*, without the part that is always there."""
    with pytest.raises(ConfigurationError) as caught:
        read(document, environ)
    text = str(caught.value)
    assert CANARY not in text + repr(caught.value)
    return [line.removeprefix("configuration: ") for line in text.splitlines()]


def test_everything_has_a_default_but_the_providers() -> None:
    configuration = read({"providers": {"mock": {}, "b": MOCK}})
    assert list(configuration.providers) == ["mock", "b"]
    assert configuration.failover == ("mock", "b")
    assert configuration.backend == "asyncio"
    assert configuration.drain_timeout == 30.0
    assert configuration.retry_ratio == 0.2
    assert configuration.tenants == {}
    assert configuration.limits == {}


def test_what_is_given_is_taken() -> None:
    configuration = read(
        {
            "failover": ["b", "a"],
            "backend": "trio",
            "drain_timeout": 0,
            "retry_ratio": 0.5,
            "tenants": {"gold": 3},
            "providers": {
                "a": {"kind": "mock", "workers": 7, "breaker": {"failures": 2}},
                "b": {"kind": "mock", "limits": "acme"},
            },
            "limits": {"acme": {"requests_per_minute": 500}},
        }
    )
    assert configuration.failover == ("b", "a")
    assert configuration.backend == "trio"
    assert configuration.drain_timeout == 0.0
    assert configuration.retry_ratio == 0.5
    assert configuration.tenants == {"gold": 3.0}
    assert configuration.limits["acme"].requests_per_minute == 500
    settings = configuration.providers["a"].settings
    assert (settings.workers, settings.breaker.failures) == (7, 2)
    assert configuration.providers["b"].settings.limits == "acme"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        # Outside every table.
        ({}, "no provider is given: write a table [providers.NAME]"),
        ({"providers": {}}, "no provider is given: write a table [providers.NAME]"),
        (
            {"provider": {"mock": {}}, "providers": {"mock": {}}},
            "unknown key 'provider'; did you mean 'providers'?",
        ),
        (
            {"failovr": ["mock"], "providers": {"mock": {}}},
            "unknown key 'failovr'; did you mean 'failover'?",
        ),
        (
            {"backend": "curio", "providers": {"mock": {}}},
            "'backend' = 'curio': Input should be 'asyncio' or 'trio'",
        ),
        (
            {"drain_timeout": -1, "providers": {"mock": {}}},
            "'drain_timeout' = -1: Input should be greater than or equal to 0",
        ),
        (
            {"retry_ratio": "much", "providers": {"mock": {}}},
            (
                "'retry_ratio' = 'much': Input should be a valid number, "
                "unable to parse string as a number"
            ),
        ),
        (
            {"tenants": {"gold": 0}, "providers": {"mock": {}}},
            "'tenants.gold' = 0: Input should be greater than 0",
        ),
        ({"providers": 3}, "'providers' must be tables [providers.NAME]"),
        (
            {"providers": {"mock": "loud"}},
            "[providers] 'mock' must be a table [providers.mock]",
        ),
        ({"providers": {"": {}}}, "[providers] '' is no name: write [providers.NAME]"),
        (
            {"providers": {"mock": {}}, "limits": {3: {}}},
            "[limits] 3 is no name: write [limits.NAME]",
        ),
        # The failover sequence.
        (
            {"failover": [], "providers": {"mock": {}}},
            "'failover' = []: List should have at least 1 item after validation, not 0",
        ),
        (
            {"failover": "mock", "providers": {"mock": {}}},
            "'failover' = 'mock': Input should be a valid list",
        ),
        (
            {"failover": ["mokc"], "providers": {"mock": {}}},
            "'failover' names 'mokc': no such provider; did you mean 'mock'?",
        ),
        (
            {"failover": ["x"], "providers": {"a": MOCK, "b": MOCK}},
            "'failover' names 'x': no such provider; known: a, b",
        ),
        (
            {"failover": ["a", "b", "a"], "providers": {"a": MOCK, "b": MOCK}},
            "'failover' names 'a': named twice",
        ),
        # A provider's table.
        (
            {"providers": {"a": {"kind": "mock", "wokers": 3}}},
            "[providers.a] unknown key 'wokers'; did you mean 'workers'?",
        ),
        (
            {"providers": {"a": {"kind": "mock", "workers": 0}}},
            "[providers.a] 'workers' = 0: Input should be greater than or equal to 1",
        ),
        (
            {"providers": {"a": {"kind": "mock", "breaker": {"failure": 3}}}},
            "[providers.a] unknown key 'breaker.failure'; did you mean 'failures'?",
        ),
        (
            {"providers": {"a": {"kind": "openai", "base_url": "localhost"}}},
            (
                "[providers.a] 'base_url' = 'localhost': must begin with http:// or "
                "https://"
            ),
        ),
        (
            {"providers": {"a": {"kind": "mokc"}}},
            (
                "[providers.a] 'kind' = 'mokc': must be one of 'anthropic', "
                "'compatible', 'mock', 'openai'; did you mean 'mock'?"
            ),
        ),
        (
            {"providers": {"acme": {}}},
            (
                "[providers.acme] 'kind' is not given: must be one of 'anthropic', "
                "'compatible', 'mock', 'openai'"
            ),
        ),
        (
            {"providers": {"a": {"kind": 3}}},
            "[providers.a] 'kind' = 3: must be a text",
        ),
        # Limits.
        (
            {"limits": 3, "providers": {"mock": {}}},
            "'limits' must be tables [limits.NAME]",
        ),
        (
            {"limits": {"acme": {"rpm": 3}}, "providers": {"mock": {}}},
            "[limits.acme] unknown key 'rpm'",
        ),
        (
            {
                "limits": {"acme": {"request_per_minute": 3}},
                "providers": {"mock": {}},
            },
            (
                "[limits.acme] unknown key 'request_per_minute'; "
                "did you mean 'requests_per_minute'?"
            ),
        ),
        (
            {
                "limits": {"acme": {"tokens_per_minute": float("nan")}},
                "providers": {"mock": {}},
            },
            "[limits.acme] 'tokens_per_minute' = nan: Input should be a finite number",
        ),
        (
            {"limits": {"acme": {}}, "providers": {"mock": {"limits": "acne"}}},
            (
                "[providers.mock] 'limits' = 'acne': there is no table [limits.acne]; "
                "did you mean 'acme'?"
            ),
        ),
        (
            {"providers": {"mock": {"limits": "acme"}}},
            "[providers.mock] 'limits' = 'acme': there is no table [limits.acme]",
        ),
        (
            {
                "limits": {"acme": {}},
                "providers": {"mock": {"limits": "acme", "requests_per_minute": 3}},
            },
            (
                "[providers.mock] 'limits' names a shared limit, so "
                "'requests_per_minute' belongs in the table [limits.acme]"
            ),
        ),
        # The environment.
        (
            {"providers": {"a": {"kind": "mock", "model": "env:MY_MODEL"}}},
            (
                "[providers.a] 'model' = 'env:MY_MODEL': the environment variable "
                "MY_MODEL is not set"
            ),
        ),
        (
            {"providers": {"a": {"kind": "openai", "headers": {"X-Team": "env:T"}}}},
            (
                "[providers.a.headers] 'X-Team' = 'env:T': the environment variable T "
                "is not set"
            ),
        ),
        (
            {"backend": "env:B", "providers": {"mock": {}}},
            "'backend' = 'env:B': the environment variable B is not set",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_its_value_and_what_was_expected(
    document: Mapping[str, Any], expected: str
) -> None:
    assert problems(document) == [expected]


def test_everything_that_is_wrong_is_told_together() -> None:
    document = {
        "failover": ["a", "z"],
        "retires": 3,
        "providers": {
            "a": {"kind": "mock", "workers": 0, "queue_size": 0},
            "b": {"kind": "openai", "api_key": "env:NO_KEY", "limits": "acme"},
        },
        "limits": {"other": {"burst": 2}},
    }
    assert [problem.partition(":")[0] for problem in problems(document)] == [
        "[providers.b] 'api_key' = 'env",
        "unknown key 'retires'",
        "[limits.other] 'burst' = 2",
        "[providers.a] 'workers' = 0",
        "[providers.a] 'queue_size' = 0",
        "[providers.b] 'limits' = 'acme'",
        "'failover' names 'z'",
    ]


def test_a_failover_is_checked_although_one_of_its_providers_is_wrong() -> None:
    document = {"failover": ["a"], "providers": {"a": {"kind": "mock", "workers": 0}}}
    assert len(problems(document)) == 1


@pytest.mark.parametrize(
    "table",
    [
        {"api_key": f"{CANARY}\n"},
        {"api_key": [CANARY]},
        {"apikey": CANARY},
        {"headers": {"Authorization": [CANARY]}},
        {"headers": CANARY},
    ],
    ids=["line break", "list", "misspelt", "header", "headers"],
)
def test_a_key_is_never_quoted(table: Mapping[str, Any]) -> None:
    assert len(problems({"providers": {"a": {"kind": "openai", **table}}})) == 1


@pytest.mark.parametrize("name", ["api_key", "model", "base_url", "workers"])
def test_what_comes_from_the_environment_is_never_quoted(name: str) -> None:
    document = {"providers": {"a": {"kind": "openai", name: "env:SECRET"}}}
    if name != "model":
        told = problems(document, {"SECRET": f"{CANARY} \n"})
        assert told[0].startswith(f"[providers.a] '{name}'")


def test_a_table_where_a_text_was_meant_does_not_show_the_text() -> None:
    assert problems({"providers": {"openai": CANARY}})


class TestReferences:
    """`env:NAME`"""

    def test_any_setting_can_come_from_the_environment(self) -> None:
        table = {
            "kind": "openai",
            "api_key": "env:K",
            "model": "env:M",
            "workers": "env:W",
            "headers": {"X-Team": "env:T"},
        }
        environ = {"K": CANARY, "M": "gpt-9", "W": "5", "T": "blue"}
        configured = read({"providers": {"a": table}}, environ).providers["a"]
        settings: Any = configured.settings
        assert settings.api_key.get_secret_value() == CANARY
        assert (settings.model, settings.workers) == ("gpt-9", 5)
        assert settings.headers == {"x-team": "blue"}
        assert type(settings.model) is str
        assert configured.key_origin == "K"

    def test_an_empty_variable_counts_as_unset(self) -> None:
        document = {"providers": {"a": {"kind": "mock", "model": "env:M"}}}
        assert problems(document, {"M": ""})

    def test_a_document_is_left_as_it_was(self) -> None:
        document = {"providers": {"a": {"kind": "mock", "model": "env:M"}}}
        read(document, {"M": "gpt-9"})
        assert document == {"providers": {"a": {"kind": "mock", "model": "env:M"}}}


class TestWhatIsNotGiven:
    """Keys, addresses and models that a table leaves out."""

    @pytest.mark.parametrize(
        ("kind", "variable", "setting"),
        [
            ("openai", "OPENAI_API_KEY", "api_key"),
            ("anthropic", "ANTHROPIC_API_KEY", "api_key"),
            ("anthropic", "ANTHROPIC_AUTH_TOKEN", "auth_token"),
        ],
    )
    def test_each_vendor_has_variables_for_its_key(
        self, kind: str, variable: str, setting: str
    ) -> None:
        document = {"providers": {"a": {"kind": kind}}}
        configured = read(document, {variable: CANARY}).providers["a"]
        found = getattr(configured.settings, setting)
        assert found.get_secret_value() == CANARY
        assert configured.key_origin == variable

    def test_a_key_in_the_table_wins(self) -> None:
        document = {"providers": {"openai": {"api_key": "sk-table"}}}
        configured = read(document, {"OPENAI_API_KEY": CANARY}).providers["openai"]
        settings: Any = configured.settings
        assert settings.api_key.get_secret_value() == "sk-table"
        assert configured.key_origin == "configuration"

    @pytest.mark.parametrize(
        ("table", "setting"),
        [({}, "api_key"), ({"auth_token": "tk-table"}, "auth_token")],
    )
    def test_one_secret_is_enough(self, table: dict[str, Any], setting: str) -> None:
        document = {"providers": {"a": {"kind": "anthropic", **table}}}
        environ = {"ANTHROPIC_API_KEY": CANARY, "ANTHROPIC_AUTH_TOKEN": CANARY}
        settings: Any = read(document, environ).providers["a"].settings
        given = {name: getattr(settings, name) for name in ("api_key", "auth_token")}
        assert [name for name in given if given[name] is not None] == [setting]

    def test_a_key_may_stand_in_a_header(self) -> None:
        table = {"kind": "openai", "headers": {"Authorization": f"Bearer {CANARY}"}}
        configured = read({"providers": {"a": table}}).providers["a"]
        assert configured.key_origin == "the headers in configuration"

    @pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "CUSTOM_LLM_API_KEY"])
    def test_a_key_goes_to_no_address_that_it_did_not_come_with(
        self, variable: str
    ) -> None:
        table = {"kind": "compatible", "base_url": "http://127.0.0.1:1", "model": "m"}
        configured = read({"providers": {"a": table}}, {variable: CANARY})
        settings: Any = configured.providers["a"].settings
        assert settings.api_key is None
        assert configured.providers["a"].key_origin is None

    def test_an_address_comes_with_its_key(self) -> None:
        environ = {
            "CUSTOM_LLM_BASE_URL": "https://llm.example/v1",
            "CUSTOM_LLM_API_KEY": CANARY,
        }
        configured = read({"providers": {"a": {"kind": "compatible"}}}, environ)
        settings: Any = configured.providers["a"].settings
        assert settings.base_url == "https://llm.example/v1"
        assert settings.api_key.get_secret_value() == CANARY

    @pytest.mark.parametrize(
        ("kind", "vendor"), [("openai", "openai"), ("anthropic", "anthropic")]
    )
    def test_a_vendors_default_model_is_not_retired(
        self, kind: str, vendor: str
    ) -> None:
        settings = read({"providers": {"a": {"kind": kind}}}).providers["a"].settings
        assert settings.model is not None
        rules = rules_of(vendor)
        assert any(settings.model.startswith(name) for name in rules)
        assert rule_of(settings.model, rules).retired is None

    def test_another_address_has_no_default_model(self) -> None:
        table = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}
        assert read({"providers": {"a": table}}).providers["a"].settings.model is None


def test_no_repr_shows_a_key() -> None:
    table = {"kind": "openai", "api_key": CANARY, "headers": {"X-Key": CANARY}}
    assert CANARY not in repr(read({"providers": {"a": table}}))
