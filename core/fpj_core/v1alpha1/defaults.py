"""What a field means when the manifest leaves it out. The only place where defaults stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fpj_core.kube.names import WAVE
from fpj_core.model import Fit, Format, ImageLimits, TierSpec
from fpj_core.v1alpha1.common import parse_quantity
from fpj_core.v1alpha1.job import FileProcessingJobSpec, JobType, Thumbnail, Tier

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
        given = spec.cache.tiers if spec.cache else [Tier(name="full")]
        tiers += [_cache_tier(tier) for tier in given]
    if spec.job_type is not JobType.CACHE:
        tiers.append(_thumbnail_tier(spec.thumbnail or Thumbnail()))
    return tuple(tiers)


def resolve_limits(spec: FileProcessingJobSpec) -> ImageLimits:
    """What one image may cost; the defaults are those of `ImageLimits`."""
    given = spec.limits
    default = ImageLimits()
    if given is None:
        return default
    return ImageLimits(
        max_file_size=default.max_file_size if given.max_file_size is None else parse_quantity(given.max_file_size),
        max_pixels=given.max_pixels or default.max_pixels,
        timeout_seconds=float(given.image_timeout_seconds or default.timeout_seconds),
        max_attempts=given.max_attempts_per_image or default.max_attempts,
        fetch_timeout_seconds=float(given.fetch_timeout_seconds or default.fetch_timeout_seconds),
    )


def resolve_sharding(spec: FileProcessingJobSpec, pending: int) -> Sharding:
    """How ``pending`` images are divided: four shards per pod while one child Job holds them, of 100 to 10,000 images.

    With many pods, shards beyond those of one child Job cost more in starts of pods than they save at the end.
    """
    given = spec.sharding
    parallelism = given.parallelism if given and given.parallelism else 4
    fair = math.ceil(pending / min(parallelism * _SHARDS_PER_WORKER_POD, WAVE))
    return Sharding(
        parallelism=parallelism,
        shard_size=given.shard_size if given and given.shard_size else min(max(fair, _SMALLEST_SHARD), _LARGEST_SHARD),
        batch_size=given.batch_size if given and given.batch_size else 100,
        workers_per_pod=given.workers_per_pod if given and given.workers_per_pod else 4,
        backoff_limit_per_shard=(
            given.backoff_limit_per_shard if given and given.backoff_limit_per_shard is not None else 3
        ),
        max_failed_shards=given.max_failed_shards if given else None,
    )


def resolve_recovery(spec: FileProcessingJobSpec) -> Recovery:
    """When the job counts as stale, and how often it is recovered."""
    given = spec.recovery
    return Recovery(
        stale_after_seconds=given.stale_after_seconds if given and given.stale_after_seconds else 600,
        max_attempts=given.max_attempts if given and given.max_attempts is not None else 3,
    )


def resolve_pre_running_deadline(spec: FileProcessingJobSpec) -> int | None:
    """Seconds that a job may wait for pods that cannot run; None: any time."""
    given = spec.pre_running_deadline_seconds
    return 3_600 if given is None else given or None


def resolve_max_failed(spec: FileProcessingJobSpec, total: int) -> int | None:
    """How many of ``total`` images may fail before the job is given up; None: any number."""
    given = spec.max_failed_images
    if given is None or isinstance(given, int):
        return given
    return total * int(given.removesuffix("%")) // 100


def _cache_tier(tier: Tier) -> TierSpec:
    return TierSpec(
        name=tier.name,
        width=tier.max_width or 1920,
        height=tier.max_height or 1080,
        quality=tier.quality or 85,
        format=tier.format or Format.JPEG,
        fit=tier.fit or Fit.INSIDE,
        animated=bool(tier.animated),
        background=tier.background or "#ffffff",
    )


def _thumbnail_tier(thumbnail: Thumbnail) -> TierSpec:
    return TierSpec(
        name="thumbnail",
        width=thumbnail.width or 300,
        height=thumbnail.height or 300,
        quality=thumbnail.quality or 80,
        format=thumbnail.format or Format.JPEG,
        fit=thumbnail.fit or Fit.INSIDE,
    )
