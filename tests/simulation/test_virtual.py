"""Virtual time: it jumps, it leaps, and both backends do the same."""

import anyio
import pytest

from aitor.testing.virtual import leap, sleep_until, virtual_backend

BACKENDS = ["asyncio", "trio"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_that_waits_is_woken_in_time_and_in_order(backend: str) -> None:
    woken: list[tuple[str, float]] = []

    async def main() -> None:
        async def wait(name: str, time: float) -> None:
            await (sleep_until if name.isupper() else anyio.sleep_until)(time)
            woken.append((name, anyio.current_time()))

        async with anyio.create_task_group() as tasks:
            for name, time in (("A", 5.0), ("b", 2.0), ("C", 3_600.0), ("d", 4.0)):
                tasks.start_soon(wait, name, time)

    anyio.run(main, backend=backend, backend_options=virtual_backend(backend)[1])
    assert woken == [("b", 2.0), ("d", 4.0), ("A", 5.0), ("C", 3_600.0)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_is_cancelled_waits_no_longer_and_holds_up_nobody(backend: str) -> None:
    async def main() -> None:
        with anyio.move_on_after(1.0) as scope:
            await sleep_until(10.0)
        assert scope.cancelled_caught
        assert anyio.current_time() == 1.0
        await sleep_until(20.0)
        assert anyio.current_time() == 20.0

    anyio.run(main, backend=backend, backend_options=virtual_backend(backend)[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_comes_due_in_a_leap_is_late(backend: str) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(late)
            await sleep_until(1.0)
            leap(99.0)
            assert anyio.current_time() == 100.0

    async def late() -> None:
        with anyio.move_on_after(5.0):
            await anyio.sleep_forever()
        assert anyio.current_time() == 100.0

    anyio.run(main, backend=backend, backend_options=virtual_backend(backend)[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_real_time_does_not_leap(backend: str) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="virtual time"):
            leap(1.0)

    anyio.run(main, backend=backend)


def test_there_are_two_backends() -> None:
    with pytest.raises(ValueError, match="'curio'"):
        virtual_backend("curio")
