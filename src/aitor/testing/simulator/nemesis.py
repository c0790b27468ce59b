"""
The nemesis: what the active faults do to one call on the wire.

It decides, the simulated provider carries out. A fault strikes a call by chance, from
a generator of that call's own.
"""

import math
from functools import partial
from random import Random
from typing import NamedTuple

from aitor.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    ContentFilterError,
    ContextLengthError,
    LLMError,
    MalformedAnswerError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    TruncatedAnswerError,
    UnsupportedParameterError,
)
from aitor.testing.simulator.script import UNSTRUCK, Phase

__all__ = ("Fate", "Nemesis")

FLAP_SECONDS = 3.0
"""How long a flapping provider is dead, and how long it is well then."""

MAD_WAITS = (None, 0.0, -5.0, math.nan, math.inf, 1e12, 1e-9)
"""What no server should ask for, and some do."""

MAD_HEADERS = (
    {"x-ratelimit-remaining-requests": "0", "x-ratelimit-limit-requests": "nan"},
    {"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "6m0s"},
    {"x-ratelimit-limit-requests": "1e300", "x-ratelimit-limit-tokens": "inf"},
    {"x-ratelimit-remaining-requests": "1", "x-ratelimit-limit-requests": "600"},
    {"retry-after": "Thu, 32 Foo 99999", "anthropic-ratelimit-tokens-limit": ""},
)

LYING_LIMITS = (
    {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "4000",
        "x-ratelimit-reset-requests": "14h24m0s",
    },
    {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "24h0m0s",
    },
    {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    },
    {
        "anthropic-ratelimit-tokens-limit": "1000000",
        "anthropic-ratelimit-tokens-remaining": "999000",
        "anthropic-ratelimit-tokens-reset": "2030-01-01T00:00:00Z",
    },
)
"""Limits of a day or of a second that a server tells and does not keep, or not so."""


class Fate(NamedTuple):
    """
    What becomes of one call.

    Args:
        seconds: How long it takes.
        error: How it ends; None for an answer.
        silent: Whether it never ends.
        chatty: Whether content comes at the beginning.
        headers: Of the answer.
        server: The faults that depend on how much the server has to do.
        struck: The faults that made it so.
    """

    seconds: float
    error: Exception | None = None
    silent: bool = False
    chatty: bool = False
    headers: dict[str, str] = {}  # noqa: RUF012  # nobody changes it
    struck: tuple[str, ...] = ()
    server: tuple[Phase, ...] = ()


class Nemesis:
    """
    Knows which faults are active when.

    Args:
        phases: All of them.
    """

    def __init__(self, phases: tuple[Phase, ...]) -> None:
        self._phases = phases
        self._blind = [phase for phase in phases if phase.kind == "blind"]

    def fate(self, provider: str, now: float, latency: float, random: Random) -> Fate:
        """Decide about a call that begins at *provider* now."""
        fate = Fate(random.expovariate(1.0 / latency), chatty=random.random() < 0.5)
        for phase in self._phases:
            if (
                phase.begin <= now < phase.end
                and _has(phase, provider)
                and random.random() < phase.chance
            ):
                struck = _strike(phase, fate, now, random)
                if struck is not fate:
                    fate = struck._replace(struck=(*fate.struck, phase.kind))
        return fate

    def blindness(self, provider: str, now: float) -> float:
        """Return of how many requests *provider*'s code raises as it looks at them."""
        return max(
            (
                phase.chance
                for phase in self._blind
                if phase.begin <= now < phase.end and phase.provider == provider
            ),
            default=0.0,
        )


def _has(phase: Phase, provider: str) -> bool:
    if phase.kind == "shaky":
        return phase.provider != provider
    return phase.provider in (None, provider)


def _strike(phase: Phase, fate: Fate, now: float, random: Random) -> Fate:
    kind = phase.kind
    if kind in NO_FATE:
        return fate
    if kind in UNDER_LOAD:
        return fate._replace(server=(*fate.server, phase))
    if kind in HEADERS:
        return fate._replace(headers=dict(random.choice(HEADERS[kind])))
    if kind in ("hang", "stall"):
        return fate._replace(silent=True, chatty=kind == "stall")
    if kind == "spikes":
        return fate._replace(seconds=fate.seconds * random.choice((5.0, 20.0)))
    if kind == "hang_together":
        left = phase.seconds - (now - phase.begin) % phase.seconds
        lost = ConnectionFailedError("connection reset")
        return fate._replace(seconds=left, error=lost, chatty=False)
    if not _is_on(phase, now):
        return fate
    if kind in DEAD:
        failure = ConnectionFailedError("connection refused")
        return fate._replace(seconds=random.choice((0.0, 0.01)), error=failure)
    return fate._replace(error=_error(kind, random))


DEAD = frozenset({"dead", "all_dead", "flapping"})
UNDER_LOAD = frozenset(
    {"runs", "busy", "busy_queue", "rate_limited", "slow_under_load"}
)
NO_FATE = UNSTRUCK | {"blind"}
HEADERS = {"headers": MAD_HEADERS, "lying_limits": LYING_LIMITS}


def _is_on(phase: Phase, now: float) -> bool:
    """Whether a fault that comes and goes is there just now."""
    since = now - phase.begin
    if phase.kind == "flapping":
        return since % (2 * FLAP_SECONDS) < FLAP_SECONDS
    if phase.kind == "bursts":
        return since % phase.seconds < phase.chance * phase.seconds
    return True


def _error(kind: str, random: Random) -> Exception:
    match kind:
        case "throttle":
            return _throttled(random, random.choice((0.2, 1.0, 4.0)))
        case "mad_throttle":
            return _throttled(random, random.choice(MAD_WAITS))
        case "flaky" | "bursts":
            return random.choice(FLAKY)("sorry")
        case "errors" | "shaky":
            return random.choice((ServerError, OverloadedError, MalformedAnswerError))(
                "sorry", status=random.choice((500, 502, 503))
            )
        case "mad_errors":
            return ServerError("sorry", retry_after=random.choice(MAD_WAITS))
        case "truncation":
            return TruncatedAnswerError("the answer has no end")
        case "dead_key":
            return random.choice((AuthenticationError, QuotaError))("no", status=401)
        case "crash":
            return random.choice((RuntimeError, KeyError, TypeError))("a bug")
        case "bad_requests":
            return _bad_request(random)
    raise ValueError(f"no such fault: {kind!r}")


FLAKY = (
    ServerError,
    partial(ServerError, status=500),
    partial(OverloadedError, status=503),
    ConnectionFailedError,
)
"""How servers fail a part of their calls."""


def _throttled(random: Random, wait: float | None) -> RateLimitError:
    code = random.choice((None, "rate_limit_exceeded", "slow_down"))
    return RateLimitError("slow down", retry_after=wait, code=code, status=429)


def _bad_request(random: Random) -> LLMError:
    if random.random() < 0.2:
        return UnsupportedParameterError(
            "no such parameter", parameter=random.choice(("top_p", "seed"))
        )
    kinds = (
        BadRequestError,
        ContentFilterError,
        ContextLengthError,
        ModelNotFoundError,
    )
    return random.choice(kinds)("no", status=400)
