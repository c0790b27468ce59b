"""Examples as users paste them, word for word, with only their imports added."""

from pathlib import Path
from typing import Any

IMPORTS = """
import logging, time
from typing import Any, Dict, List
from aitor.llm import LLMManager, LLMProvider
logger = logging.getLogger("pasted")
"""


def pasted(name: str, **given: Any) -> dict[str, Any]:
    """Run the example *name* and return what it defines."""
    text = Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8")
    names = {"__name__": f"pasted_{name}", **given}
    exec(IMPORTS + text, names)
    return names
