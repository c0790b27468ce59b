"""
The measured processes as those who measure see them: asked to do a job, one by one.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from benchmarks.environments import interpreter, versions
from benchmarks.peers import PEERS

__all__ = ("JobFailedError", "Workers", "workers")

ROOT = Path(__file__).parent.parent

QUIET = {
    "RUST_LOG": "off",
    # Prices are not fetched from anywhere.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "CRITICAL",
}
LONGEST = 300.0
"""Seconds after which a job is given up."""


class JobFailedError(Exception):
    """A job came to nothing; the text says why."""


class Workers:
    """
    Measured processes, one for each environment and set of imports, kept for more.

    Args:
        log: Where they write what they have to say.
        environ: Environment variables for them besides those that are set.
    """

    def __init__(self, log: TextIO, environ: Mapping[str, str]) -> None:
        self.left_out: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self._log = log
        self._environ = environ
        self._processes: dict[tuple[str, ...], subprocess.Popen[str]] = {}

    def load(
        self, function: str, peer: str, *, loop: str = "asyncio", **arguments: Any
    ) -> dict[str, Any] | None:
        """
        Put *peer* under load and return what was measured.

        Args:
            function: Of `benchmarks.load`.
            peer: Who.
            loop: On what.
            arguments: Of that function.

        Returns:
            None if the peer cannot be had; `left_out` says why.
        """
        title = f"{PEERS[peer].title} ({loop})"
        if title in self.left_out:
            return None
        try:
            result = self.run(
                f"benchmarks.load:{function}",
                environment=PEERS[peer].environment,
                imports=PEERS[peer].imports,
                loop=loop,
                peer=peer,
                **arguments,
            )
        except (JobFailedError, OSError) as error:
            self.left_out[title] = str(error)
            print(f"left out: {title}: {error}", file=sys.stderr)
            return None
        if not result.get("calls", 1):
            self.left_out[title] = f"no call succeeded: {result['failures']}"
            return None
        return result

    def run(
        self,
        function: str,
        *,
        environment: str = "main",
        imports: tuple[str, ...] = (),
        loop: str = "asyncio",
        **arguments: Any,
    ) -> dict[str, Any]:
        """
        Run *function* in a process of its own, and return what it returns.

        Args:
            function: `module:name`, a coroutine function.
            environment: Where.
            imports: What is imported before.
            loop: On what.
            arguments: Its arguments.

        Raises:
            JobFailedError: If it raised, or the process did not start.
            OSError: If the environment cannot be made.
        """
        process = self._process(environment, imports)
        job = {"function": function, "arguments": arguments, "loop": loop}
        assert process.stdin is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        return self._answer(process)

    def _process(
        self, environment: str, imports: tuple[str, ...]
    ) -> subprocess.Popen[str]:
        key = (environment, *imports)
        if key not in self._processes:
            python = interpreter(environment)
            process = subprocess.Popen(
                [python, "-m", "benchmarks.client", *imports],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                cwd=ROOT,
                start_new_session=True,  # so that it ends together with its forks
                env={**os.environ, **QUIET, **self._environ},
            )
            self._processes[key] = process
            self._answer(process)
            if environment not in self.versions:
                self.versions[environment] = versions(environment)
        return self._processes[key]

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], LONGEST)
        if not ready:
            os.killpg(process.pid, signal.SIGKILL)
            raise JobFailedError(f"no answer within {LONGEST:.0f} s")
        line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process died"}
        if "error" in answer:
            raise JobFailedError(answer["error"])
        assert isinstance(answer, dict)
        return answer

    def close(self) -> None:
        """End every process."""
        for process in self._processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


@contextmanager
def workers(log: Path, environ: Mapping[str, str] | None = None) -> Iterator[Workers]:
    """Give workers, and end them with the block."""
    with log.open("a", encoding="utf-8") as file:
        made = Workers(file, environ or {})
        try:
            yield made
        finally:
            made.close()
