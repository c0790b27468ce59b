"""
What is told of a fault in a provider's code: where it is, and what Python says of it.

A bug has to be found by whoever wrote it. File, line and function are no secret. The
text of an exception may be one, since it may quote a key or a prompt, so it is told
only where Python itself wrote it and it has nothing in it but names of the code. The
exception itself goes along only where the broker was told so (`debug`): a traceback
with its variables shows everything.
"""

import inspect
import re
import sys
from opcode import opmap
from pathlib import Path
from traceback import walk_tb
from types import CodeType, FrameType

from aitor.errors import ProviderCrashError
from aitor.providers.base import Provider

__all__ = ("crash_of",)

HERE = str(Path(__file__).parent)
EXCHANGE = str(Path(__file__).with_name("exchange.py"))
OURS = str(Path(__file__).parents[1])
RAISE = opmap["RAISE_VARARGS"]

TYPE = r"'[\w.]+'"
NAMES_OF_CODE = re.compile(
    r"[\w.<>]+\(\) (?:"
    r"takes [\w ]+ arguments? but \d+ (?:was|were) given"
    r"|missing \d+ required [\w-]+ arguments?: (?:'\w+'|, | and |, and )+"
    r"|got an unexpected keyword argument '\w+'"
    r"|takes no (?:keyword )?arguments(?: \(\d+ given\))?)"
    r"|object [\w.]+ can't be used in 'await' expression"
    rf"|{TYPE} object is not (?:callable|iterable|subscriptable|an iterator)"
    rf"|{TYPE} object does not support [\w -]+"
    rf"|unsupported operand type\(s\) for [^\w\s]+: {TYPE} and {TYPE}"
    rf"|(?:type object )?{TYPE}(?: object)? has no attribute '(?P<attribute>\w+)'"
    r"|name '(?P<name>\w+)' is not defined"
    r"|Can't instantiate abstract class [\w ,']+"
)
"""Texts of Python's own that consist of names: of functions, arguments and types."""


def crash_of(
    provider: Provider, error: BaseException, *, debug: bool = False
) -> ProviderCrashError:
    """
    Return what callers get to see of an *error* that *provider* did not expect.

    Args:
        provider: Whose code raised it.
        error: What it raised.
        debug: Whether *error* itself goes along as the cause.
    """
    leaf = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    kinds = " of ".join(dict.fromkeys(type(one).__name__ for one in (error, leaf)))
    frames = list(walk_tb(leaf.__traceback__))
    crash = ProviderCrashError(
        f"{type(provider).__name__} raised {kinds}{_told(leaf, frames)} "
        f"{_place(provider, frames)}, a fault in its code"
        f"{'' if debug else ' (debug=True of the broker keeps the cause)'}"
    )
    if debug:
        crash.__cause__ = error
    return crash


def _place(provider: Provider, frames: list[tuple[FrameType, int]]) -> str:
    """Return the line of the provider's own code that *frames* pass last."""
    lines = [
        (frame.f_code, line)
        for frame, line in frames
        if not frame.f_code.co_filename.startswith(HERE)
    ]
    beyond = [code for code, _ in lines if not code.co_filename.startswith(OURS)]
    files = _files_of(type(provider)) & {code.co_filename for code in beyond}
    # A class behind an adapter of ours is what ours calls first.
    files = files or {
        code.co_filename for code in beyond[:1] or [code for code, _ in lines]
    }
    for code, line in reversed(lines):
        # What its code calls may raise, too: told is where it calls that.
        if code.co_filename in files:
            return f"at {_named(code, line)}"
    # It never came that far: its method does not take what it is given, or returned
    # what it must not.
    method = getattr(inspect.unwrap(type(provider).complete), "__code__", None)
    if not isinstance(method, CodeType):
        return "when it was called"
    return f"when it was called: {_named(method, method.co_firstlineno)}"


def _files_of(provider_class: type[Provider]) -> set[str]:
    modules = (sys.modules.get(one.__module__) for one in provider_class.__mro__)
    return {str(getattr(module, "__file__", "")) for module in modules}


def _named(code: CodeType, line: int) -> str:
    return f"{code.co_filename}:{line} in {code.co_qualname}"


def _told(error: BaseException, frames: list[tuple[FrameType, int]]) -> str:
    """Return the text of *error* in brackets, where it cannot hold a secret."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # whatever its code does
        return ""
    if not frames:
        return ""
    code = frames[-1][0].f_code
    if code.co_filename == EXCHANGE:
        # Said there of what came back, by its type.
        return f" ({text})" if _is_raise(error) or NAMES_OF_CODE.fullmatch(text) else ""
    found = NAMES_OF_CODE.fullmatch(text)
    if found is None or _is_raise(error):
        return ""
    # A name that was made while the program ran may be anything.
    quoted = {name for name in found.groupdict().values() if name}
    return f" ({text})" if quoted <= {*code.co_names, *code.co_varnames} else ""


def _is_raise(error: BaseException) -> bool:
    """Return whether a `raise` raised *error*, rather than Python itself."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is None or last.tb_frame.f_code.co_code[last.tb_lasti] == RAISE
