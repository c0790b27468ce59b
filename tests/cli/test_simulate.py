"""`aitor simulate`: how a batch would go, without a network or a key."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .conftest import CANARY, Run

Configure = Callable[[str], None]

TABLES = """
[providers.cheap]
kind = "compatible"
model = "small"
base_url = "env:CHEAP_URL"
api_key = "env:CHEAP_KEY"
requests_per_minute = 600
max_queue_wait = 60
[providers.cheap.headers]
x-team = "env:TEAM"

[providers.claude]
kind = "anthropic"
model = "claude-sonnet-5-5"
"""

OUTPUT = """\
1,600 requests through aitor.toml
  time       2:40 (160.4 s), 10.0 answers a second
  cost       $0.2400
  answered   1,600
  simulated  every request
  assumed    100 tokens in, and of
    cheap    an answer after 1 s, 50 tokens out, first=1 status=500, \
$1 a million in and $1 out
    claude   an answer after uniform(1, 1) s, 50 tokens out, \
probability=0.05 status=500, $1 a million in and $1 out
"""


@pytest.fixture
def two(configure: Configure) -> None:
    configure(TABLES)


@pytest.mark.usefixtures("two")
def test_it_says_how_long_and_how_much_and_what_was_assumed(run: Run) -> None:
    """
    Nothing has a key, and no variable is set. 1,600 requests at 600 a minute, six of
    them at once, and a second for the last answer are 160.4 s.
    """
    result = run(
        "simulate",
        *("--requests", "1_600", "--latency", "1", "--latency", "claude=uniform(1, 1)"),
        *("--tokens-in", "100", "--tokens-out", "50", "--price", "1/1"),
        *("--fault", "cheap=status=500 first=1", "--errors", "claude=0.05"),
        *("--max-in-flight", "15"),
    )
    assert result.exit_code == 0
    assert result.stderr == ""
    text, _, tables = result.stdout.partition("\n\n")
    assert text + "\n" == OUTPUT
    carried = [line.split() for line in tables.splitlines()[1:3]]
    assert carried[0][:4] == ["cheap", "1,599", "99.9%", "1,600"]
    assert carried[0][-2:] == ["1", "server"]
    assert carried[1][:4] == ["claude", "1", "0.1%", "1"]
    assert "in brackets" in tables


@pytest.mark.usefixtures("two")
def test_the_same_can_be_had_as_json(run: Run) -> None:
    result = run("simulate", "--requests", "100", "--latency", "1", "--json")
    assert result.exit_code == 0
    seen = json.loads(result.stdout)
    assert (seen["requests"], seen["answered"]) == (100, 100)
    assert seen["providers"]["cheap"]["cost"] is None
    assert seen["cost"] is None


@pytest.mark.usefixtures("two")
def test_a_seed_decides_all_chance(run: Run) -> None:
    arguments = ("simulate", "--requests", "100", "--errors", "0.1", "--json")
    one, again = run(*arguments), run(*arguments, "--seed", "0")
    other = run(*arguments, "--seed", "1")
    assert one.stdout == again.stdout != other.stdout


@pytest.mark.usefixtures("two")
def test_a_picture_is_written(run: Run, directory: Path) -> None:
    result = run("simulate", "--requests", "100", "--svg", "picture.svg")
    assert result.exit_code == 0
    root = ET.parse(directory / "picture.svg").getroot()
    shown = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "100 requests through aitor.toml" in shown


@pytest.mark.usefixtures("two")
def test_a_large_batch_says_which_part_was_simulated(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aitor.testing.forecast.run.ENOUGH", 100)
    result = run(
        "simulate", "--requests", "1_000_000", "--latency", "1", "--max-in-flight", "5"
    )
    assert "simulated     the first 1,5" in result.stdout
    assert "extrapolated  the other 998,4" in result.stdout


@pytest.mark.usefixtures("two")
def test_what_would_be_quicker_is_told(run: Run) -> None:
    result = run("simulate", "--requests", "100", "--max-in-flight", "2")
    assert "calls ran at once on average, of at most 2: more at once" in result.stdout


def test_a_batch_that_stops_early_says_why(run: Run, configure: Configure) -> None:
    configure(TABLES)
    result = run("simulate", "--requests", "100", "--fault", "authentication")
    assert result.exit_code == 0
    assert "stops early" in result.stdout
    assert "simulated" not in result.stdout


def test_a_key_that_is_there_is_not_told(
    run: Run, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture looks for the key in everything that is written."""
    monkeypatch.setenv("CHEAP_KEY", CANARY)
    configure(TABLES)
    assert run("simulate", "--requests", "10").exit_code == 0


def test_the_environment_will_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_MODEL", "gpt-4o-mini")
    result = run("simulate", "--requests", "1_000", "--latency", "1")
    assert result.stdout.startswith("1,000 requests through environment\n")
    assert "cost       $0.1950" in result.stdout


def test_an_address_that_is_there_is_taken(
    run: Run, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """List prices go by it."""
    monkeypatch.setenv("WHERE", "https://api.openai.com/v1")
    configure('[providers.openai]\nmodel = "gpt-4o-mini"\nbase_url = "env:WHERE"\n')
    result = run("simulate", "--requests", "1_000", "--latency", "1")
    assert "cost       $0.1950" in result.stdout


def test_a_variable_that_is_needed_is_asked_for(run: Run, configure: Configure) -> None:
    """A model is no secret: which one it is decides what the batch costs."""
    configure('[providers.openai]\nmodel = "env:MODEL"\napi_key = "env:KEY"\n')
    result = run("simulate", "--requests", "10")
    assert result.exit_code == 2
    assert "the environment variable MODEL is not set" in result.stderr
    assert "KEY" not in result.stderr


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        (
            "--requests",
            "1e6",
            "'1e6' is no number of requests: expected a whole number",
        ),
        ("--requests", "0", "expected a whole number of at least 1"),
        ("--latency", "cheap=soon", "'soon' is no distribution: expected"),
        ("--latency", "chaep=1", "where NAME is one of cheap, claude"),
        ("--errors", "5", "'5' is no share of calls: expected 0 to 1"),
        ("--fault", "dead when=3", "nothing is called ['when']"),
        ("--tokens-in", "-1", "expected a number of at least 0"),
        ("--tokens-out", "claude=many", "'many' is no distribution"),
        ("--price", "3", "'3' is no price: expected US dollars"),
    ],
)
def test_what_is_wrong_is_told_with_its_option(
    run: Run, option: str, value: str, told: str
) -> None:
    result = run("simulate", "--requests", "10", option, value)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"Invalid value for {option}: " in result.stderr
    assert told in " ".join(result.stderr.split())


@pytest.mark.usefixtures("two")
def test_a_picture_that_cannot_be_written_loses_no_numbers(run: Run) -> None:
    result = run("simulate", "--requests", "10", "--svg", "nowhere/picture.svg")
    assert result.exit_code == 2
    assert "10 requests through aitor.toml" in result.stdout
    assert "nowhere/picture.svg cannot be written: No such file" in result.stderr


def test_without_a_configuration_there_is_nothing_to_simulate(run: Run) -> None:
    result = run("simulate", "--requests", "10")
    assert result.exit_code == 2
    assert "no provider is configured" in result.stderr


def test_a_file_that_is_no_toml_is_told_once(run: Run, configure: Configure) -> None:
    configure("providers = [")
    result = run("simulate", "--requests", "10")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("installed", [False, True])
def test_without_the_price_list_the_extra_is_named_and_not_the_list_blamed(
    run: Run, configure: Configure, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    """
    Of the kind: an optional part that is missing, told as if the world were short.
    """
    if not installed:
        monkeypatch.setitem(sys.modules, "genai_prices", None)
    configure('[providers.openai]\nmodel = "no-such-model"\napi_key = "k"\n')
    result = run("simulate", "--requests", "10", "--latency", "1")
    cost = next(line for line in result.stdout.splitlines() if "  cost " in line)
    assert "no price is known for openai" in cost
    assert ("extra 'cli' or 'cost'" in cost) is not installed
