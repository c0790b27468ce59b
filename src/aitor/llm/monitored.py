"""
A manager that tells what it does, in the application's log.
"""

import logging
from collections.abc import Sequence
from typing import Any

import anyio

from aitor.llm.manager import LLMManager
from aitor.messages import Prompt, Reply

__all__ = ("MonitoredLLMManager",)

_logger = logging.getLogger("aitor.llm")


class MonitoredLLMManager(LLMManager):
    """
    Writes a line for each request: its time at INFO, or what went wrong at ERROR.

    The logger is `aitor.llm`. Prompts and answers are in neither line. Nothing is
    configured here, so an application without logging hears nothing.

    Args:
        options: As for `LLMManager`.
    """

    @property
    def usage_stats(self) -> dict[str, Any]:
        """The counts of `get_usage_report`, as requests, tokens_used and errors."""
        report = self.get_usage_report()
        return {
            "requests": report["total_requests"],
            "tokens_used": report["estimated_tokens"],
            "errors": report["total_errors"],
            "by_provider": report["by_provider"],
        }

    async def submit(
        self,
        prompt: Prompt,
        *,
        provider: str | Sequence[str] | None = None,
        **parameters: Any,
    ) -> Reply:
        """Have *prompt* answered, count it, and write a line; see `LLMManager`."""
        name = provider or self.default_provider
        begin = anyio.current_time()
        try:
            reply = await super().submit(prompt, provider=provider, **parameters)
        except Exception as error:
            # Our errors hold neither key nor prompt; of others only the class is told.
            # A trace would quote lines of the application.
            what = error if hasattr(error, "outcome") else type(error).__name__
            _logger.error("LLM request to %s failed: %s", name, what)  # noqa: TRY400
            raise
        seconds = anyio.current_time() - begin
        _logger.info("LLM request to %s completed in %.2fs", name, seconds)
        return reply
