"""
What became of each tenant's requests.

Tenants may be as many as a program has users, so those who were not heard of for
longest are counted together.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aitor.errors import LLMError
from aitor.messages import Reply
from aitor.outcomes import Outcome

__all__ = ("OTHERS", "TenantStatistics", "Tenants")

MOST_TENANTS = 1_000
"""Tenants that are counted one by one."""

OTHERS = "(others)"
"""The name under which the rest is counted."""


@dataclass(frozen=True, slots=True)
class TenantStatistics:
    """
    One tenant's requests.

    Args:
        answered: Those that got a reply.
        failed: Those that got an error.
        cancelled: Those whose caller left, or which the broker's closing ended.
        open: Those that have no outcome yet.
        input_tokens: Of the replies, as far as providers told them; those out of a
            cache count nothing.
        output_tokens: The same.
    """

    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    open: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class _Sums:
    """What `TenantStatistics` shows, while it grows."""

    __slots__ = TenantStatistics.__slots__

    def __init__(self) -> None:
        self.answered = self.failed = self.cancelled = self.open = 0
        self.input_tokens = self.output_tokens = 0

    def add(self, other: "_Sums") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Tenants:
    """Counts requests by tenant."""

    def __init__(self) -> None:
        self._sums: OrderedDict[str, _Sums] = OrderedDict()

    async def counted(
        self, tenant: str, deliver: Callable[[], Awaitable[Reply]]
    ) -> Reply:
        """
        Return what *deliver* brings, and count it for *tenant*.

        Raises:
            LLMError: As *deliver* does.
        """
        outcome, reply = Outcome.CANCELLED, None
        self._of(tenant).open += 1
        try:
            reply = await deliver()
            outcome = Outcome.ANSWER
        except LLMError as error:
            outcome = error.outcome
            raise
        else:
            return reply
        finally:
            # Looked up again: it may count among the others by now.
            self._end(tenant, outcome, reply)

    def _end(self, tenant: str, outcome: Outcome, reply: Reply | None) -> None:
        name = tenant if tenant in self._sums else OTHERS
        sums = self._of(name)
        sums.open -= 1
        if reply is not None:
            sums.answered += 1
            if not reply.cached:
                sums.input_tokens += reply.usage.input_tokens
                sums.output_tokens += reply.usage.output_tokens
        elif outcome is Outcome.CANCELLED:
            sums.cancelled += 1
        else:
            sums.failed += 1

    def _of(self, tenant: str) -> _Sums:
        sums = self._sums.get(tenant)
        if sums is None:
            if len(self._sums) > MOST_TENANTS:
                self._forget_one()
            sums = self._sums[tenant] = _Sums()
        else:
            self._sums.move_to_end(tenant)
        return sums

    def _forget_one(self) -> None:
        others = self._sums.pop(OTHERS, None) or _Sums()
        _, oldest = self._sums.popitem(last=False)
        others.add(oldest)
        self._sums[OTHERS] = others

    def statistics(self) -> dict[str, TenantStatistics]:
        """Return the sums by tenant."""
        return {
            name: TenantStatistics(*(getattr(sums, field) for field in _Sums.__slots__))
            for name, sums in self._sums.items()
        }
