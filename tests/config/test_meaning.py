"""What `aitor check` has to tell."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from aitor.config import load_configuration
from aitor.config.meaning import describe, doubts

CANARY = "sk-canary-4711"


def meaning(document: Mapping[str, Any]) -> dict[str, Any]:
    configuration = load_configuration(document, {"OPENAI_API_KEY": CANARY})
    return describe(configuration, configuration.make_providers())


def warnings(document: Mapping[str, Any]) -> list[str]:
    configuration = load_configuration(document, {})
    return list(doubts(configuration, configuration.make_providers()))


def openai(**settings: Any) -> dict[str, Any]:
    return {"kind": "openai", "model": "gpt-6-luna", "api_key": CANARY, **settings}


def test_a_provider_is_described_with_what_follows_from_its_settings() -> None:
    described = meaning(
        {
            "providers": {
                "fast": {
                    "kind": "openai",
                    "model": "gpt-6-luna",
                    "base_url": "http://127.0.0.1:8080/v1/",
                    "requests_per_minute": 500,
                    "workers": 8,
                    "queue_size": 20,
                    "timeout": 30,
                    "idle_timeout": 5,
                    "max_retries": 2,
                    "breaker": {"failures": 3},
                }
            }
        }
    )
    fast = described["providers"]["fast"]
    assert fast == {
        "kind": "openai",
        "model": "gpt-6-luna",
        "base_url": "http://127.0.0.1:8080/v1",
        "key": "OPENAI_API_KEY",
        "shares": None,
        "paces": {
            "requests": {
                "per_minute": 500.0,
                "at_once": 5.0,
                "per_second": pytest.approx(500 / 60, rel=0.01),
            }
        },
        "workers": 8,
        "queue_size": 20,
        "timeouts": {
            "attempt": 30.0,
            "connect": 10.0,
            "first_token": None,
            "idle": 5.0,
        },
        "retries": {
            "max_retries": 2,
            "retry_delay": 0.5,
            "backoff_factor": 2.0,
            "max_retry_delay": 8.0,
            "max_retry_after": 3_600.0,
        },
        "breaker": {
            "failures": 3,
            "failing_seconds": 2.0,
            "first_open_seconds": 1.0,
            "open_seconds": 30.0,
            "probes": 1,
            "probe_seconds": 60.0,
            "dead_seconds": 300.0,
        },
        "parameters": {},
    }


def test_a_shared_limit_is_told_with_those_who_share_it() -> None:
    described = meaning(
        {
            "providers": {
                "a": {"kind": "mock", "limits": "acme"},
                "b": {"kind": "mock", "limits": "acme"},
                "c": {"kind": "mock"},
            },
            "limits": {"acme": {"requests_per_minute": 60}},
        }
    )
    acme = described["limits"]["acme"]
    assert acme["shared_by"] == ["a", "b"]
    assert acme["paces"]["requests"]["per_minute"] == 60
    assert described["providers"]["a"]["shares"] == "acme"
    assert described["providers"]["a"]["paces"] == {}


def test_it_can_be_written_as_json_and_holds_no_secret() -> None:
    document = {
        "tenants": {"gold": 2},
        "providers": {
            "a": openai(headers={"X-Secret": CANARY}),
            "b": {"kind": "mock"},
        },
    }
    assert CANARY not in json.dumps(meaning(document))


def test_nothing_is_doubted_without_a_reason() -> None:
    assert warnings({"providers": {"a": openai(requests_per_minute=500)}}) == []


ACME = {"requests_per_minute": 60}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"providers": {"mock": {}}, "limits": {"acme": ACME}},
            "[limits.acme] is used by no provider",
        ),
        (
            {"providers": {"mock": {"limits": "acme"}}, "limits": {"acme": {}}},
            "[limits.acme] sets no limit",
        ),
        (
            {"providers": {"a": openai(**ACME), "b": openai(**ACME)}},
            (
                "[providers.b] has the key of 'a' and limits of its own: a vendor "
                "who counts them together needs one 'limits' for both"
            ),
        ),
        (
            {"providers": {"a": openai(base_url="http://llm.example:8000/v1")}},
            (
                "[providers.a] the key travels unprotected to 'llm.example': its "
                "address is http"
            ),
        ),
        (
            {"providers": {"a": openai(timeout=5.0)}},
            (
                "[providers.a] 'connect_timeout' (10 s) is longer than 'timeout' "
                "(5 s), which ends the attempt before"
            ),
        ),
        (
            {"providers": {"mock": {"timeout": 5.0, "idle_timeout": 6.5}}},
            (
                "[providers.mock] 'idle_timeout' (6.5 s) is longer than 'timeout' "
                "(5 s), which ends the attempt before"
            ),
        ),
        (
            {"providers": {"mock": {"requests_per_minute": 1}}},
            (
                "[providers.mock] 'queue_size' (1000) is 16.7 hours of work at 1 "
                "requests a minute"
            ),
        ),
        (
            {
                "providers": {"mock": {"limits": "acme", "queue_size": 10_000}},
                "limits": {"acme": ACME},
            },
            (
                "[providers.mock] 'queue_size' (10000) is 2.8 hours of work at 60 "
                "requests a minute"
            ),
        ),
    ],
)
def test_what_is_probably_not_meant_is_told(
    document: Mapping[str, Any], expected: str
) -> None:
    assert warnings(document) == [expected]


@pytest.mark.parametrize(
    "url", ["https://llm.example/v1", "http://localhost:1/v1", "http://127.0.0.2:1/v1"]
)
def test_a_key_may_travel_protected_or_not_at_all(url: str) -> None:
    assert warnings({"providers": {"a": openai(base_url=url)}}) == []


def test_who_shares_a_key_may_share_a_limit_or_have_none() -> None:
    shared = {"a": openai(limits="acme"), "b": openai(limits="acme")}
    assert warnings({"providers": shared, "limits": {"acme": ACME}}) == []
    assert warnings({"providers": {"a": openai(), "b": openai()}}) == []


def test_different_keys_are_different_accounts() -> None:
    one, other = openai(**ACME), openai(**ACME, model="gpt-6-sol")
    other["api_key"] = f"{CANARY}-other"
    assert warnings({"providers": {"a": one, "b": other}}) == []


def test_a_provider_adds_its_own_doubts() -> None:
    (doubt,) = warnings({"providers": {"a": openai(model="gpt-4")}})
    assert doubt.startswith("[providers.a] 'model' = 'gpt-4' is gone since 2026-10-23")
