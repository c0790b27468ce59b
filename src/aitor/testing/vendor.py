"""
What the pretended vendor makes of a request: an answer, a refusal or a fault.

Everything is decided when the request arrives, in one go and without waiting;
what is left to do is to wait and to send. So the order of arrival and the seed
decide everything, however the clients are scheduled.
"""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from urllib.parse import unquote

from aitor.testing.anthropic import Messages
from aitor.testing.ask import Answer, Ask, RejectedError, count_tokens, make_answer
from aitor.testing.behaviour import Behaviour
from aitor.testing.delivery import spoil
from aitor.testing.dialect import Dialect
from aitor.testing.distribution import Distribution
from aitor.testing.errors import VendorError, find_error
from aitor.testing.faults import BLUNT, HARMLESS, SILENT, Fault
from aitor.testing.http import HTTPRequest, HTTPResponse, json_response
from aitor.testing.limits import LimitState
from aitor.testing.openai import ChatCompletions
from aitor.testing.record import Outcome
from aitor.testing.responses import Responses

__all__ = ("Arrival", "Plan", "Vendor")

_CHAT, _MESSAGES = ChatCompletions(), Messages()

# By the end of the path: what stands before it differs between proxies.
_DIALECTS: dict[str, Dialect] = {
    "/chat/completions": _CHAT,
    "/responses": Responses(),
    "/messages": _MESSAGES,
    "/messages/count_tokens": _MESSAGES,
}

_MODELS = re.compile(r"/models(?:/(?P<name>.+))?$")

MODEL = "fake-model"
"""Listed where no models were given, and every one is answered."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    A request and the circumstances of its arrival.

    Args:
        request: What came.
        number: Its place in the order of arrival, from 1.
        now: Seconds since the start of the server.
        in_flight: How many requests are in flight, this one included.
        fault: What goes wrong with it, if anything.
    """

    request: HTTPRequest
    number: int
    now: float
    in_flight: int
    fault: Fault | None

    @property
    def counts_tokens(self) -> bool:
        """
        Whether it only asks how many tokens a prompt has.
        """
        return self.request.path.endswith("/count_tokens")

    def dialect(self) -> Dialect:
        """
        Return the dialect of the path, else the one that the headers speak.
        """
        for ending, dialect in _DIALECTS.items():
            if self.request.path.endswith(ending):
                return dialect
        return _MESSAGES if self.request.head.get("anthropic-version") else _CHAT


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What becomes of a request.

    Args:
        response: What is sent, unless the fault says otherwise.
        outcome: What it is, if the client stays until the end.
        delay: Seconds before anything is sent.
        fault: What happens to it on the way.
        ping: What keeps a stream open.
        ask: What was asked, if it was understood.
        answer: What is answered, if anything.
    """

    response: HTTPResponse
    outcome: Outcome
    delay: float = 0.0
    fault: Fault | None = None
    ping: bytes = b""
    ask: Ask | None = None
    answer: Answer | None = None


class Vendor:
    """
    Decides on requests, and counts them against the limits.

    Requests that are refused as wrong do not count against the limits, also
    where a fault refuses them. All others do, even if nothing comes of them.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.random = Random(behaviour.seed)  # noqa: S311 - made to repeat itself
        # How many requests were beyond a limit.
        self.violations = 0
        self._behaviour = behaviour
        self._rules = behaviour.make_rules()
        self._limits = behaviour.make_limits()
        self._latency = Distribution.parse(behaviour.latency)
        self._length = Distribution.parse(behaviour.answer_tokens)

    def limits(self, now: float) -> dict[str, LimitState]:
        """
        Return every limit as it stands *now*.
        """
        return self._limits.states(now)

    def plan(self, arrival: Arrival) -> Plan:
        """
        Decide what becomes of a request.
        """
        dialect = self._dialect(arrival)
        fault = arrival.fault
        if fault is not None and fault.kind in BLUNT:
            return self._strike(arrival, fault, dialect)
        ask: Ask | None = None
        try:
            ask = self._read(arrival, dialect)
            if ask is None:
                return Plan(
                    self._tell_models(arrival.request.path, dialect), "answered"
                )
            if arrival.counts_tokens:
                counted = {"input_tokens": count_tokens(ask.prompt)}
                return Plan(json_response(200, counted), "answered")
            return self._answer(arrival, dialect, ask)
        except RejectedError as rejected:
            response = _error(dialect, rejected.error, arrival)
            return Plan(response, "rejected", ask=ask)

    def _dialect(self, arrival: Arrival) -> Dialect:
        dialect = arrival.dialect()
        # Whose endpoints are not there does not refuse in its own words either.
        served = (one for one in (dialect, _CHAT, _MESSAGES) if self._serves(one))
        return next(served, dialect)

    def _serves(self, dialect: Dialect) -> bool:
        return dialect.vendor in self._behaviour.dialects

    def _read(self, arrival: Arrival, dialect: Dialect) -> Ask | None:
        """
        Return what is asked of a model, `None` if it is only which ones exist.
        """
        request = arrival.request
        self._authenticate(request, dialect)
        if request.method == "GET" and _MODELS.search(request.path):
            return None
        known = request.method == "POST" and request.path.endswith(tuple(_DIALECTS))
        if not (known and self._serves(arrival.dialect())):
            message = f"Invalid URL ({request.method} {request.path})"
            kind = dialect.errors["model_not_found"].type
            raise RejectedError(VendorError(404, kind, message))
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            message = "We could not parse the JSON body of your request."
            kind = dialect.errors["bad_request"].type
            raise RejectedError(VendorError(400, kind, message)) from None
        try:
            if arrival.counts_tokens:
                return _MESSAGES.read_prompt(body, self._rules)
            return dialect.read(body, self._rules)
        except (AttributeError, KeyError, RecursionError, TypeError):
            # A body of another shape than the dialect takes apart.
            raise dialect.reject("bad_request") from None

    def _authenticate(self, request: HTTPRequest, dialect: Dialect) -> None:
        wanted = self._behaviour.api_key
        if wanted is None:
            return
        key = (
            request.head.get("authorization").removeprefix("Bearer ").strip()
            or request.head.get("x-api-key")
            or request.head.get("api-key")
        )
        if key != wanted:
            raise dialect.reject("authentication")

    def _tell_models(self, path: str, dialect: Dialect) -> HTTPResponse:
        """
        Return all models, or the one that *path* names.
        """
        known = self._behaviour.models
        found = _MODELS.search(path)
        name = unquote(found["name"] or "") if found else ""
        if not name:
            # Where every model exists, a list still has to name some.
            listed = known or (MODEL, *self._behaviour.reasoning_models)
            return json_response(200, dialect.models(listed))
        if known and name not in known:
            raise dialect.reject("model_not_found", name)
        return json_response(200, dialect.models([name])["data"][0])

    def _strike(self, arrival: Arrival, fault: Fault, dialect: Dialect) -> Plan:
        """
        Plan a fault that needs no answer.
        """
        ask: Ask | None = None
        with suppress(RejectedError):
            ask = self._read(arrival, dialect)
        if fault.kind in SILENT:
            response = HTTPResponse(0)
        else:
            name = "" if fault.kind == "status" else fault.kind
            error = find_error(dialect.errors, name, fault.status)
            error = error.about(ask.model if ask else "", fault.param)
            response = _error(dialect, error, arrival, fault.all_headers())
        if ask is not None and not 400 <= response.status < 500:
            excess = self._limits.admit(count_tokens(ask.prompt), 0, arrival.now)
            self.violations += excess is not None
        return Plan(response, "faulty", fault.seconds, fault, ask=ask)

    def _answer(self, arrival: Arrival, dialect: Dialect, ask: Ask) -> Plan:
        """
        Plan an answer, or a refusal if it would exceed a limit.
        """
        fault = arrival.fault
        answer = self._make_answer(ask, fault)
        refusal, headers = self._limit(arrival, dialect, ask, answer)
        if refusal is not None:
            response = _error(dialect, refusal, arrival, headers)
            return Plan(response, "limited", ask=ask)
        delay = self._latency.sample(self.random)
        response = self._respond(arrival, dialect, ask, answer, headers)
        outcome: Outcome = "answered"
        if fault is not None:
            response = spoil(response, fault, dialect, arrival.number)
            delay += fault.seconds if fault.kind == "slow" else 0.0
            outcome = "answered" if fault.kind in HARMLESS else "faulty"
        return Plan(response, outcome, delay, fault, dialect.ping, ask, answer)

    def _make_answer(self, ask: Ask, fault: Fault | None) -> Answer:
        least_tokens = int(self._length.sample(self.random))
        answer = make_answer(ask, self._behaviour.answer, least_tokens)
        match fault:
            case Fault(kind="huge"):
                text = "x" * fault.size
                return Answer(text, answer.input_tokens, count_tokens(text))
            case Fault(kind="no_finish"):
                return replace(answer, finish=None)
            case _:
                return answer

    def _limit(
        self, arrival: Arrival, dialect: Dialect, ask: Ask, answer: Answer
    ) -> tuple[VendorError | None, dict[str, str]]:
        """
        Return the refusal, if one is due, and the headers that speak of limits.
        """
        refusal: VendorError | None = None
        headers: dict[str, str] = {}
        most = self._behaviour.concurrency
        if most is not None and arrival.in_flight > most:
            refusal = dialect.errors[self._behaviour.concurrency_error]
            refusal = refusal.about(ask.model)
        elif excess := self._limits.admit(
            answer.input_tokens, answer.output_tokens, arrival.now
        ):
            refusal = dialect.limit_error(excess, ask.model)
            if excess.delay < math.inf:
                headers |= dialect.wait_headers(excess.delay)
        self.violations += refusal is not None
        if not self._behaviour.limit_headers:
            return refusal, {}
        return refusal, headers | dialect.limit_headers(self.limits(arrival.now))

    def _respond(
        self,
        arrival: Arrival,
        dialect: Dialect,
        ask: Ask,
        answer: Answer,
        headers: Mapping[str, str],
    ) -> HTTPResponse:
        headers = {dialect.id_header: f"req_fake{arrival.number}", **headers}
        if not ask.stream:
            body = json.dumps(dialect.whole(ask, answer, arrival.number)).encode()
            return HTTPResponse(200, body, headers=headers)
        pace = self._behaviour.tokens_per_second
        return HTTPResponse(
            200,
            content_type="text/event-stream; charset=utf-8",
            headers=headers,
            frames=tuple(dialect.events(ask, answer, arrival.number)),
            pause=1 / pace if pace else 0.0,
        )


def _error(
    dialect: Dialect,
    error: VendorError,
    arrival: Arrival,
    headers: Mapping[str, str] | None = None,
) -> HTTPResponse:
    headers = {dialect.id_header: f"req_fake{arrival.number}", **(headers or {})}
    if error.page:
        kind = "text/html" if error.page.startswith("<") else "text/plain"
        return HTTPResponse(error.status, error.page.encode(), kind, headers)
    body = json.dumps(dialect.error_body(error, arrival.number)).encode()
    return HTTPResponse(error.status, body, headers=headers)
