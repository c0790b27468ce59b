"""The house: a module imports only from lower floors, and the backends from nobody."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "aitor"

FLOORS = {
    "outcomes": 0,
    "errors": 0,
    "json_check": 0,
    "messages": 0,
    "events": 0,
    "logs": 0,
    "terminal": 0,
    "laws": 1,
    "wire": 2,
    "providers": 3,
    "broker": 4,
    "config": 5,
    "batch": 5,
    "llm": 5,
    "agents": 5,
    "cli": 6,
}
"""`testing` is a side room: it may import any floor; only a command needs it."""

LAZY_UPWARD = {("broker", "config")}
"""Imports inside a function: conveniences whose work is done a floor above."""


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Return each imported module's name and whether it is inside a function."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, id(node) not in top))
    return found


def test_a_module_imports_only_from_its_own_floor_or_lower() -> None:
    wrong = []
    for path in modules():
        room = room_of(path)
        if room not in FLOORS:
            continue
        for name, inside in imports(path):
            if not name.startswith("aitor."):
                continue
            other = name.split(".")[1]
            if inside and (room, other) in LAZY_UPWARD:
                continue
            if (room, other) == ("cli", "testing"):
                continue
            if FLOORS.get(other, 99) > FLOORS[room]:
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert not wrong


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in modules()}
    assert rooms - set(FLOORS) <= {"__init__", "__main__", "testing"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.name))
def test_only_the_virtual_clock_names_a_backend(path: Path) -> None:
    named = {name.split(".")[0] for name, _ in imports(path)} & {"asyncio", "trio"}
    assert not named or path == SOURCE / "testing" / "virtual.py"


def test_laws_and_values_wait_for_nothing_and_read_no_clock() -> None:
    for path in modules():
        if FLOORS.get(room_of(path), 9) > 1 or room_of(path) == "logs":
            continue
        names = {name.split(".")[0] for name, _ in imports(path)}
        assert not names & {"anyio", "time", "random"}, path
