"""
The cast of a run: the providers of its beginning, and those that take their places.

Whoever takes a place has its name in the broker, but a mailbox, a circuit and workers
of its own; what was asked before may still be at the old one. So each has a label in
the history (see `History.providers`).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aitor.broker.actor import Actor
from aitor.testing.simulator.history import History
from aitor.testing.simulator.nemesis import Nemesis
from aitor.testing.simulator.observer import Observer
from aitor.testing.simulator.provider import SimulatedProvider
from aitor.testing.simulator.script import Script
from aitor.testing.simulator.witness import WatchedBreaker

__all__ = ("Cast",)


class Cast:
    """
    Makes providers, and has them watched.

    Args:
        script: Decides what becomes of their calls.
        history: Takes lines, and the settings of each provider.
        observer: Watches their actors.
    """

    def __init__(self, script: Script, history: History, observer: Observer) -> None:
        self._seed = script.seed
        self._nemesis = Nemesis(script.phases)
        self._plans = {plan.prompt: plan for plan in script.plans}
        self._history = history
        self._observer = observer
        self._of_one_name: Counter[str] = Counter()
        self.all: list[SimulatedProvider] = []

    def engage(self, name: str, settings: Mapping[str, Any]) -> SimulatedProvider:
        """Make a provider that the broker is to know by *name*."""
        self._of_one_name[name] += 1
        count = self._of_one_name[name]
        one = SimulatedProvider(
            name if count == 1 else f"{name}.{count}",
            seed=self._seed,
            nemesis=self._nemesis,
            plans=self._plans,
            tell=self._history.lines.append,
            **settings,
        )
        self._history.providers[one.label] = one.settings
        self._history.limit_of[one.label] = one.settings.limits or ""
        self.all.append(one)
        return one

    def watch(self, actor: Actor) -> None:
        """Have *actor*, which has just got one of them, watched from now on."""
        assert isinstance(actor.provider, SimulatedProvider)  # noqa: S101  # one of them
        label = actor.provider.label
        actor.breaker = WatchedBreaker(
            label, actor.settings.breaker, self._history.lines.append
        )
        self._observer.watch(actor, label)
