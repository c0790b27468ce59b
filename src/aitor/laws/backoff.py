"""
Backoff: how long to wait before trying again, at random so that nobody is in step.

Clients that failed together and wait equally long come back together, and fail again.
"Full jitter" takes any time from none to a bound that grows with each retry; of the
ways to mix growth and chance it needs the fewest calls (Marc Brooker, "Exponential
Backoff and Jitter", AWS Architecture Blog, 2015).
"""

import math
from dataclasses import dataclass

__all__ = ("Backoff",)


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    Waits at most *delay* seconds the first time, and *factor* times that each next.

    Args:
        delay: The bound on the first wait, in seconds.
        factor: How much the bound grows with each retry.
        maximum: The most that the bound grows to, in seconds.

    Raises:
        ValueError: If a setting is not in its range.
    """

    delay: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("delay", self.delay, 0.0),
            ("factor", self.factor, 1.0),
            ("maximum", self.maximum, 0.0),
        ):
            if not least <= value < math.inf:
                raise ValueError(
                    f"'{name}' must be finite and at least {least}, and is {value}"
                )

    def delay_for(self, retry: int, random: float) -> float:
        """
        Return the seconds to wait before a retry.

        Args:
            retry: 0 for the first one.
            random: Evenly distributed from 0 to 1.
        """
        try:
            bound = self.delay * self.factor**retry
        except OverflowError:
            bound = self.maximum if self.delay else 0.0
        return min(bound, self.maximum) * random
