"""`aitor check`: what the configuration means, or what is wrong with it."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import rich.console

from .conftest import CANARY, Run

Configure = Callable[[str], None]

EXAMPLE = f"""
failover = ["openai", "claude"]
tenants = {{ gold = 3 }}

[providers.openai]
model = "gpt-6-luna"
api_key = "{CANARY}"
base_url = "http://127.0.0.1:8080/v1"
requests_per_minute = 500
tokens_per_minute = 200_000
temperature = 0.5
max_retries = 8
[providers.openai.breaker]
failures = 3

[providers.claude]
kind = "anthropic"
model = "claude-sonnet-5-5"
api_key = "env:CLAUDE_KEY"
limits = "acme"
max_retries = 0

[providers.spare]
kind = "mock"

[limits.acme]
requests_per_minute = 60

[limits.unused]
"""

MEANING = """\
aitor.toml
  failover            openai, then claude
  asked by name only  spare
  tenants' shares     gold 3, others 1
  retry budget        0.2 retries a request
  on closing          30 s to finish
  backend             asyncio
provider openai
  kind         openai
  model        gpt-6-luna
  address      http://127.0.0.1:8080/v1
  key          from aitor.toml
  defaults     temperature 0.5
  requests     500 a minute: 5 at once, then 8.33 a second
  tokens       200,000 a minute: 2,000 at once, then 3,333 a second
  workers      64 calls in flight
  queue        1,000 requests
  time limits  attempt 60 s, connect 10 s
  retries      8, after at most 0.5 s, 1 s, 2 s, 4 s, 8 s, …, or what the server asks \
for up to 3600 s
  breaker      opens for 1 to 30 s after 3 failures in a row and 2 s, for 300 s when \
the account is refused; then 1 at a time as a probe
provider claude
  kind         anthropic
  model        claude-sonnet-5-5
"""


@pytest.fixture
def example(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(EXAMPLE)
    monkeypatch.setenv("CLAUDE_KEY", CANARY)


@pytest.mark.usefixtures("example")
def test_it_says_what_the_configuration_means(run: Run) -> None:
    result = run("check")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith(MEANING)
    for line in (
        "  key          from CLAUDE_KEY\n",
        "  limit        acme, shared\n",
        "  retries      none\n",
        "limit acme\n  shared by  claude\n  requests   60 a minute: 1 at once",
        "limit unused\n  shared by  nobody\n",
        "  !  [limits.unused] is used by no provider\n",
        "  !  [limits.unused] sets no limit\n",
    ):
        assert line in result.stdout


@pytest.mark.usefixtures("example")
def test_the_same_can_be_had_as_json(run: Run) -> None:
    result = run("check", "--json")
    assert result.exit_code == 0
    meaning = json.loads(result.stdout)
    assert meaning["ok"] is True
    assert meaning["failover"] == ["openai", "claude"]
    assert meaning["providers"]["openai"]["key"] == "aitor.toml"
    assert meaning["limits"]["acme"]["shared_by"] == ["claude"]
    assert "[limits.unused] is used by no provider" in meaning["warnings"]


@pytest.mark.usefixtures("example")
def test_a_terminal_gets_tables(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = rich.console.Console(file=screen, width=100)
    monkeypatch.setattr("rich.console.Console", lambda: console)
    monkeypatch.setattr("aitor.cli.check._is_terminal", lambda: True)
    assert run("check").exit_code == 0
    shown = screen.getvalue()
    assert "│ key         │ from aitor.toml " in shown
    assert "[limits.unused] is used by no provider" in shown
    assert CANARY not in shown


def test_what_is_wrong_is_told_on_standard_error(
    run: Run, configure: Configure
) -> None:
    configure(f'[providers.openai]\napi_key = "{CANARY}\t"\nworkers = 0\n')
    result = run("check")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2


def test_what_is_wrong_can_be_had_as_json(run: Run, configure: Configure) -> None:
    configure('[providers.mock]\nworkers = 0\nmodle = "x"\n')
    result = run("check", "--json")
    assert result.exit_code == 2
    assert result.stderr == ""
    assert json.loads(result.stdout) == {
        "ok": False,
        "errors": [
            (
                "aitor.toml: [providers.mock] 'workers' = 0: Input should be greater "
                "than or equal to 1"
            ),
            ("aitor.toml: [providers.mock] unknown key 'modle'; did you mean 'model'?"),
        ],
    }


def test_the_environment_is_checked_when_there_is_no_file(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    (directory / ".env").write_text(f"ANTHROPIC_API_KEY={CANARY}\n")
    result = run("check")
    assert result.exit_code == 0
    assert result.stdout.startswith("environment\n  failover      openai, then claude")
    assert "from OPENAI_API_KEY\n" in result.stdout
    assert "from ANTHROPIC_API_KEY in .env\n" in result.stdout


# What a newcomer gets wrong.


def test_every_missing_key_is_named_whatever_else_is_wrong(
    run: Run, configure: Configure
) -> None:
    """
    Of the kind: one problem told when there are several.

    Siblings: keys that a table names and keys that it leaves to the environment, an
    address, a setting, a limit; and nothing is told twice.
    """
    configure(
        "[providers.openai]\n[providers.claude]\nkind = 'anthropic'\n"
        "[providers.named]\nkind = 'openai'\napi_key = 'env:NAMED'\n"
        "[providers.local]\nkind = 'compatible'\n"
        "[providers.wrong]\nkind = 'mock'\nworkers = 0\nlimits = 'none'\n"
    )
    result = run("check")
    assert result.exit_code == 2
    told = [
        line.removeprefix("aitor: aitor.toml: ") for line in result.stderr.split("\n")
    ]
    assert [line.partition("]")[0] for line in told if line] == [
        "[providers.named",
        "[providers.wrong",
        "[providers.openai",
        "[providers.claude",
        "[providers.local",
    ]
    for word in ("NAMED", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "CUSTOM_LLM_BASE_URL"):
        assert result.stderr.count(word) == 1 + (word == "NAMED")


@pytest.mark.parametrize(
    ("kind", "model", "told"),
    [
        ("openai", "gpt-5.4", None),
        ("openai", "gpt-5.4-2026-03-05", None),
        ("openai", "ft:gpt-4o:acme::id", None),
        ("openai", "text-davinci-003", None),
        ("openai", "gtp-5.4", "did you mean 'gpt-5.4'?"),
        ("openai", "claude-sonnet-5-5", "none that is known of openai"),
        ("anthropic", "claude-sonnet-5-5", None),
        ("anthropic", "claude-sonet-5", "did you mean 'claude-sonnet-5'?"),
        ("anthropic", "gpt-5.4", "none that is known of anthropic"),
    ],
)
def test_a_model_that_nobody_knows_is_doubted_and_allowed(
    run: Run, configure: Configure, kind: str, model: str, told: str | None
) -> None:
    configure(f'[providers.a]\nkind = "{kind}"\nmodel = "{model}"\napi_key = "k"\n')
    result = run("check", "--json")
    assert result.exit_code == 0
    warnings = json.loads(result.stdout)["warnings"]
    assert len(warnings) == (told is not None)
    assert told is None or told in warnings[0]


def test_at_another_address_any_model_may_be_there(
    run: Run, configure: Configure
) -> None:
    configure(
        '[providers.a]\nkind = "openai"\nmodel = "x"\napi_key = "k"\n'
        'base_url = "http://127.0.0.1:9/v1"\n'
        '[providers.b]\nkind = "compatible"\nmodel = "x"\n'
        'base_url = "http://127.0.0.1:9/v1"\n'
        '[providers.c]\nkind = "openai"\nmodel = "x"\napi_key = "z"\nrules.x = {}\n'
    )
    assert json.loads(run("check", "--json").stdout)["warnings"] == []


LIVE = f"""
failover = ["mock"]
[providers.mock]
model = "m\\u001b[2J"
[providers.locked]
kind = "users_providers:Locked"
[providers.broken]
kind = "users_providers:Broken"
max_retries = 0
[providers.silent]
kind = "users_providers:Silent"
[providers.odd]
kind = "users_providers:Nonsense"
max_retries = 0
[providers.dead]
kind = "compatible"
model = "m"
api_key = "{CANARY}"
base_url = "http://127.0.0.1:9/v1"
max_retries = 0
"""

NONSENSE = """

class Nonsense(Echo):
    async def complete(self, request, progress):
        return "no answer"
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_each_provider_can_be_asked_in_earnest(
    run: Run, configure: Configure, directory: Path, backend: str
) -> None:
    """
    One that hangs, one that is not there, one that is broken and one without the right
    key keep nobody waiting and hide nobody else, though only one is asked by default.
    """
    with (directory / "users_providers.py").open("a") as file:
        file.write(NONSENSE)
    sys.modules.pop("users_providers", None)
    configure(f'backend = "{backend}"\n{LIVE}')
    result = run("check", "--live", "--timeout", "0.5")
    assert result.exit_code == 1
    asked = result.stdout.partition("\nasked\n")[2].splitlines()
    told = dict(line.split(maxsplit=1) for line in asked)
    assert list(told) == ["mock", "locked", "broken", "silent", "odd", "dead"]
    assert told["mock"].startswith("answered after 0.0")
    assert "AuthenticationError: the key is wrong" in told["locked"]
    assert "ServerError: it fell\\u001b[31m over" in told["broken"]
    assert "DeadlineExceededError" in told["silent"]
    assert "ProviderCrashError: Nonsense raised TypeError" in told["odd"]
    assert "ConnectionFailedError" in told["dead"]
    assert all(line.isprintable() for line in asked)


def test_what_came_back_can_be_had_as_json(run: Run, configure: Configure) -> None:
    configure(LIVE.partition("[providers.broken]")[0])
    result = run("check", "--live", "--json")
    assert result.exit_code == 1
    seen = json.loads(result.stdout)
    assert seen["ok"] is False
    assert seen["live"]["mock"]["ok"] is True
    assert seen["live"]["mock"]["output_tokens"] > 0
    locked = seen["live"]["locked"]
    assert (locked["error"], locked["status"]) == ("AuthenticationError", 401)


def test_nothing_is_sent_unless_that_is_asked_for(
    run: Run, configure: Configure
) -> None:
    configure(LIVE.partition("[providers.silent]")[0])
    result = run("check")
    assert result.exit_code == 0
    assert "\nasked\n" not in result.stdout
    assert "live" not in json.loads(run("check", "--json").stdout)


def test_all_is_well_where_everybody_answers(run: Run, configure: Configure) -> None:
    configure("[providers.mock]")
    assert run("check", "--live").exit_code == 0
    assert json.loads(run("check", "--live", "--json").stdout)["ok"] is True


# Advice is tried.


def test_without_a_configuration_ways_without_a_key_are_named_and_work(
    run: Run, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of the kind: advice that nobody tried.
    """
    told = run("check").stderr
    for word in ("[providers.mock]", "aitor fake-provider", "CUSTOM_LLM_BASE_URL"):
        assert word in told
    configure("[providers.mock]")
    assert run("ask", "hello").exit_code == 0
    configure("")
    Path("aitor.toml").unlink()
    aitor = str(Path(sys.executable).with_name("aitor"))
    command = [aitor, "fake-provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            monkeypatch.setenv("CUSTOM_LLM_BASE_URL", process.stdout.readline().strip())
            monkeypatch.setenv("CUSTOM_LLM_MODEL", "any name")
            assert run("ask", "hello").stdout == "Answer to hello\n"
            assert "answered after" in run("check", "--live").stdout
        finally:
            process.terminate()
