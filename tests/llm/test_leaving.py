"""A program that opens and closes nothing leaves nothing behind: S12, S56."""

import subprocess
import sys

import pytest

PROGRAM = """
import gc, sys, threading
import anyio
from aitor.llm import LLMManager, LLMProvider
from aitor.testing import FakeProvider

class Own(LLMProvider):
    async def generate_response(self, messages, **kwargs):
        url = self.config["base_url"] + "/v1/chat/completions"
        headers = {{"authorization": "Bearer k"}}
        sent = {{"model": "m", "messages": messages}}
        answer = await self.http.post(url, json=sent, headers=headers)
        return answer.json()["choices"][0]["message"]["content"]

manager = LLMManager()
manager.register_provider_class("own", Own)

async def main():
    async with FakeProvider(answer="Hello").serve() as url:
        base = {{"base_url": url, "api_key": "k", "model": "m"}}
        manager.add_provider("a", "anthropic", base, replace=True)
        manager.add_provider("c", "compatible", base, replace=True)
        manager.add_provider("own", "own", base, replace=True)
        manager.add_provider("mock", "mock", {{}}, replace=True)
        async with anyio.create_task_group() as tasks:
            for name in manager.get_available_providers() * 3:
                tasks.start_soon(manager.generate_response, name, "Hi")
        {close}

for _ in range(2):
    anyio.run(main, backend={backend!r})
gc.collect()
print("errors", manager.get_usage_report()["total_errors"])
print("requests", manager.get_usage_report()["total_requests"])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("close", ["", "for each in manager._providers.values():"])
def test_s12_nothing_is_left_behind(backend: str, close: str) -> None:
    """Two event loops, one after the other; every warning is an error."""
    if close:
        close += " await each.aclose()"
    code = PROGRAM.format(backend=backend, close=close)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.split() == ["errors", "0", "requests", "24"]
