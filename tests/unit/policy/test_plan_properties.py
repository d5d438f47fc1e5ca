"""What holds for each plan, over generated folders and policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.policy.folders import (
    A_FEW,
    CANDIDATES,
    NOW,
    POLICIES,
    UNKNOWN,
    Identity,
    candidate,
    derivative,
    identity,
    planned,
    used_by,
)

from fpj_core.errors import PlanRemovesEverythingError
from fpj_core.policy import (
    Candidate,
    Eviction,
    EvictionPlan,
    Policy,
    Reason,
    Since,
    Weights,
    census,
    rows,
)
from fpj_core.policy.census import last_access
from fpj_core.policy.priority import priority_of

pytestmark = pytest.mark.slow

Limits = dict[tuple[Reason, str], int]


@pytest.fixture(scope="module", autouse=True)
def few_are_many() -> Iterator[None]:
    """So few derivatives take the ways of ten million."""
    with (
        patch.object(census, "_ROWS", 3),
        patch.object(rows, "_FEW", 2),
        patch.object(rows, "_PARTS", 4),
    ):
        yield


def may_go(each: Candidate, policy: Policy) -> bool:
    """Whether nothing protects it."""
    pins = policy.pins
    return not (
        each.busy
        or each.pinned
        or each.collection in pins.collections
        or each.tier in pins.tiers
        or (each.collection, each.ordinal) in pins.images
        or (policy.minimum_age and NOW - each.created_at < policy.minimum_age)
    )


def expired(each: Candidate, policy: Policy) -> bool:
    since = each.created_at if policy.ttl_since is Since.CREATION else last_access(each)
    return policy.ttl is not None and may_go(each, policy) and NOW - since >= policy.ttl


def limits(policy: Policy, after_expiry: int) -> Limits:
    """What the folder, and each collection and tier, may hold."""
    found = {
        (Reason.OVER_COLLECTION_QUOTA, n): most for n, most in policy.collection_quotas.items()
    }
    found |= {(Reason.OVER_TIER_QUOTA, n): most for n, most in policy.tier_quotas.items()}
    if policy.high is not None and policy.low is not None and after_expiry > policy.high:
        found[Reason.OVER_QUOTA, ""] = policy.low
    return found


def counted(each: Candidate) -> list[tuple[Reason, str]]:
    """Where its bytes count."""
    return [
        (Reason.OVER_COLLECTION_QUOTA, each.collection),
        (Reason.OVER_TIER_QUOTA, each.tier),
        (Reason.OVER_QUOTA, ""),
    ]


class Folder:
    """A folder before and after its plan."""

    def __init__(self, candidates: Sequence[Candidate], policy: Policy, unknown: int) -> None:
        self.candidates, self.policy = candidates, policy
        self.used = used_by(candidates) + unknown
        self.plan = planned(candidates, policy, used=self.used)
        self.by_identity = {identity(each): each for each in candidates}
        self.victims = {identity(each): each.reason for each in self.plan.victims()}
        self.over = limits(policy, self.used - used_by(self.expired))
        self.held = dict.fromkeys(self.over, 0)
        if (Reason.OVER_QUOTA, "") in self.held:
            self.held[Reason.OVER_QUOTA, ""] = unknown
        for each in candidates:
            if identity(each) not in self.victims:
                for limit in set(counted(each)) & set(self.held):
                    self.held[limit] += each.bytes

    @property
    def expired(self) -> list[Candidate]:
        return [each for each in self.candidates if expired(each, self.policy)]

    def evicted(self) -> list[Candidate]:
        """In order, without those that have expired."""
        return [
            self.by_identity[name]
            for name, reason in self.victims.items()
            if reason is not Reason.EXPIRED
        ]

    def order(self) -> list[Candidate]:
        """All by priority, then collection, ordinal and tier."""
        priority = priority_of(self.policy, NOW)

        def key(each: Candidate) -> tuple[float, Identity]:
            weight = self.policy.weights.of(each.folder, each.collection, each.tier)
            return priority(each, last_access(each), weight), identity(each)

        return sorted(self.candidates, key=key)


FOLDERS = st.builds(Folder, CANDIDATES, POLICIES, UNKNOWN)


@given(FOLDERS)
def test_no_limit_is_exceeded_unless_the_plan_says_by_how_much(folder: Folder) -> None:
    said = {(each.limit, each.name): each.short_by for each in folder.plan.shortfalls}
    over = {limit: folder.held[limit] - most for limit, most in folder.over.items()}
    assert said == {limit: excess for limit, excess in over.items() if excess > 0}
    assert folder.plan.short_by == max(over.get((Reason.OVER_QUOTA, ""), 0), 0)


@given(FOLDERS)
def test_what_falls_short_has_nothing_left_that_may_go_and_says_what_stays(folder: Folder) -> None:
    for short in folder.plan.shortfalls:
        staying = [
            each
            for each in folder.candidates
            if (short.limit, short.name) in counted(each) and identity(each) not in folder.victims
        ]
        if folder.policy.chosen is not Eviction.NONE:
            assert not any(each.bytes and may_go(each, folder.policy) for each in staying)
        assert sum(short.kept.values()) == folder.held[short.limit, short.name]


@given(FOLDERS)
def test_pinned_busy_and_young_ones_stay(folder: Folder) -> None:
    assert all(may_go(folder.by_identity[name], folder.policy) for name in folder.victims)


@given(FOLDERS)
def test_all_that_has_expired_goes_first_and_nothing_else_is_called_expired(folder: Folder) -> None:
    names = [name for name, reason in folder.victims.items() if reason is Reason.EXPIRED]
    assert set(names) == {identity(each) for each in folder.expired}
    assert list(folder.victims)[: len(names)] == names


@given(FOLDERS, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(folder: Folder, random: object) -> None:
    shuffled = list(folder.candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert same(planned(shuffled, folder.policy, used=folder.used), folder.plan)


@given(FOLDERS)
@example(
    Folder(
        [candidate(which, 0) for which in (0, 1, 30, 151, 872)],
        Policy(
            ttl_since=Since.CREATION,
            eviction=Eviction.COST,
            max_bytes=20,
            high_watermark=51,
            low_watermark=50,
            half_life=10.0,
            tier_quotas={"full": 0, "thumbnail": 10},
            weights=Weights(tiers={"thumbnail": 0.0}),
            allow_everything=True,
        ),
        7,
    )
)
def test_each_victim_is_needed(folder: Folder) -> None:
    for each in folder.evicted():
        broken = [
            limit
            for limit in counted(each)
            if limit in folder.over and folder.held[limit] + each.bytes > folder.over[limit]
        ]
        assert broken and each.bytes
        assert folder.victims[identity(each)] is broken[0][0]


@given(FOLDERS)
def test_victims_come_by_priority_and_ties_by_identity(folder: Folder) -> None:
    evicted = folder.evicted()
    assert evicted == [each for each in folder.order() if each in evicted]
    assert len(folder.victims) == len(folder.plan) == len(list(folder.plan.victims()))
    assert folder.plan.freed == sum(folder.by_identity[name].bytes for name in folder.victims)


@given(FOLDERS)
def test_a_plain_loop_over_all_in_order_finds_the_same(folder: Folder) -> None:
    assert [identity(each) for each in folder.evicted()] == plain(folder)


@given(st.builds(Folder, A_FEW, POLICIES, UNKNOWN))
def test_a_plan_that_leaves_nothing_needs_leave(folder: Folder) -> None:
    values = {name: getattr(folder.policy, name) for name in Policy.__dataclass_fields__}
    strict = Policy(**(values | {"allow_everything": False}))
    if folder.candidates and len(folder.plan) == len(folder.candidates):
        with pytest.raises(PlanRemovesEverythingError):
            planned(folder.candidates, strict, used=folder.used)
    else:
        assert same(planned(folder.candidates, strict, used=folder.used), folder.plan)


def test_what_the_folder_need_not_remove_is_not_forgotten_where_a_quota_may_need_it() -> None:
    old = [derivative(number, created_at=NOW - 900 + number) for number in range(6)]
    new = [derivative(number, collection="b", created_at=NOW - 9 + number) for number in range(4)]
    policy = Policy(
        eviction=Eviction.LRU,
        max_bytes=100,
        high_watermark=95,
        low_watermark=90,
        collection_quotas={"b": 20},
    )
    victims = planned([*new, *old], policy).victims()
    assert [(each.collection, each.ordinal) for each in victims] == [("b", 0), ("b", 1)]


def same(one: EvictionPlan, other: EvictionPlan) -> bool:
    return (list(one.victims()), one.freed, one.shortfalls, one.seen) == (
        list(other.victims()),
        other.freed,
        other.shortfalls,
        other.seen,
    )


def plain(folder: Folder) -> list[Identity]:
    """The rules of `fpj_core.policy.plans`, in lists."""
    if folder.policy.chosen is Eviction.NONE:
        return []
    gone = {identity(each) for each in folder.expired}
    free = [each for each in folder.order() if identity(each) not in gone and each.bytes]
    unknown = folder.used - used_by(folder.candidates)
    held = dict.fromkeys(folder.over, 0)
    held = {limit: unknown if limit[0] is Reason.OVER_QUOTA else 0 for limit in held}
    for each in folder.candidates:
        if identity(each) not in gone:
            move(held, each, each.bytes)
    taken: list[Candidate] = []
    for each in free:
        if may_go(each, folder.policy) and exceeded(held, folder.over, each):
            taken.append(each)
            move(held, each, -each.bytes)
    for each in reversed(list(taken)):
        move(held, each, each.bytes)
        if exceeded(held, folder.over, each):
            move(held, each, -each.bytes)
        else:
            taken.remove(each)
    return [identity(each) for each in taken]


def move(held: Limits, each: Candidate, size: int) -> None:
    for limit in counted(each):
        if limit in held:
            held[limit] += size


def exceeded(held: Limits, most: Limits, each: Candidate) -> bool:
    mine: Iterable[tuple[Reason, str]] = (limit for limit in counted(each) if limit in held)
    return any(held[limit] > most[limit] for limit in mine)
