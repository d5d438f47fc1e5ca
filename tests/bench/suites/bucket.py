"""A finished collection in a bucket, with its cache folder in the bucket:
what a run asks that has nothing to do.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from bench.cache import cache_folder
from bench.measure import _PATH, _module
from bench.memory import forget_peak, peak_bytes
from bench.processes.bucket import COLLECTION, FILE_BYTES, TIER
from bench.result import Benchmark, Row, Scale, at_most
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.ids import image_id
from fpj_core.model import Counts, Derivative, Folder, ImageRecord, Job, ShardBatch, tier_digests
from fpj_core.objects import Bucket
from fpj_core.paths import derivative_path
from fpj_core.planning import cut_shards
from fpj_core.progress import Progress
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import FileProcessingJob
from fpj_worker.indexer import index_collection
from fpj_worker.local import LocalRun
from fpj_worker.localjob import LocalJob, local_job
from fpj_worker.places import Place

_BATCH = 1_000


class _Nobody:
    """Looks on, and shows nothing."""

    def stage(self, name: str) -> None:
        """Nothing."""

    def listed(self, images: int) -> None:
        """Nothing."""

    def progress(self, progress: Progress, errors: Mapping[str, int]) -> None:
        """Nothing."""

    def waiting(self, why: str, left: float) -> None:
        """Nothing."""


def finished(scale: Scale) -> Iterator[Row]:
    """Requests of one whole run over a collection that is done, as `fpj run` makes them,
    by a server's own count.
    """
    count = scale.pick(20_000, 1_000_000)
    with (
        _bucket(count) as endpoint,
        tempfile.TemporaryDirectory(prefix="bucket-", dir=cache_folder()) as folder,
        patch.dict("os.environ", {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}),
    ):
        store = open_store(str(Path(folder, "store.db")))
        request = _request(endpoint)
        store.upsert_folder(request.folder_record)
        index_collection(store, request.source.build(), COLLECTION, fence=0)
        store.record_source(COLLECTION, request.identity, 0)
        _record(store, request, count)
        LocalRun(store, _request(endpoint), _Nobody()).run()  # marks the cache folder
        _counts(endpoint)
        forget_peak()
        started = time.perf_counter()
        job = LocalRun(store, _request(endpoint), _Nobody()).run()
        seconds = time.perf_counter() - started
        counts = _counts(endpoint)
        done = job.base + store.job_counts(job.id, job.planned_attempt)[0]
        if done != Counts(skipped=count):
            raise RuntimeError(f"not every image was found up to date: {done}")
        store.close()
    note = ", ".join(f"{what} {number:,}" for what, number in sorted(counts.items()))
    most = 2_100 * count / 10**6 if count == 10**6 else 60
    yield Row(
        f"requests of a run over {count:,} finished objects",
        sum(counts.values()),
        "",
        at_most(most),
        note,
    )
    yield Row(f"the same run, on one machine ({count:,})", count / seconds, "objects/s")
    yield Row("its peak", peak_bytes() / 10**6, "MB")


def _request(endpoint: str) -> LocalJob:
    source = {"s3": {"bucket": "bucket", "prefix": "in", "endpoint": endpoint}}
    manifest = {
        "metadata": {"name": "bench"},
        "spec": {"jobType": "Cache", "collection": {"id": COLLECTION, "source": source}},
    }
    config = S3FolderConfig(Bucket("bucket", "out", endpoint))
    place = Place(Folder("cache", config.location), config)
    return local_job(FileProcessingJob.model_validate(manifest), place, workers=1)


def _record(store: Store, request: LocalJob, count: int) -> None:
    """As if every image had been made."""
    digests = tier_digests(request.tiers)
    job = store.create_job(Job("made", "made", COLLECTION, {}, "digest", created_at=time.time()))
    ordinals = store.pending_ordinals(COLLECTION, digests)
    store.put_shards(job.id, 1, list(cut_shards(job.id, 1, COLLECTION, ordinals, count)))
    shard = store.claim_shard(job.id, 1, "holder", time.time())
    assert shard
    for cursor in range(0, count, _BATCH):
        images = store.images(COLLECTION, cursor, cursor + _BATCH)
        made = tuple(_derivative(image, digests[TIER]) for image in images)
        batch = ShardBatch(
            job=job.id,
            attempt=1,
            index=shard.index,
            collection=COLLECTION,
            epoch=shard.epoch,
            fence=0,
            expected_cursor=cursor,
            cursor=cursor + len(images),
            counts=Counts(completed=len(images)),
            derivatives=made,
        )
        store.flush(batch, time.time())


def _derivative(image: ImageRecord, digest: str) -> Derivative:
    return Derivative(
        image=image.id,
        tier=TIER,
        collection=COLLECTION,
        ordinal=image.ordinal,
        digest=digest,
        source_version=image.version,
        folder="cache",
        path=derivative_path(COLLECTION, TIER, image_id(COLLECTION, image.key), "jpg"),
        width=1_920,
        height=1_080,
        bytes=FILE_BYTES,
        job="made",
        created_at=time.time(),
    )


def _counts(endpoint: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{endpoint}/counts", timeout=10) as answer:
        return dict(json.load(answer))


@contextmanager
def _bucket(count: int) -> Iterator[str]:
    """The endpoint of a server that holds so many objects."""
    server = subprocess.Popen(
        _module("bucket", str(count)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | _PATH,
        text=True,
    )
    try:
        assert server.stdout
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.communicate(timeout=60)


BENCHMARKS = (Benchmark("bucket", "A finished collection in a bucket", finished),)
