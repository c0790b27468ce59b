"""
A dialect: how one vendor's endpoint reads requests and writes answers.

Dialects turn values into JSON and back and do nothing else: no sockets, no
time, no faults. What goes wrong is decided elsewhere, with their words.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aitor.testing.ask import Answer, Ask, RejectedError
from aitor.testing.errors import VendorError
from aitor.testing.limits import Excess, LimitState

__all__ = ("CREATED", "Dialect", "Rules", "event", "unnamed_event")

# The date of every answer, so that the same seed gives the same bytes.
CREATED = 1_767_225_600


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What the vendor refuses.

    Args:
        models: The models that exist; all if empty.
        reasoning_models: Prefixes of models that take no sampling parameters.
        context_window: The most input tokens; 0 for no limit.
    """

    models: Sequence[str] = ()
    reasoning_models: Sequence[str] = ()
    context_window: int = 0

    def reasons(self, model: str) -> bool:
        """
        Whether *model* is one that takes no sampling parameters.
        """
        return model.startswith(tuple(self.reasoning_models))


class Dialect(ABC):
    """
    One endpoint that answers.
    """

    vendor: ClassVar[str]
    errors: ClassVar[dict[str, VendorError]]
    # The header that names the request, the part of an answer that holds what
    # was said, and what a stream sends to keep the connection open.
    id_header: ClassVar[str]
    content: ClassVar[str]
    ping: ClassVar[bytes]

    @abstractmethod
    def read(self, body: Mapping[str, Any], rules: Rules) -> Ask:
        """
        Return what *body* asks for.

        Raises:
            RejectedError: If the vendor would refuse it.
        """

    @abstractmethod
    def whole(self, ask: Ask, answer: Answer, number: int) -> dict[str, Any]:
        """
        Return the body of a whole answer, the *number*-th of the server.
        """

    @abstractmethod
    def events(self, ask: Ask, answer: Answer, number: int) -> Iterator[bytes]:
        """
        Yield the events of a streamed answer, as they go over the wire.
        """

    @abstractmethod
    def error_body(self, error: VendorError, number: int) -> dict[str, Any]:
        """
        Return the body of *error*.
        """

    @abstractmethod
    def error_event(self, error: VendorError, number: int) -> bytes:
        """
        Return *error* as an event within a stream.
        """

    @abstractmethod
    def limit_error(self, excess: Excess, model: str) -> VendorError:
        """
        Return the words in which a limit refuses a request.
        """

    @abstractmethod
    def limit_headers(self, states: Mapping[str, LimitState]) -> dict[str, str]:
        """
        Return the headers that tell how the limits stand.
        """

    @abstractmethod
    def wait_headers(self, delay: float) -> dict[str, str]:
        """
        Return the headers that ask the client to wait *delay* seconds.
        """

    @abstractmethod
    def models(self, names: Sequence[str]) -> dict[str, Any]:
        """
        Return the body of a list of models.
        """

    def reject(self, name: str, model: str = "", param: str = "") -> RejectedError:
        """
        Return the refusal called *name* in the table of errors.
        """
        return RejectedError(self.errors[name].about(model, param))

    def check_model(self, body: Mapping[str, Any], rules: Rules) -> str:
        """
        Return the model that *body* names, if there is such a model.
        """
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise self.reject("bad_request", "", "model")
        if rules.models and model not in rules.models:
            raise self.reject("model_not_found", model)
        return model

    def check_limit(self, body: Mapping[str, Any], name: str) -> int | None:
        """
        Return the token limit called *name*, which must be a whole number.
        """
        value = body.get(name)
        if value is not None and (type(value) is not int or value < 1):
            raise self.reject("bad_request", "", name)
        return value


def event(name: str, data: Mapping[str, Any]) -> bytes:
    """
    Return an event with a name, which its data repeat as their type.
    """
    return b"event: %b\ndata: %b\n\n" % (
        name.encode(),
        json.dumps({"type": name, **data}).encode(),
    )


def unnamed_event(data: Mapping[str, Any]) -> bytes:
    """
    Return an event without a name.
    """
    return b"data: %b\n\n" % json.dumps(data).encode()
