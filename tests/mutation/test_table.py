"""The table of mutations fits the source as it is today."""

import shlex
from collections import Counter

from tests.mutation.mutation import ROOT
from tests.mutation.table import MUTATIONS


def test_there_is_a_mutation_for_each_guard_and_each_has_a_name() -> None:
    names = Counter(mutation.name for mutation in MUTATIONS)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) >= 60


def test_what_is_to_be_broken_is_there_once() -> None:
    wrong = [one.name for one in MUTATIONS if not one.fits()]
    assert not wrong


def test_what_is_put_in_its_place_is_code_and_something_else() -> None:
    for one in MUTATIONS:
        text = (ROOT / one.path).read_text("utf-8")
        broken = text.replace(one.old, one.new)
        assert broken != text, one.name
        compile(broken, one.name, "exec", dont_inherit=True)


def test_a_promise_is_a_sentence_and_its_tests_are_there() -> None:
    for one in MUTATIONS:
        assert one.promise.endswith("."), one.name
        parts = shlex.split(one.tests)
        paths = [part for part in parts if part.startswith("tests/")]
        assert paths, one.name
        assert all((ROOT / path).exists() for path in paths), one.name
