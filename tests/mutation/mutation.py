"""What a mutation is: one guard of the library, broken on purpose."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ("ROOT", "SOURCE", "Mutation")

ROOT = Path(__file__).parents[2]
SOURCE = Path("src") / "aitor"


@dataclass(frozen=True, slots=True)
class Mutation:
    """
    One guard, broken on purpose.

    Args:
        name: What it is called on the command line.
        file: Below `src/aitor`.
        old: A text that is there exactly once.
        new: What is put in its place.
        promise: What no longer holds then, as if it held.
        tests: The arguments for pytest that choose the tests expected to fail.
    """

    name: str
    file: str
    old: str
    new: str
    promise: str
    tests: str

    @property
    def path(self) -> Path:
        """The file, seen from the root."""
        return SOURCE / self.file

    def fits(self) -> bool:
        """Return whether what is to be broken is in the source, once."""
        text = (ROOT / self.path).read_text(encoding="utf-8")
        return text.count(self.old) == 1
