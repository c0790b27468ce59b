"""
`aitor ask`: one request, and its answer on standard output.
"""

import json
import signal
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aitor.cli.exits import exits_for_errors, tell
from aitor.cli.options import Backend, Config
from aitor.cli.signals import last_one_ends
from aitor.cli.streams import require, write
from aitor.terminal import one_line, paragraphs

if TYPE_CHECKING:
    from aitor.config import Configuration
    from aitor.events import Event
    from aitor.messages import Reply, Request

__all__ = ("ask",)

STANDARD_INPUT = "-"

MOST_TOLD = 80
"""Characters of an option that are repeated."""


def ask(
    prompt: Annotated[
        str, typer.Argument(help="What to ask; - reads it from standard input.")
    ],
    system: Annotated[
        str | None, typer.Option(help="Instructions that go before the prompt.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Begin the failover sequence there.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model for the first provider asked.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds for all of it.")
    ] = 120.0,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A parameter, such as temperature=0.2; the value is JSON or a text.",
        ),
    ] = None,
    config: Config = None,
    backend: Backend = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the whole reply, as JSON.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Tell every attempt on standard error."),
    ] = False,
) -> None:
    """Ask one question and write the answer."""
    require("stdout")
    given = dict(_parameter(each) for each in parameters or ())
    text = _standard_input() if prompt == STANDARD_INPUT else prompt
    if not text.strip():
        raise typer.BadParameter("there is nothing to ask", param_hint="PROMPT")
    with exits_for_errors():
        import anyio

        from aitor.config import find_configuration
        from aitor.messages import Request

        configuration = find_configuration(config)
        messages = [{"role": "user", "content": text}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        request = Request.of(messages, parameters=given)
        delivery = {"provider": provider, "model": model, "timeout": timeout}
        reply = anyio.run(
            partial(_ask, configuration, request, delivery, verbose=verbose),
            backend=backend or configuration.backend,
        )
    _write(_as_json(reply) if as_json else reply.text)


async def _ask(
    configuration: "Configuration",
    request: "Request",
    delivery: dict[str, Any],
    *,
    verbose: bool,
) -> "Reply":
    listeners = [_tell_attempt] if verbose else []
    with last_one_ends(signal.SIGINT, after=1):
        async with configuration.broker(listeners=listeners) as broker:
            return await broker.submit(request, **delivery)


def _parameter(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise typer.BadParameter(
            f"{one_line(repr(text), MOST_TOLD)} is not KEY=VALUE", param_hint="--set"
        )
    try:
        return key, json.loads(value, parse_constant=_no_number)
    except ValueError:
        return key, value
    except RecursionError:
        raise typer.BadParameter(
            f"the value of {one_line(key, MOST_TOLD)!r} is nested too deep",
            param_hint="--set",
        ) from None


def _no_number(word: str) -> None:
    # `NaN` and its kin are no JSON, though Python reads them.
    raise ValueError(f"{word} is no JSON")


def _standard_input() -> str:
    require("stdin", "PROMPT")
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"byte {error.start} of standard input is not UTF-8", param_hint="PROMPT"
        ) from None


def _tell_attempt(event: "Event") -> None:
    from aitor.events import AttemptEnded

    if not isinstance(event, AttemptEnded):
        return
    attempt = event.attempt
    status = f" (status {attempt.status})" if attempt.status else ""
    waited = f", waited {attempt.waits.total:.2f} s" if attempt.waits.total else ""
    model = f" {attempt.model}" if attempt.model else ""
    tell(
        f"{attempt.provider}{model}: {attempt.outcome}{status} "
        f"after {attempt.seconds:.2f} s{waited}",
        by="",
    )


def _as_json(reply: "Reply") -> str:
    value = asdict(reply)
    # Those are named tuples, which JSON would take for lists.
    value["attempts"] = [
        {**attempt._asdict(), "waits": attempt.waits._asdict()}
        for attempt in value["attempts"]
    ]
    return json.dumps(value, ensure_ascii=False)


def _write(text: str) -> None:
    if sys.stdout.isatty():
        # Whoever takes an answer from a pipe or a file gets it as it is.
        text = paragraphs(text)
    # An answer may hold half of a surrogate pair, which no encoding takes.
    encoding = sys.stdout.encoding or "utf-8"
    write(text.encode(encoding, "replace").decode(encoding) + "\n")
