"""The long run: seeds side by side, added up, and told honestly."""

import json
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from aitor.testing.simulator import History, Violation, make_script, run
from aitor.testing.simulator import examine as module
from aitor.testing.simulator.__main__ import main
from aitor.testing.simulator.examine import Examination, Findings
from aitor.testing.simulator.proof import Proof
from aitor.testing.simulator.script import SIZES
from aitor.testing.simulator.watchdog import RunawayError


def test_a_seed_decides_also_how_many_requests_there_are() -> None:
    sizes = {len(make_script(seed, without=["close"]).plans) for seed in range(30)}
    assert len(sizes) >= len(set(SIZES))
    assert make_script(3) == make_script(3)


def test_what_a_seed_came_to_is_counted() -> None:
    findings = Examination(requests=200)(7)
    assert findings.seeds == 1
    assert findings.lifecycles >= 200
    assert findings.attempts > 0
    assert findings.faults.total() > 0
    assert not findings.broken
    assert findings.report == ""


def test_findings_add_up() -> None:
    one = Findings(1, 10, 8, 2, Counter(hang=3), {1: (16,)}, "told already")
    other = Findings(1, 20, 9, 0, Counter(hang=1, leap=1), {7: (3, 9)})
    assert one + other == Findings(
        2, 30, 17, 2, Counter(hang=4, leap=1), {1: (16,), 7: (3, 9)}
    )


def test_side_by_side_comes_to_the_same_as_one_by_one(tmp_path: Path) -> None:
    asked = ["--seeds", "20:24", "--requests", "100", "--record", f"{tmp_path}/all"]
    assert main(asked) == 0
    assert main([*asked, "--jobs", "2"]) == 0
    one, other = map(json.loads, (tmp_path / "all").read_text().splitlines())
    assert one.pop("jobs") == 1
    assert other.pop("jobs") == 2
    del one["seconds"], other["seconds"]
    assert one == other
    assert one["seeds"] == 4
    assert one["violations"] == {}
    assert {"aitor", "anyio", "python", "trio"} == set(one["versions"])


def test_it_ends_when_enough_requests_have_lived(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--lifecycles", "150", "--start", "40", "--requests", "100"]) == 0
    assert "2 seeds, " in capsys.readouterr().out


@dataclass(frozen=True)
class Interrupted(Examination):
    """As if somebody pressed ctrl-C in the third run."""

    def __call__(self, seed: int) -> Findings:
        if seed == 2:
            raise KeyboardInterrupt
        return Findings(1, 100)


def test_what_is_broken_off_tells_what_was_done(tmp_path: Path) -> None:
    said: list[str] = []
    proof = Proof(count(), Interrupted(), 1_000_000, 1, said.append)
    proof.run(tmp_path / "record")
    record = json.loads((tmp_path / "record").read_text())
    assert record["interrupted"]
    assert (record["seeds"], record["lifecycles"]) == (2, 200)
    assert said[-1].endswith("interrupted")


def test_an_endless_loop_breaks_rule_23(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(*_: object) -> History:
        raise RunawayError("still running")

    monkeypatch.setattr(module, "run", spin)
    assert Examination(100, shrinking=0)(1).broken == {1: (23,)}


def test_a_run_that_cannot_be_repeated_breaks_rule_38(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds = count()

    def vary(*_: object) -> History:
        return run(make_script(next(seeds), 100))

    monkeypatch.setattr(module, "run", vary)
    findings = Examination(100)(50)
    assert findings.broken == {50: (38,)}
    assert "another history" in findings.report


def test_every_violation_names_its_promise() -> None:
    assert str(Violation(16, 1.5, "too much")) == "rule 16 at 1.5000 s: too much"
