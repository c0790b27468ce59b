"""
Tools for tests of programs that call language models.

`FakeProvider` is a real server on a real socket that speaks OpenAI's and
Anthropic's wire, with latency, limits, headers and faults, and keeps books of
what it saw. It runs inside a test, on asyncio and on trio, or in a process of
its own: `aitor fake-provider`, also `python -m aitor.testing`.
"""

from aitor.testing.ask import Ask, count_tokens, fingerprint
from aitor.testing.behaviour import Behaviour
from aitor.testing.distribution import Distribution
from aitor.testing.faults import KINDS, Fault
from aitor.testing.provider import FakeProvider
from aitor.testing.record import Bill, Seen, Statistics

__all__ = (
    "KINDS",
    "Ask",
    "Behaviour",
    "Bill",
    "Distribution",
    "FakeProvider",
    "Fault",
    "Seen",
    "Statistics",
    "count_tokens",
    "fingerprint",
)
