"""
Checkers: each reads a history and says which promise was broken, when and how.

The promises have numbers, by which violations name them (`RULES`).
"""

from aitor.testing.simulator.checkers import (
    circuits,
    liveness,
    pauses,
    queues,
    rates,
    requests,
    retries,
)
from aitor.testing.simulator.checkers.base import Checker, Violation
from aitor.testing.simulator.history import History

__all__ = ("CHECKERS", "RULES", "Checker", "Violation", "check")

RULES = {
    1: "every request has exactly one outcome, and it is its own answer",
    2: "a refusal comes at once, and nothing was sent",
    3: "an outcome comes no later than the deadline",
    4: "who waits when all is well has an outcome before long",
    5: "when all have their outcomes nothing is held, by those replaced neither",
    6: "callers get the library's own exceptions only",
    7: "nobody fails for the retry budget while a provider that is well was not asked",
    8: "a crash fails one request and no other",
    9: "no mailbox holds more than its size",
    10: "no provider has more calls in flight than workers",
    11: "nothing is sent at its deadline or after",
    12: "equals of one tenant leave in the order they came",
    13: "who has left holds nothing",
    14: "a slow provider keeps nothing from another (see 21)",
    15: "closing is bounded and leaves nothing",
    16: "in any 60 s no more starts than the limit allows",
    17: "in any window no more starts than burst and rate allow",
    18: "who leaves gives back what was taken (see 21 and 22)",
    19: "nothing leaves before the latest wait that was asked for is over",
    20: "nothing is decided at a time that has passed",
    21: "what may start does so at once",
    22: "every reservation is settled exactly once",
    23: "time goes on: nothing spins (the watchdog)",
    24: "circuits change only as circuits may",
    25: "a half-open circuit has so many probes and no more",
    26: "a verdict counts in its own generation only",
    27: "what says nothing about a provider's health does not count",
    28: "a half-open circuit ends (see 32)",
    29: "nothing leaves through an open circuit",
    30: "few calls reach a provider that always fails",
    31: "who finds all circuits open waits while it has time, or is told at once",
    32: "when all is well again, every provider answers",
    33: "tries are bounded, for each request and for all",
    34: "what is hopeless at a provider is not sent there again",
    36: "reply and error name every attempt",
    38: "the same seed gives the same history (one seed of fifty runs twice)",
    51: "who has time for a further attempt does not fail while one could succeed",
    52: "nobody waits while a provider that would take the call is idle",
    53: "in any ten seconds nine tenths of the answers that a plain client gets",
    54: "after an outage the former rate is back within the open time",
    48: "what comes due while the clock leaps is done when it lands (see 3, 15, 19)",
}

CHECKERS: tuple[Checker, ...] = (
    requests.one_outcome_each,
    requests.refusals_are_at_once,
    requests.deadlines_hold,
    requests.waiting_ends,
    requests.nothing_is_held_at_rest,
    requests.only_known_errors,
    retries.the_budget_hides_nobody,
    requests.crashes_stay_alone,
    queues.mailboxes_are_bounded,
    queues.workers_are_bounded,
    queues.first_come_first_served,
    requests.nobody_holds_after_leaving,
    requests.everything_is_given_back,
    rates.limits_hold_in_every_window,
    rates.paces_hold_in_every_window,
    pauses.pauses_hold,
    queues.nothing_idles,
    queues.decisions_are_of_the_present,
    rates.reservations_are_settled,
    circuits.circuits_obey,
    circuits.verdicts_are_right,
    circuits.failing_providers_are_spared,
    circuits.circuits_refuse_at_once,
    requests.recovery,
    retries.tries_are_bounded,
    retries.retries_are_paid,
    requests.attempts_are_told,
    liveness.nobody_fails_in_vain,
    liveness.nobody_waits_in_vain,
    liveness.goodput_keeps_up,
    liveness.the_rate_comes_back,
)


def check(history: History) -> list[Violation]:
    """Return all violations, in no order but that of the checkers."""
    return [violation for checker in CHECKERS for violation in checker(history)]
