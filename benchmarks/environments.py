"""
Virtual environments of the peers, made when they are first needed.

Each is `.venv-bench-NAME` beside the project's own, so that no peer's dependencies
decide which versions another one gets. Delete it to get newer releases.
"""

import json
import subprocess
import sys
from pathlib import Path

__all__ = ("ENVIRONMENTS", "interpreter", "versions")

ROOT = Path(__file__).parent.parent

ENVIRONMENTS = {
    "clients": ("openai[aiohttp]", "aiolimiter", "tenacity", "trio", "uvloop"),
    "wires": ("aiohttp", "pyqwest", "pyreqwest", "httpx2", "trio", "uvloop"),
    "litellm": ("litellm",),
    "tensorzero": ("tensorzero",),
}
"""What is installed in each; `main` is the environment that runs the suite."""


def interpreter(name: str) -> Path:
    """
    Return the interpreter of the environment *name*, which is made if need be.

    Raises:
        OSError: If it cannot be made; the text says why.
    """
    if name == "main":
        return Path(sys.executable)
    place = ROOT / f".venv-bench-{name}"
    python = place / "bin" / "python"
    ready = place / ".ready"
    if not ready.exists():
        print(f"installing {', '.join(ENVIRONMENTS[name])}", file=sys.stderr)
        _run(sys.executable, "-m", "venv", "--clear", str(place))
        _run(
            *(str(python), "-m", "pip", "install", "--quiet"),
            *("--disable-pip-version-check", *ENVIRONMENTS[name]),
        )
        ready.touch()
    return python


def versions(name: str) -> dict[str, str]:
    """Return what is installed in the environment *name*, by distribution."""
    listed = subprocess.run(
        [interpreter(name), "-m", "pip", "list", "--format", "json"],
        capture_output=True,
        check=False,
        text=True,
    )
    try:
        found = json.loads(listed.stdout)
    except ValueError:
        return {}
    return {package["name"].lower(): package["version"] for package in found}


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise OSError(f"{' '.join(command[1:4])} failed: {''.join(last)[:300]}")
