"""
`aitor fake-provider`: a provider server for tests, in a process of its own.

Standard output has one line, the address, as soon as requests are taken. A
summary goes to standard error at the end, which is Ctrl-C or SIGTERM.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aitor.cli.exits import MISUSED, tell
from aitor.cli.streams import write

if TYPE_CHECKING:
    from aitor.testing import FakeProvider

__all__ = ("fake_provider",)

_LIMITS = "Limits"
_VENDOR = "What the vendor knows"


def fake_provider(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any.")
    ] = 8080,
    latency: Annotated[
        str,
        typer.Option(
            help='Seconds until an answer: 0.2, "uniform(0.1, 0.3)", '
            '"exponential(0.8)" or "lognormal(0.8, 0.5)" (median and sigma).'
        ),
    ] = "0",
    tokens_per_second: Annotated[
        float, typer.Option(help="Pace of streams; 0: all at once.")
    ] = 0.0,
    answer: Annotated[
        str,
        typer.Option(
            help="What is said; {last} is the last word asked, {prompt} all of the "
            "last message, {model} the model."
        ),
    ] = "Answer to {last}",
    answer_tokens: Annotated[
        str, typer.Option(help="Tokens to fill answers up to; as for --latency.")
    ] = "0",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help='What goes wrong, may be repeated: "status=500 probability=0.05", '
            '"dead after=10 until=20", "overloaded at=3,7 retry_after=2".'
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides all chance.")] = 0,
    requests_per_minute: Annotated[
        int | None, typer.Option(rich_help_panel=_LIMITS)
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(rich_help_panel=_LIMITS)
    ] = None,
    input_tokens_per_minute: Annotated[
        int | None, typer.Option(rich_help_panel=_LIMITS)
    ] = None,
    output_tokens_per_minute: Annotated[
        int | None, typer.Option(rich_help_panel=_LIMITS)
    ] = None,
    window: Annotated[
        float,
        typer.Option(
            help='Seconds that the limits "per minute" hold for.',
            rich_help_panel=_LIMITS,
        ),
    ] = 60.0,
    concurrency: Annotated[
        int | None,
        typer.Option(help="Requests in flight at most.", rich_help_panel=_LIMITS),
    ] = None,
    limit_headers: Annotated[
        bool,
        typer.Option(help="Tell limits and waits.", rich_help_panel=_LIMITS),
    ] = True,
    dialect: Annotated[
        list[str] | None,
        typer.Option(
            help="openai or anthropic, may be repeated; both without.",
            rich_help_panel=_VENDOR,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model that exists, may be repeated; all without.",
            rich_help_panel=_VENDOR,
        ),
    ] = None,
    reasoning_model: Annotated[
        list[str] | None,
        typer.Option(
            help="Beginning of the names of models that take no max_tokens and no "
            "temperature, may be repeated.",
            rich_help_panel=_VENDOR,
        ),
    ] = None,
    context_window: Annotated[
        int,
        typer.Option(help="Most input tokens; 0: no limit.", rich_help_panel=_VENDOR),
    ] = 0,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="AITOR_FAKE_API_KEY",
            help="The only key taken; any or none without.",
            rich_help_panel=_VENDOR,
        ),
    ] = None,
    backend: Annotated[
        Literal["asyncio", "trio"], typer.Option(help="What it runs on.")
    ] = "trio",
    as_json: Annotated[
        bool, typer.Option("--json", help="Write address and summary as JSON.")
    ] = False,
) -> None:
    """
    Serve a pretended provider of language models, for tests and benchmarks.

    It speaks OpenAI's wire (chat completions and responses) and Anthropic's
    (messages), with latency, limits, headers and faults, and no model behind it.
    Its log, bill and statistics are under /_fake/log and so on.
    """
    from functools import partial

    import anyio

    from aitor.testing import Behaviour, FakeProvider

    try:
        behaviour = Behaviour(
            seed=seed,
            latency=latency,
            tokens_per_second=tokens_per_second,
            answer=answer,
            answer_tokens=answer_tokens,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            input_tokens_per_minute=input_tokens_per_minute,
            output_tokens_per_minute=output_tokens_per_minute,
            window=window,
            concurrency=concurrency,
            limit_headers=limit_headers,
            faults=fault or (),
            models=model or (),
            reasoning_models=reasoning_model or (),
            context_window=context_window,
            api_key=api_key,
            dialects=dialect or ("openai", "anthropic"),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run = partial(_serve, FakeProvider(behaviour), host, port, as_json=as_json)
    try:
        anyio.run(run, backend=backend)
    except OSError as error:
        tell(f"cannot listen on {host}:{port}: {error}")
        raise typer.Exit(MISUSED) from None


async def _serve(
    provider: "FakeProvider", host: str, port: int, *, as_json: bool
) -> None:
    import json
    import signal

    import anyio

    unheard: SystemExit | None = None
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with provider.serve(host=host, port=port) as url:
            try:
                write((json.dumps({"url": url}) if as_json else url) + "\n")
            except SystemExit as error:
                # Raised here it would leave in an exception group.
                unheard = error
            else:
                async for _ in signals:
                    break
        if unheard is not None:
            raise unheard
        _summarise(provider, as_json=as_json)


def _summarise(provider: "FakeProvider", *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    statistics, bill = provider.statistics(), provider.bill()
    if as_json:
        paid = {**asdict(bill), "answers": len(bill.answers)}
        text = json.dumps({"statistics": asdict(statistics), "bill": paid})
    else:
        outcomes = ", ".join(
            f"{name} {count}" for name, count in sorted(statistics.outcomes.items())
        )
        text = (
            f"{statistics.requests} requests ({outcomes or 'none'}), at most "
            f"{statistics.peak_in_flight} at once, {statistics.violations} beyond a "
            f"limit; {bill.input_tokens} input and {bill.output_tokens} output tokens"
        )
    tell(text, by="")
