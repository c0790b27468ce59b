"""
How a format is told to those who may answer.

Three ways, the surest first: the vendor's own schema, its mode for any JSON, and words
alone. Which of them a server takes is found out by asking: when it refuses the format,
the next way is tried, and when that is answered, it begins there from then on.
"""

import functools
import json
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aitor.errors import (
    BadRequestError,
    DeclinedError,
    LLMError,
    UnsupportedSchemaError,
)
from aitor.llm.dialects import ANTHROPIC, OPENAI, Dialect
from aitor.llm.learned import Learned, model_at
from aitor.llm.structured import Format
from aitor.messages import Attempt, Reply
from aitor.outcomes import Outcome
from aitor.providers.base import Provider
from aitor.providers.http import HTTPProvider

__all__ = ("Negotiation",)

Way = Literal["schema", "json", "words"]

DIALECTS: Mapping[str | None, Dialect] = {"anthropic": ANTHROPIC}
"""By a provider's `vendor`; all others are asked as OpenAI is."""

DOUBTFUL = (400, 422)
"""Where a vendor says nothing of what is wrong, it may be the format."""

UNTOLD = re.compile(r"\(\d{3}[^()]*\)\Z")
"""The end of an error that repeats no sentence of the vendor's."""

ENOUGH = 2
"""So many schemas refused, and no other is tried."""


@dataclass(frozen=True, slots=True)
class _Refused:
    schemas: frozenset[str] = frozenset()
    json_mode: bool = False


_refused: Learned[_Refused] = Learned()


class Negotiation:
    """
    One question's way to those who may answer it.

    Args:
        form: The format.
        asked: Who may answer, by name, in order.
        model: The model, as `Broker.submit` takes it.
    """

    def __init__(self, form: Format, asked: Mapping[str, Provider], model: Any) -> None:
        self._form = form
        self._asked = asked
        self._models = {name: model_at(asked, name, model) for name in asked}
        self._key = json.dumps(form.schema, sort_keys=True)
        self._sent: Way = "words"
        self._refusing: dict[str, _Refused] = {}
        self._dialect: Dialect | None = None
        self._native: dict[str, Any] | None = None
        if all(isinstance(each, HTTPProvider) for each in asked.values()):
            dialects = [
                DIALECTS.get(getattr(each, "vendor", None), OPENAI)
                for each in asked.values()
            ]
            self._dialect = functools.reduce(operator.and_, dialects)
            self._native = form.parameter(self._dialect)

    def prepared(self, messages: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return *messages* and the parameters that tell the format with them."""
        way = self._sent = self._way()
        if way == "schema":
            return list(messages), {"response_format": self._native}
        told = self._form.explained(messages)
        if way == "json":
            return told, {"response_format": {"type": "json_object"}}
        return told, {}

    def moves_on(self, error: LLMError) -> bool:
        """Tell whether the format was refused, after which another way is left."""
        refusing = _refusers(error.attempts)
        if _may_be(error):
            refusing.add(error.provider or "")
        return self._note(refusing)

    def worked(self, reply: Reply) -> None:
        """Remember who refused, since another way, or another one, was answered."""
        self._note(_refusers(reply.attempts))
        for name, known in self._refusing.items():
            _refused.set(self._asked[name], self._models[name], fact=known)
        self._refusing.clear()

    def _note(self, refusing: set[str]) -> bool:
        refusing &= self._asked.keys()
        if self._sent == "words" or not refusing:
            return False
        for name in refusing:
            known = self._known(name)
            if self._sent == "json":
                known = replace(known, json_mode=True)
            elif len(known.schemas) < ENOUGH:
                known = replace(known, schemas=known.schemas | {self._key})
            self._refusing[name] = known
        return True

    def _known(self, name: str) -> _Refused:
        known = _refused.get(self._asked[name], self._models[name])
        return self._refusing.get(name) or known or _Refused()

    def _way(self) -> Way:
        """Return the surest way that nobody is known to refuse."""
        known = [self._known(name) for name in self._asked]
        if self._native is not None and not any(
            self._key in one.schemas or len(one.schemas) >= ENOUGH for one in known
        ):
            return "schema"
        if (
            self._dialect is not None
            and self._dialect.json_mode
            and self._form.is_object
            and not any(one.json_mode for one in known)
        ):
            return "json"
        return "words"


def _refusers(attempts: Sequence[Attempt]) -> set[str]:
    return {one.provider for one in attempts if one.outcome is Outcome.UNSUPPORTED}


def _may_be(error: LLMError) -> bool:
    if isinstance(error, UnsupportedSchemaError):
        return error.parameter != "tools"
    if isinstance(error, BadRequestError | DeclinedError):
        return error.status in DOUBTFUL and bool(UNTOLD.search(error.message))
    return False
