"""
The command line.

What is asked for goes to standard output, everything else to standard error, so that
output can be piped. A command's module imports at its top only what its options need
and everything else when it runs: `aitor --help` waits for nothing it does not use.
"""

import sys
from typing import TYPE_CHECKING, Annotated

from aitor import __version__
from aitor.cli.exits import INTERRUPTED, MISUSED, exits_for_crashes
from aitor.cli.streams import exits_when_full, open_closed_streams, write

if TYPE_CHECKING:
    import typer

__all__ = ("application", "main")

EXTRA = frozenset({"rich", "typer"})
"""What the extra `cli` brings."""


def main() -> None:
    """Run the command line."""
    open_closed_streams()
    try:
        run = application()
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        sys.stderr.write(
            f"aitor: the command line needs {error.name}, which is not installed: "
            f"install aitor with its extra 'cli' (the README says how)\n"
        )
        sys.exit(MISUSED)
    except KeyboardInterrupt:
        # While everything is imported, which typer would not see.
        sys.exit(INTERRUPTED)
    if not sys.flags.safe_path:
        # The provider classes that a configuration names may lie where the command
        # runs; last, so that they cannot take the place of other modules.
        sys.path.append("")
    with exits_for_crashes(), exits_when_full():
        # Help, tables and messages of other libraries go there, too.
        run()


def application() -> "typer.Typer":
    """Assemble the commands."""
    import typer

    from aitor.cli.ask import ask
    from aitor.cli.batch import batch
    from aitor.cli.check import check
    from aitor.cli.fake import fake_provider
    from aitor.cli.simulate import simulate

    made = typer.Typer(
        name="aitor",
        help="A broker for large language models.",
        no_args_is_help=True,
        # Rich help costs its import, and a traceback with local variables would
        # show prompts and keys.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @made.callback()
    def options(
        version: Annotated[
            bool,
            typer.Option(
                "--version",
                callback=_tell_version,
                is_eager=True,
                help="Tell the version and exit.",
            ),
        ] = False,
    ) -> None: ...

    made.command()(ask)
    made.command()(batch)
    made.command()(check)
    made.command("fake-provider")(fake_provider)
    made.command()(simulate)
    return made


def _tell_version(asked: bool) -> None:
    if asked:
        write(f"aitor {__version__}\n")
        sys.exit(0)
