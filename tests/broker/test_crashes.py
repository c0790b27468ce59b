"""A bug in a provider's code is found by what its error says, which is no secret."""

import inspect
import json
import re
from typing import Any

import anyio
import pytest

from aitor.broker.broker import Broker
from aitor.errors import ProviderCrashError
from aitor.llm import LLMManager, LLMProvider
from aitor.messages import Answer, Request, Usage
from aitor.providers import MockProvider
from aitor.providers.base import Progress, Provider

pytestmark = pytest.mark.anyio

SECRET = "canary"


class Own(Provider):
    """One's own class; each of its kin has a bug of its own."""

    kind = "own"
    key = SECRET

    async def complete(self, request: Request, progress: Progress) -> Any:
        return self.bug(str(request.messages[0]["content"]))

    def bug(self, text: str) -> Any:
        raise NotImplementedError


class Raises(Own):
    def bug(self, text: str) -> Any:
        raise RuntimeError(f"{self.key} {text}")


class RaisesLikePython(Own):
    def bug(self, text: str) -> Any:
        raise TypeError(f"bug() got an unexpected keyword argument '{text}'")


class Misspells(Own):
    def bug(self, text: str) -> Any:
        return self.clientt.ask(text)  # type: ignore[attr-defined]


class LooksUp(Own):
    def bug(self, text: str) -> Any:
        return getattr(self, text)


class KnowsNot(Own):
    def bug(self, text: str) -> Any:
        return unknown_function(text)  # type: ignore[name-defined]  # noqa: F821


class Misses(Own):
    def bug(self, text: str) -> Any:
        empty: dict[str, Any] = {}
        return empty[text]


class CallsWrongly(Own):
    def bug(self, text: str) -> Any:
        return self.helper(text, 3)  # type: ignore[call-arg]

    def helper(self, text: str) -> Any:
        return text


class UsesALibrary(Own):
    def bug(self, text: str) -> Any:
        return json.loads(text)


class Adds(Own):
    def bug(self, text: str) -> Any:
        return 1 + text  # type: ignore[operator]


class Groups(Own):
    async def complete(self, request: Request, progress: Progress) -> Any:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.later, str(request.messages[0]["content"]))

    async def later(self, text: str) -> None:
        raise KeyError(f"{self.key} {text}")


class TakesTooLittle(Own):
    async def complete(self, request: Request) -> Any:  # type: ignore[override]
        raise AssertionError


class ReturnsAText(Own):
    async def complete(self, request: Request, progress: Progress) -> Any:
        return SECRET


class IsNotAsynchronous(Own):
    def complete(self, request: Request, progress: Progress) -> Any:
        return Answer(SECRET, "m", "stop", Usage())


HERE = re.escape(__file__)

BUGS: dict[type[Own], str] = {
    Raises: r"raised RuntimeError at {at} in Raises\.bug",
    RaisesLikePython: r"raised TypeError at {at} in RaisesLikePython\.bug",
    Misspells: r"raised AttributeError \('Misspells' object has no attribute "
    r"'clientt'\) at {at} in Misspells\.bug",
    LooksUp: r"raised AttributeError at {at} in LooksUp\.bug",
    KnowsNot: r"raised NameError \(name 'unknown_function' is not defined\) at {at} "
    r"in KnowsNot\.bug",
    Misses: r"raised KeyError at {at} in Misses\.bug",
    CallsWrongly: r"raised TypeError \(CallsWrongly\.helper\(\) takes 2 positional "
    r"arguments but 3 were given\) at {at} in CallsWrongly\.bug",
    UsesALibrary: r"raised JSONDecodeError at {at} in UsesALibrary\.bug",
    Adds: r"raised TypeError \(unsupported operand type\(s\) for \+: 'int' and 'str'\)"
    r" at {at} in Adds\.bug",
    Groups: r"raised ExceptionGroup of KeyError at {at} in Groups\.later",
    TakesTooLittle: r"raised TypeError \(TakesTooLittle\.complete\(\) takes 2 "
    r"positional arguments but 3 were given\) when it was called: {at} in "
    r"TakesTooLittle\.complete",
    ReturnsAText: r"raised TypeError \(an Answer was expected, not str\) when it was "
    r"called: {at} in ReturnsAText\.complete",
    IsNotAsynchronous: r"raised TypeError \(object Answer can't be used in 'await' "
    r"expression\) when it was called: {at} in IsNotAsynchronous\.complete",
}


@pytest.mark.parametrize("own", BUGS, ids=lambda own: own.__name__)
@pytest.mark.parametrize("debug", [False, True])
async def test_a_bug_is_told_by_its_place_and_by_no_text_that_may_be_a_secret(
    own: type[Own], debug: bool
) -> None:
    """
    Of the kind: somebody's own fault that they cannot see.

    Siblings: what a library raises is told where it was called, a group by what is in
    it, a wrong signature and a wrong result by the method; names that were made while
    the program ran are not told, nor texts that only look like Python's own.
    """
    broker = Broker([own(max_retries=0)], debug=debug)
    with pytest.raises(ProviderCrashError) as caught:
        await broker.submit(SECRET)
    text = caught.value.message
    expected = BUGS[own].replace("{at}", rf"{HERE}:(?P<line>\d+)")
    found = re.match(rf"{own.__name__} {expected}, a fault in its code", text)
    assert found, text
    lines, first = inspect.getsourcelines(own)
    assert first <= int(found["line"]) < first + len(lines)
    assert SECRET not in text
    assert ("debug=True" in text) is not debug
    if debug:
        assert isinstance(caught.value.__cause__, Exception)
    else:
        assert caught.value.__cause__ is caught.value.__context__ is None


class Theirs(LLMProvider):
    """By the guide's interface, behind an adapter of ours."""

    async def generate_response(self, messages: list[Any]) -> str:  # type: ignore[override]
        empty: dict[str, str] = {}
        return empty[SECRET]


async def test_so_is_one_of_a_class_behind_the_manager() -> None:
    manager = LLMManager(debug=True)
    manager.register_provider_class("theirs", Theirs)
    manager.add_provider("a", "theirs", {"max_retries": 0})
    with pytest.raises(ProviderCrashError, match=r"raised KeyError at") as caught:
        await manager.submit(SECRET)
    assert f"in {Theirs.__name__}.generate_response" in caught.value.message
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ProviderCrashError, match="unexpected keyword argument 'n'"):
        await manager.submit(SECRET, n=2)


async def test_a_configuration_may_ask_for_the_cause() -> None:
    tables = {"providers": {"x": {"kind": f"{__name__}:Raises", "max_retries": 0}}}
    import sys

    sys.modules.setdefault(__name__, inspect.getmodule(Raises))  # type: ignore[arg-type]
    for debug in (False, True):
        broker = Broker.from_config({**tables, "debug": debug})
        with pytest.raises(ProviderCrashError) as caught:
            await broker.submit(SECRET)
        assert (caught.value.__cause__ is not None) is debug


async def test_so_is_one_in_a_class_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aitor.providers.mock.Usage", None)
    broker = Broker([MockProvider(default_response=SECRET, max_retries=0)])
    with pytest.raises(ProviderCrashError) as caught:
        await broker.submit(SECRET)
    told = (
        r"raised TypeError \('NoneType' object is not callable\) at .*mock\.py:\d+ in "
    )
    assert re.search(told, caught.value.message), caught.value.message
