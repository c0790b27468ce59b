"""`aitor ask`: one question, one answer, and what happens when there is none."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import CANARY, Run

Configure = Callable[[str], None]

ECHO = """
[providers.echo]
kind = "users_providers:Echo"
model = "own"
"""

BROKEN = """
[providers.broken]
kind = "users_providers:Broken"
max_retries = 0
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_answer_is_all_that_standard_output_gets(
    run: Run, configure: Configure, backend: str
) -> None:
    configure("[providers.mock]")
    result = run("ask", "hello", "--backend", backend)
    assert result.exit_code == 0
    assert result.stdout.strip()
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("configured", "option", "expected"),
    [
        ("", [], "asyncio"),
        ('backend = "trio"', [], "trio"),
        ("", ["--backend", "trio"], "trio"),
        ('backend = "trio"', ["--backend", "asyncio"], "asyncio"),
    ],
)
def test_the_backend_is_the_options_or_else_the_configurations(
    run: Run, configure: Configure, configured: str, option: list[str], expected: str
) -> None:
    configure(f'{configured}\n[providers.w]\nkind = "users_providers:Where"\n')
    assert run("ask", "where?", *option).stdout == f"{expected}\n"


def test_everything_about_the_request_can_be_said(
    run: Run, configure: Configure
) -> None:
    configure(ECHO)
    result = run(
        "ask",
        "hello",
        "--system",
        "be brief",
        "--model",
        "other",
        "--set",
        "temperature=0.5",
        "--set",
        'stop=["a", "b"]',
        "--set",
        "reasoning_effort=low",
        "--set",
        "user=a=b",
    )
    assert result.stdout == (
        "other | system: be brief | user: hello | temperature=0.5 | "
        "stop=['a', 'b'] | reasoning_effort='low' | user='a=b'\n"
    )


def test_a_provider_can_be_chosen(run: Run, configure: Configure) -> None:
    configure(f'failover = ["broken"]\n{BROKEN}{ECHO}')
    assert run("ask", "hello", "--provider", "echo").stdout == "own | user: hello\n"


@pytest.mark.parametrize("given", ["two\nlines", "Grüße"])
def test_a_dash_reads_standard_input(
    run: Run, configure: Configure, given: str
) -> None:
    configure(ECHO)
    assert run("ask", "-", given=given).stdout == f"own | user: {given}\n"


def test_a_configuration_can_be_named(run: Run, directory: Path) -> None:
    (directory / "other.toml").write_text(ECHO)
    assert run("ask", "hello", "--config", "other.toml").exit_code == 0


def test_the_whole_reply_can_be_had_as_json(run: Run, configure: Configure) -> None:
    configure(ECHO)
    reply = json.loads(run("ask", "hello", "--json").stdout)
    assert reply["text"] == "own | user: hello"
    assert reply["provider"] == "echo"
    assert reply["usage"]["input_tokens"] == 3
    (attempt,) = reply["attempts"]
    assert attempt["outcome"] == "answer"


def test_attempts_are_told_on_standard_error(run: Run, configure: Configure) -> None:
    configure(f'failover = ["broken", "echo"]\n{BROKEN}{ECHO}')
    result = run("ask", "hello", "--verbose")
    assert result.stdout == "own | user: hello\n"
    first, second = result.stderr.splitlines()
    assert first.startswith("broken: server (status 503) after 0.0")
    assert second.startswith("echo own: answer after 0.0")


def test_what_cannot_be_encoded_does_not_cost_the_answer(
    run: Run, configure: Configure
) -> None:
    configure('[providers.odd]\nkind = "users_providers:Odd"\n')
    assert run("ask", "hello").stdout == "half ? of it\n"
    assert json.loads(run("ask", "hello", "--json").stdout)["provider"] == "odd"


class TestFailures:
    def test_a_provider_that_fails_is_one_line(
        self, run: Run, configure: Configure
    ) -> None:
        configure(BROKEN)
        result = run("ask", "hello")
        assert result.exit_code == 1
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("aitor: broken: it fell")
        assert line.isprintable()

    def test_a_refused_key_is_one_line(self, run: Run, configure: Configure) -> None:
        configure('[providers.locked]\nkind = "users_providers:Locked"\n')
        result = run("ask", "hello")
        assert result.exit_code == 1
        assert result.stderr == "aitor: locked: the key is wrong\n"

    def test_a_deadline_is_one_line(self, run: Run, configure: Configure) -> None:
        configure('[providers.silent]\nkind = "users_providers:Silent"\n')
        result = run("ask", "hello", "--timeout", "0.05")
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("aitor: ")

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--set", "temperature"], "'temperature' is not KEY=VALUE"),
            (["--set", "=3"], "'=3' is not KEY=VALUE"),
            (["--timeout", "0"], "--timeout"),
            (["--backend", "curio"], "--backend"),
            (["--provider", "nobody"], "aitor: 'provider' names 'nobody'"),
            (["--config", "none.toml"], "aitor: none.toml: No such file"),
        ],
    )
    def test_a_wrong_option_is_told(
        self, run: Run, configure: Configure, arguments: list[str], expected: str
    ) -> None:
        configure(ECHO)
        result = run("ask", "hello", *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert expected in result.stderr

    @pytest.mark.parametrize("given", ["", " \n"])
    def test_there_has_to_be_something_to_ask(
        self, run: Run, configure: Configure, given: str
    ) -> None:
        configure(ECHO)
        result = run("ask", "-", given=given)
        assert result.exit_code == 2
        assert "nothing to ask" in result.stderr

    def test_input_has_to_be_text(self, run: Run, configure: Configure) -> None:
        configure(ECHO)
        result = run("ask", "-", given=b"ab\xff")
        assert result.exit_code == 2
        assert "byte 2 of standard input is not UTF-8" in result.stderr

    def test_every_problem_of_the_configuration_is_a_line(
        self, run: Run, configure: Configure
    ) -> None:
        configure(
            f'[providers.openai]\napi_key = "{CANARY} "\nworkers = 0\n[limit.acme]\n'
        )
        result = run("ask", "hello")
        assert result.exit_code == 2
        assert [line.partition(" '")[0] for line in result.stderr.splitlines()] == [
            "aitor: aitor.toml: unknown key",
            "aitor: aitor.toml: [providers.openai]",
            "aitor: aitor.toml: [providers.openai]",
        ]

    def test_without_a_configuration_it_says_how_to_go_on(self, run: Run) -> None:
        result = run("ask", "hello")
        assert result.exit_code == 2
        assert "write aitor.toml" in result.stderr
        assert "OPENAI_API_KEY" in result.stderr


@pytest.mark.parametrize(
    ("backend", "silent"),
    [("asyncio", "Silent"), ("trio", "Silent"), ("trio", "SilentGroup")],
)
def test_an_interrupt_ends_it_quietly(
    directory: Path, configure: Configure, backend: str, silent: str
) -> None:
    # The module is found because it lies where the command runs.
    configure(f'[providers.silent]\nkind = "users_providers:{silent}"\n')
    aitor = Path(sys.executable).with_name("aitor")
    with subprocess.Popen(
        [aitor, "ask", "hello", "--backend", backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (130, "", "")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_second_interrupt_ends_it_whatever_it_is_doing(
    directory: Path, configure: Configure, backend: str
) -> None:
    configure('[providers.stubborn]\nkind = "users_providers:Stubborn"\n')
    aitor = Path(sys.executable).with_name("aitor")
    with subprocess.Popen(
        [aitor, "ask", "hello", "--backend", backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stays\n"
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) == -signal.SIGINT
        finally:
            process.kill()
