"""
The history of a run: one frozen line for each thing that happened, in its order.

What is right is judged from the history alone, never from the broker's own state, so
a checker cannot be fooled by the code it checks, and it can be tested with a history
that somebody made up. Lines of decisions (`Admitted`, `Judged`, `Taken`, `Settled`)
are written inside of the synchronous step that takes them, so also what happens at
one and the same time has an order.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar

from aitor.laws.breaker import Verdict
from aitor.outcomes import Outcome
from aitor.providers.settings import LimitSettings, ProviderSettings

__all__ = (
    "Admitted",
    "Circuit",
    "Closed",
    "Closing",
    "Depth",
    "Eased",
    "Ended",
    "Final",
    "Finished",
    "History",
    "Idle",
    "Judged",
    "Leapt",
    "Line",
    "Paused",
    "Phased",
    "Replaced",
    "Rest",
    "Sent",
    "Settled",
    "Startable",
    "Struck",
    "Stuck",
    "Submitted",
    "Taken",
    "Withdrawn",
    "name_of",
)


class Submitted(NamedTuple):
    """
    A caller asked.

    Args:
        time: When.
        id: The request's number, which is also its prompt.
        how: `submit`, `nowait` or `map`.
        deadline: When its caller stops caring.
        priority: Higher goes first.
        tenant: On whose behalf.
        persistent: Whether it waits for circuits, and for the retry budget.
        only: The one provider that may answer, None if any may.
        recovery: Whether everything is well again, so that it has to be answered.
        question: Which of the prompts that are asked through a cache, None for its own.
        sequence: The providers that may answer; empty for all.
    """

    time: float
    id: int
    how: str
    deadline: float
    priority: int
    tenant: str | None
    persistent: bool
    only: str | None
    recovery: bool
    question: int | None = None
    sequence: tuple[str, ...] = ()


class Finished(NamedTuple):
    """
    A caller has an outcome.

    Args:
        time: When.
        id: The request's number.
        outcome: Which; None for an exception that is not of the library.
        error: The class of the exception, `""` for none.
        attempts: Provider and outcome of each attempt, as reply or error tell.
        retry_after: What the error says about trying again.
        text: The answer's text.
        refused: Whether `submit_nowait` refused it.
        held: How many calls all mailboxes, doors and wires of the broker hold.
        unpaid: Whether the retry budget allowed no further try.
    """

    time: float
    id: int
    outcome: Outcome | None
    error: str = ""
    attempts: tuple[tuple[str, Outcome], ...] = ()
    retry_after: float | None = None
    text: str | None = None
    refused: bool = False
    held: int = 0
    unpaid: bool = False


class Depth(NamedTuple):
    """How many waited in a provider's mailbox when it was found fuller than before."""

    time: float
    provider: str
    queued: int


class Admitted(NamedTuple):
    """A breaker let a call through; *ticket* numbers probes and is 0 for others."""

    time: float
    provider: str
    generation: int
    ticket: int


class Judged(NamedTuple):
    """A breaker took back the ticket of a call that was *sent* then."""

    time: float
    provider: str
    generation: int
    ticket: int
    verdict: Verdict
    sent: float = math.inf


class Eased(NamedTuple):
    """A breaker was asked for a slow start; or it was not, after all."""

    time: float
    provider: str
    begins: bool


class Withdrawn(NamedTuple):
    """The retry budget paid for a further try."""

    time: float


class Taken(NamedTuple):
    """A call took its estimate from a limit."""

    time: float
    limit: str
    number: int
    requests: float
    input_tokens: float
    output_tokens: float


class Settled(NamedTuple):
    """What call *number* is charged in the end."""

    time: float
    limit: str
    number: int
    requests: float
    input_tokens: float
    output_tokens: float


class Sent(NamedTuple):
    """A call reached the wire; *call* numbers the provider's calls."""

    time: float
    provider: str
    id: int
    call: int


class Struck(NamedTuple):
    """A fault struck a call on the wire."""

    time: float
    provider: str
    id: int
    kind: str


class Ended(NamedTuple):
    """
    A call left the wire.

    Args:
        time: When.
        provider: At whom.
        id: The request's number.
        call: As in `Sent`.
        outcome: As the provider saw it: also the end by a time limit of the actor
            is `cancelled` here.
        retry_after: Seconds that the provider asked to wait.
    """

    time: float
    provider: str
    id: int
    call: int
    outcome: Outcome
    retry_after: float | None


class Circuit(NamedTuple):
    """The broker told that a circuit changed."""

    time: float
    provider: str
    old: str
    new: str


class Paused(NamedTuple):
    """The broker told that a provider is paused."""

    time: float
    provider: str
    seconds: float


class Startable(NamedTuple):
    """Call *number* was first in its mailbox and nothing was missing to start it."""

    time: float
    provider: str
    number: int


class Idle(NamedTuple):
    """
    A provider could have started a call that waited at another one.

    Args:
        time: When.
        provider: Who was idle.
        number: Which call waited.
        elsewhere: Where.
    """

    time: float
    provider: str
    number: int
    elsewhere: str


class Phased(NamedTuple):
    """A phase of the nemesis began or ended; *provider* is None for all of them."""

    time: float
    kind: str
    provider: str | None
    begins: bool


class Leapt(NamedTuple):
    """The clock went on from *since* and nothing ran, as when a computer sleeps."""

    time: float
    since: float


class Replaced(NamedTuple):
    """*provider* took the place of who had its name until then."""

    time: float
    provider: str


class Rest(NamedTuple):
    """
    What all providers hold, those that were replaced too, when nobody waits any more.

    Args:
        time: When.
        waiting: Calls in mailboxes and at their doors.
        running: Calls in flight.
        reserved: What is taken of limits and workers, added up.
        in_line: Who stands in line for a shared limit.
        probing: Probes that are out.
    """

    time: float
    waiting: int
    running: int
    reserved: float
    in_line: int
    probing: int


class Closing(NamedTuple):
    """Somebody closes the broker."""

    time: float
    drain_timeout: float


class Closed(NamedTuple):
    """It is closed."""

    time: float


class Stuck(NamedTuple):
    """The run did not come to its end by itself."""

    time: float


class Final(NamedTuple):
    """What was left when all was over; nothing, one hopes."""

    time: float
    open: int
    queued: int
    in_flight: int
    on_the_wire: int
    reserved: float
    tasks: int
    unclosed: int


Line: TypeAlias = (
    Submitted
    | Finished
    | Depth
    | Admitted
    | Judged
    | Eased
    | Withdrawn
    | Taken
    | Settled
    | Sent
    | Struck
    | Ended
    | Circuit
    | Paused
    | Startable
    | Idle
    | Phased
    | Leapt
    | Replaced
    | Rest
    | Closing
    | Closed
    | Stuck
    | Final
)

L = TypeVar("L")


@dataclass
class History:
    """
    All lines of a run, and what the run was about.

    Args:
        providers: Settings by provider. Of those with one name the first goes by that
            name, and the second of `a` is `a.2`: each has a mailbox of its own.
        limits: Settings by limit.
        limit_of: Name of each provider's limit.
        retry_ratio: The broker's.
        calm: When the faults are over.
        lines: In order.
        plain: When a plain client had its answers, in order; None where there was none.
    """

    providers: dict[str, ProviderSettings]
    limits: dict[str, LimitSettings]
    limit_of: dict[str, str]
    retry_ratio: float = 0.2
    calm: float = math.inf
    lines: list[Line] = field(default_factory=list)
    plain: list[float] | None = None

    def of(self, kind: type[L]) -> Iterator[L]:
        """Iterate over the lines of one *kind*."""
        return (line for line in self.lines if type(line) is kind)

    def among(self, *kinds: type[Line]) -> list[Line]:
        """Return the lines of several *kinds*, in order."""
        return [line for line in self.lines if type(line) in kinds]

    def digest(self) -> str:
        """Return a hash of every line: two runs with the same one are the same."""
        digest = hashlib.sha256()
        for line in self.lines:
            digest.update(repr((type(line).__name__, *line)).encode())
        return digest.hexdigest()

    def last(self, count: int = 30) -> str:
        """Return the last lines, for people."""
        return "\n".join(show(line) for line in self.lines[-count:])


def name_of(provider: str) -> str:
    """Return the name that *provider* has in the broker."""
    return provider.partition(".")[0]


def show(line: Line) -> str:
    """Return *line* as a person wants to read it."""
    facts = " ".join(
        f"{name}={value}"
        for name, value in zip(line._fields[1:], line[1:], strict=True)
    )
    return f"{line[0]:12.4f} {type(line).__name__:<9} {facts}"
