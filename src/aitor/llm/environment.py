"""
A manager of what the environment says.
"""

from collections.abc import Mapping

from aitor.broker.limit import Limit
from aitor.config import configuration_from_environment
from aitor.config.environment import veiled
from aitor.llm.manager import LLMManager

__all__ = ("create_llm_manager_from_env",)


def create_llm_manager_from_env(
    environ: Mapping[str, str] | None = None,
) -> LLMManager:
    """
    Make a manager of every provider that the environment has a key for.

    `OPENAI_API_KEY` makes `openai`, `ANTHROPIC_API_KEY` makes `claude`, and
    `CUSTOM_LLM_BASE_URL` makes `custom`. They are each other's failover, in this
    order, or with `DEFAULT_LLM_PROVIDER` (a name or a kind) first. `AITOR_CONFIG`
    names a file that says it all instead.

    Args:
        environ: The variables; by default those of the process, and behind them those
            of a file `.env`.

    Raises:
        ConfigurationError: Naming each variable that is wrong, or the ways to go on if
            nothing is set.
    """
    environ = veiled(environ)
    configuration = configuration_from_environment(environ)
    manager = LLMManager(
        limits={
            name: Limit(name, settings)
            for name, settings in configuration.limits.items()
        },
        tenants=configuration.tenants,
        drain_timeout=configuration.drain_timeout,
        retry_ratio=configuration.retry_ratio,
    )
    for name, provider in configuration.make_providers().items():
        manager.add_provider(name, provider)
    manager.set_failover_sequence(configuration.failover)
    return manager
