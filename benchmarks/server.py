"""
The upstream: a server that answers every request with the same chat completion.

It reads as little of HTTP/1.1 as it can get away with, so that what is measured is
the client. It keeps its own count of what arrived, and can be told to be slow, dead,
flapping, limited, out for a while, or to play a script of faults (`benchmarks.faults`).
`benchmarks.upstream` starts it and talks to it.

    python -m benchmarks.server '{"ports": 2, "tls": false}'

prints a line of JSON with its ports. `POST /behave` sets how a port behaves and
forgets what it has counted; `GET /counts` tells. `POST /hang-up` closes every
connection on which no answer is due.
"""

# ruff: noqa: TID251  # a server of its own, outside of the broker

import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

from benchmarks.faults import Faults, Script
from benchmarks.machine import SERVER_CORE, pin, raise_limits

__all__ = ("Behaviour",)

WORDS = {
    200: "OK",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    529: "Overloaded",
}


@dataclass
class Behaviour:
    """
    How a port behaves.

    Args:
        delay: Seconds before each answer.
        status: Of each answer.
        per_minute: Requests allowed; the others get 429. It refills evenly.
        burst: How many requests of that may come at once.
        outage: Answers 500 from the first to the second number of seconds after
            the first request.
        flap: Is well and dead in turns, each for so many seconds.
        text: How long the answer is, in characters.
        pieces: In how many pieces the answer comes if a stream is asked for.
        faults: Fields of `Faults`: the script that it plays, and nothing else of these
            but `delay`.
    """

    delay: float = 0.0
    status: int = 200
    per_minute: float | None = None
    burst: float = 20.0
    outage: tuple[float, float] | None = None
    flap: float | None = None
    text: int = 40
    pieces: int = 20
    faults: dict[str, Any] | None = None


@dataclass
class Port:
    """One address, how it behaves and what it has counted."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    arrivals: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    answered: int = 0
    closed: list[float] = field(default_factory=list)
    connections: set["Connection"] = field(default_factory=set)
    first: float = 0.0
    level: float = 0.0
    level_at: float = 0.0
    answers: dict[int, bytes] = field(default_factory=dict)
    stream: list[bytes] = field(default_factory=list)
    script: Script | None = None

    def behave(self, behaviour: Behaviour) -> None:
        """Behave like that from now on, and begin to count anew."""
        self.behaviour = behaviour
        self.arrivals, self.statuses = [], []
        self.answered, self.closed = 0, []
        self.level = behaviour.burst
        text = "word " * (behaviour.text // 5)
        self.answers = {
            200: _response(200, _completion(text)),
            429: _response(429, _error("rate_limit_exceeded")),
            500: _response(500, _error("server_error")),
        }
        self.stream = _stream(text, behaviour.pieces)
        self.script = None
        if behaviour.faults is not None:
            self.script = Script(Faults(**behaviour.faults), behaviour.delay)

    def status(self, now: float) -> int:
        """Count a request and return the status of its answer."""
        behaviour = self.behaviour
        if not self.arrivals:
            self.first = self.level_at = now
        status = behaviour.status
        since = now - self.first
        if behaviour.per_minute is not None and not self._admit(now):
            status = 429
        if behaviour.outage and behaviour.outage[0] <= since < behaviour.outage[1]:
            status = 500
        if behaviour.flap and int(since / behaviour.flap) % 2:
            status = 500
        self.arrivals.append(now)
        self.statuses.append(status)
        return status

    def _admit(self, now: float) -> bool:
        behaviour = self.behaviour
        assert behaviour.per_minute is not None
        self.level += (now - self.level_at) * behaviour.per_minute / 60
        self.level = min(self.level, behaviour.burst)
        self.level_at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out, one after the other."""

    __slots__ = ("_asked", "_data", "_due", "_loop", "_port", "_transport")

    _transport: asyncio.Transport

    def __init__(self, port: Port, loop: asyncio.AbstractEventLoop) -> None:
        self._port = port
        self._loop = loop
        self._data = b""
        self._asked = False
        self._due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._port.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._port.connections.discard(self)
        if self._asked:
            self._port.closed.append(time.perf_counter())

    def data_received(self, data: bytes) -> None:
        data = self._data + data if self._data else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            size = _size(head, data, end + 4)
            if len(data) < size:
                break
            self._answer(head, data[end + 4 : size])
            data = data[size:]
        self._data = data

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /counts"):
            self._transport.write(_response(200, self._counts()))
        elif head.startswith(b"post /behave"):
            self._port.behave(Behaviour(**json.loads(body)))
            self._transport.write(_response(200, b"{}"))
        elif head.startswith(b"post /hang-up"):
            self._transport.write(_response(200, b"%d" % self._hang_up()))
        else:
            self._complete(body)

    def _complete(self, body: bytes) -> None:
        port = self._port
        if port.script is not None:
            self._play(port.script)
            return
        status = port.status(time.perf_counter())
        streamed = status == 200 and (
            b'"stream":true' in body or b'"stream": true' in body
        )
        data = port.stream if streamed else [port.answers[status]]
        self._asked = True
        self._due += 1
        if port.behaviour.delay:
            self._loop.call_later(port.behaviour.delay, self._send, data)
        else:
            self._send(data)

    def _play(self, script: Script) -> None:
        port, faults, now = self._port, script.faults, time.perf_counter()
        fails, after = script.arrive(now)
        status = 200
        if fails:
            status = faults.status if faults.how == "answer" else 0
        port.arrivals.append(now)
        port.statuses.append(status)
        self._asked = True
        self._due += 1
        if status:
            more = tuple(faults.headers.items()) if fails else ()
            answer = _vendors(status, more, html=fails and faults.html)
            self._loop.call_later(after, self._send, [answer])
        elif faults.how == "close":
            self._loop.call_later(after, self._transport.close)

    def _send(self, data: list[bytes]) -> None:
        self._due -= 1
        if not self._transport.is_closing():
            self._port.answered += 1
            for piece in data:
                self._transport.write(piece)

    def _hang_up(self) -> int:
        idle = [one for one in self._port.connections if one._asked and not one._due]
        for one in idle:
            one._transport.close()
        return len(idle)

    def _counts(self) -> bytes:
        port = self._port
        counts = {
            "arrivals": port.arrivals,
            "statuses": port.statuses,
            "answered": port.answered,
            "closed": port.closed,
        }
        return json.dumps(counts).encode()


def _size(head: bytes, data: bytes, start: int) -> int:
    """Return where the request that begins *data* ends; infinite if not here yet."""
    at = head.find(b"content-length:")
    if at >= 0:
        return start + int(head[at + 15 : at + 30].split(b"\r", 1)[0])
    if b"transfer-encoding:" in head:
        end = data.find(b"0\r\n\r\n", start)
        return end + 5 if end >= 0 else sys.maxsize
    return start


def _response(status: int, body: bytes) -> bytes:
    # The headers that the vendors send with each answer, as far as clients read them.
    head = (
        f"HTTP/1.1 {status} {WORDS[status]}\r\n"
        f"date: Tue, 24 Nov 2026 12:00:00 GMT\r\n"
        f"content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
        f"x-request-id: req_0123456789abcdef\r\n"
        f"openai-processing-ms: 12\r\n"
        f"\r\n"
    )
    return head.encode() + body


@lru_cache
def _vendors(status: int, more: tuple[tuple[str, str], ...], *, html: bool) -> bytes:
    """Return an answer with as many headers as vendors really send, and *more*."""
    if status == 200:
        body = _completion("word " * 8)
    elif html:
        body = f"<html><body><h1>{status} {WORDS[status]}</h1></body></html>".encode()
    else:
        body = _error("server_error" if status >= 500 else "rate_limit_exceeded")
    headers = {
        "date": "Tue, 24 Nov 2026 12:00:00 GMT",
        "content-type": "text/html" if html else "application/json",
        "content-length": str(len(body)),
        "server": "cloudflare",
        "openai-organization": "org-0123456789abcdef",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-request-id": "req_0123456789abcdef",
        "cf-cache-status": "DYNAMIC",
        "cf-ray": "0123456789abcdef-FRA",
        "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
        "x-content-type-options": "nosniff",
        **dict(more),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {WORDS[status]}\r\n{lines}\r\n".encode() + body


def _completion(text: str) -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-0123456789",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "bench",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 8,
                "total_tokens": 17,
                "prompt_tokens_details": {"cached_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            "system_fingerprint": "fp_0123456789",
        },
        separators=(",", ":"),
    ).encode()


def _error(code: str) -> bytes:
    error = {"message": "no", "type": code, "param": None, "code": code}
    return json.dumps({"error": error}).encode()


def _stream(text: str, pieces: int) -> list[bytes]:
    step = max(1, -(-len(text) // pieces))
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    choices = [{"index": 0, "delta": {"content": part}} for part in parts]
    last: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [json.dumps(_chunk([choice])) for choice in [*choices, last]]
    usage = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}
    chunks += [json.dumps({**_chunk([]), "usage": usage}), "[DONE]"]
    head = (
        b"HTTP/1.1 200 OK\r\n"
        b"content-type: text/event-stream\r\n"
        b"transfer-encoding: chunked\r\n"
        b"x-request-id: req_0123456789abcdef\r\n"
        b"\r\n"
    )
    events = [f"data: {chunk}\n\n".encode() for chunk in chunks]
    sent = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return [head, *sent, b"0\r\n\r\n"]


def _chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-0123456789",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": choices,
    }


async def _serve(ports: int, *, tls: bool) -> None:
    loop = asyncio.get_running_loop()
    context = None
    if tls:
        # Imported here: only this variant needs the certificate of the tests.
        from tests.wire.certificates import server_context

        with tempfile.TemporaryDirectory() as folder:
            context = server_context(Path(folder))
    numbers = []
    for _ in range(ports):
        port = Port()
        port.behave(Behaviour())
        server = await loop.create_server(
            partial(Connection, port, loop),
            "127.0.0.1",
            0,
            backlog=16_384,
            ssl=context,
        )
        numbers.append(server.sockets[0].getsockname()[1])
    print(json.dumps(numbers), flush=True)
    # Whoever started this holds the other end; when it goes, so does this.
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


def main() -> None:
    """Serve until the standard input ends."""
    pin(SERVER_CORE)
    raise_limits()
    settings = json.loads(sys.argv[1])
    serve = _serve(settings["ports"], tls=settings["tls"])
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(serve)
    else:
        uvloop.run(serve)


if __name__ == "__main__":
    main()
