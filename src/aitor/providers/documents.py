"""
JSON as models and gateways send it, which is not always what a strict reader takes.

A model may stop in the middle of a character, or send its halves in two pieces of a
stream, and then an escape stands for half of a surrogate pair. The answer is paid
for, so it is kept, half a character and all.
"""

import json
import re
from typing import Any

from pydantic_core import from_json, to_json

__all__ = ("read_json", "whole_characters", "write_json")

BYTE_ORDER_MARK = "\ufeff"
ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(data: bytes | str) -> Any:
    """
    Return the document that *data* holds.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        return from_json(data)
    except ValueError as error:
        strict = error
    try:
        text = data.decode() if isinstance(data, bytes) else data
        if text.startswith(BYTE_ORDER_MARK) or ESCAPED_HALF.search(text):
            # It takes an escape for half a character, and is much slower.
            return json.loads(text.removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError):
        pass
    # It says where the document breaks off.
    raise strict


def write_json(document: Any) -> str:
    """Return *document*, which was read from JSON, as JSON again."""
    try:
        return to_json(document).decode()
    except ValueError:
        # Half a character has to be escaped, which only this does.
        return json.dumps(document)


def whole_characters(text: str) -> str:
    """Return *text* with the halves of a character that stand side by side joined."""
    try:
        # The fastest way to look for them.
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return text
