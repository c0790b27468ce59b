"""The wires under test, opened alike."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import openai

from aitor.wire import Wire, WireSettings, open_wire
from aitor.wire.sdk import SDKWire

__all__ = ("CANARY", "OURS", "WIRES", "Answer", "ask", "connect")

OURS = ("pyqwest", "httpx2")
"""Wires with a pool of their own."""

WIRES = (*OURS, "openai", "anthropic")
"""All of them; the SDKs come with their usual two retries, to be declined."""

CANARY = "sk-canary-7e57"
"""The key, which nobody may ever see in a text of ours."""

Answer = tuple[int, Mapping[str, str], bytes]


@asynccontextmanager
async def connect(kind: str, url: str, **settings: Any) -> AsyncIterator[Wire]:
    """Open a wire of *kind* to *url*, and close it at the end."""
    if kind in OURS:
        headers = {"authorization": f"Bearer {CANARY}"}
        wire = open_wire(kind, WireSettings(url + "/v1", headers, **settings))
        try:
            yield wire
        finally:
            await wire.aclose()
        return
    connect_timeout = settings.get("connect_timeout", 10.0)
    timeout = httpx2.Timeout(None, connect=connect_timeout)
    client = {"openai": openai.AsyncOpenAI, "anthropic": anthropic.AsyncAnthropic}[kind]
    async with client(api_key=CANARY, base_url=url + "/v1", timeout=timeout) as sdk:
        yield SDKWire(sdk)


async def ask(wire: Wire, body: bytes = b'{"a": 1}', **headers: str) -> Answer:
    """Post once, and read the answer to its end."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with wire.post("/echo", body, sent or None) as response:
        pieces = [piece async for piece in response]
        return response.status, response.headers, b"".join(pieces)
