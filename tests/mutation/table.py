"""All mutations, floor by floor."""

from tests.mutation.agents import AGENTS
from tests.mutation.batch import BATCH
from tests.mutation.broker import BROKER
from tests.mutation.command_line import COMMAND_LINE
from tests.mutation.edges import EDGES
from tests.mutation.laws import LAWS
from tests.mutation.mutation import Mutation
from tests.mutation.providers import PROVIDERS
from tests.mutation.wire import WIRE

__all__ = ("MUTATIONS",)

MUTATIONS: tuple[Mutation, ...] = (
    *LAWS,
    *WIRE,
    *PROVIDERS,
    *BROKER,
    *EDGES,
    *BATCH,
    *AGENTS,
    *COMMAND_LINE,
)
