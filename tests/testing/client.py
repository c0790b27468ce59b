"""
A raw HTTP client, for tests that look at what goes over the wire.
"""

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import AnyByteStream
from anyio.streams.stapled import StapledObjectStream

from aitor.testing import FakeProvider

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
PATHS = (CHAT, RESPONSES, MESSAGES)


def question(path: str, text: str = "Say hello to row-17", **more: Any) -> bytes:
    """Return the body of a request for *path* that says *text*."""
    body: dict[str, Any] = {"model": "model-1", **more}
    if path == RESPONSES:
        return json.dumps({"input": text, **body}).encode()
    if path == MESSAGES:
        body = {"max_tokens": 100, **body}
    messages = [{"role": "user", "content": text}]
    return json.dumps({"messages": messages, **body}).encode()


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The words in a whole answer of any dialect."""
        data = self.json()
        if "choices" in data:
            return str(data["choices"][0]["message"]["content"])
        if "output" in data:
            data = data["output"][0]
        return str(data["content"][0]["text"])


class Client:
    """Speaks HTTP/1.1 over a stream, and waits for no longer than it has to."""

    def __init__(self, stream: AnyByteStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(
        self, path: str, body: bytes = b"", method: str = "POST", **headers: str
    ) -> None:
        lines = {
            "host": "localhost",
            "authorization": "Bearer sk-any",
            "content-length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.stream.send(
            f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body
        )

    async def head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += await self.stream.receive()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines)

    async def answer(self) -> Answer:
        status, headers = await self.head()
        if "content-length" in headers:
            body = await self.take(int(headers["content-length"]))
            return Answer(status, headers, body)
        body = b""
        while size := int(await self.line(), 16):
            body += await self.take(size)
            await self.line()
        await self.line()
        return Answer(status, headers, body)

    async def take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self.buffer += await self.stream.receive()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    async def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self.buffer += await self.stream.receive()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    async def everything(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        try:
            while True:
                self.buffer += await self.stream.receive()
        except anyio.EndOfStream:
            return self.buffer

    async def ask(self, path: str = CHAT, body: bytes = b"", **headers: str) -> Answer:
        await self.send(path, body or question(path), **headers)
        return await self.answer()

    async def get(self, path: str, **headers: str) -> Answer:
        await self.send(path, b"", "GET", **headers)
        return await self.answer()


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    """Connect to a server over a socket."""
    host, _, port = url.removeprefix("http://").partition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        yield Client(stream)


@asynccontextmanager
async def memory(provider: FakeProvider) -> AsyncIterator[Client]:
    """Connect to *provider* without a socket, so that virtual time may be used."""
    to_server, at_server = anyio.create_memory_object_stream[bytes](math.inf)
    to_client, at_client = anyio.create_memory_object_stream[bytes](math.inf)
    client = StapledObjectStream(to_server, at_client)
    server = StapledObjectStream(to_client, at_server)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(provider.serve_connection, server)
        async with client:
            yield Client(client)
