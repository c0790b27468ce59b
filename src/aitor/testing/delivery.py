"""
How an answer leaves, and how it is spoiled on the way.

First `spoil` changes what the answer says, then `deliver` sends it, in one of
the ways in which answers fail to arrive. Both know nothing of schedules: that a
fault strikes is decided before.
"""

import json
import math
from dataclasses import replace

import anyio

from aitor.testing.dialect import Dialect
from aitor.testing.faults import Fault
from aitor.testing.http import Connection, HTTPResponse, chunk

__all__ = ("deliver", "spoil")

_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head>"
    b"<body><h1>Please sign in to the network</h1></body></html>\n"
)
_WORDS = b"the upstream service says hello"
_CUT_EVENT = b'data: {"id": "fake", "choices": [{"ind\n\n'
_BAD_EVENT = b"data: upstream says hello\n\n"


def spoil(
    response: HTTPResponse, fault: Fault, dialect: Dialect, number: int
) -> HTTPResponse:
    """
    Return *response* with what *fault* does to its headers and its content.
    """
    headers = {**response.headers, **fault.all_headers()}
    response = replace(response, headers=headers)
    if fault.kind == "html":
        return replace(response, body=_PAGE, frames=None, content_type="text/html")
    if response.frames is not None:
        return replace(response, frames=_spoil_frames(response, fault, dialect, number))
    return replace(response, body=_spoil_body(response, fault, dialect))


def _spoil_body(response: HTTPResponse, fault: Fault, dialect: Dialect) -> bytes:
    match fault.kind:
        case "empty":
            return b""
        case "not_json":
            return _WORDS
        case "cut_json":
            return response.body[: len(response.body) // 2]
        case "no_choices":
            return json.dumps(
                {**json.loads(response.body), dialect.content: []}
            ).encode()
        case "error_in_200":
            error = dialect.errors[fault.error]
            # As OpenRouter words it: the status stands where the code was.
            inner = {"code": error.status, "type": error.type, "message": error.message}
            return json.dumps({"error": inner}).encode()
        case _:
            return response.body


def _spoil_frames(
    response: HTTPResponse, fault: Fault, dialect: Dialect, number: int
) -> list[bytes]:
    frames = list(response.frames or ())
    half = len(frames) // 2
    match fault.kind:
        case "empty" | "no_choices":
            return []
        case "not_json":
            return [*frames[:half], _BAD_EVENT, *frames[half:]]
        case "cut_json":
            return [*frames[:half], _CUT_EVENT, *frames[half + 1 :]]
        case "error_in_200":
            error = dialect.errors[fault.error].about("")
            return [*frames[:half], dialect.error_event(error, number)]
        case _:
            return frames


async def deliver(
    connection: Connection, response: HTTPResponse, fault: Fault | None, ping: bytes
) -> bool:
    """
    Send *response*, or what *fault* leaves of it.

    Returns:
        Whether the connection may be used again.

    Raises:
        ClientGoneError: If the client hung up before the end.
    """
    match fault:
        case Fault(kind="reset"):
            connection.reset_on_close()
            return False
        case Fault(kind="close"):
            return False
        case Fault(kind="not_http"):
            await connection.send(_WORDS)
            return False
        case Fault(kind="hang"):
            await connection.wait(math.inf)
        case Fault(kind="truncate" | "truncate_reset" | "stall" as kind):
            await connection.send(_half(response.wire()))
            if kind == "stall":
                await connection.wait(math.inf)
            elif kind == "truncate_reset":
                connection.reset_on_close()
            return False
        case Fault(kind="trickle", seconds=seconds):
            await _trickle(connection, response.wire(), seconds or 0.1)
        case Fault(kind="whitespace", seconds=seconds):
            await connection.send(response.head(chunked=True))
            filler = b"\n" if response.frames is None else ping
            await _repeat(connection, chunk(filler), seconds or 1.0)
        case _:
            await _send(connection, response)
    connection.poisoned = fault is not None and fault.kind == "stale_reset"
    return fault is None or fault.kind != "stale"


async def _send(connection: Connection, response: HTTPResponse) -> None:
    if response.frames is None or not response.pause:
        await connection.send(response.wire())
        return
    await connection.send(response.head(chunked=True))
    start = anyio.current_time()
    for position, frame in enumerate(response.frames):
        # Each event has its own time, so that late ones do not add up.
        due = start + position * response.pause
        await connection.wait(due - anyio.current_time())
        await connection.send(chunk(frame))
    await connection.send(chunk(b""))


async def _trickle(connection: Connection, wire: bytes, seconds: float) -> None:
    for position in range(len(wire)):
        await connection.send(wire[position : position + 1])
        await connection.wait(seconds)


async def _repeat(connection: Connection, filler: bytes, seconds: float) -> None:
    while True:
        await connection.send(filler)
        await connection.wait(seconds)


def _half(wire: bytes) -> bytes:
    head = wire.index(b"\r\n\r\n") + 4
    return wire[: (head + len(wire)) // 2]
