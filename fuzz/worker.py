"""
One target under Atheris, in a process of its own: libFuzzer ends the process it is in.

    python -m fuzz.worker TARGET SECONDS FOLDER

A finding does not end the run. Each is kept once for the place in the code where it
came up: the input in a file of FOLDER, its traceback in another beside it.
"""

import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

from fuzz import Target

__all__ = ("main",)

WATCHED = ["aitor", "dotenv", "email", "tomllib"]
"""Packages whose code is watched: ours, and what reads for us in Python."""

LONGEST = 8_192
"""Bytes of an input."""

HANG = 20
"""Seconds after which a target hangs."""

MEMORY = 2_048
"""Megabytes that the process may take."""


class Keeper:
    """
    Runs a target and keeps what it finds.

    Args:
        target: The target.
        folder: Where findings go.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._folder = folder
        self._places: set[tuple[str, ...]] = set()

    def __call__(self, data: bytes) -> None:
        """Run once."""
        try:
            self._target(data)
        except Exception as error:  # noqa: BLE001  # whatever comes out is a finding
            frames = traceback.extract_tb(error.__traceback__)
            places = tuple(f"{each.filename}:{each.lineno}" for each in frames)
            if places not in self._places:
                self._places.add(places)
                self._keep(data, error)

    def _keep(self, data: bytes, error: Exception) -> None:
        name = f"found-{len(self._places)}"
        told = "".join(traceback.format_exception(error))
        (self._folder / name).write_bytes(data)
        (self._folder / f"{name}.txt").write_text(f"{told}\n{data!r}\n")


def main() -> None:
    """Fuzz one target for some seconds."""
    name, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=WATCHED):
        targets = importlib.import_module("fuzz.targets").TARGETS
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={HANG}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    keeper = Keeper(targets[name], folder)
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], keeper)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
