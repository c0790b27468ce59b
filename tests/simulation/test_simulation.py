"""
The whole broker under faults, in virtual time: no promise is broken, whatever happens.

More seeds: `python -m aitor.testing.simulator --seeds 0:1000 --requests 2000`.
"""

import pytest

from aitor.testing.simulator import KINDS, Script, check, make_script, run


def show(script: Script) -> str:
    return f"python -m aitor.testing.simulator --seeds {script.seed}:{script.seed + 1}"


@pytest.mark.parametrize("seed", range(10))
def test_no_promise_is_broken_on_trio(seed: int) -> None:
    script = make_script(seed, 1_000 if seed < 5 else 500)
    assert not check(run(script)), show(script)


@pytest.mark.parametrize("seed", range(100, 105))
def test_no_promise_is_broken_on_asyncio(seed: int) -> None:
    script = make_script(seed, 500)
    assert not check(run(script, "asyncio")), show(script)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_without_faults_breaks_no_promise(seed: int) -> None:
    script = make_script(seed, 300, without=(*KINDS, "close"))
    assert not script.phases
    assert not check(run(script)), show(script)


def test_the_same_seed_gives_the_same_history() -> None:
    script = make_script(4, 600)
    assert run(script).digest() == run(script).digest()


def test_another_seed_gives_another_history() -> None:
    assert run(make_script(4, 100)).digest() != run(make_script(5, 100)).digest()


def test_a_script_is_decided_by_its_seed() -> None:
    assert make_script(7, 200) == make_script(7, 200)
    assert make_script(7, 200) != make_script(8, 200)
