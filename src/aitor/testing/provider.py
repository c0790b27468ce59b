"""
The fake provider: a real server that speaks OpenAI's and Anthropic's wire.

It answers as the vendors do, with their latency, limits, headers and errors, and
fails as they do, on a schedule that a seed repeats. It keeps books of its own, so
that what a client says about itself can be held against what arrived.

No model is behind it and no answer makes sense. It refuses what programs get
wrong most often, not everything that a vendor would.
"""

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
from anyio.abc import AnyByteStream, ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from aitor.testing.ask import count_tokens, fingerprint
from aitor.testing.behaviour import Behaviour
from aitor.testing.control import PREFIX, control
from aitor.testing.delivery import deliver
from aitor.testing.faults import CLOSING, Fault, pick
from aitor.testing.http import (
    ClientGoneError,
    Connection,
    MalformedRequestError,
    json_response,
)
from aitor.testing.record import Bill, Outcome, Record, Seen, Statistics
from aitor.testing.vendor import Arrival, Plan, Vendor

__all__ = ("FakeProvider",)

_RESET = Fault(kind="reset")


class FakeProvider:
    """
    A server that pretends to be a provider of language models.

    ```python
    provider = FakeProvider(latency="exponential(0.2)", faults=["status=500 every=10"])
    async with provider.serve() as url:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="any")
        ...  # a hundred requests
    assert provider.bill().requests == 90
    ```

    Args:
        behaviour: All settings.
        changes: Settings that differ, by name; see `Behaviour`.

    Raises:
        ValueError: If a setting makes no sense.
    """

    def __init__(self, behaviour: Behaviour | None = None, **changes: Any) -> None:
        self.behaviour = replace(behaviour or Behaviour(), **changes)
        self._start: float | None = None
        self._begin()

    def _begin(self) -> None:
        self.faults = self.behaviour.faults
        self._vendor = Vendor(self.behaviour)
        self._record = Record(self.behaviour.log_limit)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """
        The faults in force; of those that strike a request the first one does.

        May be set at any time, to faults, texts or mappings.
        """
        return self._faults

    @faults.setter
    def faults(self, faults: Iterable[Fault | str | Mapping[str, Any]]) -> None:
        self._faults = tuple(Fault.parse(fault) for fault in faults)

    @property
    def log(self) -> list[Seen]:
        """
        The requests that ended, in that order, the newest `log_limit` of them.
        """
        return list(self._record.log)

    def bill(self) -> Bill:
        """
        Return what a customer would pay for.
        """
        return self._record.bill()

    def statistics(self) -> Statistics:
        """
        Return the counts so far; to be called where the server runs.
        """
        limits = self._vendor.limits(self._elapsed())
        return self._record.statistics(limits, self._vendor.violations)

    def reset(self) -> None:
        """
        Start afresh, as after construction: books, limits, faults, seed and time.

        Requests and connections that are open end in the old books.
        """
        self._begin()
        self._start = anyio.current_time()

    @asynccontextmanager
    async def serve(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> AsyncIterator[str]:
        """
        Serve while the context is open, and give the URL, without `/v1`.

        Args:
            host: The address to listen on.
            port: The port to listen on; 0 for a free one.
            ssl_context: Makes it HTTPS.
        """
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no SQL
        self._elapsed()

        async def accept(stream: ByteStream) -> None:
            secure = await _encrypt(stream, ssl_context) if ssl_context else stream
            if secure is not None:
                await self.serve_connection(secure)

        raised: Exception | None = None
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, accept)
            try:
                name = f"[{host}]" if ":" in host else host
                yield f"{'https' if ssl_context else 'http'}://{name}:{port}"
            except Exception as error:  # noqa: BLE001 - raised again below
                # From outside the task group, so that it leaves as it came and
                # not as a member of an exception group.
                raised = error
            tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised

    async def serve_connection(self, stream: AnyByteStream) -> None:
        """
        Serve one connection over *stream*, which may as well be in memory.
        """
        record = self._record
        record.connected()
        connection = Connection(stream)
        try:
            while await self._serve_request(connection):
                pass
        except ClientGoneError:
            pass
        finally:
            record.disconnected()
            await connection.aclose()

    async def _serve_request(self, connection: Connection) -> bool:
        """
        Serve the next request, and return whether another may follow.
        """
        try:
            request = await connection.read_request()
        except MalformedRequestError as error:
            refused = json_response(400, {"error": str(error)})
            await connection.send(refused.closing().wire())
            return False
        lasts = request.head.keep_alive
        if request.path.startswith(PREFIX):
            told = control(self, request)
            await connection.send((told if lasts else told.closing()).wire())
            return lasts
        elapsed = self._elapsed()
        record = self._record
        number = record.arrived()
        fault = pick(self._faults, number, elapsed, self._vendor.random)
        if connection.poisoned:
            fault = _RESET
        arrival = Arrival(request, number, elapsed, record.in_flight, fault)
        plan = self._vendor.plan(arrival)
        if not lasts or (plan.fault and plan.fault.kind in CLOSING):
            plan = replace(plan, response=plan.response.closing())
        again = await self._carry_out(arrival, plan, connection, record)
        return again and lasts

    async def _carry_out(
        self, arrival: Arrival, plan: Plan, connection: Connection, record: Record
    ) -> bool:
        """
        Send what was planned, and put down in *record* what became of it.
        """
        status = 0
        outcome: Outcome = "stopped"
        try:
            await connection.wait(plan.delay)
            status = plan.response.status
            again = await deliver(connection, plan.response, plan.fault, plan.ping)
            outcome = plan.outcome
        except ClientGoneError:
            outcome = "client_gone"
            raise
        finally:
            record.ended(_seen(arrival, plan, status, outcome, self._elapsed()))
        return again

    def _elapsed(self) -> float:
        now = anyio.current_time()
        if self._start is None:
            self._start = now
        return now - self._start


def _seen(
    arrival: Arrival, plan: Plan, status: int, outcome: Outcome, ended: float
) -> Seen:
    ask, answer = plan.ask, plan.answer
    return Seen(
        number=arrival.number,
        time=arrival.now,
        path=arrival.request.path,
        model=ask.model if ask else "",
        status=status,
        outcome=outcome,
        fault=plan.fault.kind if plan.fault else "",
        seconds=ended - arrival.now,
        input_tokens=count_tokens(ask.prompt) if ask else 0,
        output_tokens=answer.output_tokens if answer else 0,
        stream=ask is not None and ask.stream,
        fingerprint=fingerprint(ask.prompt) if ask else "",
    )


async def _encrypt(stream: ByteStream, context: ssl.SSLContext) -> ByteStream | None:
    """
    Return *stream* under TLS, `None` if the client does not go along.
    """
    try:
        return await TLSStream.wrap(
            stream, server_side=True, ssl_context=context, standard_compatible=False
        )
    except (anyio.BrokenResourceError, anyio.EndOfStream, OSError):
        await anyio.aclose_forcefully(stream)
        return None
