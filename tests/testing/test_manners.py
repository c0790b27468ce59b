"""The manners of a fake provider: goodbyes, lists of models, unknown paths."""

from typing import Any

import pytest
from tests.testing.client import CHAT, memory, question

from aitor.testing import FakeProvider
from aitor.testing.virtual import virtual_backend

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


# The connection's end is told, where a server knows of it.


@pytest.mark.parametrize(
    ("request_line", "wish"),
    [
        ("POST /v1/chat/completions HTTP/1.0", ""),
        ("POST /v1/chat/completions HTTP/1.0", "Connection: keep-alive\r\n"),
        ("POST /v1/chat/completions HTTP/1.1", "Connection: close\r\n"),
        ("POST /v1/chat/completions HTTP/1.1", "Connection: TE, Close\r\n"),
        ("POST /v1/nonsense HTTP/1.1", "Connection: close\r\n"),
        ("GET /_fake/log HTTP/1.0", ""),
        ("what is this", ""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_whoever_closes_says_so(
    request_line: str, wish: str, stream: bool
) -> None:
    """
    Of the kind: an end that the client takes for an accident.

    A load balancer that is not told keeps the connection for the next request, which
    is then lost. Siblings: a list of wishes, errors, the control's answers, streams.
    """
    body = question(CHAT, stream=stream)
    length = f"Content-Length: {len(body)}\r\n"
    async with memory(FakeProvider()) as client:
        await client.stream.send(
            f"{request_line}\r\n{wish}{length}\r\n".encode() + body
        )
        head, _, rest = (await client.everything()).partition(b"\r\n\r\n")
    assert head.lower().split(b"\r\n").count(b"connection: close") == 1
    assert rest


@pytest.mark.parametrize(
    ("fault", "said"),
    [("truncate", True), ("stale", False), ("truncate_reset", False)],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_that_closes_says_so_unless_that_is_the_fault(
    fault: str, said: bool, stream: bool
) -> None:
    async with memory(FakeProvider(faults=[fault])) as client:
        await client.send(CHAT, question(CHAT, stream=stream))
        head = (await client.everything()).partition(b"\r\n\r\n")[0]
    assert (b"connection: close" in head.lower()) is said


async def test_nobody_says_so_who_goes_on() -> None:
    async with memory(FakeProvider(faults=["status=500 at=2"])) as client:
        answers = [await client.ask() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert not [one for one in answers if "connection" in one.headers]


# What is no question to a model.

ANTHROPIC = {"anthropic_version": "2023-06-01"}


@pytest.mark.parametrize(
    ("behaviour", "names"),
    [
        ({}, ["fake-model"]),
        ({"models": ["a", "b"]}, ["a", "b"]),
        ({"reasoning_models": ["o-"]}, ["fake-model", "o-"]),
    ],
)
async def test_some_model_is_always_listed_in_either_shape(
    behaviour: dict[str, Any], names: list[str]
) -> None:
    """
    Of the kind: what programs ask before they ask a model (a list, one of it).
    """
    async with memory(FakeProvider(**behaviour)) as client:
        theirs = (await client.get("/v1/models")).json()
        assert theirs["object"] == "list"
        other = (await client.get("/v1/models", **ANTHROPIC)).json()
        assert (other["first_id"], other["last_id"]) == (names[0], names[-1])
        for listed in (theirs, other):
            assert [model["id"] for model in listed["data"]] == names
        one = (await client.get(f"/v1/models/{names[0]}")).json()
        assert (one["object"], one["id"]) == ("model", names[0])
        one = (await client.get("/v1/models/org%2Fa", **ANTHROPIC)).json()
        if "models" in behaviour:
            assert one["error"]["type"] == "not_found_error"
        else:
            assert (one["type"], one["id"]) == ("model", "org/a")


@pytest.mark.parametrize("path", ["/v1/nonsense", "/v1/models/", "/v1", "/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("dialects", [["openai"], ["anthropic"], None])
@pytest.mark.parametrize("header", [{}, ANTHROPIC])
async def test_an_unknown_path_is_told_in_the_words_of_whoever_is_there(
    path: str, method: str, dialects: list[str] | None, header: dict[str, str]
) -> None:
    """
    Keyless too, and never in the words of a vendor whose endpoints are not served.
    """
    behaviour: dict[str, Any] = {} if dialects is None else {"dialects": dialects}
    async with memory(FakeProvider(**behaviour)) as client:
        await client.send(path, b"{}", method, authorization="", **header)
        answer = await client.answer()
    assert answer.status == 404
    anthropic = dialects == ["anthropic"] or (dialects is None and header)
    error = answer.json()["error"]
    assert error["type"] == (
        "not_found_error" if anthropic else "invalid_request_error"
    )
    assert path in error["message"]
    assert (answer.json().get("type") == "error") is bool(anthropic)
