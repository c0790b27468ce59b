"""A directory to run commands in, with providers of a user's own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import CliRunner, Result

from aitor.cli import application

Run: TypeAlias = Callable[..., Result]

CANARY = "sk-canary-4711"

PROVIDERS = '''
import sys
import time

import anyio

from aitor.errors import APIError, AuthenticationError, ServerError
from aitor.messages import Answer, Usage
from aitor.providers.base import Provider


class Echo(Provider):
    """Answers with all that it was asked."""

    kind = "echo"

    async def complete(self, request, progress):
        said = [f"{each['role']}: {each['content']}" for each in request.messages]
        said += [f"{key}={value!r}" for key, value in request.parameters.items()]
        model = self.model_of(request)
        return Answer(" | ".join([str(model), *said]), str(model), "stop", Usage(3, 2))


class Broken(Provider):
    """Fails every time."""

    kind = "broken"

    async def complete(self, request, progress):
        raise ServerError("it\\nfell\\x1b[31m over", status=503)


class Locked(Provider):
    """Knows nobody's key."""

    kind = "locked"

    async def complete(self, request, progress):
        raise AuthenticationError("the key is wrong", status=401)


class Silent(Provider):
    """Never answers; says when it has begun."""

    kind = "silent"

    async def complete(self, request, progress):
        sys.stderr.write("asked\\n")
        sys.stderr.flush()
        await anyio.sleep_forever()


class Stubborn(Provider):
    """Never answers, and never leaves."""

    kind = "stubborn"

    async def complete(self, request, progress):
        try:
            sys.stderr.write("asked\\n")
            sys.stderr.flush()
            await anyio.sleep_forever()
        finally:
            sys.stderr.write("stays\\n")
            sys.stderr.flush()
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass


class SilentGroup(Silent):
    """Never answers, inside of a task group."""

    kind = "silent-group"

    async def complete(self, request, progress):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(super().complete, request, progress)


class Where(Provider):
    """Answers with the backend that it runs on."""

    kind = "where"

    async def complete(self, request, progress):
        module = anyio.get_cancelled_exc_class().__module__
        return Answer(module.partition(".")[0], "where", "stop", Usage())


class Odd(Provider):
    """Answers with what cannot be written."""

    kind = "odd"

    async def complete(self, request, progress):
        return Answer("half \\ud83d of it", "odd", "stop", Usage())
'''


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module of providers, and none of our variables."""
    (tmp_path / "users_providers.py").write_text(PROVIDERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("AITOR_", "ANTHROPIC_", "CUSTOM_LLM_", "OPENAI_")):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def run(directory: Path) -> Run:
    """Run the command line in the directory."""

    def run(*arguments: str, given: str | bytes = b"") -> Result:
        result = CliRunner().invoke(application(), arguments, input=given)
        assert CANARY not in result.output
        assert "Traceback" not in result.output
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return result

    return run


@pytest.fixture
def configure(directory: Path) -> Callable[[str], None]:
    """Write the directory's `aitor.toml`."""

    def configure(text: str) -> None:
        (directory / "aitor.toml").write_text(text)

    return configure
