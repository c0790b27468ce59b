"""A wrong address or header is told where it is set, not by the first request."""

import re

import pytest

from aitor.errors import ConfigurationError
from aitor.providers import CompatibleProvider, OpenAIProvider


def wrong(**settings: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        CompatibleProvider(**{"base_url": "http://x.test/v1", **settings})
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://", "http://"),
        ("http:///v1", "http:///v1"),
        ("http://127.0.0.1:99999/v1", "http://127.0.0.1:99999/v1"),
        ("http://127.0.0.1:one/v1", "http://127.0.0.1:one/v1"),
        ("http://127.0.0.1:0/v1", "http://127.0.0.1:0/v1"),
        ("http://[::1", "…"),
        ("http://a..b/v1", "http://a..b/v1"),
        ("http://a|b/v1", "http://a|b/v1"),
        ("http://x.test/modèle/v1", "http://x.test/…/v1"),
    ],
)
def test_an_address_that_cannot_be_asked(url: str, shown: str) -> None:
    told = wrong(base_url=url)
    assert told == f"'base_url' = {shown!r}: is no URL that can be asked"


@pytest.mark.parametrize("url", ["http://h/v1 ", " http://h", "http://h/v1\n", "h\t"])
def test_an_address_with_something_that_cannot_be_seen(url: str) -> None:
    told = wrong(base_url=url)
    assert ": has a space" in told
    assert "look at its ends" in told


@pytest.mark.parametrize(
    "url", ["http://[::1]:8000/v1", "https://bücher.example/v1", "http://a_b:1/v%201"]
)
def test_an_address_that_can_be_asked_is_taken(url: str) -> None:
    assert CompatibleProvider(base_url=f"{url}/").settings.base_url == url


@pytest.mark.parametrize("name", ["a b", "", "a:b", "é", "a\n"])
def test_a_header_without_a_name(name: str) -> None:
    told = wrong(headers={name: "value-7e57"})
    first = re.split(r"[:\s]", name)[0]
    assert told.startswith(f"'headers': {first!r} is no name")
    assert "7e57" not in told


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding"])
def test_a_header_that_says_where_the_body_ends(name: str) -> None:
    told = wrong(headers={name: "5"})
    assert told.startswith(f"'headers': '{name.lower()}' follows from the body")


def test_a_header_with_a_wrong_value_is_named_and_its_value_is_not() -> None:
    told = wrong(headers={"x-one": "1", "X-Two": "7e57\n"})
    assert told.startswith("'headers': the value of 'x-two' has a line break")
    assert "7e57" not in told


def test_headers_of_the_environment_are_checked_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A colon that was forgotten makes a name of the value.
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-a: 7e57\na basic 7e57:b")
    with pytest.raises(ConfigurationError) as caught:
        OpenAIProvider(api_key="k")
    assert str(caught.value).startswith("OPENAI_CUSTOM_HEADERS: 'a' is no name")
    assert "7e57" not in str(caught.value)


@pytest.mark.parametrize("setting", ["organization", "project"])
def test_what_becomes_a_header_is_checked_too(setting: str) -> None:
    told = wrong(**{setting: "me\n"})
    assert told.startswith(f"'{setting}' = 'me\\n': has a line break")
