"""What every test has: each asynchronous one runs on asyncio and on trio."""

import pytest
from hypothesis import settings

# The same examples every time and no limit on time, so that a red run means that a
# change broke something; `make explore` looks for examples that nobody has seen.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2_000, deadline=None)
settings.load_profile("same")


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Name the backend; session-wide, so that Hypothesis may share it."""
    backend: str = request.param
    return backend
