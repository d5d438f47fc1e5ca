"""Plans for folders of a few derivatives, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from unit.policy.folders import NOW, derivative, planned, removed

from fpj_core.errors import FpjError, PlanRemovesEverythingError, PolicyError
from fpj_core.policy import Eviction, Kept, Pins, Policy, Reason, Shortfall, Since, Victim, Weights

YEAR = 31_536_000


def lru(max_bytes: int, **values: Any) -> Policy:
    return Policy(eviction=Eviction.LRU, max_bytes=max_bytes, **values)


def aged(*ages: float, **values: Any) -> list[Any]:
    """One derivative for each age, the ordinals from 0."""
    return [derivative(ordinal, created_at=NOW - age, **values) for ordinal, age in enumerate(ages)]


# Watermarks ---------------------------------------------------------------------------------------


def test_nothing_goes_up_to_the_high_watermark() -> None:
    made = planned(aged(1, 2, 3), lru(100), used=90)
    assert removed(made) == [] and made.shortfalls == () and made.freed == 0


def test_above_it_the_least_recently_used_go_until_the_low_one() -> None:
    made = planned(aged(5, 9, 1, 7, 3, 2, 4, 6, 8, 10), lru(100))
    assert removed(made) == [9, 1] and made.freed == 20
    assert next(made.victims()) == Victim("cache", "a", 9, "full", 10, Reason.OVER_QUOTA)


def test_an_access_counts_more_than_the_creation() -> None:
    old = derivative(0, created_at=NOW - 900, accessed_at=NOW - 10)
    assert removed(planned([old, *aged(1, 500, 2)[1:]], lru(30))) == [1]


def test_a_small_one_is_spared_where_the_next_frees_enough_alone() -> None:
    small, large, kept = (
        derivative(0, bytes=4, created_at=NOW - 9),
        derivative(1, bytes=60, created_at=NOW - 8),
        derivative(2, bytes=36, created_at=NOW - 7),
    )
    assert removed(planned([small, large, kept], lru(100))) == [1]


def test_one_without_bytes_frees_nothing_and_stays() -> None:
    empty = derivative(9, bytes=0, created_at=0.0)
    assert removed(planned([empty, *aged(2, 1)], lru(20))) == [0]


# Order --------------------------------------------------------------------------------------------


def test_what_costs_least_to_make_again_for_its_bytes_goes_first() -> None:
    thumbnail = derivative(0, tier="thumbnail", bytes=17_000, cost_ms=28.0)
    full = derivative(1, bytes=326_000, cost_ms=45.0)
    avif = derivative(2, bytes=165_000, cost_ms=180.0)
    assert removed(planned([thumbnail, full, avif], Policy(max_bytes=400_000))) == [1]


def first_to_go(age: float, frequency: float, other: float = 3_600, **values: Any) -> list[int]:
    """Of one asked for ``frequency`` times but ``age`` seconds ago (0), and one once (1)."""
    often = derivative(0, frequency=frequency, created_at=NOW - age)
    once = derivative(1, created_at=NOW - other)
    return removed(planned([often, once], Policy(max_bytes=20, **values)))


def test_four_times_as_long_ago_is_worth_half() -> None:
    hour = 3_600
    assert first_to_go(3.9 * hour, 2.0) == [1] and first_to_go(4.1 * hour, 2.0) == [0]
    assert first_to_go(60 * hour, 8.0) == [1] and first_to_go(66 * hour, 8.0) == [0]


def test_beyond_that_each_half_life_is_worth_half() -> None:
    """The roots are equal to 1 %, three half-lives lie between."""
    day = 86_400
    ages = {"age": 1_010 * day, "other": 1_000 * day}
    assert first_to_go(frequency=7.0, **ages, half_life=10 * day / 3) == [0]
    assert first_to_go(frequency=9.0, **ages, half_life=10 * day / 3) == [1]


def test_within_an_hour_all_are_equally_young() -> None:
    assert first_to_go(3_600, 1.0, other=0) == [0], "a tie"
    assert first_to_go(0, 1.0, other=3_600) == [0]
    assert first_to_go(3_700, 1.0, other=0) == [0]
    assert first_to_go(0, 1.0, other=3_700) == [1]


def test_an_unknown_cost_counts_as_a_millisecond() -> None:
    unknown, cheap, dear = (derivative(n, cost_ms=ms) for n, ms in enumerate((0.0, 0.5, 2.0)))
    assert removed(planned([unknown, cheap, dear], Policy(max_bytes=15, low_watermark=70))) == [
        1,
        0,
    ]


def test_weights_multiply_what_it_is_worth() -> None:
    policy = Policy(max_bytes=20, weights=Weights(collections={"b": 4.0}, tiers={"thumbnail": 0.5}))
    both = derivative(0, collection="b", tier="thumbnail"), derivative(1, collection="b")
    assert removed(planned(both, policy)) == [0]
    assert removed(planned([both[0], derivative(2)], policy)) == [2], "1 is less than 4 x 0.5"


def test_priority_is_by_weight_then_by_last_access() -> None:
    weights = Weights(folders={"other": 2.0}, collections={"b": 3.0}, tiers={"thumbnail": 0.5})
    policy = Policy(eviction=Eviction.PRIORITY, max_bytes=50, low_watermark=20, weights=weights)
    made = planned(
        [
            derivative(0, collection="b", created_at=0.0),
            derivative(1, created_at=NOW - 5),
            derivative(2, created_at=NOW - 6),
            derivative(3, tier="thumbnail", created_at=NOW),
            derivative(4, folder="other", created_at=1.0),
        ],
        policy,
    )
    assert removed(made) == [3, 2, 1, 4]


def test_ties_go_by_collection_ordinal_and_tier() -> None:
    same = [
        derivative(2, collection="a"),
        derivative(1, collection="b", tier="full"),
        derivative(1, collection="b", tier="thumbnail"),
        derivative(1, collection="c"),
    ]
    victims = planned(same[::-1], lru(30, low_watermark=40)).victims()
    assert [(each.collection, each.ordinal, each.tier) for each in victims] == [
        ("a", 2, "full"),
        ("b", 1, "full"),
        ("b", 1, "thumbnail"),
    ]


def test_without_a_choice_a_folder_with_max_bytes_evicts_by_cost() -> None:
    assert Policy(max_bytes=1).chosen is Eviction.COST
    assert Policy().chosen is Eviction.NONE


# Time to live -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("since", "gone"), [(Since.ACCESS, [1]), (Since.CREATION, [0, 1])])
def test_what_has_expired_goes_the_oldest_first(since: Since, gone: list[int]) -> None:
    asked_for = derivative(0, created_at=NOW - 500, accessed_at=NOW - 1)
    policy = Policy(ttl=100, ttl_since=since)
    made = planned([derivative(2, created_at=NOW - 99), asked_for, *aged(0, 400)[1:]], policy)
    assert removed(made) == gone
    assert {each.reason for each in made.victims()} == {Reason.EXPIRED}


def test_what_expires_counts_before_anything_is_evicted() -> None:
    made = planned(aged(500, 5, 4, 3), lru(40, ttl=100))
    assert removed(made) == [0], "which leaves 75 %"


def test_a_clock_that_jumped_back_expires_and_ages_nothing() -> None:
    ahead = aged(-YEAR, -YEAR, -YEAR)
    made = planned(ahead, Policy(ttl=60, max_bytes=20, minimum_age=60))
    assert removed(made) == []
    assert made.shortfalls == (Shortfall(Reason.OVER_QUOTA, "", 14, {Kept.TOO_YOUNG: 30}),)
    assert removed(planned(ahead, Policy(max_bytes=30))) == [0], "the quota holds"


def test_it_holds_for_expired_ones_too_that_pins_and_minimum_age_protect() -> None:
    old = aged(500, 500, 90, 500)
    policy = Policy(ttl=60, minimum_age=100, pins=Pins(images=frozenset({("a", 1)})))
    busy = derivative(7, busy=True, created_at=0.0)
    assert removed(planned([*old, busy], policy)) == [0, 3]


# Quotas -------------------------------------------------------------------------------------------


def test_a_collection_over_its_quota_loses_its_own() -> None:
    others = aged(900, 901, 902, collection="b")
    made = planned(
        [*aged(1, 3, 2), *others], Policy(eviction=Eviction.LRU, collection_quotas={"a": 15})
    )
    victims = list(made.victims())
    assert [(each.collection, each.ordinal) for each in victims] == [("a", 1), ("a", 2)]
    assert {each.reason for each in victims} == {Reason.OVER_COLLECTION_QUOTA}


def test_what_goes_for_one_limit_counts_for_the_others() -> None:
    full = aged(9, 8, 7, 6)
    policy = lru(40, collection_quotas={"a": 30}, tier_quotas={"full": 20})
    made = planned(full, policy)
    assert removed(made) == [0, 1], (
        "not one for the collection, two for the tier, one for the folder"
    )
    assert made.shortfalls == ()


# What stays ---------------------------------------------------------------------------------------


def test_it_says_why_a_limit_cannot_be_met() -> None:
    folder = [
        derivative(0, busy=True),
        derivative(1, pinned=True),
        derivative(2, collection="pinned"),
        derivative(3, tier="pinned"),
        derivative(4, created_at=NOW - 1),
        derivative(5),
    ]
    pins = Pins(collections=frozenset({"pinned"}), tiers=frozenset({"pinned"}))
    made = planned(folder, lru(30, minimum_age=60, pins=pins), used=67)
    assert removed(made) == [5] and made.short_by == 33
    kept = {Kept.BUSY: 10, Kept.PINNED: 30, Kept.TOO_YOUNG: 10, Kept.UNKNOWN: 7}
    assert made.shortfalls == (Shortfall(Reason.OVER_QUOTA, "", 33, kept),)


def test_with_eviction_none_only_the_ttl_removes() -> None:
    policy = Policy(eviction=Eviction.NONE, max_bytes=20, ttl=100, collection_quotas={"a": 20})
    made = planned(aged(500, 1, 2, 3), policy)
    assert removed(made) == [0]
    assert made.shortfalls == (
        Shortfall(Reason.OVER_COLLECTION_QUOTA, "a", 10, {Kept.NO_EVICTION: 30}),
        Shortfall(Reason.OVER_QUOTA, "", 14, {Kept.NO_EVICTION: 30}),
    )


def test_a_plan_that_would_remove_everything_needs_leave() -> None:
    folder = aged(500, 400)
    with pytest.raises(PlanRemovesEverythingError, match="2 derivatives, 20 bytes") as caught:
        planned(folder, Policy(ttl=60))
    assert (caught.value.derivatives, caught.value.bytes) == (2, 20)
    assert removed(planned(folder, Policy(ttl=60, allow_everything=True))) == [0, 1]
    assert len(planned([], Policy(ttl=60))) == 0, "nothing is not everything"


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"bytes": -1},
        {"bytes": 2**63},
        {"cost_ms": -0.1},
        {"cost_ms": float("nan")},
        {"frequency": -1.0},
        {"frequency": float("inf")},
        {"created_at": -1.0},
        {"created_at": float("nan")},
        {"accessed_at": 2.0**34},
        {"accessed_at": float("nan")},
    ],
)
def test_a_derivative_whose_numbers_are_invalid_stops_the_plan(values: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="invalid derivative"):
        planned([derivative(0, **values)], Policy(), used=0)


def test_an_ordinal_has_a_largest_value_too() -> None:
    for ordinal in (-1, 2**63):
        with pytest.raises(PolicyError, match="invalid derivative"):
            planned([derivative(ordinal)], Policy())
    largest = derivative(2**63 - 1, bytes=2**62)
    assert removed(planned([derivative(0), largest], lru(20))) == [2**63 - 1]


@pytest.mark.parametrize(
    "values",
    [
        {"max_bytes": -1},
        {"max_bytes": 2**63},
        {"collection_quotas": {"a": -1}},
        {"tier_quotas": {"full": 2**63}},
        {"ttl": 0},
        {"ttl": float("nan")},
        {"half_life": 0.0},
        {"minimum_age": -1.0},
        {"minimum_age": float("inf")},
        {"low_watermark": 90},
        {"low_watermark": -1},
        {"high_watermark": 101},
        {"weights": Weights(tiers={"full": -1.0})},
        {"weights": Weights(folders={"cache": float("inf")})},
        {"weights": Weights(collections={"a": float("nan")})},
    ],
)
def test_a_policy_whose_numbers_are_invalid_is_none(values: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        Policy(**values)


def test_used_bytes_and_now_have_bounds() -> None:
    for used, now in ((-1, NOW), (2**63, NOW), (0, -1.0), (0, float("nan")), (0, 2.0**34)):
        with pytest.raises(PolicyError):
            planned([], Policy(), used=used, now=now)
    assert issubclass(PlanRemovesEverythingError, PolicyError) and issubclass(PolicyError, FpjError)


def test_weights_and_costs_at_their_largest_do_not_overflow() -> None:
    most = {"cost_ms": 2.0**53, "frequency": 2.0**53, "bytes": 1}
    weights = Weights({"cache": 1e6}, {"a": 1e6}, {"full": 1e6})
    policy = Policy(max_bytes=2, low_watermark=50, weights=weights, half_life=1e-6)
    assert removed(planned([derivative(0, **most), derivative(1, **most)], policy)) == [0]
