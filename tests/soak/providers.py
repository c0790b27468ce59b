"""The vendors of a soak: fake providers in processes of their own, and ours of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

from aitor.providers import (
    AnthropicProvider,
    CompatibleProvider,
    OpenAIProvider,
    Provider,
)

__all__ = ("NAMES", "books", "make", "running")

NAMES = ("openai", "claude", "local")

WORKERS = 24

FAULTS = {
    "openai": (
        "status=500 probability=0.03",
        "rate_limit probability=0.004 retry_after=0.2",
        "reset probability=0.02",
        "close probability=0.01",
        "truncate probability=0.01",
        "truncate_reset probability=0.01",
        "stale probability=0.03",
        "stale_reset probability=0.03",
    ),
    "claude": (
        "overloaded probability=0.02",
        "stall probability=0.003",
        "hang probability=0.003",
        "slow seconds=0.3 probability=0.02",
        "trickle seconds=0.01 probability=0.003",
        "pings seconds=0.2 probability=0.002",
        "error_in_200 probability=0.01",
        "html probability=0.01",
    ),
    "local": (
        "rate_limit probability=0.002",
        "cut_json probability=0.01",
        "not_http probability=0.005",
        "no_finish probability=0.01",
        "empty probability=0.01",
        "huge size=200000 probability=0.005",
    ),
}
"""By the provider's name; none of them is well, so that every path is taken."""

SETTINGS: dict[str, Any] = {
    "workers": WORKERS,
    "queue_size": 60,
    "timeout": 1.5,
    "max_answer_bytes": 100_000,
    "max_queue_wait": 0.2,
    "retry_delay": 0.05,
    "max_retry_after": 1.0,
    "breaker": {"open_seconds": 0.3, "failures": 8},
}


def make(name: str, url: str, transport: str) -> Provider:
    """Return the provider *name*, which asks the fake one at *url*."""
    settings = {**SETTINGS, "transport": transport, "api_key": "any"}
    match name:
        case "openai":
            # Streamed, because a limit on silence wants it.
            return OpenAIProvider(
                model="gpt-4.1", base_url=f"{url}/v1", idle_timeout=0.5, **settings
            )
        case "claude":
            return AnthropicProvider(
                model="claude-sonnet-5-5",
                base_url=url,
                limits="acme",
                max_tokens=100,
                **settings,
            )
        case _:
            return CompatibleProvider(
                model="any", base_url=f"{url}/v1", limits="acme", **settings
            )


@contextmanager
def running(seed: int) -> Iterator[dict[str, str]]:
    """Run the fake providers, and give their addresses by name."""
    processes: list[subprocess.Popen[str]] = []
    try:
        for name in NAMES:
            faults = [f"--fault={fault}" for fault in FAULTS[name]]
            command = [sys.executable, "-m", "aitor.testing", "--port=0"]
            settings = [f"--seed={seed}", "--latency=exponential(0.01)"]
            process = subprocess.Popen(
                [*command, *settings, *faults],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            processes.append(process)
        outputs = [process.stdout for process in processes]
        urls = [output.readline().strip() if output else "" for output in outputs]
        yield dict(zip(NAMES, urls, strict=True))
    finally:
        for process in processes:
            process.terminate()
            process.wait()
            if process.stdout:
                process.stdout.close()


def books(url: str, what: str = "statistics") -> dict[str, Any]:
    """Return what the provider at *url* has counted."""
    with urlopen(f"{url}/_fake/{what}", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found
