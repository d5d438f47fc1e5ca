"""Derivatives and policies for tests, by example and generated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from fpj_core.policy import (
    Candidate,
    Eviction,
    EvictionPlan,
    Pins,
    Policy,
    Since,
    Victim,
    Weights,
    plan,
)

NOW = 1_000_000_000.0
Identity = tuple[str, int, str]


def derivative(ordinal: int = 0, **values: Any) -> Candidate:
    """One of 10 bytes that took 10 ms, 1,000 seconds ago."""
    collection, tier = values.pop("collection", "a"), values.pop("tier", "full")
    given: dict[str, Any] = {
        "folder": "cache",
        "path": f"{collection}/{tier}/{ordinal}.jpg",
        "bytes": 10,
        "cost_ms": 10.0,
        "created_at": NOW - 1_000,
    }
    return Candidate(collection, ordinal, tier, **(given | values))


def used_by(candidates: Sequence[Candidate]) -> int:
    return sum(each.bytes for each in candidates)


def planned(
    candidates: Sequence[Candidate], policy: Policy, *, used: int | None = None, now: float = NOW
) -> EvictionPlan:
    return plan(iter(candidates), used_by(candidates) if used is None else used, policy, now)


def identity(each: Candidate | Victim) -> Identity:
    return each.collection, each.ordinal, each.tier


def removed(made: EvictionPlan) -> list[int]:
    """The victims' ordinals, in order."""
    return [each.ordinal for each in made.victims()]


_COLLECTIONS, _TIERS, _FOLDERS = ("a", "b", "c"), ("full", "thumbnail"), ("cache", "other")
_TIMES = (NOW, NOW - 300, NOW - 100, NOW - 50, NOW - 1, NOW + 60)
_WEIGHTS = st.sampled_from([0.0, 0.5, 1.0, 3.0])
_WHICH: dict[str, Sequence[Any]] = {
    "ordinal": range(10),
    "collection": _COLLECTIONS,
    "tier": _TIERS,
    "folder": _FOLDERS,
    "bytes": [*range(1, 20), 0, 2**33, 2**40],
}
_HOW: dict[str, Sequence[Any]] = {
    "cost_ms": (10.0, 0.0, 1.0, 28.5),
    "created_at": _TIMES,
    "accessed_at": (None, *_TIMES),
    "frequency": (1.0, 0.0, 2.5),
    "protected": ({}, {}, {}, {}, {}, {}, {}, {}, {"pinned": True}, {"busy": True}),
}


def _digits(number: int, choices: dict[str, Sequence[Any]]) -> dict[str, Any]:
    """One choice of each: two draws make a derivative, so folders of many are not too large."""
    found = {}
    for name, values in choices.items():
        number, index = divmod(number, len(values))
        found[name] = values[index]
    return found


def _numbers(choices: dict[str, Sequence[Any]]) -> st.SearchStrategy[int]:
    return st.integers(0, math.prod(map(len, choices.values())) - 1)


def candidate(which: int, how: int) -> Candidate:
    """One of all that are tried, by the numbers that a failing example shows."""
    values = _digits(which, _WHICH) | _digits(how, _HOW)
    return derivative(**(values | values.pop("protected")))


_CANDIDATE = st.builds(candidate, _numbers(_WHICH), _numbers(_HOW))


def _some(names: Sequence[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(names), values, max_size=2)


A_FEW = st.lists(_CANDIDATE, max_size=2, unique_by=identity)
CANDIDATES = st.lists(_CANDIDATE, min_size=5, max_size=20, unique_by=identity)
_BYTES = st.sampled_from([*range(0, 120, 5), 2**33, 2**40 + 50])


@st.composite
def _policy(draw: st.DrawFn) -> Policy:
    low = draw(st.integers(0, 99))
    return Policy(
        ttl=draw(st.sampled_from([None, 50.0, 100.0, 200.0])),
        ttl_since=draw(st.sampled_from(Since)),
        eviction=draw(st.sampled_from([*Eviction, None])),
        max_bytes=draw(st.one_of(st.none(), _BYTES, _BYTES)),
        low_watermark=low,
        high_watermark=draw(st.integers(low + 1, 100)),
        minimum_age=draw(st.sampled_from([0.0, 0.0, 1.0, 75.0])),
        half_life=draw(st.sampled_from([10.0, 1_000.0])),
        collection_quotas=draw(_some(_COLLECTIONS, _BYTES)),
        tier_quotas=draw(_some(_TIERS, _BYTES)),
        weights=Weights(
            *(draw(_some(names, _WEIGHTS)) for names in (_FOLDERS, _COLLECTIONS, _TIERS))
        ),
        pins=Pins(
            draw(st.sampled_from([*[frozenset[str]()] * 3, frozenset({"c"})])),
            draw(st.sampled_from([*[frozenset[str]()] * 3, frozenset({"thumbnail"})])),
            draw(
                st.frozensets(
                    st.tuples(st.sampled_from(_COLLECTIONS), st.integers(0, 9)), max_size=3
                )
            ),
        ),
        allow_everything=True,
    )


POLICIES = _policy()
UNKNOWN = st.sampled_from([0, 0, 0, 7, 2**34])
"""Bytes of a folder that none of its derivatives accounts for."""
