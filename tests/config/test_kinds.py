"""Which class a kind means."""

import sys
from pathlib import Path

import pytest

from aitor.config.kinds import find_class
from aitor.errors import ConfigurationError
from aitor.providers import CompatibleProvider, MockProvider, OpenAIProvider
from aitor.providers.base import Provider

MODULE = """
from aitor.providers.base import Provider

class Mine(Provider):
    kind = "mine"

class Stranger: ...

other = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_module.py").write_text(MODULE)
    (tmp_path / "users_broken.py").write_text("1 / 0")
    (tmp_path / "users_lacking.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    return "users_module"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("openai", OpenAIProvider),
        ("compatible", CompatibleProvider),
        ("mock", MockProvider),
    ],
)
def test_a_word_means_one_of_ours(kind: str, expected: type[Provider]) -> None:
    assert find_class(kind) is expected


def test_a_path_means_a_users_class(module: str) -> None:
    found = find_class(f"{module}:Mine")
    assert found.__name__ == "Mine"
    assert issubclass(found, Provider)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (3, "must be a text"),
        ("users_nowhere:Mine", "there is no module 'users_nowhere'"),
        ("users_module:", "a class is named as package.module:Class"),
        (":Mine", "a class is named as package.module:Class"),
        (".relative:Mine", "a class is named as package.module:Class"),
        (
            "users_module:Yours",
            (
                "'users_module' has no class 'Yours' that is a subclass of "
                "aitor.providers.Provider"
            ),
        ),
        (
            "users_module:other",
            (
                "'users_module' has no class 'other' that is a subclass of "
                "aitor.providers.Provider"
            ),
        ),
        (
            "users_module:Stranger",
            (
                "'users_module' has no class 'Stranger' that is a subclass of "
                "aitor.providers.Provider"
            ),
        ),
        ("users_broken:Mine", "importing 'users_broken' raised ZeroDivisionError"),
        ("users_lacking:Mine", "there is no module 'not_there_at_all'"),
    ],
)
@pytest.mark.usefixtures("module")
def test_a_wrong_kind_is_explained(kind: object, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_class(kind)
    assert str(caught.value) == expected


def test_an_unknown_word_is_told_with_those_that_are_known() -> None:
    with pytest.raises(
        ConfigurationError, match=r"anthropic.*compatible.*mock.*openai"
    ):
        find_class("acme")
