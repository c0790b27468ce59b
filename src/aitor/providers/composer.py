"""
From a request to the body that is sent, by the rules of the model that is asked.

Three sources say what goes into a body, and the later one wins: the provider's
defaults, the request's parameters, and what the model takes. The last one is known
from a table or learned from a refusal. A value of None takes a default away.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from pydantic_core import from_json, to_json

from aitor.errors import (
    BadRequestError,
    LLMError,
    ModelRetiredError,
    UnsupportedParameterError,
)
from aitor.messages import Request
from aitor.providers.classify import Refusal
from aitor.providers.dialect import Dialect
from aitor.providers.rules import Lesson, Lessons, Rule, remove, rule_of
from aitor.providers.settings import OUTPUT_LIMITS, HTTPSettings

__all__ = ("Call", "Composer")

MOST_RULES = 256
SMALL_LIMIT = 1_000
"""Tokens that a model which reasons may well use up before its first word."""


# Not frozen: one is made for each call, which would take thrice as long.
@dataclass(slots=True, repr=False)
class Call:
    """
    A request, ready to be sent.

    Args:
        request: What is asked.
        model: The model that is asked.
        dialect: How its API writes.
        body: The body, not yet encoded.
        data: The body's bytes.
        stream: Whether it asks for a stream.
    """

    request: Request
    model: str
    dialect: Dialect
    body: Mapping[str, Any]
    data: bytes
    stream: bool

    def __repr__(self) -> str:
        return f"Call({self.request!r}, model={self.model!r}, {len(self.data)} bytes)"


class Composer:
    """
    Makes the bodies of one provider's requests.

    Args:
        settings: The provider's.
        choose: Returns the dialect for a model's rule and the parameters.
        rules: What models take, by the beginning of their names.
        version: The API version that is asked for, where the vendor has such.
        output_limit: The answer's limit when nobody gives one.
        today: Returns the day; None where the vendor's dates do not apply.
        tell: Called with model and parameter, when one is first left out; and with
            what was asked for and what is sent, when one is first raised.
    """

    def __init__(
        self,
        settings: HTTPSettings,
        choose: Callable[[Rule, Mapping[str, Any]], Dialect],
        *,
        rules: Mapping[str, Rule],
        version: str | None,
        output_limit: int | None,
        today: Callable[[], date] | None,
        tell: Callable[[str, str, int | None, int | None], None],
    ) -> None:
        self._settings = settings
        self._choose = choose
        self._rules = rules
        self._version = version
        self._output_limit = output_limit
        self._today = today
        self._tell = tell
        self._defaults = settings.defaults
        # Without a stream nothing comes before the end, and such a limit would have
        # nothing to go by.
        self._stream = (
            settings.first_token_timeout or settings.idle_timeout
        ) is not None
        self._found: dict[str, Rule] = {}
        self._lessons = Lessons()
        self._told: set[tuple[str, str]] = set()

    def compose(self, request: Request) -> Call:
        """
        Return *request*, ready to be sent.

        Raises:
            BadRequestError: If it cannot be sent as it is.
            ModelRetiredError: If its model is gone.
        """
        try:
            return self._compose(request)
        except LLMError:
            raise
        except Exception as error:  # noqa: BLE001  # a mapping of the caller's own raises
            kind = type(error).__name__
        # Outside the handler, so that nothing of the prompt is its context.
        raise BadRequestError(
            f"a message or a parameter has a shape that cannot be sent ({kind})"
        )

    def _compose(self, request: Request) -> Call:
        model = request.model or self._settings.model
        if not model:
            raise BadRequestError(
                "no model is named: set 'model', or name one in the request"
            )
        rule = self.rule(model)
        self._refuse_retired(model, rule)
        lesson = self._lessons.of(model)
        parameters = self._parameters(request)
        # How an answer is delivered is not the request's matter.
        stream = bool(parameters.pop("stream", False)) or self._stream
        parameters.pop("stream_options", None)
        name, limit = _pop_output_limit(parameters)
        dialect = self._choose(rule, parameters)
        body = dialect.encode(model, request.messages, parameters)
        if stream:
            body.update(dialect.stream)
        if limit is None:
            limit = self._output_limit
        if limit is not None:
            name = dialect.output_limit or rule.output_limit or name or "max_tokens"
            limit = self._at_least(dialect.least_output, model, name, limit)
            _put_output_limit(body, name, limit, rule, lesson)
        self._leave_out(model, rule, lesson, dialect, body)
        return Call(request, model, dialect, body, _json(body), stream)

    def learn(self, call: Call, refusal: Refusal) -> LLMError:
        """
        Learn from the refusal of *call*, and return the error to raise.

        It is an `UnsupportedParameterError` only if the next body will differ: the
        same body sent again would be refused again.
        """
        error = refusal.error()
        if not isinstance(error, UnsupportedParameterError):
            return error
        if self._settings.on_unsupported != "pass" and self._lessons.learn(
            call.model,
            call.body,
            error.parameter,
            instead=refusal.instead,
            most=refusal.most,
        ):
            return error
        return replace(refusal, kind=BadRequestError).error()

    def rule(self, model: str) -> Rule:
        """Return the rule for *model*."""
        rule = self._found.get(model)
        if rule is None:
            if len(self._found) >= MOST_RULES:
                self._found.clear()
            rule = self._found[model] = rule_of(model, self._rules)
        return rule

    def output_limit(self, request: Request) -> int | None:
        """Return the most tokens that the answer to *request* may have, if any."""
        try:
            _, limit = _pop_output_limit(self._parameters(request))
        except BadRequestError:
            # Said when it is to be sent.
            return None
        limit = self._output_limit if limit is None else limit
        return limit if isinstance(limit, int) else None

    def doubts(self) -> list[str]:
        """Return what about the model and the defaults will cause trouble."""
        model = self._settings.model
        if model is None:
            return ["'model' is not set: every request has to name one"]
        rule, doubts = self.rule(model), []
        if rule.retired and self._today is not None:
            gone = rule.is_retired(self._today())
            doubts.append(
                f"'model' = {model!r} {'is gone since' if gone else 'retires on'} "
                f"{rule.retired}{_instead(rule)}"
            )
        fate = {"drop": "left out", "error": "refused", "pass": "sent all the same"}
        doubts += [
            f"{model!r} does not take '{name}': it is "
            f"{fate[self._settings.on_unsupported]} (see 'on_unsupported')"
            for name in self._unsupported(rule, self._defaults)
        ]
        _, limit = _pop_output_limit(dict(self._defaults))
        if rule.reasons and isinstance(limit, int) and limit < SMALL_LIMIT:
            doubts.append(
                f"{model!r} reasons before it answers, and both count: the limit of "
                f"{limit} tokens may leave no text"
            )
        return doubts

    def _unsupported(self, rule: Rule, parameters: Mapping[str, Any]) -> list[str]:
        foreign = self._choose(rule, parameters).foreign.intersection(parameters)
        return rule.unsupported(parameters, self._version) + sorted(foreign)

    def _refuse_retired(self, model: str, rule: Rule) -> None:
        if rule.retired and self._today is not None and rule.is_retired(self._today()):
            raise ModelRetiredError(
                f"the vendor has retired {model!r} on {rule.retired}{_instead(rule)}: "
                f"see 'model' (or 'rules', if that is wrong)"
            )

    def _parameters(self, request: Request) -> dict[str, Any]:
        given = request.parameters
        if not given:
            return dict(self._defaults)
        limits = [name for name in OUTPUT_LIMITS if given.get(name) is not None]
        if len(limits) > 1:
            raise BadRequestError(
                f"'{limits[0]}' and '{limits[1]}' both limit the answer: give one"
            )
        merged = {**self._defaults, **given}
        return {
            name: value
            for name, value in merged.items()
            # The request's limit stands for a default one of another name.
            if value is not None
            and (not limits or name not in OUTPUT_LIMITS or name == limits[0])
        }

    def _leave_out(
        self,
        model: str,
        rule: Rule,
        lesson: Lesson | None,
        dialect: Dialect,
        body: dict[str, Any],
    ) -> None:
        names = rule.unsupported(body, self._version)
        if lesson is not None:
            names += lesson.unsupported(body)
        names += dialect.foreign.intersection(body)
        if not names or self._settings.on_unsupported == "pass":
            return
        if self._settings.on_unsupported == "error":
            raise UnsupportedParameterError(
                f"{model!r} does not take '{names[0]}' (see 'on_unsupported')",
                parameter=names[0],
            )
        for name in names:
            remove(body, name)
            self._tell_once(model, name)

    def _at_least(self, least: int, model: str, name: str, limit: Any) -> Any:
        # A smaller one was meant for another API, and would be refused: the answer
        # would be lost for a few tokens.
        if not isinstance(limit, int) or isinstance(limit, bool) or limit >= least:
            return limit
        if self._settings.on_unsupported == "pass" or limit < 1:
            return limit
        if self._settings.on_unsupported == "error":
            raise UnsupportedParameterError(
                f"{model!r} takes '{name}' of at least {least}, not {limit} (see "
                f"'on_unsupported')",
                parameter=name,
            )
        self._tell_once(model, name, limit, least)
        return least

    def _tell_once(
        self, model: str, name: str, asked: int | None = None, sent: int | None = None
    ) -> None:
        if (model, name) in self._told:
            return
        if len(self._told) >= MOST_RULES:
            self._told.clear()
        self._told.add((model, name))
        self._tell(model, name, asked, sent)


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        data: bytes = to_json(body, fallback=_plain)
        # These would be written bare, which no JSON reader has to take. Most bodies
        # do not have the words; one that has is read again to see how they stand.
        if b"NaN" in data or b"Infinity" in data:
            from_json(data, allow_inf_nan=False)
    except (TypeError, ValueError) as error:
        kind = type(error).__name__
    else:
        return data
    # Outside the handler: that exception may quote the prompt.
    raise BadRequestError(
        f"the request cannot be written as JSON ({kind}): it holds an object, a number "
        f"that is not finite, or half of a surrogate pair"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _pop_output_limit(parameters: dict[str, Any]) -> tuple[str | None, Any]:
    for name in OUTPUT_LIMITS:
        if name in parameters:
            return name, parameters.pop(name)
    return None, None


def _put_output_limit(
    body: dict[str, Any], name: str, limit: Any, rule: Rule, lesson: Lesson | None
) -> None:
    most = rule.max_output_tokens
    if lesson is not None:
        name = lesson.renamed.get(name, name)
        most = lesson.most or most
    # Asking for more than a model ever writes is refused; the answer is the same.
    if most is not None and isinstance(limit, int) and limit > most:
        limit = most
    body[name] = limit


def _instead(rule: Rule) -> str:
    return f"; it names {rule.replacement!r} in its place" if rule.replacement else ""
