"""What the API says of caches, schedules and namespaces. Sizes are bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from fpj_api.models import Answer, Condition, conditions_of
from fpj_core.model import usual_eviction
from fpj_core.store.protocol import CollectionStatistics
from fpj_core.v1alpha1.cachefolder import CacheFolderSpec, Policy
from fpj_core.v1alpha1.common import limit_of


class Folder(Answer):
    """A CacheFolder and what it holds."""

    namespace: str
    name: str
    uid: str
    created_at: str
    storage: str = Field(description="persistentVolumeClaim, s3 or local.")
    location: str = Field(description="Claim and path, or bucket and prefix.")
    layout: str = Field(description="Hashed or Mirror.")
    priority: int
    max_bytes: int | None = Field(description="Null for no limit but the disk.")
    eviction: str = Field(description="Cost, LRU, Priority or None.")
    high_watermark: int = Field(description="Percentage of maxBytes at which eviction starts.")
    low_watermark: int = Field(description="Percentage of maxBytes at which eviction stops.")
    ttl: int | None = Field(
        description=(
            "Seconds without access after which a derivative may be removed; null for never."
        )
    )
    total_files: int | None = Field(description="Null before the first job has ended.")
    total_bytes: int | None
    total_collections: int | None
    conditions: list[Condition]


class FolderPage(Answer):
    """By namespace and name."""

    items: list[Folder]
    next: str | None


class TierStatistics(Answer):
    """Derivatives of one tier."""

    files: int
    bytes: int


class Statistics(Answer):
    """What there is of one collection."""

    namespace: str
    collection: str
    images: int
    source_bytes: int
    tiers: dict[str, TierStatistics]


class StatisticsPage(Answer):
    """By namespace and collection."""

    items: list[Statistics]
    next: str | None


class Schedule(Answer):
    """A FileProcessingSchedule."""

    namespace: str
    name: str
    uid: str
    created_at: str
    schedule: str
    time_zone: str | None
    suspended: bool
    next_at: str | None
    last_at: str | None = Field(description="When the last run was due.")
    last_succeeded_at: str | None
    active: list[str] = Field(description="Names of jobs that have not finished, newest first.")
    reason: str | None
    message: str | None


class SchedulePage(Answer):
    """By namespace and name."""

    items: list[Schedule]
    next: str | None


class NamespaceRights(Answer):
    """What the caller may do with the jobs of a namespace."""

    name: str
    verbs: list[str]


class Namespaces(Answer):
    """The namespaces in which the caller may see jobs."""

    items: list[NamespaceRights]
    user: str


def folder_of(document: Mapping[str, Any]) -> Folder:
    """A CacheFolder as the API server has it."""
    return Folder(**folder_fields(document))


def folder_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Folder`."""
    spec, status = document.get("spec") or {}, document.get("status") or {}
    policy = spec.get("policy") or {}
    storage, where = next(iter((spec.get("storage") or {}).items()), ("", {}))
    max_bytes = limit_of(spec.get("maxBytes"))
    return {
        **_head(document),
        "storage": storage,
        "location": _location(where),
        "layout": spec.get("layout") or CacheFolderSpec.default_of("layout"),
        "priority": spec.get("priority") or CacheFolderSpec.default_of("priority"),
        "max_bytes": max_bytes,
        "eviction": policy.get("eviction") or usual_eviction(max_bytes),
        "high_watermark": policy.get("highWatermark", Policy.default_of("high_watermark")),
        "low_watermark": policy.get("lowWatermark", Policy.default_of("low_watermark")),
        "ttl": policy.get("ttl"),
        "total_files": status.get("totalFiles"),
        "total_bytes": status.get("totalBytes"),
        "total_collections": status.get("totalCollections"),
        "conditions": conditions_of(status.get("conditions") or ()),
    }


def schedule_of(document: Mapping[str, Any]) -> Schedule:
    """A FileProcessingSchedule as the API server has it."""
    spec, status = document.get("spec") or {}, document.get("status") or {}
    ready: Mapping[str, Any] = next(
        (each for each in status.get("conditions") or () if each["type"] == "Ready"), {}
    )
    return Schedule(
        **_head(document),
        schedule=str(spec.get("schedule", "")),
        time_zone=spec.get("timeZone"),
        suspended=bool(spec.get("suspend")),
        next_at=status.get("nextScheduleTime"),
        last_at=status.get("lastScheduleTime"),
        last_succeeded_at=status.get("lastSuccessfulTime"),
        active=[str(run["name"]) for run in status.get("active") or ()],
        reason=ready.get("reason"),
        message=ready.get("message"),
    )


def statistics_of(found: CollectionStatistics) -> Statistics:
    """A collection of the store, whose ids begin with their namespace: no namespace has a dot."""
    namespace, _, collection = found.collection.partition(".")
    tiers = {
        tier: TierStatistics(files=files, bytes=size)
        for tier, (files, size) in sorted(found.by_tier.items())
    }
    return Statistics(
        namespace=namespace,
        collection=collection,
        images=found.images,
        source_bytes=found.source_bytes,
        tiers=tiers,
    )


def _head(document: Mapping[str, Any]) -> dict[str, str]:
    metadata = document["metadata"]
    return {
        "namespace": str(metadata["namespace"]),
        "name": str(metadata["name"]),
        "uid": str(metadata["uid"]),
        "created_at": str(metadata["creationTimestamp"]),
    }


def _location(where: Mapping[str, Any]) -> str:
    root = where.get("claimName") or where.get("bucket") or ""
    below = str(where.get("path") or where.get("prefix") or "").strip("/")
    return "/".join(part for part in (str(root), below) if part) or "/"
