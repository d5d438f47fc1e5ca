"""Whether a cache folder is the source of a job, or lies above it:
its files would be taken for images. Pure.

One that lies inside the source is left out of it by its own marks.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Protocol

from fpj_core.v1alpha1.common import S3, PersistentVolumeClaim


class Place(Protocol):
    """What a source and a cache folder's storage have in common."""

    @property
    def persistent_volume_claim(self) -> PersistentVolumeClaim | None:
        """A folder on a claimed volume."""

    @property
    def s3(self) -> S3 | None:
        """A bucket."""


def overlap(source: PurePosixPath, folder: PurePosixPath) -> str | None:
    """How a cache folder overlaps a source of the same file system or bucket.

    None if it does not.
    """
    if source == folder:
        return "is the source itself"
    return "lies above the source" if source.is_relative_to(folder) else None


def overlap_of_places(source: Place, storage: Place) -> str | None:
    """The same for two places of one namespace.

    Two claims are two volumes, which the pods look into.
    """
    claims = source.persistent_volume_claim, storage.persistent_volume_claim
    if claims[0] and claims[1] and claims[0].claim_name == claims[1].claim_name:
        return overlap(_within(claims[0].path), _within(claims[1].path))
    buckets = source.s3, storage.s3
    if buckets[0] and buckets[1] and _bucket(buckets[0]) == _bucket(buckets[1]):
        return overlap(_within(buckets[0].prefix), _within(buckets[1].prefix))
    return None


def _within(path: str | None) -> PurePosixPath:
    return PurePosixPath((path or "").strip("/"))


def _bucket(place: S3) -> tuple[str, str]:
    return (place.endpoint or "").rstrip("/").lower(), place.bucket
