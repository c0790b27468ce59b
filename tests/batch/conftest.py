"""A working directory with a provider that keeps the bill, and the command in it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aitor.cli import application

PROVIDER = """
import os

import anyio

from aitor.errors import ContextLengthError, QuotaError
from aitor.messages import Answer, Usage
from aitor.providers.base import Provider


class Billing(Provider):
    kind = "billing"

    async def complete(self, request, progress):
        prompt = request.messages[0]["content"]
        with open("bill", "a") as bill:
            bill.write(f"{prompt}\\n")
        while os.path.exists("closed"):
            await anyio.sleep(0.005)
        if prompt == "dear":
            raise QuotaError("the purse is empty", provider="mine")
        if prompt == "long":
            raise ContextLengthError("too long", provider="mine")
        return Answer(f"to {prompt}", "m", "stop", Usage(3, 2))
"""

CONFIGURATION = """
[providers.mine]
kind = "batch_command_provider:Billing"
model = "m"
workers = 4
"""


class Desk:
    """A working directory, and the command in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.output = path / "out.jsonl"
        self.gate = path / "closed"

    def write(self, *prompts: str) -> None:
        lines = [json.dumps({"id": prompt, "prompt": prompt}) for prompt in prompts]
        (self.path / "in.jsonl").write_text("\n".join(lines))

    def run(self, *options: str, output: str = "out.jsonl") -> Result:
        """Run the command here."""
        arguments = ["batch", "in.jsonl", "-o", output, *options]
        return CliRunner().invoke(application(), arguments)

    def start(self, *options: str, **more: Any) -> "subprocess.Popen[str]":
        """Run it in a process of its own."""
        command = [sys.executable, "-W", "error", "-m", "aitor", "batch", "in.jsonl"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*command, "-o", "out.jsonl", *options], text=True, **pipes | more
        )

    def bill(self) -> list[str]:
        path = self.path / "bill"
        return path.read_text().split() if path.exists() else []

    def wait_for_bill(self, rows: int) -> None:
        while len(self.bill()) < rows:
            time.sleep(0.01)

    def records(self, name: str = "out.jsonl") -> dict[str, dict[str, Any]]:
        lines = (self.path / name).read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert len({record["custom_id"] for record in records}) == len(records)
        return {record["custom_id"]: record for record in records}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    (tmp_path / "batch_command_provider.py").write_text(PROVIDER)
    (tmp_path / "aitor.toml").write_text(CONFIGURATION)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("AITOR_", "ANTHROPIC_", "CUSTOM_LLM_", "OPENAI_")):
            monkeypatch.delenv(name)
    return Desk(tmp_path)
