"""The guide's `RobustAgent`, with its missing imports, does what the guide says."""

from types import SimpleNamespace

import anyio
import pytest

from aitor import Broker, ReactAgent
from aitor.errors import OverloadedError
from aitor.llm import APIError, RateLimitError
from aitor.testing.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio

slept: list[float] = []


async def _sleep(seconds: float) -> None:
    slept.append(seconds)
    await anyio.sleep(seconds)


asyncio = SimpleNamespace(sleep=_sleep)
"""Stands in for the module, so that the example waits in virtual time on both."""


# As the guide has it.
# fmt: off
class RobustAgent(ReactAgent):
    """Agent with enhanced error handling."""

    async def solve(self, problem: str) -> str:
        """Solve with enhanced error handling."""

        max_attempts = 3
        for attempt in range(max_attempts):
            try:
                return await super().solve(problem)

            except RateLimitError as e:
                if attempt < max_attempts - 1:
                    wait_time = 60 * (2 ** attempt)  # Exponential backoff
                    print(f"Rate limited, waiting {wait_time}s before retry...")  # noqa: T201  # as the guide has it
                    await asyncio.sleep(wait_time)
                    continue
                raise e  # noqa: TRY201  # as the guide has it

            except APIError as e:
                if "model_overloaded" in str(e) and attempt < max_attempts - 1:
                    print("Model overloaded, switching provider...")  # noqa: T201  # as the guide has it
                    # Switch to backup provider
                    self.set_llm_provider("claude-sonnet")
                    continue
                raise e  # noqa: TRY201  # as the guide has it

            except Exception as e:
                if attempt < max_attempts - 1:
                    print(f"Unexpected error: {e}, retrying...")  # noqa: T201  # as the guide has it
                    await asyncio.sleep(5)
                    continue
                raise e  # noqa: TRY201  # as the guide has it

        raise Exception("All retry attempts failed")  # noqa: TRY002  # as the guide has it
# fmt: on


@pytest.fixture(autouse=True)
def _nothing_slept() -> None:
    slept.clear()


def robust(*script: str | Exception, **more: float) -> RobustAgent:
    main = ScriptedProvider(list(script), max_retries=0)
    backup = ScriptedProvider("from the backup")
    # The main one is outside of the sequence: it is asked alone.
    broker = Broker({"main": main, "claude-sonnet": backup}, failover=["claude-sonnet"])
    return RobustAgent("Robust", broker=broker, llm_provider="main", **more)  # type: ignore[arg-type]  # a timeout


async def test_it_waits_when_the_rate_is_limited() -> None:
    limited = RateLimitError("slow down", status=429, retry_after=50)
    agent = robust(limited, "at last", timeout=10)
    assert await agent.solve("x") == "at last"
    assert slept == [60]


async def test_it_gives_up_after_three_attempts_with_the_error_itself() -> None:
    limited = RateLimitError("slow down", status=429, retry_after=50)
    agent = robust(limited, timeout=10)
    with pytest.raises(RateLimitError):
        await agent.solve("x")
    assert slept == [60, 120]


async def test_it_switches_when_the_model_is_overloaded() -> None:
    agent = robust(OverloadedError("model_overloaded: no capacity", status=529))
    assert await agent.solve("x") == "from the backup"
    assert agent.llm_provider == "claude-sonnet"
    assert slept == []
    # What failed is not remembered twice.
    assert [message["content"] for message in agent.memory] == ["x", "from the backup"]


async def test_it_retries_what_is_no_error_of_an_api() -> None:
    agent = robust("ACT: broken()", "ACT: broken()", "ok", timeout=1)
    agent.max_reasoning_steps = 2
    assert await agent.solve("x") == "ok"
    assert slept == [5]
