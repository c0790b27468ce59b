"""Examples run from wherever they are called."""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_no_example_names_its_files_by_the_folder_it_is_run_in(path: Path) -> None:
    """
    Of the kind: a file that is found in one working directory only.
    """
    names = {each.name for each in path.parent.iterdir()} | {path.parent.name}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    paths = [word for word in words if isinstance(word, str) and "\n" not in word]
    assert not [word for word in paths if "/" in word and names & {*word.split("/")}]


def test_a_forecast_is_made_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (forecast,) = (path for path in EXAMPLES if path.name == "forecast.py")
    assert loaded(forecast).predict(30, 0).answered == 30
