"""
An actor-style broker for large language models.

    from aitor import Broker

    async with Broker.from_env() as broker:
        reply = await broker.submit("Say hello", timeout=30)

Names are imported when they are first used, so that `import aitor` costs next to
nothing and imports no vendor's SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aitor.agents.agent import ReactAgent, create_react_agent
    from aitor.agents.tools import Tool
    from aitor.broker.blocking import BlockingBroker
    from aitor.broker.broker import Broker
    from aitor.broker.limit import Limit
    from aitor.broker.mapping import MapResult
    from aitor.errors import LLMError
    from aitor.messages import Reply, Request, Usage

__version__ = "0.1.0"

__all__ = (
    "BlockingBroker",
    "Broker",
    "LLMError",
    "Limit",
    "MapResult",
    "ReactAgent",
    "Reply",
    "Request",
    "Tool",
    "Usage",
    "create_react_agent",
)

_HOME = {
    "BlockingBroker": "aitor.broker.blocking",
    "Broker": "aitor.broker.broker",
    "LLMError": "aitor.errors",
    "Limit": "aitor.broker.limit",
    "MapResult": "aitor.broker.mapping",
    "ReactAgent": "aitor.agents.agent",
    "Reply": "aitor.messages",
    "Request": "aitor.messages",
    "Tool": "aitor.agents.tools",
    "Usage": "aitor.messages",
    "create_react_agent": "aitor.agents.agent",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'aitor' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
