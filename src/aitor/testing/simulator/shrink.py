"""
Shrinking: the smallest script found that breaks the same rule.

A run of thousands of requests says that something is wrong; one of three says what.
Faults, requests, providers and finally the details of each request are left out, as
long as the rule stays broken.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from aitor.testing.simulator.checkers import check
from aitor.testing.simulator.script import Plan, Script
from aitor.testing.simulator.watchdog import RunawayError
from aitor.testing.simulator.world import run

__all__ = ("breaks", "shrink")

T = TypeVar("T")

PROCESSOR_SECONDS = 20.0
"""For one run; what takes longer is an endless loop."""


def breaks(script: Script, backend: str = "trio") -> set[int]:
    """Return the rules that a run of *script* breaks; 23 is an endless loop."""
    try:
        history = run(script, backend, processor_seconds=PROCESSOR_SECONDS)
    except RunawayError:
        return {23}
    return {violation.rule for violation in check(history)}


def shrink(script: Script, rule: int, *, runs: int = 300) -> Script:
    """
    Return a smaller script that breaks *rule* too.

    Args:
        script: One that breaks it.
        rule: Which.
        runs: How many runs to try at most.
    """
    left = runs

    def still(smaller: Script) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and rule in breaks(smaller)

    before = None
    while before != script and left > 0:
        before = script
        script = _shrunk(script, still)
    return script


def _shrunk(script: Script, still: Callable[[Script], bool]) -> Script:
    script = replace(
        script,
        phases=_fewer(script.phases, lambda some: still(replace(script, phases=some))),
    )
    script = replace(
        script,
        plans=_fewer(script.plans, lambda some: still(replace(script, plans=some))),
    )
    for simpler in _fewer_providers(script):
        if still(simpler):
            script = simpler
            break
    script = replace(
        script,
        replacements=_fewer(
            script.replacements,
            lambda some: still(replace(script, replacements=some)),
        ),
    )
    if script.closing is not None and still(replace(script, closing=None)):
        script = replace(script, closing=None)
    return _plainer(script, still)


def _fewer(
    items: tuple[T, ...], still: Callable[[tuple[T, ...]], bool]
) -> tuple[T, ...]:
    """Leave out as many of *items* as can be, in pieces that become smaller."""
    size = len(items)
    while size:
        begin = len(items) - size
        while begin > -size:
            first = max(begin, 0)
            fewer = (*items[:first], *items[begin + size :])
            if len(fewer) < len(items) and still(fewer):
                items = fewer
            begin -= size
        size //= 2
    return items


def _fewer_providers(script: Script) -> Iterator[Script]:
    wanted = {plan.only for plan in script.plans}
    wanted |= {name for plan in script.plans for name in plan.sequence}
    wanted |= {one.name for one in script.replacements}
    for name in script.providers:
        if name not in wanted and len(script.providers) > 1:
            providers = {
                other: one for other, one in script.providers.items() if other != name
            }
            yield replace(script, providers=providers)


def _plainer(script: Script, still: Callable[[Script], bool]) -> Script:
    """Give requests their defaults, all that can at once, and else one by one."""
    for name in PLAIN:
        fields: dict[str, Any] = {name: Plan.__dataclass_fields__[name].default}
        plain = tuple(replace(plan, **fields) for plan in script.plans)
        if plain != script.plans and still(replace(script, plans=plain)):
            script = replace(script, plans=plain)
        elif len(script.plans) <= FEW:
            script = _plainer_each(script, fields, still)
    return script


def _plainer_each(
    script: Script, fields: dict[str, Any], still: Callable[[Script], bool]
) -> Script:
    plans: Sequence[Plan] = script.plans
    for index, plan in enumerate(plans):
        plain = replace(plan, **fields)
        if plain != plan:
            fewer = (*plans[:index], plain, *plans[index + 1 :])
            if still(replace(script, plans=fewer)):
                plans = fewer
    return replace(script, plans=tuple(plans))


FEW = 8

PLAIN = (
    "how",
    "tenant",
    "priority",
    "max_tokens",
    "input_tokens",
    "output_tokens",
    "cancel_after",
    "timeout",
    "when_unavailable",
    "only",
    "sequence",
    "question",
)
