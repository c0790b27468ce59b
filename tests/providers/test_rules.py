"""What models take: the table, the lookup, and what is learned."""

from datetime import date
from typing import Any

import pytest

from aitor.providers.rules import (
    Lessons,
    Rule,
    may_be_left_out,
    remove,
    rule_of,
    rules_of,
)

OPENAI = rules_of("openai")
ANTHROPIC = rules_of("anthropic")


@pytest.mark.parametrize(
    ("model", "sampling"),
    [
        ("gpt-6-astra", "never"),
        ("gpt-6.1-sol", "never"),
        ("gpt-6.2-astra", "never"),
        ("gpt-6-sol", "effort-none"),
        ("gpt-6-luna", "effort-none"),
        ("gpt-6.1-terra", "effort-none"),
        ("gpt-5.6-terra", "effort-none"),
        ("gpt-5.5-2026-04-23", "effort-none"),
        ("gpt-5.5-pro", "never"),
        ("gpt-5.4-mini-2026-03-17", "effort-unset"),
        ("gpt-5.1", "effort-unset"),
        ("gpt-5", "never"),
        ("gpt-5-mini-2025-08-07", "never"),
        ("o3", "never"),
        ("gpt-4.1-mini", "always"),
        ("gpt-4o", "always"),
        ("gpt-9", "always"),
        ("gpt-5.9", "always"),
    ],
)
def test_sampling_of_openais_models(model: str, sampling: str) -> None:
    assert rule_of(model, OPENAI).sampling == sampling


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-4", date(2026, 10, 23)),
        ("gpt-4-turbo-2024-04-09", date(2026, 10, 23)),
        ("gpt-4-0314", date(2026, 3, 26)),
        ("gpt-3.5-turbo", date(2026, 10, 23)),
        ("o3-mini", date(2026, 10, 23)),
        ("gpt-5-nano", date(2026, 12, 11)),
        ("gpt-4o-2024-08-06", date(2027, 1, 14)),
        ("gpt-4o-2024-05-13", date(2026, 10, 23)),
        ("gpt-5.5", None),
        ("gpt-4.5-new", None),
    ],
)
def test_last_days_of_openais_models(model: str, day: date | None) -> None:
    assert rule_of(model, OPENAI).retired == day


@pytest.mark.parametrize(
    ("model", "day", "most"),
    [
        ("claude-3-opus-20240229", date(2026, 1, 5), None),
        ("claude-3-sonnet-20240229", date(2025, 7, 21), None),
        ("claude-3-haiku-20240307", date(2026, 4, 20), None),
        ("claude-opus-4-20250514", date(2026, 6, 15), None),
        ("claude-sonnet-4-5-20250929", date(2026, 11, 30), 64_000),
        ("claude-opus-4-8", None, 128_000),
        ("claude-opus-5-5", None, 128_000),
        ("claude-fable-5-2", None, 128_000),
        ("claude-haiku-4-5-20251001", None, 64_000),
        ("claude-opus-4-9", None, None),
    ],
)
def test_anthropics_models(model: str, day: date | None, most: int | None) -> None:
    rule = rule_of(model, ANTHROPIC)
    assert (rule.retired, rule.max_output_tokens) == (day, most)


def test_a_model_is_gone_from_its_last_day_on() -> None:
    rule = rule_of("gpt-4", OPENAI)
    assert not rule.is_retired(date(2026, 10, 22))
    assert rule.is_retired(date(2026, 10, 23))
    assert not Rule(retired=False).is_retired(date(2099, 1, 1))


@pytest.mark.parametrize(
    ("sampling", "body", "version", "names"),
    [
        ("always", {"temperature": 1, "top_p": 1}, None, []),
        (
            "never",
            {"temperature": 1, "top_p": 1, "seed": 1},
            None,
            ["temperature", "top_p"],
        ),
        ("effort-none", {"top_p": 1}, None, ["top_p"]),
        ("effort-none", {"top_p": 1, "reasoning_effort": "none"}, None, []),
        ("effort-none", {"top_p": 1, "reasoning": {"effort": "none"}}, None, []),
        ("effort-none", {"top_p": 1, "reasoning_effort": "low"}, None, ["top_p"]),
        ("effort-unset", {"top_p": 1}, None, []),
        ("effort-unset", {"top_p": 1, "reasoning": {"effort": "low"}}, None, ["top_p"]),
        ("2023-06-01", {"top_p": 1}, "2023-06-01", []),
        ("2023-06-01", {"top_p": 1}, "2026-10-21", ["top_p"]),
    ],
)
def test_when_sampling_is_taken(
    sampling: str, body: dict[str, Any], version: str | None, names: list[str]
) -> None:
    assert Rule(sampling=sampling).unsupported(body, version) == names


def test_reasoning_that_cannot_be_switched_off() -> None:
    rule = Rule(effort_none=False)
    assert rule.unsupported({"reasoning_effort": "none"}, None) == ["reasoning_effort"]
    assert rule.unsupported({"reasoning": {"effort": "none"}}, None) == [
        "reasoning.effort"
    ]
    assert rule.unsupported({"reasoning_effort": "low"}, None) == []


def test_more_that_is_not_taken() -> None:
    assert rule_of("o3", OPENAI).unsupported({"stop": "x"}, None) == ["stop"]


def test_removing_leaves_the_callers_own_alone() -> None:
    effort = {"effort": "none", "summary": "auto"}
    body = {"reasoning": effort, "temperature": 1, "text": {"verbosity": "low"}}
    remove(body, "reasoning.effort")
    remove(body, "temperature")
    remove(body, "text.verbosity")
    remove(body, "not.there")
    assert body == {"reasoning": {"summary": "auto"}}
    assert effort == {"effort": "none", "summary": "auto"}


def test_what_says_what_the_answer_is_may_not_be_left_out() -> None:
    sent = ["temperature", "tools", "reasoning"]
    assert may_be_left_out("temperature", sent)
    assert may_be_left_out("reasoning.effort", sent)
    assert not may_be_left_out("tools", sent)
    assert not may_be_left_out("top_p", sent)


def test_what_is_learned_is_bounded() -> None:
    lessons = Lessons()
    for number in range(1_000):
        assert lessons.learn(f"model-{number}", {"top_p": 1}, "top_p")
    assert lessons.of("model-0") is None
    assert lessons.of("model-999") is not None
    for number in range(1_000):
        lessons.learn("model-999", {f"p{number}": 1}, f"p{number}")
    lesson = lessons.of("model-999")
    assert lesson is not None
    assert len(lesson.refused) == 50


def test_a_lesson_that_changes_nothing_is_none() -> None:
    lessons = Lessons()
    assert not lessons.learn("m", {"max_tokens": 5}, "max_tokens", most=10)
    assert not lessons.learn("m", {"a": 1}, "b")
    assert lessons.learn("m", {"max_tokens": 5}, "max_tokens")
    assert not lessons.learn("m", {"max_completion_tokens": 5}, "max_completion_tokens")
    assert not lessons.learn("m", {"max_output_tokens": 5}, "max_output_tokens")
