"""What of a URL anybody may see, and what is no address that can be asked."""

from typing import Any

import pytest
from tests.wire.wires import CANARY

from aitor.config import load_configuration
from aitor.config.meaning import describe
from aitor.errors import ConfigurationError
from aitor.providers import AnthropicProvider, CompatibleProvider, OpenAIProvider
from aitor.wire import WireSettings, open_wire
from aitor.wire.address import Address, shown_url

PLACES = [
    f"https://gateway.example/{CANARY}/v1",
    f"https://gateway.example/v1/{CANARY}",
    f"https://gateway.example/v1?key={CANARY}",
    f"https://gateway.example/v1#{CANARY}",
    f"https://me:{CANARY}@gateway.example/v1",
    f"https://{CANARY}@gateway.example/v1",
    f"https://gateway.example/{CANARY} /v1",
    f"https://gateway.example:0/{CANARY}",
    f"https://gateway.example:99999/{CANARY}",
    f"https://[gateway/{CANARY}",
    f"ftp://gateway.example/{CANARY}",
    f"gateway.example/v1/{CANARY}",
    CANARY,
    f"{CANARY}://gateway.example",
]


@pytest.mark.parametrize("url", PLACES)
def test_a_secret_in_a_url_is_shown_to_nobody(url: str) -> None:
    """
    The kind: a secret where nobody expected one.

    In the path, the query, before the host, in place of a scheme: neither settings,
    pools, errors nor `aitor check` show it.
    """
    told = [shown_url(url), repr(WireSettings(url))]
    for make in (OpenAIProvider, AnthropicProvider, CompatibleProvider):
        keys: Any = {"base_url": url, "model": "m", "api_key": "k"}
        try:
            provider = make(**keys)
            told += [repr(provider), repr(provider.settings), str(provider.settings)]
        except ConfigurationError as error:
            told += [str(error), repr(error)]
    try:
        open_wire("sockets", WireSettings(url))
    except ConfigurationError as error:
        told.append(str(error))
    assert CANARY not in "".join(told)


def test_the_shape_of_a_url_is_seen() -> None:
    """Enough to find what is wrong."""
    assert shown_url("http://127.0.0.1:8080/v1") == "http://127.0.0.1:8080/v1"
    url = "https://a.example/openai/deployments/gpt/chat/completions?v=1"
    assert shown_url(url) == (
        "https://a.example/openai/deployments/…/chat/completions?…"
    )
    assert shown_url("api.openai.com/v1/x") == "api.openai.com/v1/…"
    assert shown_url("localhost:8080") == "localhost:8080"


def test_what_a_configuration_means_is_told_without_the_key_in_a_path() -> None:
    """`aitor check` prints it."""
    table = {"kind": "compatible", "base_url": PLACES[0], "model": "m"}
    configuration = load_configuration({"providers": {"a": table}}, {})
    found = describe(configuration, configuration.make_providers())
    assert found["providers"]["a"]["base_url"] == "https://gateway.example/…/v1"
    assert CANARY not in repr(found)


@pytest.mark.parametrize("port", ["0", "00", "65536", "-1", "x"])
@pytest.mark.parametrize("transport", ["sockets", "httpx2", "sdk"])
def test_a_port_that_nobody_listens_on_is_no_other(port: str, transport: Any) -> None:
    """
    The kind: a value that is false, taken for one that is missing.

    Port 0 was 80.
    """
    with pytest.raises(ConfigurationError, match="base_url"):
        OpenAIProvider(
            base_url=f"http://a.example:{port}/v1", api_key="k", transport=transport
        )
    with pytest.raises(ConfigurationError):
        Address.of(f"http://a.example:{port}")


def test_a_port_that_is_not_named_is_the_scheme_s() -> None:
    """An empty one too, as in browsers."""
    assert Address.of("http://a.example:/v1").port == 80
    assert Address.of("https://a.example").url == "https://a.example"
    assert Address.of("https://a.example:443/v1").authority == "a.example:443"
