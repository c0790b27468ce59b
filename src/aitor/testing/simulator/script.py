"""
The script of a run: providers, requests and faults, all decided by one seed.

A script is data. It can be printed, made smaller and run again; nothing is drawn
while it runs but from generators that are seeded by it, one for each call on the
wire, so that leaving out one request does not change the fate of the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = (
    "KINDS",
    "SIZES",
    "UNSTRUCK",
    "WITHOUT",
    "Closing",
    "Phase",
    "Plan",
    "Replacement",
    "Script",
)

KINDS = (
    "spikes",
    "throttle",
    "mad_throttle",
    "errors",
    "mad_errors",
    "shaky",
    "dead",
    "all_dead",
    "flapping",
    "hang",
    "stall",
    "truncation",
    "flaky",
    "runs",
    "bursts",
    "hang_together",
    "busy",
    "busy_queue",
    "rate_limited",
    "lying_limits",
    "slow_under_load",
    "dead_key",
    "crash",
    "blind",
    "bad_requests",
    "headers",
    "cancel_storm",
    "flood",
    "slow_consumer",
    "leap",
)
"""What the nemesis can do."""

EVERYWHERE = frozenset({"all_dead", "cancel_storm", "flood", "slow_consumer", "leap"})
"""Those that are about no single provider."""

UNSTRUCK = EVERYWHERE - {"all_dead"}
"""Those that strike no call."""

WITHOUT = (*KINDS, "close", "shared", "replace", "cache", "compared")
"""What can be left out of a script."""

SIZES = (50, 200, 500, 800, 800, 800, 2_000)
"""Requests in a run, where the seed decides."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    One request.

    Args:
        id: Its number.
        at: When it is submitted.
        how: `submit` or `nowait`; or `map0`, `map1`, …: in that stream.
        timeout: Seconds for all of it, None for ever.
        priority: Higher goes first.
        tenant: On whose behalf.
        when_unavailable: `wait` or `fail` while nobody can be asked; None for the
            default, and always where it is no `submit`.
        input_tokens: What it puts in, as guessed and as used.
        output_tokens: The length of its answer.
        max_tokens: The bound that it tells for its answer, 0 for none.
        cancel_after: When its caller leaves, seconds after it was submitted.
        only: The one provider to ask, None for the whole sequence.
        recovery: Whether it has to be answered.
        question: Which of a few prompts it has in common with others, through a
            cache; None for one of its own. Those with one question are alike in size.
        sequence: The providers to ask, in their order; empty for the broker's own.
    """

    id: int
    at: float
    how: str = "submit"
    timeout: float | None = None
    priority: int = 0
    tenant: str | None = None
    when_unavailable: Literal["fail", "wait"] | None = None
    input_tokens: int = 10
    output_tokens: int = 10
    max_tokens: int = 0
    cancel_after: float | None = None
    only: str | None = None
    recovery: bool = False
    question: int | None = None
    sequence: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """What it asks, which is also its answer."""
        return str(self.id) if self.question is None else f"q{self.question}"

    @property
    def persistent(self) -> bool:
        """Whether it waits for circuits and for the retry budget, as time allows."""
        if self.how != "submit":
            return self.stream
        if self.when_unavailable is None:
            return self.timeout is not None
        return self.when_unavailable == "wait"

    @property
    def stream(self) -> bool:
        """Whether it comes in a stream."""
        return self.how.startswith("map")


@dataclass(frozen=True, slots=True)
class Phase:
    """
    One fault, for a time.

    Args:
        kind: One of `KINDS`.
        begin: When it begins.
        end: When it is over.
        provider: Who has it; None for everybody. With `shaky` it is all but this one.
        chance: How many of the calls it strikes.
        amount: Of `runs`, the calls in which a run comes once. Of `busy` and
            `busy_queue`, the places; of `rate_limited`, the calls a second; of
            `slow_under_load`, the calls in flight that double the time.
        seconds: Of `bursts`, in which one comes once; of `hang_together`, after which
            those that hang end; of `busy_queue`, which a call waits for a place.
    """

    kind: str
    begin: float
    end: float
    provider: str | None = None
    chance: float = 1.0
    amount: int = 1
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Replacement:
    """
    A provider is put in the place of the one of its name.

    Args:
        at: When.
        name: Whose place.
        settings: As in `Script.providers`.
    """

    at: float
    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Closing:
    """
    The broker is closed while it works.

    Args:
        at: When.
        drain_timeout: How long what runs may go on.
    """

    at: float
    drain_timeout: float


@dataclass(frozen=True)
class Script:
    """
    All that decides a run.

    Args:
        seed: Of every generator.
        providers: Settings of the actors, and `latency`, the mean in seconds.
        limits: Settings of the limits.
        plans: The requests by time.
        phases: The faults by time.
        calm: When the faults are over.
        closing: When the broker is closed early, if it is.
        replacements: Providers that take the place of others, by time.
        retry_ratio: The broker's.
        compared: Whether a plain client is to get the same requests answered, for
            comparison.
    """

    seed: int
    providers: Mapping[str, Mapping[str, Any]]
    limits: Mapping[str, Mapping[str, Any]]
    plans: tuple[Plan, ...]
    phases: tuple[Phase, ...] = ()
    calm: float = 0.0
    closing: Closing | None = None
    replacements: tuple[Replacement, ...] = ()
    retry_ratio: float = 0.2
    compared: bool = False

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, calm at {self.calm:.3f} s, {self.closing}"]
        lines += [f"retry ratio {self.retry_ratio}, compared: {self.compared}"]
        lines += [f"limit {name}: {limit}" for name, limit in self.limits.items()]
        lines += [f"provider {name}: {one}" for name, one in self.providers.items()]
        lines += [str(one) for one in self.replacements]
        lines += [str(phase) for phase in self.phases]
        lines += [str(plan) for plan in self.plans[:MOST_SHOWN]]
        if len(self.plans) > MOST_SHOWN:
            lines.append(f"… and {len(self.plans) - MOST_SHOWN} requests more")
        return "\n".join(lines)


MOST_SHOWN = 20
