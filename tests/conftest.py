"""Fixtures for every test: each asynchronous one runs on asyncio and on trio."""

import pytest


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Name the backend; session-wide, so that Hypothesis may share it."""
    backend: str = request.param
    return backend
