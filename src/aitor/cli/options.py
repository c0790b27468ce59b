"""Options that several commands have, said once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ("Backend", "Config")

Config = Annotated[
    Path | None,
    typer.Option(
        help="The configuration; else AITOR_CONFIG, aitor.toml or the environment."
    ),
]
Backend = Annotated[
    Literal["asyncio", "trio"] | None,
    typer.Option(help="What to run on; else what the configuration says."),
]
