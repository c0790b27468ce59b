"""
What JSON holds, as an instance of a model of pydantic.
"""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

__all__ = ("Model", "instance_of")

Model = TypeVar("Model", bound=BaseModel)


def instance_of(model: type[Model], value: Any) -> Model:
    """
    Return the instance of *model* that *value*, which came from JSON, stands for.

    Pydantic is given JSON again: from that alone a strict model takes what JSON has no
    type for, such as a date or an enum.

    Raises:
        ValidationError: If it stands for none.
    """
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return model.model_validate(value)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        if not _is_unread(error):
            raise
    # Half a surrogate pair, or a depth of more than 200, which pydantic reads in no
    # JSON; where that is in what the model passes over, it does no harm.
    return model.model_validate(value)


def _is_unread(error: ValidationError) -> bool:
    details = error.errors(include_url=False, include_context=False)
    return [(each["type"], each["loc"]) for each in details] == [("json_invalid", ())]
