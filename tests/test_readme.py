"""What the README shows does what it says."""

import re
import shlex
import textwrap
import tomllib
from pathlib import Path

import anyio
import pytest
from typer.main import get_command

from aitor import Broker
from aitor.cli import application
from aitor.config import load_configuration
from aitor.testing import FakeProvider

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_configuration_is_valid_and_means_what_its_comments_say() -> None:
    (text,) = blocks("toml")
    configuration = load_configuration(
        tomllib.loads(text), {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    )
    assert configuration.failover == ("openai", "claude")
    with_default = tomllib.loads(text.replace('api_key = "env:OPENAI_API_KEY"', ""))
    load_configuration(with_default, {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"})


@pytest.mark.anyio
async def test_the_first_lines_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a provider on loopback, at which the SDKs' own variables point."""
    fake = FakeProvider(answer="hello")
    async with fake.serve() as url:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        first = textwrap.indent(blocks("python")[0], "    ")
        space: dict[str, object] = {"prompts": ["one", "two", "three"]}
        exec(f"async def main():\n{first}", space)
        main = space["main"]
        assert callable(main)
        await main()
    assert fake.statistics().outcomes["answered"] == 4


def test_the_first_program_prints_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(*_: object, **__: object) -> object:
        class Reply:
            text = "Rayleigh."

        return Reply()

    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr(Broker, "submit", answer)
    exec(blocks("python")[1], {"anyio": anyio})
    assert capsys.readouterr().out == "Rayleigh.\n"


def test_the_manager_and_its_agent_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")

    def your_function(city: str) -> str:
        """Tell the weather."""
        return city

    space: dict[str, object] = {"your_function": your_function}
    exec(blocks("python")[2], space)
    assert space["agent"]


def test_every_command_that_it_shows_exists_with_its_options() -> None:
    commands = get_command(application())
    shown = [line for text in blocks("sh") for line in text.splitlines()]
    checked = 0
    for line in shown:
        if not line.startswith("aitor "):
            continue
        name, *arguments = shlex.split(line, comments=True)[1:]
        command = commands.commands[name]  # type: ignore[attr-defined]
        options = {option for each in command.params for option in each.opts}
        assert {word for word in arguments if word.startswith("-")} <= options
        checked += 1
    assert checked >= 4
