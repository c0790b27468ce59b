"""
Tool calls that grow in a stream, told apart by whatever their vendor gives.

An index would do, if all gave one. Some give every call the same, some give none, or
null; some name each call by an id, some repeat the id and the name in every piece, and
some have neither. Two calls that melt into one cannot be seen afterwards, so a piece
goes on with a call only if nothing says that it begins another.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from aitor.providers.dialect import Growth, Text, argument_text

__all__ = ("ToolCalls",)

ENTRY = 256
"""What a call counts for, however little is in it."""


class ToolCalls:
    """
    The tool calls of one choice.

    Args:
        growth: Counts what is kept.
    """

    __slots__ = ("_calls", "_growth", "_latest")

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._calls: list[_Call] = []
        # By index, or by the place in its event where there is none.
        self._latest: dict[tuple[bool, int], _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def take(self, pieces: Sequence[Any]) -> None:
        """Take the pieces of calls that came in one event."""
        for position, piece in enumerate(pieces):
            if isinstance(piece, Mapping):
                function = piece.get("function")
                self._take(
                    position, piece, function if isinstance(function, Mapping) else {}
                )

    def whole(self) -> list[dict[str, Any]]:
        """Return the calls as they stand in a message, in order."""
        calls = sorted(self._calls, key=lambda call: call.place)
        return [call.whole() for call in calls]

    def _take(
        self, position: int, piece: Mapping[str, Any], function: Mapping[str, Any]
    ) -> None:
        index, name = piece.get("index"), function.get("name")
        indexed = isinstance(index, int) and not isinstance(index, bool)
        place = index if isinstance(index, int) and indexed else position
        identity = piece.get("id") or None
        arguments = argument_text(function.get("arguments"))
        call = self._latest.get((indexed, place))
        named = self._named(identity)
        if call is None:
            # One id for all calls tells as little as one index.
            call = None if indexed and name else named
        elif identity and call.identity and identity != call.identity:
            call = named or (None if name else call)
        elif call.is_another(name, identity, arguments):
            call = None
        if call is None:
            self._growth.add(ENTRY)
            call = _Call(self._growth, place)
            self._calls.append(call)
        self._latest[indexed, place] = call
        call.take(identity, name, arguments)

    def _named(self, identity: Any) -> "_Call | None":
        if identity is None:
            return None
        found = (call for call in self._calls if call.identity == identity)
        return next(found, None)


class _Call:
    """One tool call."""

    __slots__ = ("_arguments", "_name", "identity", "place")

    def __init__(self, growth: Growth, place: int) -> None:
        self.place = place
        self.identity: Any = None
        self._name: Any = None
        self._arguments = Text(growth)

    def is_another(self, name: Any, identity: Any, arguments: str) -> bool:
        """Return whether a piece for the same place begins a call of its own."""
        if not name or not self._name:
            return False
        if name != self._name:
            return True
        # The name may stand in every piece; whole arguments do not go on.
        return not identity and bool(arguments) and _is_whole(str(self._arguments))

    def take(self, identity: Any, name: Any, arguments: str) -> None:
        self.identity = self.identity or identity
        self._name = self._name or name
        self._arguments.add(arguments)

    def whole(self) -> dict[str, Any]:
        return {
            "id": self.identity,
            "type": "function",
            "function": {"name": self._name, "arguments": str(self._arguments)},
        }


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(from_json(arguments), dict)
    except ValueError:
        return False
