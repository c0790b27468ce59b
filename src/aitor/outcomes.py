"""
What can become of one attempt, in one word each.

The whole broker speaks of what happened in these words: errors carry one,
attempts record one, and a single table (`aitor.broker.policy`) says what each
means for the next step, the circuit breaker and the token buckets.
"""

from enum import StrEnum

__all__ = ("Outcome",)


class Outcome(StrEnum):
    """How an attempt, or a request that never became one, ended."""

    ANSWER = "answer"
    """The provider answered, with its own terminal mark."""

    BAD_REQUEST = "bad_request"
    """The request itself is wrong; no provider would take it."""

    CONTENT_FILTER = "content_filter"
    """The provider declined the content."""

    TOO_LONG = "too_long"
    """Too large for this model or for its limit in a whole minute."""

    PARAMETER = "parameter"
    """The model does not take one of the parameters; the error names it."""

    UNSUPPORTED = "unsupported"
    """The provider lacks what is asked for (tools, a schema); another may have it."""

    DECLINED = "declined"
    """The provider did not take this one request, for no reason that binds others."""

    ACCOUNT = "account"
    """Key, quota, billing or country: nothing will pass until a human acts."""

    MODEL = "model"
    """The model is unknown, retired, or not allowed for this key."""

    RATE_LIMITED = "rate_limited"
    """The provider asks everybody on this key to slow down."""

    SERVER = "server"
    """The provider failed, or had no capacity."""

    CONNECTION = "connection"
    """No connection, or it was lost before the answer was whole."""

    TIMEOUT = "timeout"
    """One of the attempt's time limits passed."""

    MALFORMED = "malformed"
    """Something came back that is no answer."""

    TRUNCATED = "truncated"
    """An answer came back without its end."""

    CRASH = "crash"
    """The provider's code raised something nobody expected."""

    REFUSED = "refused"
    """Our own mailbox, limit or circuit said no; nothing was sent."""

    CANCELLED = "cancelled"
    """The caller left, or the broker closed."""

    EXPIRED = "expired"
    """The caller's deadline passed."""
