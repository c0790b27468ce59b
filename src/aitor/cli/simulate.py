"""
`aitor simulate`: how a batch would go, without a network, a key or a cent.

Exit codes: 0 the forecast was made, whatever it says; 2 the options or the
configuration are wrong.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aitor.cli.exits import exits_for_errors
from aitor.cli.options import Config
from aitor.cli.streams import write
from aitor.terminal import one_line

if TYPE_CHECKING:
    from aitor.config import Configuration
    from aitor.testing.forecast import Assumption, Batch, Forecast

__all__ = ("simulate",)

PER_PROVIDER = "; of one provider: NAME=…; may be repeated"

Requests = Annotated[
    str, typer.Option(metavar="N", help="Requests of the batch, such as 1_000_000.")
]
Latency = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]SECONDS",
        help='Seconds until an answer: 0.2, "uniform(0.1, 0.3)", "exponential(0.8)" '
        f'or "lognormal(0.8, 0.5)" (median and sigma){PER_PROVIDER}. '
        'Without: "lognormal(2, 0.5)".',
    ),
]
Errors = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]SHARE",
        help=f"Share of calls that fail with status 500, such as 0.05{PER_PROVIDER}.",
    ),
]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]FAULT",
        help='Other faults, as for aitor fake-provider: "dead after=600 until=900", '
        f'"rate_limit probability=0.01 retry_after=5"{PER_PROVIDER}.',
    ),
]
TokensIn = Annotated[
    str | None,
    typer.Option(
        metavar="TOKENS",
        help="Of a prompt; a number or as for --latency. Without: 500.",
    ),
]
TokensOut = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]TOKENS",
        help=f"Of an answer; as for --latency{PER_PROVIDER}. Without: 200.",
    ),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="[NAME=]IN/OUT",
        help="US dollars for a million tokens in and out, such as 0.15/0.60"
        f"{PER_PROVIDER}. Without: the vendor's list price, where it is known.",
    ),
]
InFlight = Annotated[
    int | None, typer.Option(min=1, help="Most requests at once; else all workers.")
]
Timeout = Annotated[
    float | None,
    typer.Option(min=0.001, help="Seconds for each request, retries too."),
]
Seed = Annotated[int, typer.Option(help="Decides all chance.")]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Simulate every request. Without: at least the first 20,000, and the "
        "rest goes on at their pace once that is steady.",
    ),
]
Picture = Annotated[
    Path | None, typer.Option("--svg", metavar="FILE", help="Where a picture goes.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="Write the numbers as JSON.")]


def simulate(
    *,
    requests: Requests,
    config: Config = None,
    latency: Latency = None,
    errors: Errors = None,
    fault: Faults = None,
    tokens_in: TokensIn = None,
    tokens_out: TokensOut = None,
    price: Prices = None,
    max_in_flight: InFlight = None,
    timeout: Timeout = None,
    seed: Seed = 0,
    exact: Exact = False,
    svg: Picture = None,
    as_json: AsJSON = False,
) -> None:
    """
    Say how long a batch will take, what it will cost, and where it will wait.

    The real broker runs in virtual time before providers that behave as these options
    say. Nothing is sent, and no key is needed.
    """
    with exits_for_errors():
        from aitor.testing.forecast import draw, find_without_keys

        configuration = find_without_keys(config)
        assumptions = _assumptions(
            configuration,
            latency=latency or (),
            errors=errors or (),
            faults=fault or (),
            tokens_out=tokens_out or (),
            prices=price or (),
        )
        batch = _batch(requests, tokens_in, max_in_flight, timeout)
        forecast = _run(configuration, assumptions, batch, seed, exact=exact)
    if as_json:
        write(json.dumps(forecast.to_json(), indent=2) + "\n")
    else:
        _report(forecast, configuration.source, assumptions, batch)
    if svg is not None:
        title = f"{forecast.requests:,} requests through {configuration.source}"
        _save(svg, draw(forecast, title))


# From options to assumptions.


def _assumptions(
    configuration: "Configuration",
    *,
    latency: Iterable[str],
    errors: Iterable[str],
    faults: Iterable[str],
    tokens_out: Iterable[str],
    prices: Iterable[str],
) -> "dict[str, Assumption]":
    from aitor.testing import Distribution
    from aitor.testing.forecast.assumptions import (
        LATENCY,
        OUTPUT_TOKENS,
        Assumption,
        Price,
        for_each,
        read_errors,
        read_fault,
    )

    names = configuration.providers
    with _option("--latency"):
        latencies = for_each(names, latency, Distribution.parse)
    with _option("--errors"):
        shares = for_each(names, errors, read_errors)
    with _option("--fault"):
        others = for_each(names, faults, read_fault)
    with _option("--tokens-out"):
        lengths = for_each(names, tokens_out, Distribution.parse)
    with _option("--price"):
        costs = for_each(names, prices, Price.parse)
    return {
        name: Assumption(
            latency=[*latencies[name], LATENCY][0],
            output_tokens=[*lengths[name], OUTPUT_TOKENS][0],
            faults=(*others[name], *shares[name][:1]),
            price=[*costs[name], None][0],
        )
        for name in names
    }


def _batch(
    requests: str,
    tokens_in: str | None,
    max_in_flight: int | None,
    timeout: float | None,
) -> "Batch":
    from aitor.testing import Distribution
    from aitor.testing.forecast import Batch
    from aitor.testing.forecast.assumptions import INPUT_TOKENS

    with _option("--requests"):
        try:
            # Python's own way to read a number knows 1_000_000.
            count = int(requests)
        except ValueError:
            count = 0
        if count < 1:
            raise ValueError(
                f"{one_line(repr(requests), 80)} is no number of requests: expected a "
                f"whole number of at least 1, such as 1_000_000"
            )
    with _option("--tokens-in"):
        tokens = INPUT_TOKENS if tokens_in is None else Distribution.parse(tokens_in)
    return Batch(
        requests=count,
        input_tokens=tokens,
        max_in_flight=max_in_flight,
        timeout=timeout,
    )


@contextmanager
def _option(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(one_line(error), param_hint=name) from None


# Running.


def _run(
    configuration: "Configuration",
    assumptions: "Mapping[str, Assumption]",
    batch: "Batch",
    seed: int,
    *,
    exact: bool,
) -> "Forecast":
    from rich.console import Console
    from rich.progress import Progress

    from aitor.testing.forecast import forecast

    # On a terminal only, and gone when it is done.
    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("simulating", total=batch.requests)
        return forecast(
            configuration,
            assumptions,
            batch,
            seed=seed,
            exact=exact,
            tell=lambda given: progress.update(task, completed=given),
        )


def _report(
    forecast: "Forecast",
    source: str,
    assumptions: "Mapping[str, Assumption]",
    batch: "Batch",
) -> None:
    from rich.console import Console

    from aitor.testing.forecast.report import report

    report(forecast, source, assumptions, batch, Console())


def _save(path: Path, picture: str) -> None:
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(
            f"{one_line(path)} cannot be written: {error.strerror or error}",
            param_hint="--svg",
        ) from None
