"""Cutting a collection's pending images into shards.

Pure, so that the operator and `fpj run` plan alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fpj_core.model import Shard


def cut_shards(
    job: str, attempt: int, collection: str, pending: Iterable[int], shard_size: int
) -> Iterator[Shard]:
    """Cut ascending ordinals into ranges that hold ``shard_size`` pending images each (the last may
    hold fewer).

    A range may also span images that need nothing: the worker's skip check skips them.
    """
    start = last = -1
    count = index = 0
    for ordinal in pending:
        if count == shard_size:
            yield _shard(job, attempt, collection, index, start, last)
            index += 1
            count = 0
        if count == 0:
            start = ordinal
        last = ordinal
        count += 1
    if count:
        yield _shard(job, attempt, collection, index, start, last)


def _shard(job: str, attempt: int, collection: str, index: int, first: int, last: int) -> Shard:
    return Shard(job, attempt, index, collection, start=first, stop=last + 1, cursor=first)
