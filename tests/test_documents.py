"""
What the documentation shows does what it says.

Examples run as they stand, page by page, against a fake provider on loopback; tables of
settings and errors are held against the code.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync
from pydantic import BaseModel

import aitor.errors
from aitor import Broker
from aitor.llm import LLMManager
from aitor.providers.settings import BreakerSettings, HTTPSettings
from aitor.testing import FakeProvider

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ALL = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `([\w.]+)` \| ([^|]*) \| [^|]*\|$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\](?:\(|: )(?!https?:)([^)\s]*)")
WITH_EXAMPLES = [page for page in ALL[1:] if SNIPPET.search(page.read_text("utf-8"))]


def examples(page: Path) -> list[tuple[int, str]]:
    """Return each example of *page* with the number of its first line."""
    text = page.read_text("utf-8")
    return [
        (text.count("\n", 0, found.start()) + 2, found[1])
        for found in SNIPPET.finditer(text)
    ]


async def run(page: Path, line: int, text: str, names: dict[str, Any]) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    # Its lines are the page's, so that a traceback leads there.
    code = compile("\n" * (line - 1) + text, str(page), "exec", flags)
    if re.search(r"^anyio\.run\(", text, re.MULTILINE):
        # A program of its own, which starts its own event loop.
        await run_sync(exec, code, names)
        return
    pending = eval(code, names)
    if inspect.isawaitable(pending):
        await pending


@pytest.mark.anyio
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: str(page.stem))
async def test_every_example_of_a_page_runs(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    One after the other, as a reader would type them.

    It stands for every page, those of the guide, of the broker and of whatever comes
    next: no example may need a network, a key, or what only its author has.
    """
    monkeypatch.chdir(tmp_path)
    # What the last page registered is not there for the next.
    monkeypatch.setattr("aitor.providers._registered", {})
    fake = FakeProvider(answer="Paris")
    async with fake.serve() as url:
        for name in ("OPENAI", "ANTHROPIC", "CUSTOM_LLM"):
            monkeypatch.setenv(f"{name}_API_KEY", "sk-test")
            # A vendor's usual model is asked at its own address alone.
            monkeypatch.setenv(f"{name}_MODEL", "some-model")
            path = "/v1" if name == "OPENAI" else ""
            monkeypatch.setenv(f"{name}_BASE_URL", f"{url}{path}")
        names: dict[str, Any] = {"__name__": page.stem}
        for line, text in examples(page):
            await run(page, line, text, names)
        for value in list(names.values()):
            if isinstance(value, Broker | LLMManager):
                await value.aclose()
    assert fake.bill().requests > 1
    assert {seen.status for seen in fake.log} == {200}


def test_pages_with_examples_are_found() -> None:
    """Pages that are not found would be pages that are not tested."""
    assert {"broker", "guide"} <= {page.stem for page in WITH_EXAMPLES}


def defaults(settings: type[BaseModel], before: str = "") -> dict[str, Any]:
    """Return the defaults of *settings* by name, as the pages write them."""
    told: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        value = field.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            told |= defaults(type(value), f"{name}.")
        else:
            told[before + name] = value
    return told


def as_told(text: str) -> Any:
    """Return the value that a page writes as *text*."""
    number = text.replace(",", "")
    if re.fullmatch(r"[\d.]+", number):
        return float(number)
    return {"none": None, "true": True, "false": False}.get(text, text)


def rows(page: Path, heading: str) -> dict[str, Any]:
    """Return the settings that the tables below *heading* list, with their defaults."""
    section = page.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {name: as_told(value) for name, value in ROW.findall(section)}


def test_the_settings_that_the_manual_lists_are_all_with_their_defaults() -> None:
    """A default that changes in the code has to change on its page, and a new one."""
    known = defaults(HTTPSettings)
    listed = rows(DOCS / "broker.md", "All settings of a provider")
    assert listed.keys() == known.keys()
    for name, told in listed.items():
        assert told == (known[name] or (None if known[name] == {} else known[name]))


def test_the_defaults_that_the_page_on_judging_tells_are_those_of_the_code() -> None:
    """The same for a page that lists some of them, several in one row."""
    known = defaults(HTTPSettings)
    known |= {f"breaker.{name}": v for name, v in defaults(BreakerSettings).items()}
    text = (DOCS / "judging.md").read_text("utf-8").split("\n## Settings\n")[1]
    checked = 0
    for first, told in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", text, re.MULTILINE):
        names = re.findall(r"`([\w.]+)`", first)
        table = "breaker." if names[0].startswith("breaker.") else ""
        for name, value in zip(names, told.strip().split(", "), strict=True):
            full = name if name.startswith(table) else table + name
            assert as_told(value) == known[full], full
            checked += 1
    assert checked >= 12


def test_the_manual_tells_of_every_error() -> None:
    """Who meets an error finds it in the table: what it means and what to do."""
    section = (DOCS / "broker.md").read_text("utf-8").split("\n## Errors\n")[1]
    table = section.split("\n## ")[0]
    told = set(re.findall(r"^\| `(\w+)` \| [^|]+ \|", table, re.MULTILINE))
    assert told | {"LLMError"} == set(aitor.errors.__all__)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a page that was renamed, or to a heading that was reworded, is dead."""
    text = CODE.sub("", page.read_text("utf-8"))
    for target in LINK.findall(text):
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def anchors(page: Path) -> set[str]:
    """Return what the headings of *page* are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}
