"""
A pace: tokens that come evenly, and what becomes of those that nobody takes.

A limit alone says how much may go in a minute and not when. Sent all at once it fills
a vendor's queues, trips limits that are counted by the second, and leaves nothing
for whoever comes later in the minute. So tokens come one after the other, and only a
small burst of them is kept for later.

A request that is larger than the burst would wait for ever in a bucket of that size.
Here it is saved up for as long as it waits, so it starts when its own tokens are
there, and small bursts and large requests get along. What is given back is another
matter: it was paid for already, so it is kept whatever the burst is.
"""

from aitor.laws.window import MINUTE

__all__ = ("Pace",)


class Pace:
    """
    The tokens of one dimension, *limit* a minute.

    There were *level* tokens at the last start, whose time its owner knows. With time
    more come, as far as the burst or as far as somebody waits for. What was given
    back since then (*returned*) comes on top.

    Args:
        dimension: Which amount of a cost is counted.
        limit: Tokens a minute.
        share: Share of the limit that is kept for later; at least one token is.
    """

    __slots__ = (
        "_share",
        "burst",
        "cap",
        "dimension",
        "level",
        "limit",
        "rate",
        "returned",
        "slack",
    )

    limit: float
    burst: float
    cap: float
    rate: float
    slack: float

    def __init__(self, dimension: int, limit: float, share: float) -> None:
        self.dimension = dimension
        self._share = share
        self.set_limit(limit)
        self.level = self.burst
        self.returned = 0.0

    def set_limit(self, limit: float) -> None:
        """Allow *limit* a minute from now on."""
        self.limit = limit
        self.burst = max(limit * self._share, 1.0)
        # More than a limit is never there, and less than one request is none.
        self.cap = max(limit, 1.0)
        self.rate = limit / MINUTE
        # Sums of fractions are off by a little; whole numbers never are.
        self.slack = limit * 1e-9

    def change_limit(self, limit: float, elapsed: float) -> None:
        """Allow *limit* a minute instead, *elapsed* seconds after the last start."""
        level = min(self.level + self.rate * elapsed, self.cap)
        self.set_limit(limit)
        # The same is there now. But where less comes than before, it may be what the
        # new limit takes minutes for: no more than the new burst is kept of it.
        self.level = min(level - self.rate * elapsed, self.burst)
        self.returned = min(self.returned, self.cap)

    def set_level(self, level: float, elapsed: float) -> None:
        """Have *level* now, *elapsed* seconds after the last start."""
        self.level = level - self.rate * elapsed
        self.returned = 0.0

    def take(self, amount: float, elapsed: float) -> None:
        """Take *amount*, *elapsed* seconds after the last start; it is there."""
        if amount > self.cap:
            amount = self.cap
        level = self.level
        most = self.burst
        if most < amount:
            most = amount
        if most < level:
            most = level
        level += self.rate * elapsed
        if level > most:
            level = most
        self.level = level + self.returned - amount
        self.returned = 0.0

    def change(self, difference: float) -> None:
        """Take *difference* more than was taken, there or not, or give it back."""
        if difference < 0.0:
            self.returned -= difference
        elif self.level > -self.limit:
            # No more than a minute's worth is owed.
            self.level = max(self.level - difference, -self.limit)

    def saved(self, elapsed: float) -> float:
        """Return what there is for who waited since the last start."""
        return min(self.level + self.rate * elapsed + self.returned, self.cap)

    def available(self, elapsed: float) -> float:
        """Return what there is for who comes now."""
        most = max(self.burst, self.level)
        return min(self.level + self.rate * elapsed, most) + self.returned
