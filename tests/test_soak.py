"""The soak in miniature, so that it works on the day it is wanted."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_everything_is_back_where_it_began() -> None:
    """
    Two seconds of every fault leave no socket, no task, no thread and no worker.
    """
    options = ["--minutes", "0.03", "--every", "0.5", "--callers", "50"]
    # At once, because most of it is waiting.
    soaks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.soak", *options, "--backend", backend],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for backend in ("asyncio", "trio")
    ]
    for soak in soaks:
        told, _ = soak.communicate(timeout=100)
        assert soak.returncode == 0, told
        assert told.rstrip().endswith("passed: everything is where it began")
        assert "outcomes: {'" in told
