"""Guards of structured answers that no other test would miss; see docs/mutation.md."""

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from aitor.llm.structured import Format, MismatchError


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    city: str


def test_a_mismatch_tells_none_of_the_models_own_words() -> None:
    with pytest.raises(MismatchError) as caught:
        Format.of(Closed).read('{"city": "Paris", "canary": 1}')
    assert str(caught.value) == "the answer: extra_forbidden"


def test_a_mismatch_of_the_whole_has_no_place() -> None:
    class Never(Closed):
        @model_validator(mode="after")
        def refuse(self) -> "Never":
            raise ValueError("canary")

    with pytest.raises(MismatchError) as caught:
        Format.of(Never).read('{"city": "Paris"}')
    assert str(caught.value) == "the answer: value_error"


def test_a_mismatch_names_a_place_as_the_schema_does() -> None:
    class Alias(BaseModel):
        city: str = Field(validation_alias=AliasChoices("town", "place"))

    with pytest.raises(MismatchError) as caught:
        Format.of(Alias).read("{}")
    assert str(caught.value) == "'town': missing"
