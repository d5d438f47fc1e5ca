"""Shards, for every set of pending images."""

from __future__ import annotations

import tracemalloc
from itertools import islice, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_core.model import Counts, Shard, ShardState
from fpj_core.planning import cut_shards

PENDING = st.lists(st.integers(0, 3_000), unique=True, max_size=200).map(sorted)


@settings(deadline=None)
@given(PENDING, st.integers(1, 250))
def test_every_pending_image_is_in_one_shard(pending: list[int], size: int) -> None:
    shards = list(cut_shards("job", 1, "c", pending, size))
    within = [
        [ordinal for ordinal in pending if shard.start <= ordinal < shard.stop] for shard in shards
    ]
    assert [ordinal for ordinals in within for ordinal in ordinals] == pending
    assert all(len(ordinals) == size for ordinals in within[:-1])
    assert all(1 <= len(ordinals) <= size for ordinals in within), "no shard without work"
    assert all(
        (shard.start, shard.stop) == (held[0], held[-1] + 1)
        for shard, held in zip(shards, within, strict=True)
    )
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert all(first.stop <= second.start for first, second in pairwise(shards))


def test_a_shard_begins_untouched() -> None:
    assert list(cut_shards("job", 1, "c", [3, 5, 9], 2)) == [
        Shard("job", 1, 0, "c", 3, 6, 3, ShardState.PENDING, 0, None, 0.0, Counts()),
        Shard("job", 1, 1, "c", 9, 10, 9, ShardState.PENDING, 0, None, 0.0, Counts()),
    ]


def test_nothing_pending_makes_no_shard() -> None:
    assert list(cut_shards("job", 1, "c", [], 100)) == []


def test_memory_does_not_grow_with_the_collection() -> None:
    shards = cut_shards("job", 1, "c", iter(range(200_000)), 10_000)
    tracemalloc.start()
    count = sum(1 for _ in shards)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20
    assert peak < 100_000
    assert [s.start for s in islice(cut_shards("job", 1, "c", iter(range(10**9)), 5), 3)] == [
        0,
        5,
        10,
    ], "it streams"
