"""The numbers of a batch, for programs and for people."""

import io
import json
from decimal import Decimal
from typing import Any

import anyio
import pytest
from rich.console import Console

from aitor.batch import Prices, Summary
from aitor.batch.progress import Pace, duration, line, report, show_progress
from aitor.errors import BadRequestError, OverloadedError
from aitor.messages import Attempt, Reply, Usage, Waits
from aitor.outcomes import Outcome
from aitor.providers import AnthropicProvider, MockProvider, OpenAIProvider


def reply(provider: str = "openai", model: str = "gpt-5.5", **fields: Any) -> Reply:
    waits = Waits(rate=1.5, worker=0.25)
    attempt = Attempt(provider, model, Outcome.ANSWER, 1.0, waits)
    usage = Usage(input_tokens=100, output_tokens=20)
    usage = fields.pop("usage", usage)
    attempts = (*fields.pop("before", ()), attempt)
    return Reply("hi", provider, model, "stop", usage, attempts, **fields)


def count(summary: Summary, reply: Reply, cost: Decimal | None) -> None:
    by = (reply.provider, reply.model)
    summary.count_answer(by, reply.usage, reply.attempts, cost)


def waits(**seconds: float) -> dict[str, float]:
    return Waits(**seconds)._asdict()


@pytest.fixture
def summary() -> Summary:
    summary = Summary(rows=12, earlier_succeeded=5, earlier_failed=1, seconds=4.0)
    count(summary, reply(), Decimal("0.5"))
    count(summary, reply(), Decimal("0.25"))
    moved = Attempt(
        "openai", "gpt-5.5", Outcome.SERVER, 1.0, Waits(rate=1.5, worker=0.25)
    )
    count(summary, reply("local", "llama", before=(moved,)), None)
    summary.count_failure(BadRequestError("no [/] no"))
    summary.count_failure(OverloadedError("no", attempts=reply().attempts))
    summary.count_failure(OverloadedError("not the first"))
    return summary


def test_a_program_reads_every_number(summary: Summary) -> None:
    """
    A cost that is not known is null and never zero.
    """
    summary.finished = True
    assert json.loads(json.dumps(summary.to_json())) == {
        "finished": True,
        "rows": 12,
        "succeeded": 3,
        "failed": 3,
        "earlier_succeeded": 5,
        "earlier_failed": 1,
        "seconds": 4.0,
        "input_tokens": 300,
        "output_tokens": 60,
        "cost_usd": 0.75,
        "unpriced_rows": 1,
        "served": [
            {
                "provider": "local",
                "model": "llama",
                "rows": 1,
                "input_tokens": 100,
                "output_tokens": 20,
                "cost_usd": None,
                "unpriced_rows": 1,
            },
            {
                "provider": "openai",
                "model": "gpt-5.5",
                "rows": 2,
                "input_tokens": 200,
                "output_tokens": 40,
                "cost_usd": 0.75,
                "unpriced_rows": 0,
            },
        ],
        "failovers": 1,
        "attempts": [
            {
                "provider": "openai",
                "model": "gpt-5.5",
                "outcomes": {"answer": 3, "server": 1},
                "seconds": 4.0,
                "waits": waits(worker=1.0, rate=6.0),
            },
            {
                "provider": "local",
                "model": "llama",
                "outcomes": {"answer": 1},
                "seconds": 1.0,
                "waits": waits(worker=0.25, rate=1.5),
            },
        ],
        "failures": {"OverloadedError": 2, "BadRequestError": 1},
        "reasons": {"OverloadedError": "no", "BadRequestError": "no [/] no"},
        "waits": waits(worker=1.25, rate=7.5),
        "notes": [],
    }


def test_a_person_reads_who_served_what(summary: Summary) -> None:
    file = io.StringIO()
    report(summary, Console(file=file, width=100))
    lines = [each.rstrip() for each in file.getvalue().splitlines()]
    assert lines == [
        "12 rows read: 3 answered and 3 failed in 4.0 s",
        "6 had ended in an earlier run, 1 of them failed",
        "1 rows moved on to another provider",
        "provider  model    rows  input tokens  output tokens              cost",
        "local     llama       1           100             20           unknown",
        "openai    gpt-5.5     2           200             40           $0.7500",
        "all                   3           300             60  $0.7500 and more",
        "provider  attempts  answered  seconds  else      waited, in all",
        "openai           4         3     1.00  1 server  worker 1.0 s, rate 6.0 s",
        "local            1         1     1.00  -         worker 0.2 s, rate 1.5 s",
        "failed with      rows  the first of them",
        "OverloadedError     2  no",
        "BadRequestError     1  no [/] no",
    ]


def test_nothing_is_said_of_what_there_was_not() -> None:
    file = io.StringIO()
    report(Summary(), Console(file=file, width=100))
    assert file.getvalue() == "0 rows read: 0 answered and 0 failed in 0.0 s\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (-3, "0:00"),
        (61.4, "1:01"),
        (3_600, "1:00:00"),
        (86_399, "23:59:59"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace(window=10)
    assert pace.sample(0, 0, 0) == (0, 0)
    assert pace.sample(5, 50, 500) == (10, 100)
    assert pace.sample(10, 50, 500) == (5, 50)
    # What was before the window counts no more.
    assert pace.sample(15, 50, 500) == (0, 0)
    assert pace.sample(100, 50, 500) == (0, 0)


def test_the_line(summary: Summary) -> None:
    summary.in_flight, summary.expected = 3, 1_000
    assert line(summary, 9.88, 1_234.5) == (
        "12 of 1,000 rows, 4 failed, 1:40 left, 9.9 rows/s, 1,234 tokens/s, "
        "cost $0.7500 and more, 3 on the wire"
    )
    assert line(Summary(), 0.0, 0.0) == (
        "0 rows, 0.0 rows/s, 0 tokens/s, cost unknown, 0 on the wire"
    )


@pytest.mark.parametrize("width", [20, 40, 62, 80, 120])
def test_the_line_fits_in_whatever_there_is(summary: Summary, width: int) -> None:
    """
    Stands for: what was made for a wide terminal; what matters most stays.
    """
    summary.in_flight, summary.expected = 3, 1_000
    text = line(summary, 9.88, 1_234.5, width=width)
    assert len(text) <= width
    assert text.startswith("12 of 1,000 rows")
    if width >= 62:
        assert "4 failed" in text
        assert "3 on the wire" in text


@pytest.mark.anyio
async def test_the_line_is_drawn_with_what_is_to_be_expected() -> None:
    """
    How many rows there are is known, or is not told.
    """
    summary = Summary(rows=10, expected=500)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=200)
    with anyio.move_on_after(0.01):
        await show_progress(summary, console)
    assert "0 of 500 rows" in file.getvalue()
    with anyio.move_on_after(0.01):
        await show_progress(Summary(rows=10), console)
    assert "0 rows" in file.getvalue()


# Cost.

PROVIDERS = {
    "gpt": OpenAIProvider(api_key="k", model="gpt-5.5"),
    "claude": AnthropicProvider(api_key="k", model="claude-opus-5"),
    "here": OpenAIProvider(api_key="k", base_url="http://127.0.0.1:1/v1"),
    "mock": MockProvider(),
}


def test_a_vendors_answers_have_its_prices() -> None:
    prices = Prices.of(PROVIDERS)
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    for name, model in (("gpt", "gpt-4o"), ("claude", "claude-opus-4-1")):
        cost = prices(reply(name, model, usage=usage))
        assert cost is not None
        assert 1 < cost < 1_000


def test_cached_tokens_cost_less() -> None:
    prices = Prices.of(PROVIDERS)
    cached = Usage(input_tokens=1_000_000, cached_tokens=900_000)
    cost = prices(reply("gpt", "gpt-4o", usage=cached))
    whole = prices(reply("gpt", "gpt-4o", usage=Usage(input_tokens=1_000_000)))
    assert cost is not None
    assert whole is not None
    assert 0 < cost < whole


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("here", "gpt-4o", Usage(1_000, 1_000)),
        ("mock", "gpt-4o", Usage(1_000, 1_000)),
        ("nobody", "gpt-4o", Usage(1_000, 1_000)),
        ("gpt", "no such model", Usage(1_000, 1_000)),
        ("gpt", "gpt-4o", Usage(1_000, 1_000, estimated=True)),
    ],
)
def test_an_unknown_price_is_not_zero(provider: str, model: str, usage: Usage) -> None:
    """
    A model of a known name at an unknown address has no known price.
    """
    assert Prices.of(PROVIDERS)(reply(provider, model, usage=usage)) is None


def test_without_genai_prices_every_price_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "genai_prices", None)
    assert Prices.of(PROVIDERS)(reply("gpt", "gpt-4o")) is None
