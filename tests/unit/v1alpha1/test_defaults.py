"""What a field means when it is left out. The numbers are those of the design, written out."""

from __future__ import annotations

import math
from typing import Any

import pytest
from unit.v1alpha1.documents import job

from fpj_core.kube.names import WAVE
from fpj_core.manifest import parse_resource
from fpj_core.model import Fit, Format, ImageLimits, TierSpec
from fpj_core.v1alpha1 import (
    FileProcessingJob,
    FileProcessingJobSpec,
    Recovery,
    Sharding,
    resolve_limits,
    resolve_max_failed,
    resolve_recovery,
    resolve_sharding,
    resolve_tiers,
)

FULL = TierSpec(
    "full", 1920, 1080, 85, Format.JPEG, Fit.INSIDE, animated=False, background="#ffffff"
)
THUMBNAIL = TierSpec("thumbnail", 300, 300, 80, Format.JPEG, Fit.INSIDE)


def spec(**given: Any) -> FileProcessingJobSpec:
    resource = parse_resource(job(**given))
    assert isinstance(resource, FileProcessingJob)
    return resource.spec


@pytest.mark.parametrize(
    ("job_type", "tiers"),
    [("Cache", (FULL,)), ("Thumbnail", (THUMBNAIL,)), ("Both", (FULL, THUMBNAIL))],
)
def test_tiers_by_default(job_type: str, tiers: tuple[TierSpec, ...]) -> None:
    assert resolve_tiers(spec(jobType=job_type)) == tiers


def test_tiers_as_given() -> None:
    small = {
        "name": "s",
        "maxWidth": 64,
        "maxHeight": 48,
        "quality": 1,
        "format": "webp",
        "fit": "Cover",
    }
    cache = {
        "tiers": [
            small | {"animated": True, "background": "#000000"},
            {"name": "m", "maxWidth": 640},
        ]
    }
    thumbnail = {"width": 16, "height": 17, "quality": 100, "format": "avif", "fit": "Smart"}
    assert resolve_tiers(spec(cache=cache, thumbnail=thumbnail)) == (
        TierSpec("s", 64, 48, 1, Format.WEBP, Fit.COVER, animated=True, background="#000000"),
        TierSpec("m", 640, 1080, 85, Format.JPEG),
        TierSpec("thumbnail", 16, 17, 100, Format.AVIF, Fit.SMART),
    )
    assert resolve_tiers(spec(thumbnail={})) == (FULL, THUMBNAIL)


def test_limits() -> None:
    default = ImageLimits(
        max_file_size=500 * 2**20, max_pixels=268_000_000, timeout_seconds=60.0, max_attempts=3
    )
    assert default.fetch_timeout_seconds == 600.0
    assert resolve_limits(spec()) == resolve_limits(spec(limits={})) == default
    given = {
        "maxFileSize": "2k",
        "maxPixels": 1,
        "imageTimeoutSeconds": 2,
        "maxAttemptsPerImage": 1,
    } | {"fetchTimeoutSeconds": 5}
    assert resolve_limits(spec(limits=given)) == ImageLimits(2000, 1, 2.0, 1, 5.0)


def test_sharding() -> None:
    assert resolve_sharding(spec(), 0) == Sharding(4, 100, 100, 4, 3, None)
    assert resolve_sharding(spec(sharding={}), 0) == Sharding(4, 100, 100, 4, 3, None)
    given = {
        "parallelism": 2,
        "shardSize": 7,
        "batchSize": 5,
        "workersPerPod": 1,
        "maxFailedShards": 0,
    }
    assert resolve_sharding(spec(sharding=given | {"backoffLimitPerShard": 0}), 10**6) == Sharding(
        2, 7, 5, 1, 0, 0
    )


@pytest.mark.parametrize(
    ("pending", "parallelism", "size"),
    [
        (1, 4, 100),
        (1_600, 4, 100),
        (1_601, 4, 101),
        (100_000, 4, 6_250),
        (10**7, 4, 10_000),
        (10**6, 250, 1_000),
    ],
)
def test_four_shards_a_pod(pending: int, parallelism: int, size: int) -> None:
    assert resolve_sharding(spec(sharding={"parallelism": parallelism}), pending).shard_size == size


@pytest.mark.parametrize(
    ("pending", "parallelism", "size"),
    [(10**6, 251, 1_000), (10**6, 1_000, 1_000), (1_001, 1_000, 100), (10**8, 1_000, 10_000)],
)
def test_many_pods_have_no_more_shards_than_one_child_job_holds(
    pending: int, parallelism: int, size: int
) -> None:
    assert resolve_sharding(spec(sharding={"parallelism": parallelism}), pending).shard_size == size
    assert size == 10_000 or math.ceil(pending / size) <= WAVE


def test_recovery() -> None:
    assert resolve_recovery(spec()) == resolve_recovery(spec(recovery={})) == Recovery(600, 3)
    assert resolve_recovery(spec(recovery={"staleAfterSeconds": 30, "maxAttempts": 0})) == Recovery(
        30, 0
    )


@pytest.mark.parametrize(
    ("given", "total", "bound"),
    [
        (None, 100, None),
        (0, 100, 0),
        (7, 100, 7),
        ("0%", 100, 0),
        ("5%", 99, 4),
        ("100%", 99, 99),
        ("50%", 0, 0),
    ],
)
def test_how_many_may_fail(given: int | str | None, total: int, bound: int | None) -> None:
    assert resolve_max_failed(spec(maxFailedImages=given), total) == bound


def test_the_collection_is_named_after_the_job() -> None:
    named = parse_resource(job(collection={"id": "its-own", "source": {"local": {"path": "/x"}}}))
    unnamed = parse_resource(job())
    assert isinstance(named, FileProcessingJob) and isinstance(unnamed, FileProcessingJob)
    assert (named.collection_id, unnamed.collection_id) == ("its-own", "it")
