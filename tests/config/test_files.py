"""The file `aitor.toml`."""

from pathlib import Path

import pytest

from aitor.config import load_configuration
from aitor.errors import ConfigurationError

CANARY = "sk-canary-4711"

EXAMPLE = """
failover = ["openai", "claude"]

[providers.openai]
kind = "openai"
model = "gpt-5.5"
api_key = "env:OPENAI_API_KEY"
base_url = "http://127.0.0.1:8080/v1"
requests_per_minute = 500
tokens_per_minute = 200_000
workers = 64
queue_size = 1_000
timeout = 60.0
max_retries = 3
retry_delay = 1.0
backoff_factor = 2.0
transport = "auto"
[providers.openai.breaker]
failures = 5
open_seconds = 30.0
probes = 1

[providers.claude]
kind = "anthropic"
limits = "acme"

[limits.acme]
requests_per_minute = 500
tokens_per_minute = 200_000
"""


def test_a_file_means_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "aitor.toml"
    path.write_text(EXAMPLE)
    configuration = load_configuration(path, {"OPENAI_API_KEY": CANARY})
    assert configuration.source == str(path)
    assert configuration.failover == ("openai", "claude")
    assert configuration.providers["openai"].settings.tokens_per_minute == 200_000
    assert configuration.providers["openai"].key_origin == "OPENAI_API_KEY"
    assert configuration.providers["claude"].settings.limits == "acme"


def test_a_file_may_be_named_by_a_text(tmp_path: Path) -> None:
    path = tmp_path / "aitor.toml"
    path.write_text("[providers.mock]")
    assert list(load_configuration(str(path), {}).providers) == ["mock"]


def test_an_editors_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "aitor.toml"
    path.write_bytes(b"\xef\xbb\xbf[providers.mock]\r\n")
    assert list(load_configuration(path, {}).providers) == ["mock"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"failover = [\n", "{path}, end of document: Invalid value"),
        (b"a = 1\nb 2", "{path}, line 2, column 3: Expected '=' after a key"),
        (b"[providers.a]\n[providers.a]", "{path}, line 2, column 13: Cannot declare"),
        (b"# \xff", "{path}: byte 2 is not UTF-8, which TOML has to be"),
        (b"x = 1", "{path}: unknown key 'x'"),
        (b"[providers.mock]\nworkers = 0", "{path}: [providers.mock] 'workers' = 0: "),
    ],
)
def test_a_mistake_is_told_with_file_and_place(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "aitor.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path, {})
    assert str(caught.value).startswith(expected.format(path=path))
    # The cause would hold the whole file, keys and all.
    assert caught.value.__cause__ is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path)
    assert str(caught.value) == f"{path}: No such file or directory"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load_configuration(tmp_path)


def test_broken_toml_does_not_show_the_key_in_it(tmp_path: Path) -> None:
    path = tmp_path / "aitor.toml"
    path.write_text(f'[providers.openai]\napi_key = "{CANARY}\n')
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path, {})
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
