"""
The upstream as those who measure see it: started, told how to behave, asked, ended.
"""

import json
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ("Counts", "Upstream", "upstream")

ROOT = Path(__file__).parent.parent


class Counts(NamedTuple):
    """
    What a port has counted.

    Args:
        arrivals: When each request came, by the clock of `time.perf_counter`.
        statuses: What each one got, or was to get.
        answered: How many answers were sent, to clients that were still there.
        closed: When each connection that had carried a request came to its end.
    """

    arrivals: list[float]
    statuses: list[int]
    answered: int
    closed: list[float]

    def served(self) -> list[float]:
        """Return when those came that were answered."""
        both = zip(self.arrivals, self.statuses, strict=True)
        return [arrival for arrival, status in both if status == 200]


class Upstream:
    """
    A server in a process of its own.

    Args:
        ports: Its ports.
        authority: The file with the authority of its certificate, if it has one.
    """

    def __init__(self, ports: list[int], authority: str | None) -> None:
        scheme = "http" if authority is None else "https"
        self.urls = [f"{scheme}://127.0.0.1:{port}" for port in ports]
        self.ports = ports
        self.authority = authority
        self._context = authority and ssl.create_default_context(cafile=authority)

    def behave(self, port: int = 0, **behaviour: Any) -> str:
        """Let a port behave like that, count anew, and return its address."""
        body = json.dumps(behaviour).encode()
        self._ask(f"{self.urls[port]}/behave", body)
        return self.urls[port]

    def counts(self, port: int = 0) -> Counts:
        """Return what a port has counted since it was told how to behave."""
        return Counts(**self._ask(f"{self.urls[port]}/counts", None))

    def hang_up(self, port: int = 0) -> int:
        """Let a port close every idle connection, and return how many it had."""
        found = self._ask(f"{self.urls[port]}/hang-up", b"")
        assert isinstance(found, int)
        return found

    def _ask(self, url: str, body: bytes | None) -> Any:
        request = urllib.request.Request(url, body)
        with urllib.request.urlopen(
            request, timeout=30, context=self._context or None
        ) as response:
            return json.load(response)


@contextmanager
def upstream(ports: int = 1, *, tls: bool = False) -> Iterator[Upstream]:
    """
    Start a server and end it with the block.

    Raises:
        OSError: If it does not start.
    """
    settings = json.dumps({"ports": ports, "tls": tls})
    with (
        tempfile.NamedTemporaryFile("w", suffix=".pem") as file,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise OSError("the upstream did not start")
        numbers = json.loads(line)
        authority = None
        if tls:
            from tests.wire.certificates import AUTHORITY

            file.write(AUTHORITY)
            file.flush()
            authority = file.name
        try:
            yield Upstream(numbers, authority)
        finally:
            process.kill()
