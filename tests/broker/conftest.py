"""The broker is tested in virtual time, on both backends."""

from typing import Any

import pytest

from aitor.testing.virtual import virtual_backend


def opens_after(failures: int, open_seconds: float = 30.0) -> dict[str, Any]:
    """Return settings of a circuit that opens after so many failures in a row."""
    return {
        "failures": failures,
        "failing_seconds": 0.0,
        "first_open_seconds": open_seconds,
        "open_seconds": open_seconds,
    }


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Name the backend, with its clock replaced."""
    return virtual_backend(request.param)
