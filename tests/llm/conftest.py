"""Fixtures for managers: a scripted wire, and an environment without keys."""

import os

import pytest
from tests.providers.fake import FakeWire


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "ANTHROPIC_", "CUSTOM_LLM_")):
            monkeypatch.delenv(name)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> FakeWire:
    """Stand in for every connection pool that a provider opens."""
    wire = FakeWire()
    monkeypatch.setattr("aitor.providers.http.open_wire", wire.open)
    return wire
