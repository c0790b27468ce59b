"""The example does what it says, as its reader runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "agent.py"

EXPECTED = """\
Problem: How crowded is Utopia? Begin with call:look_up({"place": "Utopia"})

Step 1, answered by openai:
  look_up(place='Utopia') -> Utopia is an island. Go on with \
call:density({"people": 600, "square_kilometres": 4})
Step 2, answered by claude:
  density(people=600, square_kilometres=4) -> 150.0
Step 3, answered by claude:
  the answer

Answer: 150.0 people live on each square kilometre.
Tools that ran: look_up, density
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_example_survives_a_failover_and_runs_each_tool_once(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "--backend", backend],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == EXPECTED
