"""
What a request is expected to take from a limit, and what it took in the end.
"""

from aitor.broker.envelope import Call
from aitor.broker.policy import POLICIES, Charge
from aitor.errors import LLMError, ProviderCrashError
from aitor.laws.bucket import NO_COST, ONE_CALL, Cost
from aitor.laws.estimate import Estimator
from aitor.messages import Answer, Request
from aitor.outcomes import Outcome
from aitor.providers.base import Provider

__all__ = ("Costs", "crash_of")


class Costs:
    """
    Estimates for one provider, learned from what its requests have used.

    Args:
        provider: Who guesses the input and knows the model.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._estimator = Estimator()

    def expected(self, request: Request) -> tuple[float, Cost]:
        """
        Return the guessed input tokens of *request*, and what it may take in all.

        Raises:
            LLMError: If the provider's code cannot say.
        """
        provider = self._provider
        try:
            guess = provider.guess_input(request)
            model = provider.model_of(request) or ""
            output = self._estimator.output(model, provider.output_limit(request))
        except LLMError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a provider's code does
            raise crash_of(provider, error) from None
        return guess, Cost(1, guess * self._estimator.input_ratio, output)

    def learn(self, call: Call, answer: Answer) -> None:
        """Learn from what *answer* says it has used, if it was guessed before."""
        if call.candidate.guess and not answer.usage.estimated:
            self._estimator.learn(
                self._provider.model_of(call.request) or "",
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


def crash_of(provider: Provider, error: Exception) -> ProviderCrashError:
    """Return what callers get to see of an *error* that *provider* did not expect."""
    # The text of an unknown exception may quote a key or a prompt, and so may what it
    # refers to, so neither goes along.
    return ProviderCrashError(
        f"{type(provider).__name__} raised {type(error).__name__}, a fault in its code"
    )
