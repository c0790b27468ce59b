"""
A forecast: the whole real broker, in virtual time, before providers as assumed.

Nothing of the broker is modelled, so its limits, queues, retries and circuits cost
and delay here what they will. Only the providers are assumed. A large batch is run
until its pace is steady, and that pace is taken on for the rest of it: requests that
are all alike teach nothing new. As long as the pace still changes, or a fault is still
to come, the run goes on, if need be to the last request.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

import anyio

from aitor.broker.broker import Broker
from aitor.broker.limit import Limit
from aitor.config import Configuration
from aitor.messages import Request
from aitor.testing.distribution import Distribution
from aitor.testing.forecast.assumptions import INPUT_TOKENS, Assumption
from aitor.testing.forecast.history import History, Sample, Sums
from aitor.testing.forecast.provider import AssumedProvider, prompt_of
from aitor.testing.forecast.result import Forecast, loads_of
from aitor.testing.forecast.tally import Tally
from aitor.testing.virtual import virtual_backend

__all__ = ("ENOUGH", "Batch", "forecast")

ENOUGH = 20_000
"""Requests that are simulated before the others are left out."""

DAY = 86_400.0
"""
Or so many seconds, where requests take that long: with every circuit open a request
costs hours, and a waiting one costs the processor something all the time.
"""

LONG = 300.0
"""Seconds, since the last fault began or ended, before a pace is called steady."""

OPENINGS = 10.0
"""And at least so many times the longest that a circuit stays open after failures."""

STEADY = 0.02
"""By how much a steady pace may still change, as a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """
    What is to be done.

    Args:
        requests: How many requests.
        input_tokens: Tokens of each prompt.
        max_in_flight: Requests under way at most; by default as many as there are
            workers in the failover sequence.
        timeout: Seconds for each request, every wait included; None for no limit.
    """

    requests: int
    input_tokens: Distribution = INPUT_TOKENS
    max_in_flight: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise ValueError(f"'requests' must be at least 1, not {self.requests}")


def forecast(
    configuration: Configuration,
    assumptions: Mapping[str, Assumption],
    batch: Batch,
    *,
    seed: int = 0,
    exact: bool = False,
    tell: Callable[[int], None] | None = None,
) -> Forecast:
    """
    Say how *batch* will go; the same arguments give the same forecast.

    Args:
        configuration: Whose broker it goes through.
        assumptions: How providers behave, by name; others as `Assumption()` says.
        batch: What is to be done.
        seed: Decides all chance.
        exact: Simulate every request, however many there are.
        tell: Called now and then with the number of requests simulated so far.
    """
    given = {
        name: assumptions.get(name, Assumption()) for name in configuration.providers
    }
    run = _Run(configuration, given, batch, seed, exact=exact)
    run.tell = tell
    backend, options = virtual_backend("asyncio")
    anyio.run(run.live, backend=backend, backend_options=options)
    return run.result()


class _Run:
    """One run."""

    def __init__(
        self,
        configuration: Configuration,
        assumptions: Mapping[str, Assumption],
        batch: Batch,
        seed: int,
        *,
        exact: bool,
    ) -> None:
        self.tell: Callable[[int], None] | None = None
        self._configuration = configuration
        self._assumptions = assumptions
        self._batch = batch
        self._exact = exact
        self._random = Random(f"{seed}")  # noqa: S311  # a forecast, no secret
        self._providers = {
            name: AssumedProvider(name, configured, assumptions[name], seed)
            for name, configured in configuration.providers.items()
        }
        self._tally = Tally(configuration, assumptions)
        self._broker = Broker(
            self._providers,
            failover=configuration.failover,
            limits={
                name: Limit(name, its) for name, its in configuration.limits.items()
            },
            tenants=configuration.tenants,
            retry_ratio=configuration.retry_ratio,
            listeners=[self._tally.listen],
            seed=seed,
        )
        asked = [self._providers[name].settings for name in configuration.failover]
        self._max_in_flight = batch.max_in_flight or sum(one.workers for one in asked)
        self._long = max(
            LONG, OPENINGS * max(one.breaker.open_seconds for one in asked)
        )
        self._history = History()
        self._given = 0
        self._settled_at = math.inf
        self._steady: tuple[Sample, Sample, float] | None = None
        self._seconds = 0.0

    # Its life.

    async def live(self) -> None:
        """Carry the batch out, or so much of it as is enough."""
        async with self._broker as broker, anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            results = broker.map(
                self._prompts(),
                max_in_flight=self._max_in_flight,
                timeout=self._batch.timeout,
            )
            async with results:
                async for result in results:
                    self._tally.count(result)
                    if self._tally.stopped is not None:
                        break
            tasks.cancel_scope.cancel()
            self._seconds = anyio.current_time()
            self._history.samples.append(self._sample())

    def _prompts(self) -> Iterator[Request]:
        tokens = self._batch.input_tokens
        while self._given < self._batch.requests and self._steady is None:
            self._given += 1
            yield prompt_of(round(tokens.sample(self._random)))

    async def _watch(self) -> None:
        while True:
            await anyio.sleep_until(self._history.next_time)
            self._history.add(self._sample())
            if self.tell is not None:
                self.tell(self._given)
            if self._steady is None and not self._exact:
                self._steady = self._steady_part()

    def _sample(self) -> Sample:
        seen = self._broker.statistics()
        providers = seen.providers.items()
        return Sample(
            anyio.current_time(),
            self._tally.sums(seen),
            {name: one.queued + one.at_the_door for name, one in providers},
            {name: one.in_flight for name, one in providers},
            self._tally.circuits({name: one.circuit for name, one in providers}),
        )

    # The pace.

    def _steady_part(self) -> tuple[Sample, Sample, float] | None:
        """Return where the pace is steady, from when to when, and its drift."""
        now = self._history.samples[-1]
        if not all(
            one.settled(self._providers[name].calls, now.time)
            for name, one in self._assumptions.items()
        ):
            self._settled_at = math.inf
            return None
        self._settled_at = min(self._settled_at, now.time)
        enough = self._given >= ENOUGH or now.time >= DAY
        if not enough or now.time - self._settled_at < self._long:
            return None
        samples = [one for one in self._history.samples if one.time >= self._settled_at]
        # The first third is left out: there everything begins, or recovers.
        third = (len(samples) - 1) // 3
        first, middle = samples[-1 - 2 * third], samples[-1 - third]
        drift = _drift(_pace(first, middle), _pace(middle, now))
        return (first, now, drift) if drift <= STEADY else None

    # What came of it.

    def result(self) -> Forecast:
        """Return the forecast."""
        samples = self._history.samples
        sums, seconds = samples[-1].sums, self._seconds
        since = drift = None
        if self._steady is not None and self._given < self._batch.requests:
            first, last, drift = self._steady
            since = first.time
            times = (self._batch.requests - self._given) / _ended(first, last)
            seconds += times * (last.time - first.time)
            more = {key: last.sums[key] - first.sums.get(key, 0) for key in last.sums}
            sums = {key: sums[key] + times * more.get(key, 0) for key in sums}
        failures = {
            key: round(count)
            for (of, key), count in sums.items()
            if not of and round(count)
        }
        answered = round(sum(sums[name, "answers"] for name in self._providers))
        return Forecast(
            requests=self._batch.requests,
            simulated=self._given,
            steady_since=since,
            drift=drift,
            seconds=seconds,
            simulated_seconds=self._seconds,
            answered=answered,
            failures=failures,
            max_in_flight=self._max_in_flight,
            stopped=self._tally.stopped,
            providers=loads_of(self._configuration, sums, seconds),
            samples=tuple(samples),
        )


def _pace(since: Sample, until: Sample) -> Sums:
    """Return what came each second of each outcome: answers by provider, errors."""
    seconds = until.time - since.time
    return {
        (of, key): (count - since.sums.get((of, key), 0)) / seconds
        for (of, key), count in until.sums.items()
        if not of or key == "answers"
    }


def _drift(before: Sums, after: Sums) -> float:
    """Return by how much the pace of any outcome changed, as a share of all."""
    most = max(abs(pace - before.get(key, 0)) for key, pace in after.items())
    total = sum(after.values())
    return most / total if total else math.inf


def _ended(since: Sample, until: Sample) -> float:
    """Return how many requests got their outcome in between."""
    return sum(_pace(since, until).values()) * (until.time - since.time)
