"""
A provider that answers by itself, for tests, examples and work without a network.

It costs a few microseconds a call, so what a program measures with it is the program.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import anyio
from pydantic import ConfigDict, Field, field_validator

from aitor.messages import Answer, Request, Usage
from aitor.providers.base import CHARACTERS_A_TOKEN, Progress, Provider, guess_tokens
from aitor.providers.concealed import concealed
from aitor.providers.dialect import text_in
from aitor.providers.settings import Amount, Count, ProviderSettings

__all__ = ("MockProvider", "MockSettings")

MOST_ANSWERS = 1_000


class MockSettings(ProviderSettings):
    """
    What the mock takes besides.

    Args:
        responses: Answers by a text that is looked for in the last user message,
            in any case; the longest that is found counts. An answer is a text,
            several that are given one after the other (the last one again and
            again), or a function of the request. The one for `default` is given when
            none is found.
        default_response: Given when there is none for `default` either.
        usage: Tokens that each answer is said to have used; by default a guess.
        delay: Seconds before each answer.
        script: What the first calls get, one after the other: texts and exceptions.
        fail: An exception that every further call gets.
        record: Whether to keep every request, for a test to look at.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    # Nothing is scarce behind a mock: what it is to wait for has to be asked for.
    workers: Count = 1_000

    # Prompts and answers are private, also those that are pretended.
    responses: Mapping[str, Any] = Field(default_factory=dict, repr=False)
    default_response: str = Field("I understand.", repr=False)
    usage: Usage | None = None
    delay: Amount = 0.0
    script: Sequence[str | Exception] = Field((), repr=False)
    fail: Exception | None = None
    record: bool = False

    @field_validator("responses")
    @classmethod
    def _answers_are_answers(cls, responses: Mapping[str, Any]) -> Mapping[str, Any]:
        for pattern, reply in responses.items():
            texts = [reply] if isinstance(reply, str) else reply
            if not callable(reply) and not (
                isinstance(texts, Sequence)
                and texts
                and all(isinstance(text, str) for text in texts)
            ):
                raise ValueError(
                    f"the answer for {pattern!r} must be a text, some texts or a "
                    f"function of the request"
                )
        return responses


class MockProvider(Provider):
    """
    A provider without a vendor.

    Args:
        settings: The keys of `MockSettings`.

    Attributes:
        calls: How many calls there were.
        requests: All requests, oldest first, if `record` is set.
    """

    kind = "mock"
    Settings = MockSettings
    settings: MockSettings

    def __init__(self, **settings: Any) -> None:
        settings = concealed(settings)
        super().__init__(**settings)
        replies = {
            pattern.casefold(): _in_turn(reply)
            for pattern, reply in self.settings.responses.items()
        }
        self._default = replies.pop("default", self.settings.default_response)
        self._patterns = sorted(replies.items(), key=lambda item: -len(item[0]))
        self._script = list(reversed(self.settings.script))
        self._fail = self.settings.fail
        self._model = self.settings.model or "mock"
        self._answers: dict[tuple[str, str, int], Answer] = {}
        self._usage = self.settings.usage
        self._delay = self.settings.delay
        self._record = self.settings.record
        self.calls = 0
        self.requests: list[Request] = []

    async def complete(self, request: Request, progress: Progress) -> Answer:
        """Answer by the settings; see `Provider`."""
        self.calls += 1
        if self._record:
            self.requests.append(request)
        # Chosen before the wait, so that the script goes by the order of the calls.
        outcome = self._script.pop() if self._script else self._fail
        await anyio.sleep(self._delay)
        if isinstance(outcome, Exception):
            # A copy: an exception gathers the traces of all who raise it.
            raise copy(outcome)
        progress()
        text = self._text(request) if outcome is None else outcome
        return self._answer(request, text)

    def _text(self, request: Request) -> str:
        reply = self._default
        if self._patterns:
            asked = _last_words(request).casefold()
            for pattern, its in self._patterns:
                if pattern in asked:
                    reply = its
                    break
        return reply if isinstance(reply, str) else reply(request)

    def _answer(self, request: Request, text: str) -> Answer:
        model, usage = request.model or self._model, self._usage
        tokens = int(guess_tokens(request.messages)) if usage is None else 0
        # Answers are values, and making one costs more than all the rest.
        answer = self._answers.get((text, model, tokens))
        if answer is None:
            if len(self._answers) >= MOST_ANSWERS:
                self._answers.clear()
            usage = usage or Usage(tokens, len(text) // CHARACTERS_A_TOKEN + 1)
            message = {"role": "assistant", "content": text}
            answer = Answer(text, model, "stop", usage, message=message)
            self._answers[text, model, tokens] = answer
        return answer


def _in_turn(reply: Any) -> str | Callable[[Request], str]:
    if isinstance(reply, str):
        return reply
    if callable(reply):
        return lambda request: str(reply(request))
    waiting = list(reversed(reply))
    return lambda _: waiting.pop() if len(waiting) > 1 else waiting[0]


def _last_words(request: Request) -> str:
    for message in reversed(request.messages):
        if message.get("role") == "user":
            return text_in(message.get("content"))
    return ""
