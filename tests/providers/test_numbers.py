"""A number in the settings is a number: no truth, nothing infinite, no other text."""

import math
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest

from aitor.config.tables import read_tables
from aitor.errors import ConfigurationError
from aitor.providers.compatible import CompatibleSettings
from aitor.providers.mock import MockSettings
from aitor.providers.rules import Rule
from aitor.providers.settings import BreakerSettings, LimitSettings, Settings, load

ALL: list[type[Settings]] = [
    BreakerSettings,
    CompatibleSettings,
    LimitSettings,
    MockSettings,
    Rule,
]


def is_number(kind: Any) -> bool:
    if get_origin(kind) in (Annotated, UnionType, Union):
        return any(is_number(each) for each in get_args(kind))
    return kind in (int, float)


NUMBERS = [
    pytest.param(model, name, id=f"{model.__name__}.{name}")
    for model in ALL
    for name, field in model.model_fields.items()
    if is_number(field.annotation)
]
every_number = pytest.mark.parametrize(("model", "name"), NUMBERS)


def wrong(model: type[Settings], **values: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(model, values)
    return str(caught.value)


def test_there_are_numbers() -> None:
    assert len(NUMBERS) > 40


@every_number
@pytest.mark.parametrize("value", [True, False])
def test_true_is_no_number(model: type[Settings], name: str, *, value: bool) -> None:
    """Though Python takes it for 1."""
    assert wrong(model, **{name: value}) == f"'{name}' = {value}: a number was expected"


@every_number
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", "5 s"])
def test_what_is_no_finite_number(model: type[Settings], name: str, value: Any) -> None:
    if name == "max_queue_wait" and str(value) == "inf":
        # Whoever asks this provider waits here, however long.
        assert load(model, {name: value}).max_queue_wait == math.inf  # type: ignore[attr-defined]
        return
    assert wrong(model, **{name: value}).startswith(f"'{name}' = {value!r}: ")


@every_number
def test_a_number_may_be_written_as_text(model: type[Settings], name: str) -> None:
    """An environment variable holds nothing else."""
    value = "0.5" if name == "burst" else "1"
    assert getattr(load(model, {name: value}), name) == float(value)


@pytest.mark.parametrize("value", [True, 0, -1, "many", 5.5, None])
def test_connections_that_are_no_number_are_told_once(value: Any) -> None:
    """And not as workers, of which nobody spoke."""
    if value is None:
        assert load(CompatibleSettings, {"connection_pool_maxsize": None}).workers == 64
        return
    told = wrong(CompatibleSettings, connection_pool_maxsize=value)
    assert told.startswith(f"'connection_pool_maxsize' = {value!r}: ")
    assert "workers" not in told


def test_connections_may_be_written_as_text() -> None:
    settings = load(CompatibleSettings, {"connection_pool_maxsize": "5"})
    assert (settings.connection_pool_maxsize, settings.workers) == (5, 5)


@pytest.mark.parametrize("value", [True, math.nan, math.inf, "x", -1])
@pytest.mark.parametrize("name", ["drain_timeout", "retry_ratio", "tenants.gold"])
def test_numbers_outside_the_tables(name: str, value: Any) -> None:
    key, _, tenant = name.partition(".")
    document: dict[str, Any] = {
        "providers": {"mock": {}},
        key: {tenant: value} if tenant else value,
    }
    with pytest.raises(ConfigurationError) as caught:
        read_tables(document, "here", {})
    assert str(caught.value).startswith(f"here: '{name}' = {value!r}: ")
