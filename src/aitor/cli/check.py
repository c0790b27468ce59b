"""
`aitor check`: what a configuration means, or what is wrong with it.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeAlias

import typer

from aitor.cli.exits import FAILED, MISUSED, exits_for_errors
from aitor.cli.options import Config
from aitor.cli.streams import write
from aitor.terminal import one_line

__all__ = ("check",)

Rows: TypeAlias = list[tuple[str, str]]
"""Words for a thing, and what there is to say about it."""

MOST_WAITS = 5


def check(
    config: Config = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Ask each provider for a few tokens, in earnest."),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds for each that --live asks.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write it as JSON.")] = False,
) -> None:
    """
    Say what the configuration means, or what is wrong with it.

    Nothing is sent without --live; with it the exit code is 1 if one did not answer.
    """
    from aitor.config import find_configuration
    from aitor.config.meaning import describe
    from aitor.errors import ConfigurationError

    try:
        configuration = find_configuration(config)
        meaning = describe(configuration, configuration.make_providers())
    except ConfigurationError as error:
        if not as_json:
            with exits_for_errors():
                raise
        _write_json({"ok": False, "errors": error.message.splitlines()})
        sys.exit(MISUSED)
    if live:
        from aitor.cli.live import ask_everybody

        with exits_for_errors():
            meaning["live"] = ask_everybody(configuration, timeout)
    well = all(found["ok"] for found in meaning.get("live", {}).values())
    if as_json:
        _write_json({"ok": well, **meaning})
    else:
        _show(list(_sections(meaning)))
    if not well:
        sys.exit(FAILED)


def _write_json(value: Mapping[str, Any]) -> None:
    write(json.dumps(value, indent=2) + "\n")


# From a description to words.


def _sections(meaning: Mapping[str, Any]) -> Iterator[tuple[str, Rows]]:
    yield meaning["source"], _general(meaning)
    for name, provider in meaning["providers"].items():
        yield f"provider {name}", _provider(provider)
    for name, limit in meaning["limits"].items():
        shared_by = ", ".join(limit["shared_by"]) or "nobody"
        rows = [("shared by", shared_by), *_paces(limit["paces"])]
        yield f"limit {name}", rows
    if meaning["warnings"]:
        yield "warnings", [("!", warning) for warning in meaning["warnings"]]
    if live := meaning.get("live"):
        from aitor.cli.live import in_words

        yield "asked", [(name, in_words(found)) for name, found in live.items()]


def _general(meaning: Mapping[str, Any]) -> Rows:
    failover = meaning["failover"]
    rows = [("failover", ", then ".join(failover))]
    by_name = [name for name in meaning["providers"] if name not in failover]
    if by_name:
        rows.append(("asked by name only", ", ".join(by_name)))
    if meaning["tenants"]:
        shares = (f"{name} {share:g}" for name, share in meaning["tenants"].items())
        rows.append(("tenants' shares", f"{', '.join(shares)}, others 1"))
    rows.append(("retry budget", f"{meaning['retry_ratio']:g} retries a request"))
    rows.append(("on closing", f"{meaning['drain_timeout']:g} s to finish"))
    rows.append(("backend", meaning["backend"]))
    return rows


def _provider(provider: Mapping[str, Any]) -> Rows:
    parameters = provider["parameters"]
    rows = [
        ("kind", provider["kind"]),
        ("model", provider["model"] or "whatever a request names"),
        ("address", provider["base_url"] or ""),
        ("key", f"from {provider['key']}" if provider["key"] else "none"),
        ("defaults", ", ".join(f"{key} {parameters[key]}" for key in parameters)),
        ("limit", f"{provider['shares']}, shared" if provider["shares"] else ""),
        *_paces(provider["paces"]),
        ("workers", f"{provider['workers']:,} calls in flight"),
        ("queue", f"{provider['queue_size']:,} requests"),
        ("time limits", _timeouts(provider["timeouts"])),
        ("retries", _retries(provider["retries"])),
        ("breaker", _breaker(provider["breaker"])),
    ]
    return [(label, text) for label, text in rows if text]


def _paces(paces: Mapping[str, Mapping[str, float]]) -> Rows:
    return [(name.replace("_", " "), _pace(pace)) for name, pace in paces.items()]


def _pace(pace: Mapping[str, float]) -> str:
    return (
        f"{_number(pace['per_minute'])} a minute: {_number(pace['at_once'])} at once, "
        f"then {_number(pace['per_second'])} a second"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _timeouts(timeouts: Mapping[str, float | None]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {seconds:g} s"
        for name, seconds in timeouts.items()
        if seconds is not None
    )


def _retries(retries: Mapping[str, Any]) -> str:
    from aitor.laws.backoff import Backoff

    count = retries["max_retries"]
    if count == 0:
        return "none"
    told = count
    if count is None:
        count, told = 3, "3, or as many as a request's deadline allows"
    backoff = Backoff(
        retries["retry_delay"], retries["backoff_factor"], retries["max_retry_delay"]
    )
    waits = [f"{backoff.delay_for(n, 1.0):g} s" for n in range(min(count, MOST_WAITS))]
    more = ", …" if count > MOST_WAITS else ""
    return (
        f"{told}, after at most {', '.join(waits)}{more}, or what the server asks "
        f"for up to {retries['max_retry_after']:g} s"
    )


def _breaker(breaker: Mapping[str, Any]) -> str:
    return (
        f"opens for {breaker['first_open_seconds']:g} to {breaker['open_seconds']:g} s "
        f"after {breaker['failures']} failures in a row and "
        f"{breaker['failing_seconds']:g} s, for {breaker['dead_seconds']:g} s when the "
        f"account is refused; then {breaker['probes']} at a time as a probe"
    )


# From words to the screen.


def _show(sections: Iterable[tuple[str, Rows]]) -> None:
    plain = (
        (one_line(title), [(one_line(label), one_line(text)) for label, text in rows])
        for title, rows in sections
    )
    if _is_terminal():
        _show_tables(plain)
        return
    for title, rows in plain:
        width = max(len(label) for label, _ in rows)
        write(f"{title}\n")
        for label, text in rows:
            write(f"  {label:{width}}  {text}\n")


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _show_tables(sections: Iterable[tuple[str, Rows]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for title, rows in sections:
        # As texts: a name in square brackets is no markup.
        table = Table(title=Text(title), title_justify="left", show_header=False)
        for label, text in rows:
            table.add_row(Text(label), Text(text))
        console.print(table)
