"""The order of a mailbox: priorities, tenants, first come first served."""

import math
from collections import Counter, deque
from collections.abc import Hashable
from random import Random
from typing import Generic, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aitor.laws.order import Entry, FairQueue

T = TypeVar("T")


def emptied(queue: FairQueue[str]) -> list[str]:
    return [queue.pop().item for _ in range(len(queue))]


def jain(amounts: list[float]) -> float:
    """Return Jain's index of fairness: 1 if all are equal, 1/n if one has all."""
    return sum(amounts) ** 2 / (len(amounts) * sum(a * a for a in amounts))


# First come, first served.


def test_an_empty_queue_has_nothing_to_give() -> None:
    queue: FairQueue[str] = FairQueue()
    assert len(queue) == 0
    assert queue.peek() is None
    assert list(queue) == []
    with pytest.raises(IndexError, match="pop from an empty queue"):
        queue.pop()


def test_who_comes_first_goes_first() -> None:
    queue: FairQueue[str] = FairQueue()
    for when, item in enumerate("abcd"):
        queue.push(item, arrived=float(when))
    first = queue.peek()
    assert first is not None
    assert first.item == "a"
    assert len(queue) == 4
    assert emptied(queue) == list("abcd")


def test_of_those_who_come_at_once_the_sequence_decides() -> None:
    queue: FairQueue[str] = FairQueue()
    for sequence, item in ((3, "c"), (1, "a"), (2, "b")):
        queue.push(item, arrived=5.0, sequence=sequence)
    assert emptied(queue) == list("abc")


def test_without_a_sequence_they_go_as_they_were_pushed() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in "abc":
        queue.push(item, arrived=5.0)
    assert emptied(queue) == list("abc")


def test_who_comes_back_gets_the_old_place_among_its_tenants_entries() -> None:
    queue: FairQueue[str] = FairQueue()
    entries = [queue.push(item, arrived=float(n)) for n, item in enumerate("abcd")]
    back = []
    for entry in entries[:3]:
        assert queue.pop() is entry
        back.append(entry)
    for entry in reversed(back[1:]):
        queue.push(entry.item, arrived=entry.arrived, sequence=entry.sequence)
    queue.push("e", arrived=9.0)
    assert emptied(queue) == list("bcde")


def test_an_entry_says_what_it_is() -> None:
    queue: FairQueue[str] = FairQueue()
    entry = queue.push("a", priority=2, tenant="t", tokens=30.0, arrived=4.0)
    assert (entry.item, entry.priority, entry.tenant) == ("a", 2, "t")
    assert (entry.tokens, entry.arrived, entry.sequence) == (30.0, 4.0, 1)


# Priorities and aging.


def test_the_urgent_go_first() -> None:
    queue: FairQueue[str] = FairQueue()
    for priority, item in ((0, "c"), (5, "a"), (-1, "d"), (1, "b")):
        queue.push(item, priority=priority, arrived=0.0)
    assert emptied(queue) == list("abcd")


def test_waiting_thirty_seconds_longer_makes_up_for_a_level() -> None:
    queue: FairQueue[str] = FairQueue(aging=30.0)
    queue.push("patient", priority=0, arrived=0.0)
    queue.push("urgent", priority=1, arrived=29.0)
    queue.push("later", priority=1, arrived=31.0)
    queue.push("very urgent", priority=2, arrived=58.0)
    assert emptied(queue) == ["very urgent", "urgent", "patient", "later"]


def test_a_stream_of_urgent_ones_starves_nobody() -> None:
    queue: FairQueue[str] = FairQueue(aging=30.0)
    queue.push("patient", priority=0, arrived=0.0)
    for second in range(1_000):
        queue.push("urgent", priority=3, arrived=float(second))
        if queue.pop().item == "patient":
            assert second == 90
            return
    pytest.fail("still waiting after 1,000 s")


def test_a_stream_of_small_ones_beside_it_starves_nobody() -> None:
    """They leave before they are old, and fairness puts each of them first."""
    queue: FairQueue[str] = FairQueue(aging=30.0)
    queue.push("patient", tenant="large", tokens=10_000.0, arrived=0.0)
    small: deque[Entry[str]] = deque()
    for second in range(1_000):
        queue.push("urgent", priority=1, tenant="urgent", arrived=float(second))
        small.append(queue.push("small", tenant="small", arrived=float(second)))
        if second >= 20:
            queue.remove(small.popleft())
        if queue.pop().item == "patient":
            assert second == 30
            return
    pytest.fail("still waiting after 1,000 s")


def test_who_is_young_does_not_pass_the_urgent_on_the_age_of_another() -> None:
    queue: FairQueue[str] = FairQueue(aging=30.0)
    queue.push("patient", tenant="large", tokens=10_000.0, arrived=0.0)
    for n in range(3):
        queue.push("urgent", priority=1, tenant="urgent", arrived=40.0 + n)
        queue.push("young", tenant="small", arrived=40.0 + n)
    assert emptied(queue) == ["patient", *["urgent"] * 3, *["young"] * 3]


def test_the_age_of_a_flooding_tenants_entries_does_not_do_away_with_fairness() -> None:
    queue: FairQueue[str] = FairQueue(aging=30.0)
    for _ in range(100):
        queue.push("flood", priority=1, tenant="flood", tokens=100.0, arrived=0.0)
    queue.push("patient", arrived=5.0)
    queue.push("newcomer", priority=1, tenant="newcomer", tokens=50.0, arrived=40.0)
    assert [queue.pop().item for _ in range(3)] == ["flood", "patient", "newcomer"]


def test_who_goes_for_its_age_pays_and_leaves_the_others_as_they_are() -> None:
    queue: FairQueue[str] = FairQueue(aging=30.0)
    for tenant, tokens in (("a", 500.0), ("b", 10.0)):
        for n in range(3):
            queue.push(tenant, tenant=tenant, tokens=tokens, arrived=35.0 * n)
    queue.push("urgent", priority=1, arrived=36.0)
    assert [queue.pop().item for _ in range(3)] == ["b", "a", "urgent"]
    # A newcomer begins where the fair order is, not at the tokens of the old one.
    queue.push("c", tenant="c", tokens=15.0, arrived=80.0)
    assert emptied(queue) == ["b", "c", "b", "a", "a"]


# Tenants.


@pytest.mark.parametrize("sizes", [(100, 100), (100, 1_000), (50, 30_000)])
def test_two_tenants_that_flood_share_by_tokens(sizes: tuple[int, int]) -> None:
    queue: FairQueue[str] = FairQueue()
    random = Random(1)
    tenants = dict(zip("ab", sizes, strict=True))
    for n in range(10_000):
        for tenant, size in tenants.items():
            tokens = size * random.uniform(0.5, 1.5)
            queue.push(tenant, tenant=tenant, tokens=tokens, arrived=n / 100)
    served: Counter[str] = Counter()
    while sum(served.values()) < 4 * 10_000 * min(sizes) / 5:
        entry = queue.pop()
        served[entry.item] += int(entry.tokens)
    assert jain([*served.values()]) >= 0.95


def test_a_tenant_with_twice_the_weight_gets_twice_the_tokens() -> None:
    queue: FairQueue[str] = FairQueue(weights={"b": 2.0})
    for n in range(600):
        for tenant in "ab":
            queue.push(tenant, tenant=tenant, tokens=100.0, arrived=float(n))
    served = Counter(queue.pop().item for _ in range(300))
    assert served == {"a": 100, "b": 200}


def test_a_newcomer_does_not_wait_for_what_a_flooding_tenant_has_queued() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(1_000):
        queue.push("flood", tenant="a", tokens=100.0, arrived=float(n))
    for _ in range(500):
        queue.pop()
    queue.push("newcomer", tenant="b", tokens=100.0, arrived=5_000.0)
    assert "newcomer" in [queue.pop().item for _ in range(2)]


def test_being_away_earns_no_credit() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("b", tenant="b", tokens=100.0, arrived=0.0)
    for n in range(300):
        queue.push("a", tenant="a", tokens=100.0, arrived=float(n))
    for _ in range(101):
        queue.pop()
    for n in range(100):
        queue.push("b", tenant="b", tokens=100.0, arrived=400.0 + n)
    assert Counter(queue.pop().item for _ in range(100)) == {"a": 50, "b": 50}


def test_an_endless_stream_of_newcomers_starves_nobody() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(3):
        queue.push("regular", tenant="regular", tokens=500.0, arrived=float(n))
    left = 3
    for n in range(100):
        queue.push("newcomer", tenant=n, tokens=500.0, arrived=10.0 + n)
        queue.push("another", tenant=-n - 1, tokens=500.0, arrived=10.0 + n)
        left -= queue.pop().item == "regular"
    assert left == 0


def test_requests_without_tokens_do_not_go_for_ever() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(100):
        queue.push("empty", tenant="a", tokens=0.0, arrived=float(n))
    queue.push("small", tenant="b", tokens=10.0, arrived=1.0)
    assert "small" in [queue.pop().item for _ in range(11)]


@pytest.mark.parametrize("tokens", [math.nan, math.inf, -math.inf, 1e18])
def test_a_size_that_is_no_amount_spoils_no_order(tokens: float) -> None:
    queue: FairQueue[str] = FairQueue()
    for tenant in ("mad", "other"):
        queue.push("mad", tenant=tenant, tokens=tokens, arrived=0.0)
    assert emptied(queue) == ["mad", "mad"]
    queue.push("mad", tenant="mad", tokens=tokens, arrived=0.0)
    queue.push("stays", tenant="mad", tokens=1e6, arrived=1.0)
    queue.pop()
    for n in range(100):
        queue.push("a", tenant="a", tokens=10.0, arrived=3.0 + n)
        queue.push("b", tenant="b", tokens=30.0, arrived=3.0 + n)
    served = Counter(queue.pop().item for _ in range(80))
    assert served["a"] == pytest.approx(3 * served["b"], abs=3)


def test_tenants_are_fair_within_each_priority() -> None:
    queue: FairQueue[str] = FairQueue(aging=1e6)
    for n in range(100):
        for tenant, tokens in (("a", 100.0), ("b", 300.0)):
            for priority in (0, 1):
                queue.push(
                    f"{tenant}{priority}",
                    priority=priority,
                    tenant=tenant,
                    tokens=tokens,
                    arrived=float(n),
                )
    first = Counter(queue.pop().item for _ in range(40))
    assert first == {"a1": 30, "b1": 10}


# Leaving.


def test_who_leaves_is_not_there_any_more() -> None:
    queue: FairQueue[str] = FairQueue()
    entries = {item: queue.push(item, arrived=float(n)) for n, item in enumerate("abc")}
    queue.remove(entries["b"])
    queue.remove(entries["a"])
    assert len(queue) == 1
    assert [entry.item for entry in queue] == ["c"]
    assert emptied(queue) == ["c"]


def test_leaving_twice_is_leaving_once() -> None:
    queue: FairQueue[str] = FairQueue()
    first, second = queue.push("a", arrived=0.0), queue.push("b", arrived=1.0)
    queue.remove(first)
    queue.remove(first)
    assert queue.pop() is second
    queue.remove(second)
    assert len(queue) == 0


def test_who_is_taken_in_front_had_the_turn_and_who_left_had_not() -> None:
    queue: FairQueue[str] = FairQueue()
    behind = []
    for n in range(6):
        queue.push("a", tenant="a", tokens=100.0, arrived=float(n))
        behind.append(queue.push("b", tenant="b", tokens=100.0, arrived=float(n)))
    for entry in behind[1:4]:
        queue.remove(entry)
    front = queue.peek()
    assert front is not None
    queue.take(front)
    assert [queue.pop().item for _ in range(4)] == list("baba")


def test_who_expires_in_front_costs_its_tenant_nothing() -> None:
    """Under overload most of a busy tenant's requests expire; they are not service."""
    queue: FairQueue[str] = FairQueue()
    waiting = [
        queue.push("a", tenant="a", tokens=100.0, arrived=float(n)) for n in range(9)
    ]
    for n in range(3):
        queue.push("b", tenant="b", tokens=100.0, arrived=10.0 + n)
    for entry in waiting[:6]:
        queue.remove(entry)
    assert [queue.pop().item for _ in range(6)] == list("ababab")


def test_who_leaves_from_behind_another_tenant_had_no_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(6):
        queue.push("a", tenant="a", tokens=100.0, arrived=float(n))
    for entry in [
        queue.push("b", tenant="b", tokens=100.0, arrived=float(n)) for n in range(6)
    ][:3]:
        queue.remove(entry)
    assert [queue.pop().item for _ in range(4)] == list("abab")


def test_coming_back_gives_no_one_else_a_better_place() -> None:
    queue: FairQueue[str] = FairQueue()
    first = queue.push("a0", tenant="a", tokens=100.0, arrived=0.0)
    queue.push("a1", tenant="a", tokens=100.0, arrived=5.0)
    queue.push("b0", tenant="b", tokens=150.0, arrived=1.0)
    queue.push("b1", tenant="b", tokens=150.0, arrived=2.0)
    assert queue.pop() is first
    queue.push("a0", tenant="a", tokens=100.0, arrived=0.0, sequence=first.sequence)
    assert emptied(queue) == ["b0", "a0", "b1", "a1"]


def test_a_storm_of_cancels_leaves_nothing_behind() -> None:
    queue: FairQueue[int] = FairQueue()
    stay = queue.push(-1, tenant="a", arrived=0.0)
    for n in range(10_000):
        tenant = "a" if n % 2 else n % 7
        queue.remove(queue.push(n, tenant=tenant, arrived=float(n)))
        queue.remove(queue.push(n, priority=n % 5, tenant=n, arrived=float(n)))
    assert held_by(queue) < 100
    assert queue.pop() is stay


def test_a_tenant_that_is_gone_is_forgotten() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.push(-1, tenant="stays", tokens=1e9, arrived=0.0)
    for n in range(10_000):
        queue.push(n, tenant=n, tokens=1.0, arrived=float(n))
        queue.pop()
    assert len(queue) == 1
    assert held_by(queue) < 100
    queue.pop()
    assert queue._lanes == {}


def held_by(queue: FairQueue[int]) -> int:
    """Count what the queue holds in all, alive or not."""
    count = 0
    for lane in queue._lanes.values():
        count += len(lane.heads) + len(lane.ages or ())
        for flow in lane.flows.values():
            count += 1 + len(flow._line) + len(flow._back)
    return count


# Settings.


@pytest.mark.parametrize("aging", [0.0, -1.0, math.inf, math.nan])
def test_an_aging_that_is_none_is_refused(aging: float) -> None:
    with pytest.raises(ValueError, match="'aging' must be finite and more than 0"):
        FairQueue(aging=aging)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_none_is_refused_by_tenant(weight: float) -> None:
    with pytest.raises(ValueError, match="weight of tenant 't' must be finite"):
        FairQueue(weights={"t": weight})


# Against a list that is searched anew each time.


class Naive(Generic[T]):
    """The documented order, by looking at everything."""

    def __init__(self, aging: float) -> None:
        self.aging = aging
        self.waiting: list[Entry[T]] = []
        self.clock: dict[int, float] = {}
        self.start: dict[tuple[int, Hashable], float] = {}
        self.aged = False

    def push(self, entry: Entry[T]) -> None:
        flow = (entry.priority, entry.tenant)
        if not any(one.priority == entry.priority for one in self.waiting):
            self.clock[entry.priority] = 0.0
        if not any((one.priority, one.tenant) == flow for one in self.waiting):
            self.start[flow] = self.clock[entry.priority]
        self.waiting.append(entry)

    def tag(self, entry: Entry[T]) -> float:
        return self.start[entry.priority, entry.tenant] + max(entry.tokens, 1.0)

    def fronts(self) -> dict[int, Entry[T]]:
        heads: dict[tuple[int, Hashable], Entry[T]] = {}
        for entry in sorted(self.waiting, key=lambda one: (one.arrived, one.sequence)):
            heads.setdefault((entry.priority, entry.tenant), entry)
        fronts: dict[int, Entry[T]] = {}
        for entry in heads.values():
            front = fronts.get(entry.priority)
            if front is None or self.rank(entry) < self.rank(front):
                fronts[entry.priority] = entry
        return fronts

    def rank(self, entry: Entry[T]) -> tuple[float, float, int]:
        return self.tag(entry), entry.arrived, entry.sequence

    def due(self, entry: Entry[T]) -> tuple[float, float, int]:
        due = entry.arrived - entry.priority * self.aging
        return due, entry.arrived, entry.sequence

    def next(self) -> Entry[T] | None:
        fair = min(self.fronts().values(), key=self.due, default=None)
        if fair is None or self.aged:
            return fair
        others = [one for one in self.waiting if one.priority != fair.priority]
        return min([fair, *others], key=self.due)

    def take(self, entry: Entry[T]) -> None:
        # Whoever is served had a turn; whoever leaves by itself had none.
        fair = entry is self.fronts()[entry.priority]
        tag = self.tag(entry)
        self.start[entry.priority, entry.tenant] = tag
        self.aged = not fair
        if fair:
            self.clock[entry.priority] = max(self.clock[entry.priority], tag)
        self.waiting.remove(entry)

    def remove(self, entry: Entry[T]) -> None:
        self.waiting.remove(entry)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("push"),
            st.integers(0, 2),
            st.sampled_from("abc"),
            st.integers(0, 9).map(float),
            st.integers(0, 39).map(float),
        ),
        st.just(("pop",)),
        st.tuples(st.just("remove"), st.integers(0, 100)),
        st.tuples(st.just("back"), st.integers(0, 100)),
    ),
    max_size=80,
)


@settings(max_examples=300)
@given(steps)
def test_the_order_is_the_documented_one(script: list[tuple[object, ...]]) -> None:
    queue: FairQueue[int] = FairQueue(aging=10.0)
    naive: Naive[int] = Naive(10.0)
    left = []
    for step in script:
        match step:
            case ("push", int(priority), str(tenant), float(tokens), float(arrived)):
                entry = queue.push(
                    0, priority=priority, tenant=tenant, tokens=tokens, arrived=arrived
                )
                naive.push(entry)
            case ("pop",) if naive.waiting:
                expected = naive.next()
                assert queue.pop() is expected
                assert expected is not None
                naive.take(expected)
                left.append(expected)
            case ("remove", int(index)) if naive.waiting:
                entry = naive.waiting[index % len(naive.waiting)]
                queue.remove(entry)
                naive.remove(entry)
            case ("back", int(index)) if left:
                old = left.pop(index % len(left))
                entry = queue.push(
                    0,
                    priority=old.priority,
                    tenant=old.tenant,
                    tokens=old.tokens,
                    arrived=old.arrived,
                    sequence=old.sequence,
                )
                naive.push(entry)
        assert queue.peek() is naive.next()
        assert len(queue) == len(naive.waiting)
        assert {id(entry) for entry in queue} == {id(entry) for entry in naive.waiting}
