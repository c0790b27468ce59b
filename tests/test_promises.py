"""The page of promises: each is held by tests and rules that are there."""

import ast
import re
from functools import cache
from pathlib import Path

from aitor.testing.simulator import RULES

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (?P<promise>[^|]+) \| (?P<held>[^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::([tT]est\w+)`")
RULE = re.compile(r"\brule (\d+)\b")


def rows() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    found = [(row["promise"], row["held"]) for row in ROW.finditer(text)]
    return [row for row in found if row[0] != "promise"]


@cache
def collected(path: str) -> set[str]:
    """Return the names of the tests in a file, as pytest finds them."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    nodes = [*tree.body, *(node for one in classes for node in one.body)]
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    names = {node.name for node in nodes if isinstance(node, kinds)}
    # State machines of Hypothesis are tests by assignment.
    made = [node.targets[0] for node in nodes if isinstance(node, ast.Assign)]
    return names | {each.id for each in made if isinstance(each, ast.Name)}


def test_every_promise_is_one_sentence_that_something_holds() -> None:
    promises = [promise for promise, _ in rows()]
    assert len(promises) == len(set(promises)) > 60
    for promise, held in rows():
        assert promise.endswith("."), promise
        assert TEST.search(held) or RULE.search(held), promise


def test_every_test_that_is_named_is_there() -> None:
    named = {test for _, held in rows() for test in TEST.findall(held)}
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not Path(path).name.startswith("test_") or name not in collected(path)
    ]
    assert not missing


def test_every_rule_of_the_simulator_holds_a_promise_and_no_other_is_named() -> None:
    named = {int(number) for _, held in rows() for number in RULE.findall(held)}
    assert named == set(RULES)


def test_what_is_named_is_all_that_holds_a_promise() -> None:
    """Nothing is hidden in a spelling that the other tests would not see."""
    for _, held in rows():
        for part in held.split("<br>"):
            assert TEST.fullmatch(part) or RULE.fullmatch(part), part
