"""The guide: every snippet runs as it stands, against the fake provider's HTTP."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync

from aitor.testing import FakeProvider

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"

SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def snippets() -> list[tuple[int, str]]:
    """Return each snippet with the number of its first line."""
    text = GUIDE.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start()) + 2, found[1])
        for found in SNIPPET.finditer(text)
    ]


async def run(line: int, text: str, names: dict[str, Any]) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    # Its lines are the guide's, so that a traceback leads there.
    code = compile("\n" * (line - 1) + text, str(GUIDE), "exec", flags)
    if "anyio.run(" in text:
        # A program of its own, which starts its own event loop.
        await run_sync(exec, code, names)
        return
    pending = eval(code, names)
    if inspect.isawaitable(pending):
        await pending


@pytest.mark.anyio
async def test_every_snippet_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    fake = FakeProvider(answer="Paris")
    async with fake.serve() as url:
        for name in ("OPENAI", "ANTHROPIC", "CUSTOM_LLM"):
            monkeypatch.setenv(f"{name}_API_KEY", "sk-test")
            path = "/v1" if name == "OPENAI" else ""
            monkeypatch.setenv(f"{name}_BASE_URL", f"{url}{path}")
        names: dict[str, Any] = {"__name__": "guide"}
        for line, text in snippets():
            await run(line, text, names)
        for name in ("manager", "keeping", "monitored", "from_env"):
            await names[name].aclose()
    assert len(snippets()) > 10
    assert fake.bill().requests > 10
    assert {seen.status for seen in fake.log} == {200}
