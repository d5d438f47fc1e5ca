"""The end of a job: its folder's totals cost the same,
however many derivatives the folder holds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.cache import cache_folder
from bench.mongodb import mongodb_uri
from bench.result import Benchmark, Row, Scale, at_most
from fpj_core.model import Counts, Derivative, Folder, Job, Shard, ShardBatch
from fpj_core.store import open_store
from fpj_core.store.protocol import Store

_FEW = 10_000
_FOLDER = "cache"
_TIERS = ("full", "thumbnail")
_BATCH = 2_500
"""Images of one flush."""
_ROUNDS = 5


def end(scale: Scale) -> Iterator[Row]:
    """Derivatives are recorded as workers do, then what the end of a job asks of the store is
    timed.
    """
    with (
        tempfile.TemporaryDirectory(prefix="store-", dir=cache_folder()) as folder,
        closing(open_store(str(Path(folder, "store.db")))) as store,
    ):
        yield from _compared(store, "SQLite", scale.pick(200_000, 5_000_000))
    with mongodb_uri() as uri, closing(open_store(uri)) as store:
        yield from _compared(store, "MongoDB", scale.pick(20_000, 500_000))


def _compared(store: Store, name: str, many: int) -> Iterator[Row]:
    store.upsert_folder(Folder(_FOLDER, "/cache"))
    _record(store, "few", _FEW)
    few = _seconds(store)
    _record(store, "many", many - _FEW)
    lots = _seconds(store)
    totals = store.refresh_folder(_FOLDER)
    exact = (totals.files, totals.bytes) == (many, 1_000 * many)
    note = (
        f"{few * 1e3:.1f} ms over {_FEW:,}, {lots * 1e3:.1f} ms over {many:,}; totals"
        f" {'exact' if exact else 'WRONG'}"
    )
    yield Row(
        f"the end over {many:,} derivatives beside {_FEW:,}, {name}",
        lots - few,
        "s",
        at_most(2),
        note,
    )
    yield Row(f"derivatives that the totals miss, {name}", abs(totals.files - many), "", at_most(0))


def _seconds(store: Store) -> float:
    """The slowest of some rounds."""
    taken = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        store.refresh_folder(_FOLDER)
        store.statistics("many")
        taken.append(time.perf_counter() - began)
    return max(taken)


def _record(store: Store, collection: str, derivatives: int) -> None:
    images = derivatives // len(_TIERS)
    job = store.create_job(Job(collection, collection, collection, {}, "", created_at=1.0)).id
    store.put_shards(job, 1, [Shard(job, 1, 0, collection, 0, images, 0)])
    shard = store.claim_shard(job, 1, "holder", time.time())
    assert shard
    for start in range(0, images, _BATCH):
        stop = min(start + _BATCH, images)
        made = tuple(
            _derivative(collection, n, tier) for n in range(start, stop) for tier in _TIERS
        )
        counts = Counts(completed=stop - start, bytes_written=1_000 * len(made))
        store.flush(
            ShardBatch(job, 1, 0, collection, shard.epoch, 0, start, stop, counts, made),
            time.time(),
        )


def _derivative(collection: str, ordinal: int, tier: str) -> Derivative:
    image = f"{collection}{ordinal:026x}"
    path = f"{collection}/{tier}/{image[-2:]}/{image}.jpg"
    return Derivative(
        image,
        tier,
        collection,
        ordinal,
        "digest",
        "v1",
        _FOLDER,
        path,
        4,
        3,
        1_000,
        collection,
        1.0,
    )


BENCHMARKS = (Benchmark("op-end", "The end of a job over a large folder", end),)
