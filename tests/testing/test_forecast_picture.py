"""The picture of a forecast: well-formed, labelled, and nothing over anything."""

from xml.etree import ElementTree as ET

import pytest

from aitor.config import load_configuration
from aitor.testing import Distribution, Fault
from aitor.testing.forecast import Assumption, Batch, Forecast, draw, forecast
from aitor.testing.forecast import run as runs

SVG = "{http://www.w3.org/2000/svg}"


def seen(*names: str, requests: int = 300, seconds: float = 1.0) -> Forecast:
    tables = {name: {"kind": "mock", "workers": 4} for name in names}
    given = load_configuration({"providers": tables}, {})
    dead = Assumption(
        latency=Distribution.parse(seconds),
        faults=(Fault.parse("dead after=20 until=40"),),
    )
    well = Assumption(latency=Distribution.parse(seconds))
    assumed = {name: dead if name == names[0] else well for name in names}
    return forecast(given, assumed, Batch(requests=requests))


def texts(picture: str) -> list[str]:
    root = ET.fromstring(picture)
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_it_says_what_it_shows() -> None:
    shown = texts(draw(seen("first", "second"), "300 requests"))
    for words in (
        "300 requests",
        "first",
        "second",
        "answers a second",
        "requests waiting",
        "calls running",
        "circuits",
        "closed",
        "half-open",
        "open",
        "time, in seconds",
    ):
        assert words in shown


def test_each_provider_has_a_line_in_each_panel_and_a_bar_of_its_circuit() -> None:
    root = ET.fromstring(draw(seen("first", "second"), "title"))
    lines = [path.get("stroke") for path in root.iter(f"{SVG}path")]
    assert len(lines) == 6
    assert lines[:2] == lines[2:4] == lines[4:]
    bars = [box.get("fill") for box in root.iter(f"{SVG}rect")]
    assert "#c8402f" in bars


def test_names_may_have_any_characters() -> None:
    shown = texts(draw(seen("<a&b>", "second"), "<title> & more"))
    assert "<a&b>" in shown
    assert "<title> & more" in shown


@pytest.mark.parametrize(
    ("requests", "seconds", "unit"),
    [(300, 1, "seconds"), (300, 10, "minutes"), (300, 400, "hours")],
)
def test_time_has_a_unit_that_fits(requests: int, seconds: float, unit: str) -> None:
    tables = {"a": {"kind": "mock", "workers": 4, "timeout": 10_000.0}}
    assumed = {"a": Assumption(latency=Distribution.parse(seconds))}
    given = load_configuration({"providers": tables}, {})
    run = forecast(given, assumed, Batch(requests=requests))
    assert f"time, in {unit}" in texts(draw(run, "title"))


def test_texts_keep_apart() -> None:
    """Twenty names with a character's usual width: none over another, all inside."""
    names = [f"provider-{number}" for number in range(20)]
    root = ET.fromstring(draw(seen(*names), "title"))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    boxes = []
    for element in root.iter(f"{SVG}text"):
        x, y = float(element.get("x", 0)), float(element.get("y", 0))
        size = float(element.get("font-size", 0))
        length = 0.6 * size * len(element.text or "")
        anchor = element.get("text-anchor")
        left = x - {"start": 0.0, "middle": length / 2, "end": length}[anchor or ""]
        boxes.append((left, y - 0.75 * size, left + length, y, element.text))
    for number, (left, top, right, bottom, text) in enumerate(boxes):
        assert 0 <= left <= right <= width, text
        assert 0 <= top <= bottom <= height, text
        for other in boxes[:number]:
            apart = (
                right <= other[0]
                or other[2] <= left
                or bottom <= other[1]
                or other[3] <= top
            )
            assert apart, (text, other)


def test_many_providers_are_drawn_unlike_each_other() -> None:
    names = [f"p{number}" for number in range(9)]
    root = ET.fromstring(draw(seen(*names), "title"))
    drawn = {
        (path.get("stroke"), path.get("stroke-dasharray"))
        for path in root.iter(f"{SVG}path")
    }
    assert len(drawn) == 9


def test_it_says_which_part_was_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ENOUGH", 100)
    shown = texts(draw(seen("a", "b", requests=50_000), "title"))
    assert any("which were simulated" in text for text in shown)


def test_a_batch_that_ends_at_once_can_be_drawn() -> None:
    given = load_configuration({"providers": {"a": {"kind": "mock"}}}, {})
    assumed = Assumption(faults=(Fault.parse("authentication"),))
    run = forecast(given, {"a": assumed}, Batch(requests=1))
    assert run.seconds == 0.0
    assert "circuits" in texts(draw(run, "title"))
