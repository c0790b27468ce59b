"""
What came from outside, in a form that a terminal may be shown.

A vendor's model name, an error's text, a file's name or a row's id can hold escape
sequences that clear a screen, set a window's title or forge a line. None of it is
trusted: whatever is no plain character is shown as its escape. This knows nothing of
rich, whose markup is another matter: foreign text goes there as `rich.text.Text`.
"""

import json
import re

__all__ = ("one_line", "paragraphs")

LONGEST = 2_000
"""Characters of a line; what is longer was never meant to be read."""

CONTROLS = re.compile(r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""What steers a terminal; a tab and the end of a line do not."""


def one_line(text: object, most: int = LONGEST) -> str:
    """
    Return *text* as one line without anything that steers a terminal.

    White space becomes spaces, what else is not printable its escape.

    Args:
        text: Anything; its `str` is taken.
        most: Characters to keep; an ellipsis stands for the rest.
    """
    whole = str(text)
    kept = whole if len(whole) <= most else f"{whole[: most - 1]}…"
    return "".join(_shown(each) for each in kept)


def paragraphs(text: str) -> str:
    """Return *text* with its lines, and with control characters as their escapes."""
    return CONTROLS.sub(lambda found: _escaped(found[0]), text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else _escaped(character)


def _escaped(character: str) -> str:
    # As JSON has it, so that a document stays one.
    return json.dumps(character)[1:-1]
