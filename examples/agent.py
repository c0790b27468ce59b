"""
An agent with two tools, and a provider that breaks in the middle of its work.

    python examples/agent.py                  # on asyncio
    python examples/agent.py --backend trio

Two providers that pretend (`FakeProvider`, real servers on real sockets) run inside
this process. No model is behind them: they call whatever tool the last message spells
out, `call:NAME({"json": 1})`, so here the problem and the first tool say what comes
next. The first provider, on OpenAI's wire, breaks after its first answer; the second,
on Anthropic's, goes on where it stopped, and no tool runs twice.
"""

import argparse
import json

import anyio

from aitor import Broker, ReactAgent
from aitor.providers import AnthropicProvider, OpenAIProvider
from aitor.testing import FakeProvider, Fault

PROBLEM = 'How crowded is Utopia? Begin with call:look_up({"place": "Utopia"})'

ran: list[str] = []


async def look_up(place: str) -> str:
    """
    Look a place up in the encyclopedia.

    Args:
        place: Its name.
    """
    ran.append("look_up")
    numbers = json.dumps({"people": 600, "square_kilometres": 4})
    return f"{place} is an island. Go on with call:density({numbers})"


def density(people: int, square_kilometres: float) -> float:
    """
    Divide people by area.

    Args:
        people: How many there are.
        square_kilometres: How large the place is.
    """
    ran.append("density")
    return people / square_kilometres


async def main() -> None:
    """Serve, ask, and tell what happened."""
    broken = Fault(kind="status", status=500, at=tuple(range(2, 100)))
    first = FakeProvider(faults=[broken])
    second = FakeProvider(answer="{last} people live on each square kilometre.")
    async with first.serve() as first_url, second.serve() as second_url:
        providers = {
            "openai": OpenAIProvider(
                base_url=f"{first_url}/v1", model="pretended", api_key="none"
            ),
            "claude": AnthropicProvider(
                base_url=second_url, model="pretended", api_key="none"
            ),
        }
        async with Broker(providers) as broker:
            agent = ReactAgent("Geographer", broker=broker, tools=[look_up, density])
            print(f"Problem: {PROBLEM}\n")
            answer = await agent.solve(PROBLEM)
    for number, step in enumerate(agent.trace, start=1):
        print(f"Step {number}, answered by {step.provider}:")
        for call in step.calls:
            arguments = ", ".join(f"{k}={v!r}" for k, v in call.arguments.items())
            print(f"  {call.name}({arguments}) -> {call.observation}")
        if step.answer is not None:
            print("  the answer")
    print(f"\nAnswer: {answer}")
    print(f"Tools that ran: {', '.join(ran)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An agent and a failover.")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    anyio.run(main, backend=parser.parse_args().backend)
