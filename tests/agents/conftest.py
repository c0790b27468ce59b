"""Agents are tested in virtual time on both backends, but for what uses sockets."""

from typing import Any

import pytest

from aitor.testing.virtual import virtual_backend


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Name the backend, with its clock replaced."""
    return virtual_backend(request.param)
