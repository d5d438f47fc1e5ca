"""Derivatives and policies for tests, by example and generated."""

from __future__ import annotations

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
_TIMES = st.sampled_from([NOW - 300, NOW - 100, NOW - 50, NOW - 1, NOW, NOW + 60])
_IDENTITIES = st.tuples(st.sampled_from(_COLLECTIONS), st.integers(0, 9), st.sampled_from(_TIERS))
_PROTECTED = st.sampled_from([*[{}] * 8, {"pinned": True}, {"busy": True}])
_WEIGHTS = st.sampled_from([0.0, 0.5, 1.0, 3.0])


@st.composite
def _candidate(draw: st.DrawFn) -> Candidate:
    collection, ordinal, tier = draw(_IDENTITIES)
    return derivative(
        ordinal,
        collection=collection,
        tier=tier,
        folder=draw(st.sampled_from(_FOLDERS)),
        bytes=draw(st.one_of(st.integers(0, 20), st.sampled_from([2**33, 2**40]))),
        cost_ms=draw(st.sampled_from([0.0, 1.0, 10.0, 28.5])),
        created_at=draw(_TIMES),
        accessed_at=draw(st.one_of(st.none(), _TIMES)),
        frequency=draw(st.sampled_from([0.0, 1.0, 2.5])),
        **draw(_PROTECTED),
    )


def _some(names: Sequence[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(names), values, max_size=2)


CANDIDATES = st.lists(_candidate(), max_size=14, unique_by=identity)
_BYTES = st.one_of(st.integers(0, 250), st.sampled_from([2**33, 2**41]))


@st.composite
def _policy(draw: st.DrawFn) -> Policy:
    low = draw(st.integers(0, 99))
    return Policy(
        ttl=draw(st.sampled_from([None, None, 60.0, 200.0])),
        ttl_since=draw(st.sampled_from(Since)),
        eviction=draw(st.sampled_from([*Eviction, None])),
        max_bytes=draw(st.one_of(st.none(), _BYTES)),
        low_watermark=low,
        high_watermark=draw(st.integers(low + 1, 100)),
        minimum_age=draw(st.sampled_from([0.0, 30.0, 75.0])),
        half_life=draw(st.sampled_from([10.0, 1_000.0])),
        collection_quotas=draw(_some(_COLLECTIONS, _BYTES)),
        tier_quotas=draw(_some(_TIERS, _BYTES)),
        weights=Weights(
            *(draw(_some(names, _WEIGHTS)) for names in (_FOLDERS, _COLLECTIONS, _TIERS))
        ),
        pins=Pins(
            draw(st.sampled_from([frozenset[str](), frozenset({"c"})])),
            draw(st.sampled_from([frozenset[str](), frozenset({"thumbnail"})])),
            draw(st.frozensets(st.tuples(st.sampled_from(_COLLECTIONS), st.integers(0, 9)))),
        ),
        allow_everything=True,
    )


POLICIES = _policy()
UNKNOWN = st.sampled_from([0, 0, 0, 7, 2**34])
"""Bytes of a folder that none of its derivatives accounts for."""
