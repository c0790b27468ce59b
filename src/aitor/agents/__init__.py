"""
Agents: a model that works with tools, on the broker.
"""

from aitor.agents.agent import ReactAgent, create_react_agent
from aitor.agents.tools import Tool, tool
from aitor.agents.trace import (
    Step,
    StepsExceededError,
    ToolCall,
    UnfinishedAnswerError,
)

__all__ = (
    "ReactAgent",
    "Step",
    "StepsExceededError",
    "Tool",
    "ToolCall",
    "UnfinishedAnswerError",
    "create_react_agent",
    "tool",
)
