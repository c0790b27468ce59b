"""
What a fake provider saw: the log, the counts and the bill.

The other side's books: a client claims that it sent nothing twice, kept to the
limits and cancelled what it gave up, and this is where a test looks whether
that is so. Texts are never kept, only their fingerprints.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aitor.testing.limits import LimitState

__all__ = ("Bill", "Outcome", "Record", "Seen", "Statistics")

Outcome = Literal["answered", "rejected", "limited", "faulty", "client_gone", "stopped"]


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One request and what became of it.

    Args:
        number: Its place in the order of arrival, from 1.
        time: Seconds from the start of the server to its arrival.
        path: The path asked for.
        model: The model asked for, if one was named.
        status: The status sent; 0 if none was.
        outcome: `answered` in full; `rejected` as wrong; `limited` by a limit;
            `faulty` on purpose; `client_gone` if the client hung up before the
            end, whatever it would have got; `stopped` if the server did.
        fault: The kind of the fault that struck, if any.
        seconds: From its arrival to the last byte.
        input_tokens: Counted from the prompt.
        output_tokens: Of the answer, 0 without one.
        stream: Whether a stream was asked for.
        fingerprint: Stands for the prompt, see `aitor.testing.fingerprint`; none
            where no model was asked, as for the list of models.
    """

    number: int
    time: float
    path: str
    model: str
    status: int
    outcome: Outcome
    fault: str
    seconds: float
    input_tokens: int
    output_tokens: int
    stream: bool
    fingerprint: str

    @property
    def client_gone(self) -> bool:
        """
        Whether the client hung up before the answer was complete.
        """
        return self.outcome == "client_gone"


@dataclass(frozen=True, slots=True)
class Bill:
    """
    What a customer would pay for: every answer that was sent in full.

    Args:
        requests: How many.
        input_tokens: Their input, in all.
        output_tokens: Their output, in all.
        answers: How many by the fingerprint of the prompt: none should be above
            one if no prompt was to be answered twice.
        unfinished: How many answers were begun and not sent in full, which some
            vendors bill too; not contained above.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    answers: Mapping[str, int] = field(repr=False)
    unfinished: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """
    Counts since the start.

    Args:
        requests: Requests that came.
        outcomes: How many ended how; see `Seen`.
        faults: How many faults struck, by kind.
        in_flight: Requests not yet ended.
        peak_in_flight: The most there ever were.
        connections: Connections now open.
        peak_connections: The most there ever were.
        all_connections: Connections that came.
        violations: Requests beyond a limit, that of concurrency too.
        limits: Every limit per minute as it stands.
    """

    requests: int
    outcomes: Mapping[str, int]
    faults: Mapping[str, int]
    in_flight: int
    peak_in_flight: int
    connections: int
    peak_connections: int
    all_connections: int
    violations: int
    limits: Mapping[str, LimitState]


class Record:
    """
    Keeps the books of one server.

    Args:
        log_limit: How many requests the log keeps, the newest; counts are exact
            beyond it.
    """

    def __init__(self, log_limit: int) -> None:
        self.log: deque[Seen] = deque(maxlen=log_limit)
        self.requests = 0
        self.in_flight = 0
        self._peak_in_flight = 0
        self._connections = 0
        self._peak_connections = 0
        self._all_connections = 0
        self._outcomes: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._billed = 0
        self._input_tokens = 0
        self._output_tokens = 0
        self._unfinished = 0

    def connected(self) -> None:
        """
        Count a connection that came.
        """
        self._connections += 1
        self._all_connections += 1
        self._peak_connections = max(self._peak_connections, self._connections)

    def disconnected(self) -> None:
        """
        Count a connection that ended.
        """
        self._connections -= 1

    def arrived(self) -> int:
        """
        Count a request that came and return its number.
        """
        self.requests += 1
        self.in_flight += 1
        self._peak_in_flight = max(self._peak_in_flight, self.in_flight)
        return self.requests

    def ended(self, seen: Seen) -> None:
        """
        Count a request that ended and put it into the log.
        """
        self.in_flight -= 1
        self.log.append(seen)
        self._outcomes[seen.outcome] += 1
        if seen.fault:
            self._faults[seen.fault] += 1
        if seen.outcome == "answered" and seen.fingerprint:
            self._billed += 1
            self._answers[seen.fingerprint] += 1
            self._input_tokens += seen.input_tokens
            self._output_tokens += seen.output_tokens
        elif seen.output_tokens:
            self._unfinished += 1

    def bill(self) -> Bill:
        """
        Return what a customer would pay for.
        """
        return Bill(
            self._billed,
            self._input_tokens,
            self._output_tokens,
            dict(self._answers),
            self._unfinished,
        )

    def statistics(
        self, limits: Mapping[str, LimitState], violations: int
    ) -> Statistics:
        """
        Return the counts, with what the keeper of the *limits* adds.
        """
        return Statistics(
            requests=self.requests,
            outcomes=dict(self._outcomes),
            faults=dict(self._faults),
            in_flight=self.in_flight,
            peak_in_flight=self._peak_in_flight,
            connections=self._connections,
            peak_connections=self._peak_connections,
            all_connections=self._all_connections,
            violations=violations,
            limits=limits,
        )
