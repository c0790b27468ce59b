"""
What is fuzzed: one function for each thing that comes in from outside.

A target's first bytes make choices (a dialect, a place to cut); the rest is the input
as it would come from a socket or a file. A target raises nothing for any bytes: it
catches our own families of errors and lets everything else out, which is a finding.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import patch

from aitor.batch import source as source_module
from aitor.batch.record import answered
from aitor.batch.rows import Row
from aitor.config import Configuration, configuration_from_environment
from aitor.config import kinds as kinds_module
from aitor.config.environment import Environment
from aitor.config.files import load_configuration
from aitor.config.meaning import describe
from aitor.errors import AnswerTooLargeError, ConfigurationError, LLMError
from aitor.laws.retry_after import parse_reset, read_limits, retry_after
from aitor.messages import Answer, Reply, Request
from aitor.providers.anthropic_messages import MESSAGES
from aitor.providers.classify import Refusal
from aitor.providers.dialect import Dialect, Exchange
from aitor.providers.openai_chat import CHAT
from aitor.providers.openai_responses import RESPONSES
from aitor.providers.readers import EventsReader, Reader, WholeReader
from aitor.wire.http1 import AnswerReader
from aitor.wire.sse import Event, EventReader
from fuzz import Target, promise
from fuzz.journals import journal

__all__ = ("CANARY", "TARGETS")

CANARY = "swordfish"
"""A word that stands for a key or a prompt in what a vendor says."""

NOW = 1.8e9
LONGEST_WAIT = 3_600.0
LONGEST_TEXT = 600
"""No error's text is longer, whatever a vendor says."""

ROOM = 1_000_000
ROW = Row("row-1", 1, "f")
SENT = ("model", "messages", "temperature", "max_tokens", "top_p", "stream")


def _cut(data: bytes, place: bytes) -> list[bytes]:
    at = int.from_bytes(place, "big") % (len(data) + 1)
    return [data[:at], data[at:]]


def _bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# Event streams.


def events(data: bytes) -> None:
    """Cut a stream into events; choices: where it is cut (2 bytes), a limit."""
    place, limit, body = data[:2], sum(data[2:3]) + 1, data[3:]
    whole = _events([body], ROOM)
    promise(_events(_cut(body, place), ROOM) == whole, "two pieces are as one")
    promise(_events(_bytewise(body), ROOM) == whole, "bytes are as one piece")
    for pieces in ([body], _cut(body, place), _bytewise(body)):
        for event in _events(pieces, limit):
            promise(len(event.data) <= limit, "no event passes the limit")


def _events(pieces: Sequence[bytes], limit: int) -> list[Event]:
    reader, found = EventReader(limit), []
    try:
        for piece in pieces:
            found += reader.feed(piece)
    except AnswerTooLargeError:
        promise(limit < ROOM, "what is small passes no limit")
    return found


# HTTP.


def http1(data: bytes) -> None:
    """Read an answer off a connection; choices: where it is cut (2 bytes)."""
    place, body = data[:2], data[2:]
    whole = _response([body])
    promise(_response(_cut(body, place)) == whole, "two pieces are as one")
    promise(_response(_bytewise(body)) == whole, "bytes are as one piece")


def _response(pieces: Sequence[bytes]) -> tuple[object, ...]:
    reader, body = AnswerReader(), b""
    for piece in pieces:
        reader.feed(piece)
        body += reader.take_body()
        if reader.malformed or reader.complete:
            break
    else:
        reader.feed_eof()
    promise(not (reader.malformed and reader.reusable), "what is wrong is not kept")
    for name, value in reader.headers.items():
        promise("\n" not in name + value, "a header is one line")
    # Of a head that is no HTTP nobody hears how far it was read.
    found = reader.headers if reader.status else {}
    return (reader.complete, reader.malformed, reader.status, found, body)


# Answers.

DIALECTS: tuple[Dialect, ...] = (CHAT, RESPONSES, MESSAGES)
READERS: tuple[Callable[[Dialect, Exchange], Reader], ...] = (WholeReader, EventsReader)


def answers(data: bytes) -> None:
    """Read an answer; choices: dialect, whole or stream, where it is cut (2 bytes)."""
    choices, body = data[:4].ljust(4, b"\0"), data[4:]
    dialect, make = DIALECTS[choices[0] % 3], READERS[choices[1] % 2]
    whole = _answer(make(dialect, _exchange(ROOM)), [body])
    for pieces in (_cut(body, choices[2:]), [*_bytewise(body[:500]), body[500:]]):
        again = _answer(make(dialect, _exchange(ROOM)), pieces)
        promise(again == whole, "an answer does not depend on its pieces")
    _answer(make(dialect, _exchange(50)), [body])


def _exchange(room: int) -> Exchange:
    def refuse(body: Any) -> LLMError:
        return _refusal(200, {}, body)

    return Exchange(Request.of("Hi"), "a-model", 200, {}, room, refuse)


def _answer(reader: Reader, pieces: Sequence[bytes]) -> tuple[object, ...]:
    """Return all that there is to compare of what comes of *pieces*."""
    try:
        for piece in pieces:
            reader.feed(piece)
            if reader.done:
                break
        answer = reader.close()
    except LLMError as error:
        _check_error(error)
        return (type(error), str(error), error.code, error.retry_after)
    _check_answer(answer)
    return (repr(answer), answer.text, _record(answer))


def _check_answer(answer: Answer) -> None:
    usage = answer.usage
    promise(isinstance(answer.text, str), "an answer's text is a text")
    promise(isinstance(answer.model, str), "its model is a text")
    reason = answer.finish_reason
    promise(isinstance(reason, str) and reason != "", "it has a reason to end")
    for count in (usage.input_tokens, usage.output_tokens):
        promise(isinstance(count, int) and count >= 0, "tokens are counts")
    promise(answer.message.get("role") == "assistant", "it can be carried on with")


def _record(answer: Answer) -> bytes:
    """Return the answer's line in the output of a batch."""
    reply = Reply(
        answer.text,
        "a-provider",
        answer.model,
        answer.finish_reason,
        answer.usage,
        (),
        answer.request_id,
        answer.body,
        answer.message,
    )
    text = answered(ROW, reply, seconds=0.0, cost=None).text
    promise(text.count(b"\n") == 1, "a record is one line")
    promise(isinstance(json.loads(text), dict), "a record is JSON")
    return text


# Refusals and headers.

STATUSES = (200, 301, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503, 529, 999)


def refusals(data: bytes) -> None:
    """Understand a refusal; choices: a status; headers, an empty line, a body."""
    status = STATUSES[sum(data[:1]) % len(STATUSES)]
    head, _, body = data[1:].partition(b"\n\n")
    error = _refusal(status, _headers(head), body)
    _check_error(error)
    shown = f"{error} {error!r} {error.code} {getattr(error, 'parameter', None)}"
    promise(CANARY not in shown, "nobody's words are repeated")


def _refusal(status: int, headers: dict[str, str], body: Any) -> LLMError:
    refusal = Refusal.read(
        status, headers, body, now=NOW, longest_wait=LONGEST_WAIT, sent=SENT
    )
    return refusal.error()


def _check_error(error: LLMError) -> None:
    promise(len(str(error)) <= LONGEST_TEXT, "an error is short")
    promise(str(error).isprintable(), "an error is one line")
    wait = error.retry_after
    promise(wait is None or 0.0 < wait <= LONGEST_WAIT, "a wait is bounded")


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def headers(data: bytes) -> None:
    """Read what headers say of waits and limits; a header a line."""
    found = _headers(data)
    wait = retry_after(found, NOW, LONGEST_WAIT)
    promise(wait is None or 0.0 < wait <= LONGEST_WAIT, "a wait is bounded")
    for value in found.values():
        reset = parse_reset(value, NOW)
        promise(reset is None or 0.0 <= reset < math.inf, "a reset is a wait")
    for seen in read_limits(found):
        for number in (seen.limit, seen.remaining):
            promise(number is None or 0.0 <= number < math.inf, "limits are numbers")


# Files.


def rows(data: bytes) -> None:
    """Read a batch's input; choices: how many bytes are read at once."""
    piece, body = sum(data[:1]) + 1, data[1:]
    with tempfile.NamedTemporaryFile(dir=PLACE) as file:
        file.write(body)
        file.flush()
        whole = list(_rows(file.name, len(body) + 1))
        promise(list(_rows(file.name, piece)) == whole, "rows do not depend on pieces")
    lines = list(body.removeprefix(source_module.BOM).split(b"\n"))
    promise(len(whole) == sum(bool(line.strip()) for line in lines), "a line is a row")


def _rows(name: str, piece: int) -> Iterator[tuple[object, ...]]:
    with patch.object(source_module, "PIECE", piece):
        source = source_module.Source(name)
        try:
            while not source.ended:
                for row in source.read():
                    yield _checked(row)
        finally:
            source.close()


def _checked(row: Row) -> tuple[object, ...]:
    promise((row.request is None) != (row.error is None), "a row asks or is wrong")
    promise(len(row.fingerprint) == 64, "a row has a fingerprint")
    if row.request is not None:
        promise(row.fingerprint == row.request.fingerprint(), "it is the request's")
    if row.error is not None:
        promise(len(str(row.error)) <= LONGEST_TEXT, "an error is short")
    row.custom_id.encode()
    return (row.custom_id, row.line, row.fingerprint, str(row.error))


def toml(data: bytes) -> None:
    """Read a configuration file, and make what it describes."""
    with tempfile.NamedTemporaryFile(dir=PLACE) as file:
        file.write(data)
        file.flush()
        _configure(lambda: load_configuration(file.name, {"KEY": "sk-from-outside"}))


def environment(data: bytes) -> None:
    """Read variables, a line each; choices: of the process, or of a file `.env`."""
    body = data[1:]
    if sum(data[:1]) % 2:
        with tempfile.NamedTemporaryFile(dir=PLACE) as file:
            file.write(body)
            file.flush()
            _configure(lambda: _from(Environment({}, Path(file.name))))
        return
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    pairs = (line.partition("=") for line in lines)
    _configure(lambda: _from({name: value for name, _, value in pairs}))


def _from(environ: Any) -> Configuration:
    # Not a file of the machine that this runs on.
    named = {name: value for name, value in environ.items() if name != "AITOR_CONFIG"}
    return configuration_from_environment(named)


def _configure(load: Callable[[], Configuration]) -> None:
    with patch.object(kinds_module, "importlib", NO_MODULES):
        try:
            configuration = load()
            meaning = describe(configuration, configuration.make_providers())
            configuration.broker()
        except ConfigurationError as error:
            promise(error.message.strip() != "", "an error says something")
            return
    json.dumps(meaning)


def _no_module(name: str) -> NoReturn:
    raise ModuleNotFoundError(name=name)


NO_MODULES = SimpleNamespace(import_module=_no_module)
"""Nothing is imported because of what a fuzzer wrote."""

PLACE = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # names are drawn

TARGETS: dict[str, Target] = {
    each.__name__: each
    for each in (
        http1,
        events,
        answers,
        refusals,
        headers,
        rows,
        toml,
        environment,
        journal,
    )
}
"""By name."""
