"""
One tiny request to each provider: whether key, address and model are right, in earnest.
"""

import signal
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from aitor.cli.signals import last_one_ends
from aitor.errors import LLMError

if TYPE_CHECKING:
    from aitor.broker.broker import Broker
    from aitor.config import Configuration

__all__ = ("ask_everybody", "in_words")

PROMPT = "Reply with OK."

MOST_TOKENS = 16
"""Of an answer: the least that every API takes."""


def ask_everybody(configuration: "Configuration", timeout: float) -> dict[str, Any]:
    """
    Ask every provider once, all at the same time, and return what came back, by name.

    Args:
        configuration: Whose providers they are.
        timeout: Seconds for each, retries too.
    """
    ask = partial(_ask_everybody, configuration, timeout)
    found: dict[str, Any] = anyio.run(ask, backend=configuration.backend)
    return {name: found[name] for name in configuration.providers}


async def _ask_everybody(
    configuration: "Configuration", timeout: float
) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def ask(broker: "Broker", name: str) -> None:
        found[name] = await _ask(broker, name, timeout)

    with last_one_ends(signal.SIGINT, after=1):
        async with configuration.broker() as broker, anyio.create_task_group() as tasks:
            for name in configuration.providers:
                tasks.start_soon(ask, broker, name)
    return found


async def _ask(broker: "Broker", name: str, timeout: float) -> dict[str, Any]:
    begun = anyio.current_time()
    try:
        # Alone: nobody else's answer would say anything about this one.
        reply = await broker.submit(
            PROMPT, provider=[name], timeout=timeout, max_tokens=MOST_TOKENS
        )
    except LLMError as error:
        return {
            "ok": False,
            "seconds": anyio.current_time() - begun,
            "attempts": len(error.attempts),
            "error": type(error).__name__,
            "status": error.status,
            "message": error.message,
        }
    return {
        "ok": True,
        "seconds": anyio.current_time() - begun,
        "attempts": len(reply.attempts),
        "model": reply.model,
        "finish_reason": reply.finish_reason,
        "input_tokens": reply.usage.input_tokens,
        "output_tokens": reply.usage.output_tokens,
    }


def in_words(found: Mapping[str, Any]) -> str:
    """Return what came back from one provider as a sentence."""
    tries = found["attempts"]
    after = f"after {found['seconds']:.2f} s"
    after += f" and {tries} attempts" if tries != 1 else ""
    if not found["ok"]:
        return f"failed {after}: {found['error']}: {found['message']}"
    return (
        f"answered {after}: {found['model'] or 'no model named'}, "
        f"{found['input_tokens']} tokens in and {found['output_tokens']} out"
    )
