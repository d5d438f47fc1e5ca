"""The stores: updates from many at once, a million images, and indexing them."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.cache import cache_folder
from bench.measure import run_module
from bench.mongodb import mongodb_uri
from bench.result import Benchmark, Row, Scale, at_most
from bench.synthetic import SyntheticSource
from fpj_core.errors import ConcurrencyError
from fpj_core.ids import image_id
from fpj_core.model import (
    Counts,
    Derivative,
    Folder,
    ImageFacts,
    ImageRecord,
    Job,
    Shard,
    ShardBatch,
    ShardState,
)
from fpj_core.paths import derivative_path
from fpj_core.planning import cut_shards
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.indexer import index_collection

_THREADS = 100
COLLECTION = "bench"
_DIGESTS = {"full": "0123456789abcdef", "thumbnail": "fedcba9876543210"}
_BATCH = 100
_READ = 1_000


def concurrent_updates(scale: Scale) -> Iterator[Row]:
    """A hundred threads that update one job's state; what they count must be exact."""
    each = scale.pick(10, 50)
    for name, opened in _stores().items():
        with opened() as store:
            yield from _counted(store, name, each)
            yield from _replaced(store, name)


def index(scale: Scale) -> Iterator[Row]:
    """Indexing into SQLite: entries a second, and whether memory grows with their number."""
    few, many = scale.pick((20_000, 200_000), (100_000, 1_000_000))
    peaks = []
    for count in (few, many):
        cost = run_module("index", str(count), environment={})
        peaks.append(cost["peak"])
        note = f"peak {cost['peak'] / 10**6:.0f} MB, store {cost['file'] / 10**6:.0f} MB"
        yield Row(f"{count:,} new entries indexed", count / cost["first"], "entries/s", note=note)
        yield Row(f"{count:,} known entries indexed again", count / cost["again"], "entries/s")
    note = "the index itself keeps a bit for each image"
    yield Row(
        f"peak with {many:,} entries / with {few:,}", peaks[1] / peaks[0], "", at_most(1.10), note
    )


def million(scale: Scale) -> Iterator[Row]:
    """All that a job asks of the store, without the images: index, plan, process,
    and a second run's checks.
    """
    counts = {"SQLite": scale.pick(50_000, 1_000_000), "MongoDB": scale.pick(2_000, 20_000)}
    for name, opened in _stores().items():
        images = counts[name]
        with opened() as store:
            steps = _life_of_a_job(store, images)
        for step, seconds in steps.items():
            yield Row(
                f"{name}, {images:,} images, {step}",
                seconds,
                "s",
                note=f"{seconds / images * 1e6:.1f} µs an image",
            )
        total = sum(steps.values())
        yield Row(
            f"{name}, {images:,} images, all",
            total,
            "s",
            note=f"{total / images * 1e6:.1f} µs an image",
        )


# Updates ------------------------------------------------------------------------------------------


def _counted(store: Store, name: str, each: int) -> Iterator[Row]:
    """Every thread holds a shard of one job and records ``each`` batches of one image."""
    job = new_job(store, f"counted-{name}")
    shards = [
        Shard(job.id, 1, n, COLLECTION, n * each, (n + 1) * each, n * each) for n in range(_THREADS)
    ]
    store.put_shards(job.id, 1, shards)
    claimed = [store.claim_shard(job.id, 1, f"holder-{n}", time.time()) for n in range(_THREADS)]
    one = Counts(completed=1, bytes_written=1)

    def work(shard: Shard) -> None:
        for cursor in range(shard.start, shard.stop):
            store.flush(
                ShardBatch(
                    job.id, 1, shard.index, COLLECTION, shard.epoch, 0, cursor, cursor + 1, one
                ),
                time.time(),
            )

    seconds = _in_threads(work, [shard for shard in claimed if shard])
    counts, _ = store.job_counts(job.id, 1)
    if counts.completed != _THREADS * each:
        raise RuntimeError(f"{name} counted {counts.completed} of {_THREADS * each}")
    updates = _THREADS * each / seconds
    note = f"{_THREADS * each:,} updates of 100 shards, counted exactly"
    yield Row(f"JobStateUpdate_Atomic_100Concurrent, {name}", updates, "updates/s", note=note)


def _replaced(store: Store, name: str) -> Iterator[Row]:
    """Every thread changes the same record, guarded by its version,
    and reads it again when it lost.
    """
    job = new_job(store, f"replaced-{name}")
    lost = threading.Semaphore(0)

    def work(_number: int) -> None:
        while True:
            current = store.get_job(job.id)
            assert current
            try:
                store.update_job(replace(current, total=current.total + 1))
            except ConcurrencyError:
                lost.release()
            else:
                return

    seconds = _in_threads(work, list(range(_THREADS)))
    final = store.get_job(job.id)
    if final is None or final.total != _THREADS:
        raise RuntimeError(f"{name}: {_THREADS} threads added up to {final and final.total}")
    note = f"100 threads, one record, by version; {lost._value} lost a race and tried again; exact"
    yield Row(
        f"one job's record from 100 threads, {name}", _THREADS / seconds, "updates/s", note=note
    )


def _in_threads(work: Callable[..., None], items: list[object] | list[int] | list[Shard]) -> float:
    """Seconds until every item has been worked on, each in its own thread, all at once."""
    gate = threading.Barrier(len(items) + 1)

    def started(item: object) -> None:
        gate.wait()
        work(item)

    with ThreadPoolExecutor(len(items)) as threads:
        futures = [threads.submit(started, item) for item in items]
        gate.wait()
        begin = time.perf_counter()
        for future in futures:
            future.result()
        return time.perf_counter() - begin


# A job's life -------------------------------------------------------------------------------------


def _life_of_a_job(store: Store, images: int) -> dict[str, float]:
    """Seconds by step."""
    steps: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        steps[name] = steps.get(name, 0.0) + time.perf_counter() - started

    job = new_job(store, f"life-{images}")
    folder = Folder("cache", "/cache")
    store.upsert_folder(folder)
    with step("index"):
        index_collection(store, SyntheticSource(images), COLLECTION, fence=0)
    with step("plan"):
        ordinals = store.pending_ordinals(COLLECTION, _DIGESTS)
        store.put_shards(job.id, 1, list(cut_shards(job.id, 1, COLLECTION, ordinals, 10_000)))
    with step("process: read, claim, record"):
        while shard := store.claim_shard(job.id, 1, "holder", time.time()):
            record_shard(store, shard)
    assert store.job_counts(job.id, 1)[0].completed == images
    with step("statistics"):
        store.refresh_folder(folder.name)
        store.statistics(COLLECTION)
    with step("second run: index again"):
        index_collection(store, SyntheticSource(images), COLLECTION, fence=0)
    with step("second run: every file's record"):
        assert sum(1 for _ in store.derivative_files(COLLECTION, list(_DIGESTS))) == 2 * images
    with step("second run: plan"):
        assert not list(store.pending_ordinals(COLLECTION, _DIGESTS))
    return steps


def record_shard(store: Store, shard: Shard) -> None:
    """Go over a shard as a worker does, with results that cost nothing."""
    cursor = shard.cursor
    for start in range(shard.start, shard.stop, _READ):
        stop = min(start + _READ, shard.stop)
        store.derivatives(COLLECTION, start, stop, list(_DIGESTS))
        images = store.images(COLLECTION, start, stop)
        for first in range(0, len(images), _BATCH):
            batch = images[first : first + _BATCH]
            store.flush(_batch(shard, batch, cursor), time.time())
            cursor = batch[-1].ordinal + 1
    store.finish_shard(shard, ShardState.SUCCEEDED, time.time())


def _batch(shard: Shard, images: list[ImageRecord], cursor: int) -> ShardBatch:
    now = time.time()
    derivatives = tuple(
        Derivative(
            image=image.id,
            tier=tier,
            collection=COLLECTION,
            ordinal=image.ordinal,
            digest=digest,
            source_version=image.version,
            folder="cache",
            path=derivative_path(COLLECTION, tier, image_id(COLLECTION, image.key), "jpg"),
            width=1_920,
            height=1_440,
            bytes=400_000,
            job=shard.job,
            created_at=now,
        )
        for image in images
        for tier, digest in _DIGESTS.items()
    )
    facts = ImageFacts(4_000, 3_000, "jpeg", bytes(25), "#807060")
    return ShardBatch(
        job=shard.job,
        attempt=1,
        index=shard.index,
        collection=COLLECTION,
        epoch=shard.epoch,
        fence=0,
        expected_cursor=cursor,
        cursor=images[-1].ordinal + 1,
        counts=Counts(
            completed=len(images),
            bytes_written=400_000 * len(derivatives),
            processing_ms=55.0 * len(images),
        ),
        derivatives=derivatives,
        facts={image.ordinal: facts for image in images},
    )


def new_job(store: Store, name: str) -> Job:
    """A job over the collection that all of these use."""
    return store.create_job(Job(name, name, COLLECTION, {}, "digest", created_at=time.time()))


@contextmanager
def _sqlite() -> Iterator[Store]:
    with tempfile.TemporaryDirectory(prefix="store-", dir=cache_folder()) as folder:
        store = open_store(str(Path(folder, "store.db")))
        yield store
        store.close()


@contextmanager
def _mongodb() -> Iterator[Store]:
    with mongodb_uri() as uri:
        store = open_store(uri)
        yield store
        store.close()


def _stores() -> Mapping[str, Callable[[], AbstractContextManager[Store]]]:
    return {"SQLite": _sqlite, "MongoDB": _mongodb}


BENCHMARKS = (
    Benchmark("updates", "A hundred updates of one job at once", concurrent_updates),
    Benchmark("index", "Indexing into SQLite", index),
    Benchmark("million", "The store's share of a job", million),
)
