"""
What a model thinks aloud, told apart from what it says.

Some servers leave a model's reasoning in the text, between marks. Nothing in there is
meant for anybody: no draft of an answer, and no call that was only considered. Where
the marks do not pair up, what is left out is too much rather than too little.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator

__all__ = ("CLOSING", "OPENING", "Thoughts", "split_thoughts")

_NAMES = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad)"

OPENING = rf"""(?<!`)(?: <{_NAMES}> | \[THINK\] | ◁think▷
    | <\|begin_of_thought\|> | <\|channel\|>analysis<\|message\|> )"""
"""A mark that begins a thought, as a verbose expression; one in backticks is quoted."""

CLOSING = rf"""(?<!`)(?: </{_NAMES}> | \[/THINK\] | ◁/think▷
    | <\|end_of_thought\|> | <\|channel\|>final<\|message\|> )"""
"""A mark that ends one."""

_MARKS = re.compile(f"(?P<opening>{OPENING})|{CLOSING}", re.VERBOSE | re.IGNORECASE)
_CLOSING = re.compile(CLOSING, re.VERBOSE | re.IGNORECASE)
_NEAR = 100
"""Characters that are looked at to see whether a line begins or ends there."""


class Thoughts:
    """Where the thoughts in *text* end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._closings = [mark.span() for mark in _CLOSING.finditer(text)]

    def end(self, begin: int, after: int) -> tuple[int, int] | None:
        """
        Return where the thought ends whose mark stands from *begin* to *after*.

        Returns:
            Where the mark that closes it begins and ends; the end of the text, twice,
            for a thought that nothing closes; None where the mark stands within a line
            and nothing closes it, so that it is but a word.
        """
        place = bisect_left(self._closings, (after, after))
        if place < len(self._closings):
            return self._closings[place]
        size = len(self._text)
        return (size, size) if _begins_a_line(self._text, begin) else None


def split_thoughts(text: str) -> tuple[str, str]:
    """Return what *text* says, and what is only thought in it."""
    said: list[str] = []
    thought: list[str] = []
    for part, is_thought in _parts(text):
        if is_thought is None:
            # A mark that only closes: the one that opens stands in some templates.
            thought += [*said, part]
            said.clear()
        else:
            (thought if is_thought else said).append(part)
    return "".join(said).strip(), "\n".join(filter(None, map(str.strip, thought)))


def _parts(text: str) -> Iterator[tuple[str, bool | None]]:
    thoughts = Thoughts(text)
    place = search = 0
    while mark := _MARKS.search(text, search):
        search = mark.end()
        if mark["opening"]:
            end = thoughts.end(*mark.span())
            if end is None:
                continue
            yield text[place : mark.start()], False
            yield text[mark.end() : end[0]], True
            place = search = end[1]
        elif _begins_a_line(text, mark.start()) or _ends_a_line(text, mark.end()):
            yield text[place : mark.start()], None
            place = search
    yield text[place:], False


def _begins_a_line(text: str, place: int) -> bool:
    near = text[max(0, place - _NEAR) : place]
    return not near.rpartition("\n")[2].strip()


def _ends_a_line(text: str, place: int) -> bool:
    return not text[place : place + _NEAR].partition("\n")[0].strip()
