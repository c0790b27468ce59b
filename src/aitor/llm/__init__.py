"""
Language models by name: managers, and providers of one's own.

    from aitor.llm import LLMManager

    manager = LLMManager()
    manager.add_provider("openai", "openai", {"api_key": "env:OPENAI_API_KEY"})
    text = await manager.generate_response("openai", "Say hello")

Behind it is the broker, and everything that the broker does.
"""

from aitor.broker.cache import Cache
from aitor.errors import (
    AccountError,
    APIError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ConfigurationError,
    ConnectionFailedError,
    ContentFilterError,
    ContextLengthError,
    DeadlineExceededError,
    LLMError,
    MalformedAnswerError,
    ModelNotFoundError,
    ModelRetiredError,
    OverloadedError,
    QueueFullError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
)
from aitor.llm.cached import CachedLLMProvider
from aitor.llm.environment import create_llm_manager_from_env
from aitor.llm.manager import LLMManager
from aitor.llm.monitored import MonitoredLLMManager
from aitor.llm.provider import LLMProvider
from aitor.llm.response import Response
from aitor.llm.structured import StructuredOutputError

__all__ = (
    "APIError",
    "AccountError",
    "AttemptTimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "Cache",
    "CachedLLMProvider",
    "CircuitOpenError",
    "ConfigurationError",
    "ConnectionFailedError",
    "ContentFilterError",
    "ContextLengthError",
    "DeadlineExceededError",
    "LLMError",
    "LLMManager",
    "LLMProvider",
    "MalformedAnswerError",
    "ModelNotFoundError",
    "ModelRetiredError",
    "MonitoredLLMManager",
    "OverloadedError",
    "QueueFullError",
    "QuotaError",
    "RateLimitError",
    "Response",
    "ServerError",
    "StructuredOutputError",
    "UnsupportedParameterError",
    "create_llm_manager_from_env",
)
