"""
Two thousand prompts through two HTTP providers, one of which breaks on the way.

    make run                                            # on asyncio
    make run ARGS="--config examples/outage-trio.toml"  # on trio

It makes prompts from the standard library's documentation, starts two providers
that pretend (`aitor fake-provider`, real servers on real sockets), and runs
`aitor batch` over the file as a user would. The first provider is cheap and
troubled: it allows 1,200 requests a minute, answers some with 429 and some with 500,
and is dead for eight seconds in the middle. At the end it asks the providers' own
books whether the broker kept its promises.

Kill it in the middle (`kill -9`) and run it again: it goes on where it was. The
providers of a killed run are still there, as real ones would be, and the next run of
the same configuration finds them, so that their bill covers both. A run that ends, by
itself or by Control-C, ends them, too, and the next one begins anew.
"""

import argparse
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODULES = """
    argparse ast asyncio base64 bisect calendar collections concurrent.futures
    configparser contextlib copy csv dataclasses datetime decimal difflib dis email
    enum fileinput fractions ftplib functools gettext glob gzip hashlib heapq html
    http.client http.server imaplib inspect io ipaddress itertools json logging
    mailbox math mimetypes multiprocessing numbers operator os pathlib pickle
    platform plistlib poplib pprint profile queue random re sched secrets selectors
    shelve shlex shutil signal smtplib socket sqlite3 ssl statistics string
    subprocess symtable tarfile tempfile textwrap threading time timeit tokenize
    trace traceback types typing unittest urllib.parse urllib.request uuid wave
    weakref xml.dom.minidom xml.etree.ElementTree zipfile zoneinfo
""".split()

CONFIG = Path(__file__).with_name("outage.toml")

CHEAP = [
    "--requests-per-minute=1200",
    "--latency=lognormal(0.25, 0.4)",
    "--fault=rate_limit probability=0.005 retry_after=1",
    "--fault=status=500 probability=0.03",
    "--fault=dead after=8 until=16",
]
STEADY = ["--latency=lognormal(0.9, 0.3)"]


def main() -> int:
    """Run the batch and judge it."""
    options = arguments()
    # Each configuration and size is a batch of its own.
    out = options.out / f"{options.config.stem}-{options.rows}"
    out.mkdir(parents=True, exist_ok=True)
    state = out / "providers.json"
    urls = start_providers(out, state)
    try:
        return run(options, out, urls)
    except KeyboardInterrupt:
        return 130
    finally:
        stop_providers(state)


def run(options: argparse.Namespace, out: Path, urls: dict[str, str]) -> int:
    """Run the batch against the providers at *urls*, and judge it."""
    prompts, answers = out / "prompts.jsonl", out / "answers.jsonl"
    write_prompts(prompts, options.rows)
    environment = {
        **os.environ,
        "OUTAGE_CHEAP_URL": urls["cheap"] + "/v1",
        "OUTAGE_STEADY_URL": urls["steady"],
    }
    command = [sys.executable, "-m", "aitor", "batch", str(prompts), "-o", str(answers)]
    print(f"$ aitor {' '.join(command[3:])} --config {options.config}", flush=True)
    begin = time.monotonic()
    code = wait([*command, "--config", str(options.config)], environment)
    if code != 0:
        print(f"\nThe batch ended with {code}; the next run begins anew.")
        return code
    seconds = time.monotonic() - begin
    return 0 if judge(prompts, answers, urls, seconds) else 1


def wait(command: list[str], environment: dict[str, str]) -> int:
    """Run *command* to its end; Control-C is for it, which knows how to end."""
    with subprocess.Popen(command, env=environment) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                """It got the same one."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Two thousand prompts, one outage.")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=Path("out/outage"))
    return parser.parse_args()


def write_prompts(path: Path, rows: int) -> None:
    """Write *rows* prompts, the same ones each time."""
    with path.open("w") as file:
        for number, (name, text) in enumerate(documentation()):
            if number == rows:
                return
            prompt = f"Explain {name} to a beginner, in one sentence:\n\n{text}"
            file.write(json.dumps({"custom_id": name, "prompt": prompt}) + "\n")


def documentation() -> Iterator[tuple[str, str]]:
    """Iterate over names in the standard library and their documentation."""
    seen = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, thing in sorted(vars(module).items()):
            members = vars(thing).items() if inspect.isclass(thing) else ()
            inner = ((f"{name}.{member}", what) for member, what in members)
            for path, what in ((name, thing), *inner):
                text = inspect.getdoc(what) if callable(what) else None
                full = f"{module_name}.{path}"
                if text and not path.startswith("_") and full not in seen:
                    seen.add(full)
                    yield full, text[:1_500]


def start_providers(out: Path, state: Path) -> dict[str, str]:
    """Start both providers, or find those that a killed run has left."""
    if state.exists():
        found: dict[str, Any] = json.loads(state.read_text())
        if all(answers(url) for url, _ in found.values()):
            print("The providers of the run before are still there.")
            return {name: url for name, (url, _) in found.items()}
        stop_providers(state)
    # Answers got from other providers, who had other addresses, are not these ones'.
    for old in out.glob("answers.jsonl*"):
        old.unlink()
    started = {"cheap": start("cheap", CHEAP), "steady": start("steady", STEADY)}
    state.write_text(json.dumps(started))
    return {name: url for name, (url, _) in started.items()}


def start(name: str, settings: list[str]) -> tuple[str, int]:
    """Start one provider and return its address and process number."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aitor.testing", "--port=0", "--seed=1", *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # a Ctrl-C is for the batch
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    print(f"{name}: {url} {' '.join(settings)}")
    return url, process.pid


def stop_providers(state: Path) -> None:
    """End what `start_providers` has started."""
    for url, process in json.loads(state.read_text()).values():
        # One that does not answer has gone, and its number may be somebody else's.
        if answers(url):
            os.kill(process, signal.SIGTERM)
    state.unlink()


def answers(url: str) -> bool:
    """Whether a provider is at *url*."""
    try:
        ask(url, "statistics")
    except OSError:
        return False
    return True


def ask(url: str, what: str) -> dict[str, Any]:
    """Look into a provider's own books."""
    with urllib.request.urlopen(f"{url}/_fake/{what}", timeout=5) as response:
        found: dict[str, Any] = json.load(response)
        return found


def judge(prompts: Path, answers: Path, urls: dict[str, str], seconds: float) -> bool:
    """Hold the result against the providers' own books."""
    asked = [json.loads(line)["custom_id"] for line in prompts.open()]
    rows = [json.loads(line) for line in answers.open()]
    answered = Counter(row["custom_id"] for row in rows if not row["error"])
    paid: Counter[str] = Counter()
    print("\nBy the providers' own books:")
    within = True
    for name, url in urls.items():
        counts, bill = ask(url, "statistics"), ask(url, "bill")
        paid.update(bill["answers"])
        within = within and not counts["violations"]
        print(
            f"  {name}: {counts['requests']} requests "
            f"({', '.join(f'{n} {what}' for what, n in counts['outcomes'].items())}), "
            f"{counts['violations']} beyond its limits, "
            f"{counts['faults'] or 'no'} faults"
        )
    complete = answered == Counter(asked)
    twice = sum(count - 1 for count in paid.values())
    print(f"  paid for twice: {twice} (only what was in flight when a run was killed)")
    print(
        f"\n{len(answered)} of {len(asked)} prompts answered, each once: "
        f"{'yes' if complete else 'NO'}; limits kept: {'yes' if within else 'NO'}; "
        f"{seconds:.0f} s; {answers}"
    )
    return complete and within


if __name__ == "__main__":
    sys.exit(main())
