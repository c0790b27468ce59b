"""
What a model takes, looked up and learned.

The facts are data: a table by the beginning of a model's name (`models.toml`), and
whatever a user puts over it. Code never asks a name what it contains. A model that
nobody wrote down is asked for everything; when it refuses a parameter by name, that
is remembered here, so that a second try and all later requests leave it out.

Leaving out is meant for settings of sampling and effort. What says what the answer
*is* (tools, a response format, the messages) is never left out: a request without it
would be answered with something nobody asked for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from aitor.providers.settings import OUTPUT_LIMITS, Count, Settings

__all__ = (
    "Lesson",
    "Lessons",
    "Rule",
    "covers",
    "may_be_left_out",
    "remove",
    "rule_of",
    "rules_of",
    "value_at",
)

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
)

SAMPLED = r"^(always|never|effort-none|effort-unset|\d{4}-\d{2}-\d{2})$"

ESSENTIAL = frozenset(
    {
        "model",
        "messages",
        "input",
        "instructions",
        "system",
        "stream",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "text",
        "output_config",
        "modalities",
        "audio",
        "n",
        "prediction",
    }
)

OTHER_LIMIT = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
ANY = object()
MOST_MODELS = 100
MOST_LESSONS = 50


class Rule(Settings):
    """
    What one model takes; the keys of `models.toml`, which explains them.

    Args:
        api: Where the model is reached.
        tools: Where it can be given tools.
        output_limit: Name of the output limit in Chat Completions; None for either.
        sampling: When sampling parameters are taken.
        reasons: Whether it reasons unless told otherwise.
        effort_none: Whether reasoning can be switched off.
        not_taken: More parameters that it does not take.
        max_output_tokens: The most it writes.
        context_window: The most it reads and writes together.
        retired: The day from which it is gone; False takes a date back.
        replacement: What the vendor names in its place.
    """

    api: Literal["chat", "responses"] = "chat"
    tools: Literal["chat", "responses", "effort-none"] = "chat"
    output_limit: Literal["max_tokens", "max_completion_tokens"] | None = None
    sampling: Annotated[str, Field(pattern=SAMPLED)] = "always"
    reasons: bool = False
    effort_none: bool = True
    not_taken: tuple[str, ...] = ()
    max_output_tokens: Count | None = None
    context_window: Count | None = None
    retired: date | Literal[False] | None = None
    replacement: str | None = None

    def is_retired(self, today: date) -> bool:
        """Tell whether the model is gone on the day *today*."""
        return isinstance(self.retired, date) and self.retired <= today

    def unsupported(self, body: Mapping[str, Any], version: str | None) -> list[str]:
        """
        Return the parameters in *body* that the model is known not to take.

        Args:
            body: A request's body, in any of the APIs.
            version: The API version that it is sent under, where there is one.
        """
        if self.sampling == "always" and self.effort_none:
            return _present(self.not_taken, body)
        effort, path = _effort_in(body)
        names = [] if self._samples(effort, version) else _present(SAMPLING, body)
        if effort == "none" and not self.effort_none:
            names.append(path)
        return names + _present(self.not_taken, body)

    def _samples(self, effort: str | None, version: str | None) -> bool:
        match self.sampling:
            case "always":
                return True
            case "effort-none":
                return effort == "none"
            case "effort-unset":
                return effort in (None, "none")
            case "never":
                return False
        return version == self.sampling


@dataclass(slots=True)
class Lesson:
    """
    What one model has taught us.

    Args:
        refused: Parameters that it refused, with the value, or ANY for every value.
        renamed: Names that it wants in place of others.
        most: The most output tokens that it gives.
    """

    refused: dict[str, Any] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    most: int | None = None

    def unsupported(self, body: Mapping[str, Any]) -> list[str]:
        """Return the parameters in *body* that the model has refused before."""
        return [
            name
            for name, value in self.refused.items()
            if (sent := value_at(body, name)) is not None and value in (ANY, sent)
        ]


class Lessons:
    """What models have taught one provider, bounded: the oldest is forgotten."""

    __slots__ = ("_models",)

    def __init__(self) -> None:
        self._models: dict[str, Lesson] = {}

    def of(self, model: str) -> Lesson | None:
        """Return what *model* has taught, if anything."""
        return self._models.get(model)

    def learn(
        self,
        model: str,
        body: Mapping[str, Any],
        name: str,
        *,
        instead: str | None = None,
        most: int | None = None,
    ) -> bool:
        """
        Remember that *model* refused *name*, and tell whether that changes anything.

        A refused number says that the setting is not taken at all; a refused word,
        such as an effort, says nothing of other words. The limit of the output is
        not left out, which might cost a fortune: it is given its other name.

        Args:
            model: Who refused.
            body: What was sent.
            name: The parameter.
            instead: The name that the model asks for.
            most: The largest value that it takes.
        """
        value = value_at(body, name)
        if value is None:
            return False
        lesson = self._models.setdefault(model, Lesson())
        if len(self._models) > MOST_MODELS:
            del self._models[next(iter(self._models))]
        if most is not None:
            lesson.most = most
            return isinstance(value, int) and value > most
        if name in OUTPUT_LIMITS:
            other = instead if instead in OUTPUT_LIMITS else OTHER_LIMIT.get(name)
            if other is None or lesson.renamed.get(other) == name:
                return False
            lesson.renamed[name] = other
        elif len(lesson.refused) < MOST_LESSONS:
            lesson.refused[name] = ANY if isinstance(value, int | float) else value
        return name in lesson.renamed or name in lesson.refused


@cache
def rules_of(vendor: str) -> Mapping[str, Rule]:
    """Return the built-in rules of *vendor*, by the beginning of a model's name."""
    # Imported here, where it is needed once in a program.
    import tomllib

    text = Path(__file__).with_name("models.toml").read_text(encoding="utf-8")
    return {
        name: Rule.model_validate(rule)
        for name, rule in tomllib.loads(text)[vendor].items()
    }


def rule_of(model: str, rules: Mapping[str, Rule]) -> Rule:
    """Return the rule of the longest name in *rules* that *model* begins with."""
    covering = [name for name in rules if covers(name, model)]
    return rules[max(covering, key=len)] if covering else Rule()


def may_be_left_out(name: str, sent: Collection[str]) -> bool:
    """Tell whether *name* is a parameter among *sent* that may be left out."""
    root = name.partition(".")[0]
    return root in sent and root not in ESSENTIAL


def value_at(body: Any, path: str) -> Any:
    """Return what is at the dotted *path* in *body*, or None."""
    for name in path.split("."):
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def remove(body: dict[str, Any], path: str) -> None:
    """Remove what is at the dotted *path* from *body*, and what that leaves empty."""
    name, _, rest = path.partition(".")
    inner = body.get(name)
    if not rest or not isinstance(inner, Mapping):
        body.pop(name, None)
        return
    # The inner mapping may be the caller's own.
    body[name] = inner = dict(inner)
    remove(inner, rest)
    if not inner:
        del body[name]


def covers(name: str, model: str) -> bool:
    """Tell whether *model* is the one called *name*, or one of its versions."""
    # 'gpt-4' covers 'gpt-4-turbo' but neither 'gpt-4o' nor 'gpt-4.1'.
    return model.startswith(name) and model[len(name) : len(name) + 1] in ("", *"-:@")


def _present(names: Collection[str], body: Mapping[str, Any]) -> list[str]:
    return [name for name in names if name in body]


def _effort_in(body: Mapping[str, Any]) -> tuple[Any, str]:
    if "reasoning_effort" in body:
        return body["reasoning_effort"], "reasoning_effort"
    return value_at(body, "reasoning.effort"), "reasoning.effort"
