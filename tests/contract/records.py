"""Records for the store's tests."""

from __future__ import annotations

from fpj_core.errors import ErrorType
from fpj_core.ids import image_id
from fpj_core.model import (
    Counts,
    Derivative,
    Failure,
    ImageFacts,
    ImageRecord,
    Job,
    Shard,
    ShardBatch,
)

COLLECTION = "holiday"
JOB = "job-1"


def image(
    ordinal: int, *, version: str = "v1", collection: str = COLLECTION, key: str | None = None
) -> ImageRecord:
    key = f"p{ordinal}.jpg" if key is None else key
    return ImageRecord(collection, ordinal, image_id(collection, key), key, 100 + ordinal, version)


def derivative(
    ordinal: int,
    tier: str = "full",
    *,
    digest: str = "d1",
    job: str = JOB,
    version: str = "v1",
    size: int = 10,
) -> Derivative:
    image_ = image(ordinal)
    path = f"{COLLECTION}/{tier}/{image_.id[:2]}/{image_.id}.jpg"
    return Derivative(
        image_.id, tier, COLLECTION, ordinal, digest, version, "cache", path, 4, 3, size, job, 1.0
    )


def failure(
    ordinal: int, *, error_type: ErrorType = ErrorType.CORRUPT_IMAGE, message: str = "cut off"
) -> Failure:
    image_ = image(ordinal)
    return Failure(JOB, COLLECTION, ordinal, image_.id, image_.key, error_type, message, 1, 2.0)


def job(job_id: str = JOB, *, created_at: float = 1.0, collection: str = COLLECTION) -> Job:
    return Job(
        job_id,
        f"name-{job_id}",
        collection,
        {"spec": {"jobType": "Both"}},
        "digest",
        created_at=created_at,
    )


def shard(index: int, start: int, stop: int) -> Shard:
    return Shard(JOB, 1, index, COLLECTION, start, stop, start)


def batch(
    claimed: Shard,
    start: int,
    stop: int,
    *,
    fence: int = 1,
    counts: Counts | None = None,
    tier: str = "full",
) -> ShardBatch:
    """Every image of ``[start, stop)`` completed."""
    return ShardBatch(
        job=JOB,
        attempt=1,
        index=claimed.index,
        collection=COLLECTION,
        epoch=claimed.epoch,
        fence=fence,
        expected_cursor=start,
        cursor=stop,
        counts=counts or Counts(completed=stop - start, bytes_written=10 * (stop - start)),
        derivatives=tuple(derivative(ordinal, tier) for ordinal in range(start, stop)),
        facts={
            ordinal: ImageFacts(40, 30, "jpeg", b"\x01\x02", "#aabbcc")
            for ordinal in range(start, stop)
        },
    )
