"""
What a batch has come to, counted as its rows are stored.

A row counts when its record is in the journal and not before, so the numbers never
promise what a crash could take back. Everything here is a sum: a million rows take
no more room than ten.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aitor.broker.ledger import Ledger
from aitor.errors import LLMError
from aitor.messages import Attempt, Usage

__all__ = ("Served", "Summary")


@dataclass(slots=True)
class Served:
    """
    What one model of one provider has answered.

    Args:
        rows: How many.
        usage: Tokens used.
        cost: US dollars, for those answers whose price is known.
        unpriced: How many answers have no known price.
    """

    rows: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: Decimal = Decimal(0)
    unpriced: int = 0

    def add(self, usage: Usage, cost: Decimal | None) -> None:
        """Count one more answer."""
        self.rows += 1
        self.usage += usage
        if cost is None:
            self.unpriced += 1
        else:
            self.cost += cost

    @property
    def known_cost(self) -> Decimal | None:
        """What is known of the cost, in US dollars; None if nothing is."""
        return self.cost if self.rows > self.unpriced else None


@dataclass(slots=True)
class Summary:
    """
    The numbers of one run; they grow while it runs.

    Args:
        rows: Rows of the input that were read.
        earlier_succeeded: Those of them that an earlier run has answered.
        earlier_failed: Those of them that failed in an earlier run.
        succeeded: Rows that were answered in this run.
        failed: Rows that failed in this run.
        in_flight: Rows that were handed to the broker and have no record yet.
        given_up: Rows that were given up after they were sent: they may be paid for
            again.
        expected: How many rows there will be, once the input was looked through; None
            before that, and for a pipe.
        finished: Whether every row of the input has its record.
        seconds: How long the run took; 0.0 until it has ended.
        served: By provider and model, what they answered.
        failures: By the name of the error's class, how many rows failed with it.
        reasons: By the same name, what the first of them failed with.
        failovers: Rows for which more than one provider was asked.
        ledger: Every call on the wire, added up by provider and model.
        notes: What was odd about the files when they were opened, in sentences.
    """

    rows: int = 0
    earlier_succeeded: int = 0
    earlier_failed: int = 0
    succeeded: int = 0
    failed: int = 0
    in_flight: int = 0
    given_up: int = 0
    expected: int | None = None
    finished: bool = False
    seconds: float = 0.0
    served: dict[tuple[str, str], Served] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    failovers: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    notes: list[str] = field(default_factory=list)

    def count_answer(
        self,
        by: tuple[str, str],
        usage: Usage,
        attempts: Iterable[Attempt],
        cost: Decimal | None,
    ) -> None:
        """
        Count a row that was answered.

        Args:
            by: The provider and the model.
            usage: Tokens used.
            attempts: Every call on the wire.
            cost: In US dollars; None where it is unknown.
        """
        self.succeeded += 1
        served = self.served.get(by)
        if served is None:
            served = self.served[by] = Served()
        served.add(usage, cost)
        self._count_attempts(attempts)

    def count_failure(self, error: LLMError) -> None:
        """Count a row that failed."""
        self.failed += 1
        name = type(error).__name__
        self.failures[name] += 1
        self.reasons.setdefault(name, str(error))
        self._count_attempts(error.attempts)

    def _count_attempts(self, attempts: Iterable[Attempt]) -> None:
        asked = set()
        for attempt in attempts:
            asked.add(attempt.provider)
            self.ledger.record(attempt)
        self.failovers += len(asked) > 1

    @property
    def waits(self) -> dict[str, float]:
        """By cause, the seconds that attempts waited before they were sent."""
        return self.ledger.total().waits._asdict()

    @property
    def ended(self) -> int:
        """Rows that have their record, those of earlier runs included."""
        earlier = self.earlier_succeeded + self.earlier_failed
        return earlier + self.succeeded + self.failed

    @property
    def total(self) -> Served:
        """What all models together have answered."""
        total = Served()
        for served in self.served.values():
            total.rows += served.rows
            total.usage += served.usage
            total.cost += served.cost
            total.unpriced += served.unpriced
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a program to read; a cost unknown is null."""
        return {
            "finished": self.finished,
            "rows": self.rows,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "earlier_succeeded": self.earlier_succeeded,
            "earlier_failed": self.earlier_failed,
            "seconds": round(self.seconds, 3),
            **_told(self.total),
            "served": [
                {"provider": provider, "model": model, "rows": served.rows}
                | _told(served)
                for (provider, model), served in sorted(self.served.items())
            ],
            "failovers": self.failovers,
            "attempts": [
                {
                    "provider": provider,
                    "model": model,
                    "outcomes": dict(totals.attempts),
                    "seconds": round(totals.seconds, 3),
                    "waits": _rounded(totals.waits._asdict()),
                }
                for (provider, model), totals in self.ledger.entries().items()
            ],
            "failures": dict(self.failures.most_common()),
            "reasons": self.reasons,
            "waits": _rounded(self.waits),
            "notes": self.notes,
        }


def _rounded(waits: dict[str, float]) -> dict[str, float]:
    return {cause: round(seconds, 3) for cause, seconds in waits.items()}


def _told(served: Served) -> dict[str, Any]:
    cost = served.known_cost
    return {
        "input_tokens": served.usage.input_tokens,
        "output_tokens": served.usage.output_tokens,
        "cost_usd": None if cost is None else float(cost),
        "unpriced_rows": served.unpriced,
    }
