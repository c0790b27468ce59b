"""`aitor check`: what the configuration means, or what is wrong with it."""

import io
import json
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
  retries      8, after at most 1 s, 2 s, 4 s, 8 s, 16 s, …, or what the server asks \
for up to 3600 s
  breaker      opens for 30 s after 3 failures in a row, for 300 s when the account \
is refused; then 1 at a time as a probe
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
