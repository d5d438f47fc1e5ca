"""What a job's fields mean, also those that its manifest leaves out.

The defaults stand in the fields themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fpj_core.kube.names import WAVE
from fpj_core.model import THUMBNAIL_TIER, ImageLimits, TierSpec
from fpj_core.v1alpha1 import job
from fpj_core.v1alpha1.common import parse_quantity
from fpj_core.v1alpha1.job import (
    USUAL_TIER,
    FileProcessingJobSpec,
    JobType,
    Limits,
    Thumbnail,
    Tier,
    Vanished,
)

_SHARDS_PER_WORKER_POD = 4
"""Enough shards that pods which started late or met slow images still find work."""
_SMALLEST_SHARD = 100
_LARGEST_SHARD = 10_000


@dataclass(frozen=True, slots=True)
class Sharding:
    """How the work is divided, resolved."""

    parallelism: int
    shard_size: int
    batch_size: int
    workers_per_pod: int
    backoff_limit_per_shard: int
    max_failed_shards: int | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """When a job counts as stale, resolved."""

    stale_after_seconds: int
    max_attempts: int


def resolve_tiers(spec: FileProcessingJobSpec) -> tuple[TierSpec, ...]:
    """The tiers that the job makes, cache tiers first."""
    tiers: list[TierSpec] = []
    if spec.job_type is not JobType.THUMBNAIL:
        given = spec.cache.tiers if spec.cache else [Tier(name=USUAL_TIER)]
        tiers += [_cache_tier(tier) for tier in given]
    if spec.job_type is not JobType.CACHE:
        tiers.append(_thumbnail_tier(spec.thumbnail or Thumbnail()))
    return tuple(tiers)


def resolve_vanished(collection: job.Collection) -> float | None:
    """Seconds from when an image vanished until what was made of it is deleted; None keeps it."""
    if collection.meant("vanished") is Vanished.KEEP:
        return None
    return float(collection.meant("vanished_grace_seconds"))


def resolve_limits(spec: FileProcessingJobSpec) -> ImageLimits:
    """What one image may cost."""
    given = spec.limits or Limits()
    return ImageLimits(
        max_file_size=parse_quantity(given.meant("max_file_size")),
        max_pixels=given.meant("max_pixels"),
        timeout_seconds=float(given.meant("image_timeout_seconds")),
        max_attempts=given.meant("max_attempts_per_image"),
        fetch_timeout_seconds=float(given.meant("fetch_timeout_seconds")),
    )


def resolve_sharding(spec: FileProcessingJobSpec, pending: int) -> Sharding:
    """How ``pending`` images are divided, those of `shard_size` where the manifest does not say."""
    given = spec.sharding or job.Sharding()
    parallelism = given.meant("parallelism")
    return Sharding(
        parallelism=parallelism,
        shard_size=given.shard_size or shard_size(pending, parallelism),
        batch_size=given.meant("batch_size"),
        workers_per_pod=given.meant("workers_per_pod"),
        backoff_limit_per_shard=given.meant("backoff_limit_per_shard"),
        max_failed_shards=given.max_failed_shards,
    )


def shard_size(pending: int, pods: int) -> int:
    """Images per shard: four shards per pod while one child Job holds them,
    of 100 to 10,000 images.

    With many pods, shards beyond those of one child Job cost more in starts of pods than they save
    at the end.
    """
    fair = math.ceil(pending / min(pods * _SHARDS_PER_WORKER_POD, WAVE))
    return min(max(fair, _SMALLEST_SHARD), _LARGEST_SHARD)


def resolve_recovery(spec: FileProcessingJobSpec) -> Recovery:
    """When the job counts as stale, and how often it is recovered."""
    given = spec.recovery or job.Recovery()
    return Recovery(
        stale_after_seconds=given.meant("stale_after_seconds"),
        max_attempts=given.meant("max_attempts"),
    )


def resolve_pre_running_deadline(spec: FileProcessingJobSpec) -> int | None:
    """Seconds that a job may wait for pods that cannot run; None: any time."""
    return spec.meant("pre_running_deadline_seconds") or None


def resolve_max_failed(spec: FileProcessingJobSpec, total: int) -> int | None:
    """How many of ``total`` images may fail before the job is given up; None: any number."""
    given = spec.max_failed_images
    if given is None or isinstance(given, int):
        return given
    return total * int(given.removesuffix("%")) // 100


def _cache_tier(tier: Tier) -> TierSpec:
    return TierSpec(
        name=tier.name,
        width=tier.meant("max_width"),
        height=tier.meant("max_height"),
        quality=tier.meant("quality"),
        format=tier.meant("format"),
        fit=tier.meant("fit"),
        animated=tier.meant("animated"),
        background=tier.meant("background"),
    )


def _thumbnail_tier(thumbnail: Thumbnail) -> TierSpec:
    return TierSpec(
        name=THUMBNAIL_TIER,
        width=thumbnail.meant("width"),
        height=thumbnail.meant("height"),
        quality=thumbnail.meant("quality"),
        format=thumbnail.meant("format"),
        fit=thumbnail.meant("fit"),
    )
