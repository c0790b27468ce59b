"""
Estimates: what a request will use, learned from those before it.

A bucket has to be charged before the truth is known. Too little lets too much through
at once, too much leaves a limit unused. The mean alone is too little half of the
time, so some of the deviation is added, as TCP does with the time it waits for an
answer (Jacobson and Karels, 1988; RFC 6298). Both are moving averages: they forget,
they need no history, and each new sample costs a few additions.
"""

__all__ = ("Estimator", "ServiceTime", "ServiceTimes")

UNKNOWN_OUTPUT = 256.0
"""Tokens expected of a model that has not answered yet and was given no bound."""

MOST_BELIEVED = 10**9
"""No request uses more tokens than this, whatever its usage says."""

MEAN_GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4
"""How much of each sample is learned: TCP's gains, good for the last dozen or so."""


class _Output:
    """Mean and deviation of one model's answers, in tokens."""

    __slots__ = ("deviation", "mean")

    def __init__(self, tokens: float) -> None:
        self.mean = tokens
        self.deviation = tokens / 2

    def learn(self, tokens: float) -> None:
        error = tokens - self.mean
        self.deviation += (abs(error) - self.deviation) * DEVIATION_GAIN
        self.mean += error * MEAN_GAIN


class Estimator:
    """
    Learns how many tokens a provider's requests use.

    Args:
        models: How many models are remembered; the one not used for the longest
            time is forgotten first.
    """

    __slots__ = ("_guessed", "_models", "_outputs", "_used", "input_ratio")

    input_ratio: float
    """Input tokens that were used for each that was guessed."""

    def __init__(self, models: int = 1_000) -> None:
        self._models = models
        self._outputs: dict[str, _Output] = {}
        self._guessed = 0.0
        self._used = 0.0
        self.input_ratio = 1.0

    def output(self, model: str, max_tokens: float | None) -> float:
        """
        Return the output tokens to expect: the mean and twice the deviation.

        Never more than *max_tokens*, which is also what is expected of a model that
        is not known yet, because vendors count so.
        """
        known = self._outputs.get(model)
        if max_tokens is not None:
            # Whatever a request says; a number without end is no float.
            max_tokens = min(max(max_tokens, 0), MOST_BELIEVED)
        if known is None:
            return UNKNOWN_OUTPUT if max_tokens is None else float(max_tokens)
        expected = known.mean + 2 * known.deviation
        if max_tokens is not None and max_tokens < expected:
            return float(max_tokens)
        return expected

    def learn(
        self,
        model: str,
        guessed_input: float,
        input_tokens: float,
        output_tokens: float,
    ) -> None:
        """
        Learn from a request that has ended.

        Args:
            model: Who answered.
            guessed_input: Input tokens as guessed, before `input_ratio`.
            input_tokens: Input tokens used.
            output_tokens: Output tokens used.
        """
        if not (
            0 <= input_tokens <= MOST_BELIEVED and 0 <= output_tokens <= MOST_BELIEVED
        ):
            return
        if 1 <= guessed_input <= MOST_BELIEVED and input_tokens >= 1:
            # The ratio of the means: in a mean of ratios small prompts would count
            # as much as large ones, and what a vendor adds to each would mislead.
            self._guessed += (guessed_input - self._guessed) * MEAN_GAIN
            self._used += (input_tokens - self._used) * MEAN_GAIN
            self.input_ratio = self._used / self._guessed
        known = self._outputs.pop(model, None)
        if known is None:
            known = _Output(output_tokens)
            if len(self._outputs) >= self._models:
                del self._outputs[next(iter(self._outputs))]
        else:
            known.learn(output_tokens)
        # At the end of the dictionary, the last to be forgotten.
        self._outputs[model] = known


class ServiceTime:
    """
    How long recent calls took, in seconds; 0.0 before the first of them.

    Attributes:
        mean: The moving average.
        least: What hardly any call falls below: the mean less twice the deviation.
            Zero where calls differ much, so whoever relies on it gives up only what
            is all but certain to be too late.
        most: What hardly any call exceeds: the mean and twice the deviation.
    """

    __slots__ = ("_deviation", "least", "mean", "most")

    mean: float
    least: float
    most: float

    def __init__(self) -> None:
        self.mean = 0.0
        self.least = 0.0
        self.most = 0.0
        self._deviation = 0.0

    def overdue(self, seconds: float) -> bool:
        """
        Whether *seconds* are more than twice what hardly any call exceeds.

        Never before the first call has ended: then nothing is usual yet.
        """
        return 0.0 < 2 * self.most < seconds

    def observe(self, seconds: float) -> None:
        """Learn that a call took *seconds*."""
        if not self.mean:
            self.mean = seconds
            self._deviation = seconds / 2
            self.most = 2 * seconds
            return
        error = seconds - self.mean
        self._deviation += (abs(error) - self._deviation) * DEVIATION_GAIN
        self.mean += error * MEAN_GAIN
        self.least = max(0.0, self.mean - 2 * self._deviation)
        self.most = self.mean + 2 * self._deviation


class ServiceTimes:
    """
    How long recent calls of one provider took: all of them, and by model.

    Args:
        models: How many models are remembered; the one known for the longest time is
            forgotten first.

    Attributes:
        all: Those of every model.
    """

    __slots__ = ("_by_model", "_models", "all")

    def __init__(self, models: int = 1_000) -> None:
        self._models = models
        self._by_model: dict[str | None, ServiceTime] = {}
        self.all = ServiceTime()

    def of(self, model: str | None) -> ServiceTime:
        """Return those of *model*; what is said of one that is unknown is nothing."""
        return self._by_model.get(model) or ServiceTime()

    def observe(self, model: str | None, seconds: float) -> None:
        """Learn that a call of *model* took *seconds*."""
        self.all.observe(seconds)
        known = self._by_model.get(model)
        if known is None:
            if len(self._by_model) >= self._models:
                del self._by_model[next(iter(self._by_model))]
            known = self._by_model[model] = ServiceTime()
        known.observe(seconds)
