"""What happens where the system allows a process no more open files and sockets."""

import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from tests.wire.server import Server, Step, answer, serve
from tests.wire.wires import ask, connect, failure_of, our_wires, pair

from aitor import Broker
from aitor.errors import ConnectionFailedError, LLMError, OutOfDescriptorsError
from aitor.outcomes import Outcome
from aitor.providers import OpenAIProvider
from aitor.wire import WireSettings, dial, open_wire, places
from aitor.wire.places import Places

pytestmark = pytest.mark.anyio


class System:
    """A system that allows *most* sockets to whoever connects by our dialler."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sockets: list[socket.socket] = []
        self.refused = 0
        self._news = anyio.Event()

    async def refuses(self, times: int) -> None:
        """Wait until it has refused that often."""
        while self.refused < times:
            self._news = anyio.Event()
            await self._news.wait()

    @property
    def open(self) -> int:
        self.sockets = [one for one in self.sockets if one.fileno() != -1]
        return len(self.sockets)

    def socket(self, *arguments: Any) -> socket.socket:
        if self.open >= self.most:
            self.refused += 1
            self._news.set()
            raise OSError(errno.EMFILE, "Too many open files")
        made = socket.socket(*arguments)
        self.sockets.append(made)
        return made


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    it = System(8)

    class Sockets:
        """The module, with another way to make a socket."""

        def __getattr__(self, name: str) -> Any:
            return it.socket if name == "socket" else getattr(socket, name)

    monkeypatch.setattr(dial, "socket", Sockets())
    monkeypatch.setattr(places, "PAUSE", 0.001)
    yield it
    for one in it.sockets:
        one.close()


@our_wires
async def test_calls_wait_for_a_connection_where_the_system_allows_fewer(
    kind: str, system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The kind: our own want, told as the provider's failure.

    Twelve times as many calls as descriptors: each is answered, one line is logged, and
    an eighth is left for files and name look-ups.
    """
    caplog.set_level(logging.WARNING, "aitor")
    server = Server()
    async with pair(kind, server, max_connections=96) as wire:
        async with anyio.create_task_group() as group:
            for _ in range(96):
                group.start_soon(ask, wire)
        assert len(server.requests) == 96
        assert system.refused
        assert system.open <= 7
        assert server.most_open <= 8
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "out_of_descriptors"
    ]


@our_wires
async def test_the_pool_grows_again_after_a_while(
    kind: str, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The want may have been somebody else's, for a moment."""
    monkeypatch.setattr(places, "NOTICED", 0.01)
    now = anyio.Event()
    held: list[Step] = [now, answer()]
    server = Server(held, held, [answer()])
    system.most = 2
    async with (
        pair(kind, server, max_connections=20) as wire,
        anyio.create_task_group() as group,
    ):
        for _ in range(20):
            group.start_soon(ask, wire)
        await server.requests_reach(2)
        system.most = 100
        now.set()
    assert len(server.requests) == 20


@our_wires
async def test_a_want_that_lasts_is_told_as_ours(
    kind: str, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it says where to look; then there is one, and all is well."""
    monkeypatch.setattr(places, "LONGEST_WAIT", 0.01)
    system.most = 0
    async with pair(kind, Server()) as wire:
        error = await failure_of(wire)
        assert type(error) is OutOfDescriptorsError
        assert "ulimit -n" in error.message
        system.most = 1
        assert (await ask(wire))[0] == 200


@our_wires
async def test_who_waits_for_a_descriptor_may_leave(kind: str, system: System) -> None:
    """No place is lost with whoever is cancelled."""
    system.most = 0
    async with pair(kind, Server(), max_connections=1) as wire:
        for _ in range(3):
            with anyio.move_on_after(0.01):
                await ask(wire)
        system.most = 1
        assert (await ask(wire))[0] == 200


@our_wires
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("told", ["look-up", "socket"])
async def test_a_look_up_without_a_descriptor_is_no_unknown_host(
    kind: str, told: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system then says "try again" or "unknown", so it is asked for a socket."""
    monkeypatch.setattr(places, "LONGEST_WAIT", 0.01)

    async def look_up(*_: object, **__: object) -> list[object]:
        if told == "socket":
            raise OSError(code, "Too many open files")
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    class Sockets:
        gaierror = socket.gaierror

        def socket(self) -> None:
            raise OSError(code, "Too many open files")

    monkeypatch.setattr(anyio, "getaddrinfo", look_up)
    monkeypatch.setattr(places, "socket", Sockets())
    with anyio.fail_after(10):
        async with connect(kind, "http://provider.invalid") as wire:
            assert type(await failure_of(wire)) is OutOfDescriptorsError


async def test_certificates_that_want_a_descriptor_are_not_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No variable is wrong, so none is named."""

    def none(**_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("httpcore2.default_ssl_context", none)
    with pytest.raises(OutOfDescriptorsError):
        open_wire("sockets", WireSettings("https://provider.invalid"))


@pytest.mark.parametrize("transport", ["sockets", "httpx2", "sdk"])
async def test_the_circuit_stays_closed_and_callers_wait(
    transport: Any, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the want lasts, and however few failures open the circuit."""
    monkeypatch.setattr(places, "LONGEST_WAIT", 0.001)
    body = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
    json = "Content-Type: application/json"
    system.most = 0
    with anyio.fail_after(20):
        async with serve(Server([answer(body, headers=[json])])) as server:
            provider = OpenAIProvider(
                base_url=server.url,
                api_key="k",
                model="m",
                transport=transport,
                api="chat",
                max_retries=0,
                breaker={"failures": 1},
            )
            async with Broker({"one": provider}) as broker:
                outcomes: list[Outcome] = []

                async def caller() -> None:
                    try:
                        await broker.submit("x", timeout=15)
                        outcomes.append(Outcome.ANSWER)
                    except LLMError as error:
                        outcomes.append(error.outcome)

                async with anyio.create_task_group() as group:
                    for _ in range(20):
                        group.start_soon(caller)
                    await system.refuses(40)
                    system.most = 2
                one = broker.statistics().providers["one"]
                assert one.circuit == "closed"
    assert outcomes == [Outcome.ANSWER] * 20


async def test_places_are_handed_on_in_order_and_none_is_lost() -> None:
    """First come, first served; who leaves with a place in his hands gives it back."""
    it = Places(1, 60.0)
    order: list[int] = []

    async def call(number: int) -> None:
        await it.acquire()
        order.append(number)
        it.release()

    await it.acquire()
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(call, number)
            await anyio.wait_all_tasks_blocked()
        it.release()
    assert order == [0, 1, 2, 3, 4]
    await it.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(call, 5)
        await anyio.wait_all_tasks_blocked()
        it.release()
        group.cancel_scope.cancel()
    with anyio.fail_after(1):
        await it.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(call, 6)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    it.release()
    with anyio.fail_after(1):
        await it.acquire()


async def test_settings_that_are_short_make_nobody_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who set fewer connections than workers waits as long as the attempt may last."""
    monkeypatch.setattr(places, "LONGEST_WAIT", 0.0)
    it = Places(1, 0.0)
    await it.acquire()
    with anyio.move_on_after(0.02) as scope:
        await it.acquire()
    assert scope.cancelled_caught
    assert not issubclass(OutOfDescriptorsError, ConnectionFailedError)
