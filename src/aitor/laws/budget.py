"""
A retry budget: how many more tries than requests a whole process may make.

When everything fails, retries are the worst that a client can do: with three tries
each it sends three times the traffic that could not be served. The number of tries
of one request does not bound that; only a budget that all requests share does. The
idea is that of Finagle's `RetryBudget`: every first send pays in a fraction of a
retry, and time pays in a little, so that a process with few requests may retry too.

It bounds calls in an outage, not answers from a provider that fails a part of its
calls: there each answer pays for as many retries as it took to come by, as in gRPC's
retry throttling. In a total outage there are no answers, and no more than what was
saved (*maximum*) is spent on top of the share that first sends pay in.
"""

import math

__all__ = ("RetryBudget",)

PER_ANSWER = 50.0
"""
Retries that an answer pays for: a provider that answers one call in twenty needs
nineteen for each, and bad luck must not use up the budget for good.
"""


class RetryBudget:
    """
    Grants at most *initial* retries, *ratio* for each first send and *per_second*.

    So a total outage costs about 1 + *ratio* sends a request.

    Args:
        ratio: Retries that each first send pays in.
        per_second: Retries that each second pays in.
        initial: Retries to begin with: a fresh process may retry its first request.
        maximum: The most that is saved up, the bound on a sudden burst of retries.

    Raises:
        ValueError: If a setting is not in its range.
    """

    __slots__ = ("_balance", "_maximum", "_per_second", "_ratio", "_since")

    def __init__(
        self,
        ratio: float = 0.2,
        per_second: float = 0.5,
        initial: float = 10.0,
        maximum: float = 100.0,
    ) -> None:
        for name, value in (
            ("ratio", ratio),
            ("per_second", per_second),
            ("initial", initial),
            ("maximum", maximum),
        ):
            if not 0.0 <= value < math.inf:
                raise ValueError(
                    f"'{name}' must be finite and at least 0, and is {value}"
                )
        self._ratio = ratio
        self._per_second = per_second
        self._maximum = maximum
        self._balance = min(initial, maximum)
        self._since: float | None = None

    def deposit(self, now: float) -> None:
        """Pay in what a first send pays."""
        self._balance = min(self.balance(now) + self._ratio, self._maximum)

    def answered(self) -> None:
        """Pay in what an answer pays: something gets through."""
        self._balance = min(self._balance + PER_ANSWER, self._maximum)

    def withdraw(self, now: float) -> bool:
        """Take one retry and return True, or return False if there is none."""
        if self.balance(now) < 1.0:
            return False
        self._balance -= 1.0
        return True

    def balance(self, now: float) -> float:
        """Return how many retries there are."""
        # Time counts from the first call on. A clock that steps back pays nothing.
        if self._since is None:
            self._since = now
        elif now > self._since:
            gained = (now - self._since) * self._per_second
            self._balance = min(self._balance + gained, self._maximum)
            self._since = now
        return self._balance
