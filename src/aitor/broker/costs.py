"""
What a request is expected to take from a limit, and what it took in the end.
"""

import math
from contextlib import suppress
from typing import Any

from aitor.broker.envelope import Call
from aitor.broker.policy import POLICIES, Charge
from aitor.laws.bucket import NO_COST, ONE_CALL, Cost
from aitor.laws.estimate import Estimator
from aitor.logs import report_broken_method
from aitor.messages import Answer, Request
from aitor.outcomes import Outcome
from aitor.providers.base import Provider, guess_tokens

__all__ = ("Costs",)


class Costs:
    """
    Estimates for one provider, learned from what its requests have used.

    A provider's own methods are asked first. One that fails is logged once, and what is
    usual stands in for it: no request fails for want of a guess.

    Args:
        provider: Who guesses the input and knows the model.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._estimator = Estimator()
        self._reported: set[str] = set()

    def expected(self, request: Request) -> tuple[float, Cost]:
        """Return the guessed input tokens of *request*, and what it may take in all."""
        guess = self._number("guess_input", request)
        if guess is None:
            guess = _usual_guess(request)
        most = self._number("output_limit", request)
        output = self._estimator.output(self.model_of(request) or "", most)
        return guess, Cost(1, guess * self._estimator.input_ratio, output)

    def window(self, request: Request) -> float | None:
        """Return how many tokens the model of *request* takes, where it is known."""
        return self._number("window", request)

    def model_of(self, request: Request) -> str | None:
        """Return the model that *request* is asked of."""
        try:
            return self._provider.model_of(request)
        except Exception as error:  # noqa: BLE001  # whatever a provider's code does
            self._report("model_of", error)
            return Provider.model_of(self._provider, request)

    def _number(self, method: str, request: Request) -> float | None:
        try:
            return _sensible(getattr(self._provider, method)(request))
        except Exception as error:  # noqa: BLE001  # whatever a provider's code does
            self._report(method, error)
            return None

    def _report(self, method: str, error: Exception) -> None:
        if method not in self._reported:
            self._reported.add(method)
            report_broken_method(self._provider.name, method, error)

    def learn(self, call: Call, model: str | None, answer: Answer) -> None:
        """Learn what *answer* of *model* has used, if it was guessed before."""
        if call.candidate.guess and not answer.usage.estimated:
            self._estimator.learn(
                model or "",
                call.candidate.guess,
                answer.usage.input_tokens,
                answer.usage.output_tokens,
            )

    def used(self, call: Call, outcome: Outcome, answer: Answer | None) -> Cost:
        """Return what *call* took, by the policy for its *outcome*."""
        if call.reservation.slot is None:
            # Where nothing is limited, nothing is counted.
            return call.reservation.cost
        charge = POLICIES[outcome].charge
        if charge is Charge.USED and answer is not None and not answer.usage.estimated:
            return Cost(1, answer.usage.input_tokens, answer.usage.output_tokens)
        if charge is Charge.REQUEST:
            return ONE_CALL
        if charge is Charge.NOTHING:
            return NO_COST
        return call.reservation.cost


def _usual_guess(request: Request) -> float:
    # Messages may be mappings of any kind, with bugs of their own.
    with suppress(Exception):
        return guess_tokens(request.messages)
    return 0.0


def _sensible(said: Any) -> float | None:
    # What is less than nothing came out of the request, which says so by itself.
    if said is None or said < 0:
        return None
    number = float(said)
    if not number < math.inf:
        raise ValueError(f"a finite number was expected, not {number}")
    return number
