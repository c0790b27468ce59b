"""Guards of structured answers that no other test would miss; see docs/mutation.md."""

import pytest
from pydantic import BaseModel, ConfigDict

from aitor.llm.structured import Format, MismatchError


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    city: str


def test_a_mismatch_tells_none_of_the_models_own_words() -> None:
    with pytest.raises(MismatchError) as caught:
        Format.of(Closed).read('{"city": "Paris", "canary": 1}')
    assert str(caught.value) == "the answer: extra_forbidden"
