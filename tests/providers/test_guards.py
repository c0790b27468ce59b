"""Guards of the providers that no other test would miss; see docs/mutation.md."""

import pytest

from aitor.errors import AnswerTooLargeError, MalformedAnswerError
from aitor.providers import CompatibleProvider

from .fake import FakeWire, ask, completion

pytestmark = pytest.mark.anyio


def provider(**settings: object) -> CompatibleProvider:
    return CompatibleProvider(model="m", base_url="http://x.test/v1", **settings)


async def test_entries_count_however_little_is_in_them(wire: FakeWire) -> None:
    """Or a stream of empty choices would fill the memory."""
    choices = [{"choices": [{"index": number}]} for number in range(100)]
    wire.stream(*choices)
    with pytest.raises(AnswerTooLargeError):
        await ask(provider(max_answer_bytes=10_000, idle_timeout=9.0))


@pytest.mark.parametrize("status", [300, 302, 304, 307])
async def test_a_redirect_is_no_answer_whatever_it_says(
    wire: FakeWire, status: int
) -> None:
    wire.answer(completion(), status=status)
    with pytest.raises(MalformedAnswerError, match="redirect"):
        await ask(provider())
