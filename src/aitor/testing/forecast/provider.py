"""
A provider that behaves as is assumed: it takes its time, answers, and fails.

It waits through anyio alone, so it runs in virtual time. What it says in failure are
the vendor's own words, read by the library's own classification, so that a 429 with
a wait means here what it means on the wire.
"""

from random import Random
from typing import Any

import anyio

from aitor.config import ConfiguredProvider
from aitor.errors import (
    ConnectionFailedError,
    LLMError,
    MalformedAnswerError,
    TruncatedAnswerError,
)
from aitor.messages import Answer, Request, Usage
from aitor.providers.base import Progress, Provider
from aitor.providers.classify import Refusal
from aitor.providers.settings import OUTPUT_LIMITS, ProviderSettings
from aitor.testing.anthropic import Messages
from aitor.testing.dialect import Dialect
from aitor.testing.errors import find_error
from aitor.testing.faults import BLUNT, SILENT, Fault, pick
from aitor.testing.forecast.assumptions import Assumption
from aitor.testing.openai import ChatCompletions

__all__ = ("AssumedProvider", "prompt_of")

ENDLESS = frozenset({"hang", "stall", "whitespace"})
"""Faults that only a time limit ends."""

PIECEWISE = frozenset({"first_token_timeout", "idle_timeout"})
"""Limits on the pieces of an answer: nothing is assumed of pieces."""


def prompt_of(tokens: int) -> Request:
    """Return a request that puts *tokens* in."""
    return Request(({"role": "user", "content": str(tokens)},))


class AssumedProvider(Provider):
    """
    Stands in for a configured provider, with its settings and without its wire.

    Args:
        name: The provider's name in the broker.
        configured: The provider, before it is made.
        assumed: How it behaves.
        seed: Decides all chance, together with the name.
    """

    kind = "assumed"

    def __init__(
        self, name: str, configured: ConfiguredProvider, assumed: Assumption, seed: int
    ) -> None:
        super().__init__(**_settings(name, configured))
        self.calls = 0
        self._assumed = assumed
        self._limit = _output_limit(configured)
        self._random = Random(f"{seed} {name}")  # noqa: S311  # a forecast, no secret
        at_anthropic = getattr(configured.provider_class, "vendor", "") == "anthropic"
        self._dialect = Messages() if at_anthropic else ChatCompletions()

    def output_limit(self, request: Request) -> int | None:
        """Return the limit that the configuration gives."""
        return self._limit

    def guess_input(self, request: Request) -> float:
        """Return the tokens that `prompt_of` was given."""
        return int(request.messages[0]["content"])

    async def complete(self, request: Request, progress: Progress) -> Answer:
        """Do what is assumed."""
        self.calls += 1
        random, assumed = self._random, self._assumed
        # Virtual time begins at zero, with the batch.
        fault = pick(assumed.faults, self.calls, anyio.current_time(), random)
        tokens = round(assumed.output_tokens.sample(random))
        seconds = assumed.latency.sample(random)
        if fault is not None and fault.kind in ENDLESS:
            await anyio.sleep_forever()
        if fault is not None and fault.kind != "slow":
            await anyio.sleep(fault.seconds if fault.kind in BLUNT else seconds)
            raise _error(fault, self._dialect, self.settings)
        await anyio.sleep(seconds + (fault.seconds if fault is not None else 0.0))
        if self._limit is not None:
            tokens = min(tokens, self._limit)
        usage = Usage(int(self.guess_input(request)), tokens)
        return Answer("", self.settings.model or "", "stop", usage)


def _settings(name: str, configured: ConfiguredProvider) -> dict[str, Any]:
    """Return what is set of that which concerns an actor."""
    settings = {
        key: value
        for key, field in ProviderSettings.model_fields.items()
        if key not in PIECEWISE
        and (value := getattr(configured.settings, key)) != field.default
    }
    return {"model": name, **settings}


def _output_limit(configured: ConfiguredProvider) -> int | None:
    defaults = getattr(configured.settings, "defaults", {})
    usual = getattr(configured.provider_class, "usual_output_limit", None)
    return next((defaults[key] for key in OUTPUT_LIMITS if key in defaults), usual)


def _error(fault: Fault, dialect: Dialect, settings: ProviderSettings) -> LLMError:
    """Return what the broker would make of *fault*."""
    if fault.kind in SILENT:
        return ConnectionFailedError("the connection broke")
    if fault.kind.startswith("truncate"):
        return TruncatedAnswerError("the answer was cut short")
    if fault.kind not in BLUNT and fault.kind != "error_in_200":
        return MalformedAnswerError("what came back is no answer")
    name = {"status": "", "error_in_200": fault.error}.get(fault.kind, fault.kind)
    said = find_error(dialect.errors, name, fault.status)
    said = said.about(settings.model or "", fault.param)
    return Refusal.read(
        200 if fault.kind == "error_in_200" else said.status,
        fault.all_headers(),
        said.page.encode() or dialect.error_body(said, 0),
        now=0.0,
        longest_wait=settings.max_retry_after,
    ).error()
