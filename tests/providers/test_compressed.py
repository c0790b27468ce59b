"""Nobody asks for compressed answers, and some servers send them all the same."""

from typing import Any

import pytest

from aitor.errors import MalformedAnswerError
from aitor.providers import CompatibleProvider

from .fake import EVENTS, JSON, FakeWire, ask, completion

pytestmark = pytest.mark.anyio


def provider(**settings: Any) -> CompatibleProvider:
    return CompatibleProvider(model="m", base_url="http://x.test/v1", **settings)


@pytest.mark.parametrize(
    ("headers", "sent"),
    [({}, "identity"), ({"Accept-Encoding": "gzip"}, "gzip")],
    ids=["ours", "the caller's"],
)
async def test_answers_are_asked_for_as_they_are(
    wire: FakeWire, headers: dict[str, str], sent: str
) -> None:
    wire.answer(completion())
    await ask(provider(headers=headers))
    assert wire.settings[0].headers["accept-encoding"] == sent


@pytest.mark.parametrize("head", [JSON, EVENTS], ids=["whole", "stream"])
async def test_what_nobody_can_read_is_told(
    wire: FakeWire, head: dict[str, str]
) -> None:
    wire.answer(b"\x8b\x0b\x80", headers={**head, "content-encoding": "br"})
    with pytest.raises(MalformedAnswerError, match=r"is compressed \(br\)"):
        await ask(provider())


@pytest.mark.parametrize("coding", ["gzip", "identity", "sk-7e57 7e57", "x" * 99])
async def test_a_word_that_explains_nothing_is_not_repeated(
    wire: FakeWire, coding: str
) -> None:
    wire.answer(b"7e?", headers={**JSON, "content-encoding": coding})
    with pytest.raises(MalformedAnswerError, match=r"3 bytes are not JSON$"):
        await ask(provider())
