"""The words for what goes wrong, and the count of kept connections."""

import pytest

from aitor.errors import ConnectionFailedError
from aitor.wire.failures import Call, Fault, Heard, KeptConnections, explain

pytestmark = pytest.mark.anyio


def test_kept_connections_are_counted() -> None:
    """As many calls get a used one as answers were read before, and no more."""
    kept = KeptConnections(most=2)
    assert kept.take() is False
    for _ in range(3):
        kept.give_back()
    assert [kept.take() for _ in range(3)] == [True, True, False]


def test_a_pool_that_keeps_none_never_has_one() -> None:
    """Then no loss is ever excused."""
    kept = KeptConnections(most=0)
    kept.give_back()
    assert kept.take() is False


async def test_an_unknown_exception_is_told_by_its_type_alone() -> None:
    """Its text may hold anything."""
    error = explain(
        ZeroDivisionError("sk-secret"), Call(kept=False, started=0.0, heard=Heard())
    )
    assert isinstance(error, ConnectionFailedError)
    assert error.message == "the call failed: ZeroDivisionError"


def test_every_fault_has_its_own_words() -> None:
    """And a detail comes after them."""
    assert len({fault.value for fault in Fault}) == len(Fault)
    assert Fault.LOST.error("ECONNRESET").message == (
        "the connection was lost before an answer came: ECONNRESET"
    )
