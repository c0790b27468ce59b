"""
A forecast, held against a real run of the same batch.

    python examples/forecast.py

It asks the simulator how long a batch will take through `examples/outage.toml`, and
then runs that batch: over real sockets, in real time, through two providers that
pretend (`aitor.testing.FakeProvider`), one with a limit and both with failures. At the
end it prints what was forecast, what was measured, and how far they are apart.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import anyio

from aitor.batch import Summary, run_batch
from aitor.broker.ledger import Totals
from aitor.config import load_configuration
from aitor.testing import Distribution, FakeProvider
from aitor.testing.forecast import (
    Assumption,
    Batch,
    Forecast,
    find_without_keys,
    forecast,
)
from aitor.testing.forecast.assumptions import read_errors

CONFIG = Path(__file__).with_name("outage.toml")
LATENCIES = {"cheap": "lognormal(0.25, 0.4)", "steady": "lognormal(0.9, 0.3)"}
LIMITS = {"cheap": 1_200, "steady": None}
ERRORS = 0.05
TOKENS_IN, TOKENS_OUT = 100, 50
CLOSE = 0.1
"""The most that a forecast may be off."""


def main() -> int:
    """Forecast, measure and compare."""
    parser = argparse.ArgumentParser(description="Hold a forecast against a real run.")
    parser.add_argument("--requests", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    expected = predict(options.requests, options.seed)
    measured = anyio.run(measure, options.requests, options.seed)
    return 0 if compare(expected, measured) else 1


def predict(requests: int, seed: int) -> Forecast:
    """Return the forecast; it takes no network and hardly any time."""
    assumptions = {
        name: Assumption(
            latency=Distribution.parse(latency),
            output_tokens=Distribution.parse(TOKENS_OUT),
            faults=(read_errors(str(ERRORS)),),
        )
        for name, latency in LATENCIES.items()
    }
    batch = Batch(requests=requests, input_tokens=Distribution.parse(TOKENS_IN))
    return forecast(find_without_keys(CONFIG), assumptions, batch, seed=seed)


async def measure(requests: int, seed: int) -> Summary:
    """Run the batch in earnest."""
    fakes = {
        name: FakeProvider(
            # Not the chance of the forecast: that would prove less.
            seed=seed + 1_000,
            latency=latency,
            requests_per_minute=LIMITS[name],
            answer_tokens=TOKENS_OUT,
            faults=[f"status=500 probability={ERRORS}"],
        )
        for name, latency in LATENCIES.items()
    }
    async with fakes["cheap"].serve() as cheap, fakes["steady"].serve() as steady:
        environ = {"OUTAGE_CHEAP_URL": f"{cheap}/v1", "OUTAGE_STEADY_URL": steady}
        configuration = load_configuration(CONFIG, environ)
        with tempfile.TemporaryDirectory() as directory:
            rows = Path(directory) / "rows.jsonl"
            answers = Path(directory) / "answers.jsonl"
            write_rows(rows, requests)
            async with configuration.broker() as broker:
                return await run_batch(broker, rows, answers)


def write_rows(path: Path, rows: int) -> None:
    """Write prompts of the length that was assumed, four characters a token."""
    prompt = "abc " * TOKENS_IN
    with path.open("w") as file:
        for number in range(rows):
            row = {"custom_id": f"row-{number}", "prompt": prompt}
            file.write(json.dumps(row) + "\n")


def compare(expected: Forecast, measured: Summary) -> bool:
    """Print both, and return whether the times are close."""
    ledger = measured.ledger.by_provider()
    rows = [
        ("seconds", expected.seconds, measured.seconds),
        ("answered", expected.answered, measured.succeeded),
    ]
    for name, load in expected.providers.items():
        seen = ledger[name]
        rows += [
            (f"{name}: answers", load.answers, seen.answered),
            (f"{name}: calls that fail", sum(load.failed.values()), failed(seen)),
            (f"{name}: tokens out", load.output_tokens, seen.usage.output_tokens),
        ]
    print(f"{'':24}{'forecast':>10}{'measured':>10}{'off':>8}")
    for label, forecast_, real in rows:
        off = (forecast_ - real) / real if real else 0.0
        print(f"{label:24}{forecast_:10,.1f}{real:10,.1f}{off:8.1%}")
    return abs(expected.seconds / measured.seconds - 1) <= CLOSE


def failed(totals: Totals) -> int:
    """Return how many calls brought no answer."""
    return totals.sent - totals.answered


if __name__ == "__main__":
    sys.exit(main())
