"""
The watch: one timer for the time limits of all calls in flight.

Nearly every call ends long before its limit, so a timer of its own would be set up
and taken down again for nothing, at a tenth of what a call costs. Here a limit is an
entry in a heap, and the one timer is set for the earliest of them; an entry whose call
has ended, or may take longer now, is dealt with when it comes up.

A timer needs a task to wait for it, and only a broker that is open has one to give.
Until then every call's scope has a deadline of its own.
"""

import math
from heapq import heapify, heappop, heappush

import anyio

from aitor.broker.envelope import Call

__all__ = ("Watch",)

FEW = 64
"""Entries of calls that have ended which are not worth tidying up."""


class Watch:
    """Ends calls at their limits."""

    __slots__ = ("_agenda", "_alarm", "_calls", "_rings_at")

    def __init__(self) -> None:
        self._alarm: anyio.CancelScope | None = None
        self._rings_at = math.inf
        # By numbers, so that no entry keeps alive what its call was asked.
        self._calls: dict[int, Call] = {}
        self._agenda: list[tuple[float, int]] = []

    def begin(self, call: Call, limit: float) -> None:
        """Watch *call*, which has its scope and may take until *limit*."""
        self._calls[call.envelope.sequence] = call
        self.move(call, limit)

    def move(self, call: Call, limit: float) -> None:
        """Let *call* take until *limit*, whatever it was before."""
        if self._alarm is not None:
            if limit < call.limit:
                heappush(self._agenda, (limit, call.envelope.sequence))
                if limit < self._rings_at:
                    self._rings_at = self._alarm.deadline = limit
        elif call.scope is not None:
            call.scope.deadline = limit
        call.limit = limit

    def end(self, call: Call) -> None:
        """Forget *call*, if it was begun at all."""
        calls = self._calls
        calls.pop(call.envelope.sequence, None)
        if len(self._agenda) > 2 * len(calls) + FEW:
            self._write_anew()

    async def run(self) -> None:
        """Watch until cancelled; who is in flight then gets a deadline of its own."""
        self._take_over()
        try:
            while True:
                self._look(anyio.current_time())
                with anyio.CancelScope(deadline=self._rings_at) as self._alarm:
                    await anyio.sleep_forever()
        finally:
            self._alarm = None
            for call in self._calls.values():
                self.move(call, call.limit)

    def _take_over(self) -> None:
        # Not in `run`, whose frame would know the last of these calls for ever.
        self._write_anew()
        for call in self._calls.values():
            if call.scope is not None:
                call.scope.deadline = math.inf

    def _write_anew(self) -> None:
        self._agenda = [(call.limit, number) for number, call in self._calls.items()]
        heapify(self._agenda)

    def _look(self, now: float) -> None:
        """End whoever is too late, and find out when to look again."""
        agenda = self._agenda
        while agenda:
            limit, number = agenda[0]
            call = self._calls.get(number)
            if call is not None and limit > now:
                break
            heappop(agenda)
            if call is not None and call.scope is not None:
                if call.limit > now:
                    heappush(agenda, (call.limit, number))
                else:
                    call.scope.cancel()
        self._rings_at = agenda[0][0] if agenda else math.inf
