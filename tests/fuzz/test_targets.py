"""What `make fuzz` looks for, looked for in every run of the tests: a little."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import BrokenPromiseError, promise
from fuzz.seeds import SEEDS
from fuzz.targets import TARGETS

EVERY = pytest.mark.parametrize("name", TARGETS)


def test_every_target_has_seeds() -> None:
    assert list(SEEDS) == list(TARGETS)


@EVERY
def test_the_seeds_keep_every_promise(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@EVERY
@given(st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_any_bytes_keep_every_promise(name: str, data: bytes) -> None:
    TARGETS[name](data)


@EVERY
@given(st.randoms(use_true_random=False), st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_seeds_keep_every_promise(
    name: str, dice: Random, draw: st.DataObject
) -> None:
    data = draw.draw(st.sampled_from(SEEDS[name]))
    for _ in range(dice.randrange(1, 5)):
        at, more = dice.randrange(len(data) + 1), dice.randrange(9)
        put = draw.draw(st.binary(max_size=8) | st.sampled_from(PIECES))
        data = data[:at] + put + data[at + more :]
    TARGETS[name](data)


PIECES = (
    *(b"null", b"true", b"-1", b"1e999", b'"', b'\\"', b"{", b"}", b"[", b"]", b","),
    *(b"\n", b"\n\n", b"\r", b"\r\n", b": ", b"data: ", b"0", b"\xff", b"\0", b"="),
    *(b'"error":{}', b'"index":9', b"NaN", b"\\ud800", b"99999999999", b"#", b"env:"),
)
"""What means something to one format or another."""


def test_a_promise_that_is_broken_is_told() -> None:
    promise("a" in "ab", "kept")
    with pytest.raises(BrokenPromiseError, match="not kept"):
        promise("c" in "ab", "not kept")
