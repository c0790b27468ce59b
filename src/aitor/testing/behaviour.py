"""
How a fake provider behaves: one frozen value that holds every setting.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aitor.testing.ask import Ask
from aitor.testing.dialect import Rules
from aitor.testing.distribution import Distribution
from aitor.testing.errors import ERROR_NAMES
from aitor.testing.faults import Fault
from aitor.testing.limits import DIMENSIONS, Limits

__all__ = ("DIALECTS", "Behaviour")

DIALECTS = ("openai", "anthropic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """
    How a fake provider behaves; the default answers at once and never fails.

    Args:
        seed: Decides all chance: latencies, lengths and faults.
        latency: Seconds until an answer begins, a number or a distribution:
            `"uniform(0.1, 0.3)"`, `"exponential(0.8)"`, `"lognormal(0.8, 0.5)"`.
        tokens_per_second: The pace of streams; 0 for all at once.
        answer: What is said: a template with `{last}` for the last word of the
            prompt, `{prompt}` for the last message and `{model}`; or a function.
        answer_tokens: Tokens to which a shorter answer is filled up; a number or
            a distribution.
        requests_per_minute: Requests let through in a window; `None` for all.
        tokens_per_minute: Input and output together.
        input_tokens_per_minute: Input alone.
        output_tokens_per_minute: Output alone, counted when the request arrives.
        window: Seconds of the window that the limits "per minute" hold for.
        concurrency: Requests in flight let through; `None` for all.
        concurrency_error: The name of the error for those beyond.
        limit_headers: Whether answers tell the limits and when to come again.
        faults: What goes wrong: faults, texts or mappings; see `Fault`.
        models: The models that exist; all if empty, and then one is listed.
        reasoning_models: Prefixes of the models that take neither `max_tokens`
            nor sampling parameters.
        context_window: The most input tokens; 0 for no limit.
        api_key: The only key accepted; by default any is, and none too.
        dialects: Whose endpoints there are.
        log_limit: How many requests the log keeps.

    Raises:
        ValueError: If a setting makes no sense.
    """

    seed: int = 0
    latency: float | str | Distribution = 0.0
    tokens_per_second: float = 0.0
    answer: str | Callable[[Ask], str] = "Answer to {last}"
    answer_tokens: float | str | Distribution = 0.0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    window: float = 60.0
    concurrency: int | None = None
    concurrency_error: str = "overloaded"
    limit_headers: bool = True
    faults: Sequence[Fault | str | Mapping[str, Any]] = ()
    models: Sequence[str] = ()
    reasoning_models: Sequence[str] = ()
    context_window: int = 0
    api_key: str | None = field(default=None, repr=False)
    dialects: Sequence[str] = DIALECTS
    log_limit: int = 10_000

    def __post_init__(self) -> None:
        Distribution.parse(self.latency)
        Distribution.parse(self.answer_tokens)
        self.make_limits()
        for fault in self.faults:
            Fault.parse(fault)
        if self.concurrency_error not in ERROR_NAMES:
            raise ValueError(
                f"concurrency_error={self.concurrency_error!r}: expected one of "
                f"{sorted(ERROR_NAMES)}"
            )
        if not set(self.dialects) <= set(DIALECTS):
            raise ValueError(f"dialects={self.dialects!r}: expected some of {DIALECTS}")
        # The other way round, a number that is none would pass.
        if not (self.tokens_per_second >= 0 and self.context_window >= 0):
            raise ValueError("tokens_per_second and context_window are at least 0")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("concurrency is at least 1; without it, all pass")

    def make_limits(self) -> Limits:
        """
        Return the limits per minute, with nothing counted yet.
        """
        most = {name: getattr(self, f"{name}_per_minute") for name in DIMENSIONS}
        given = {name: limit for name, limit in most.items() if limit is not None}
        return Limits(given, self.window)

    def make_rules(self) -> Rules:
        """
        Return what the dialects refuse.
        """
        return Rules(self.models, self.reasoning_models, self.context_window)
