"""
What a forecast says: numbers for a batch and for each of its providers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aitor.config import Configuration
from aitor.laws.bucket import DIMENSIONS
from aitor.testing.forecast.history import Sample, Sums

__all__ = ("Forecast", "Load", "loads_of")

WAITS = ("worker", "rate", "pause", "circuit")
"""What the head of a queue waits for; see `aitor.messages.Waits`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    What one provider carries.

    Args:
        answers: Requests that it answers.
        calls: Calls that it gets, those that fail included.
        failed: Calls that fail, by outcome.
        input_tokens: Tokens of the prompts that it answers.
        output_tokens: Tokens of its answers.
        cost: US dollars for its answers; None where no price is known.
        openings: How often its circuit opens.
        running: Calls that run at once, on average.
        workers: Calls that may run at once.
        standing: By cause, the share of the time that its queue stands.
        waits: By cause, the seconds that a call waits, on average.
        used: By dimension, the share of its limit that is used, on average; where
            others share the limit, by all of them together.
    """

    answers: int
    calls: int
    failed: Mapping[str, int]
    input_tokens: int
    output_tokens: int
    cost: float | None
    openings: int
    running: float
    workers: int
    standing: Mapping[str, float]
    waits: Mapping[str, float]
    used: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """
    What becomes of a batch.

    Args:
        requests: Its requests.
        simulated: Requests that were simulated, the first ones; the others go on at
            the pace that those came to.
        steady_since: The time from which on that pace was taken, in seconds; None
            where all requests were simulated.
        drift: By how much it still changed, as a share; None likewise.
        seconds: From the first request to the last outcome.
        simulated_seconds: The part of them that was simulated.
        answered: Requests that get an answer.
        failures: Requests that get none, by the name of the error.
        max_in_flight: Requests that are under way at most.
        stopped: Why the batch stops before its end; None where it does not.
        providers: What each provider carries, by name.
        samples: How the simulated part went.
    """

    requests: int
    simulated: int
    steady_since: float | None
    drift: float | None
    seconds: float
    simulated_seconds: float
    answered: int
    failures: Mapping[str, int]
    max_in_flight: int
    stopped: str | None
    providers: Mapping[str, Load]
    samples: tuple[Sample, ...] = field(repr=False)

    @property
    def failed(self) -> int:
        """Requests that get no answer."""
        return sum(self.failures.values())

    @property
    def cost(self) -> float | None:
        """US dollars for all answers; None where a price is not known."""
        costs = [load.cost for load in self.providers.values() if load.answers]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    @property
    def rate(self) -> float:
        """Answers a second, on average."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def running(self) -> float:
        """Calls that run at once, on average."""
        return sum(load.running for load in self.providers.values())

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a program to read; a cost unknown is null."""
        own = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("providers", "samples")
        }
        providers = {name: asdict(load) for name, load in self.providers.items()}
        derived = {"failed": self.failed, "cost": self.cost, "rate": self.rate}
        return {**own, **derived, "providers": providers}


def loads_of(
    configuration: Configuration, sums: Sums, seconds: float
) -> dict[str, Load]:
    """Return what each provider carries, out of *sums* over *seconds*."""
    return {
        name: _load(
            {key: value for (of, key), value in sums.items() if of == name},
            _used(configuration, name, sums, seconds),
            seconds,
            one.settings.workers,
        )
        for name, one in configuration.providers.items()
    }


def _load(
    mine: Mapping[str, float], used: Mapping[str, float], seconds: float, workers: int
) -> Load:
    calls = round(mine["calls"])
    failed = {
        key.removeprefix("failed."): round(value)
        for key, value in mine.items()
        if key.startswith("failed.")
    }
    return Load(
        answers=round(mine["answers"]),
        calls=calls,
        failed={outcome: count for outcome, count in failed.items() if count},
        input_tokens=round(mine["input_tokens"]),
        output_tokens=round(mine["output_tokens"]),
        cost=None if mine["unpriced"] else round(mine["cost"], 6),
        openings=round(mine["openings"]),
        running=_share(mine["seconds"], seconds),
        workers=workers,
        standing={key: _share(mine[f"standing.{key}"], seconds) for key in WAITS},
        waits={key: _share(mine[f"waits.{key}"], calls) for key in (*WAITS, "backoff")},
        used=used,
    )


def _used(
    configuration: Configuration, name: str, sums: Sums, seconds: float
) -> dict[str, float]:
    """Return how much of its limits the provider *name* uses."""
    settings = configuration.providers[name].settings
    limit, sharers = configuration.limits.get(settings.limits or "", settings), [name]
    if settings.limits is not None:
        sharers = [
            other
            for other, one in configuration.providers.items()
            if one.settings.limits == settings.limits
        ]
    calls, inputs, outputs = (
        sum(sums[sharer, key] for sharer in sharers)
        for key in ("calls", "input_tokens", "output_tokens")
    )
    amounts = (calls, inputs + outputs, inputs, outputs)
    return {
        dimension: _share(amount * 60.0, seconds * most)
        for dimension, amount in zip(DIMENSIONS, amounts, strict=True)
        if (most := getattr(limit, f"{dimension}_per_minute")) is not None
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
