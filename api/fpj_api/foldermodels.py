"""What the API is sent, and says, of one cache folder. Sizes are bytes, times RFC 3339."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from fpj_api.cachemodels import Folder, folder_fields
from fpj_api.models import Answer, JobEvent, events_of
from fpj_api.requests import Request
from fpj_core.kube.documents import Document
from fpj_core.kube.events import Event
from fpj_core.kube.gitops import keeper_of
from fpj_core.kube.names import (
    CLEANUP_ANNOTATION,
    REPAIR_ANNOTATION,
    VERIFY_ANNOTATION,
    mark_of,
)
from fpj_core.v1alpha1.cachefolder import Policy
from fpj_core.v1alpha1.common import Quantity

EVICT, VERIFY, REPAIR = "Evict", "Verify", "Repair"
ASKED = {
    # Operation: the annotation that asks for it, where its run notes which one it has acted upon.
    EVICT: (CLEANUP_ANNOTATION, "requestedBy"),
    VERIFY: (VERIFY_ANNOTATION, "verifyRequestedBy"),
    REPAIR: (REPAIR_ANNOTATION, "repairRequestedBy"),
}


class Share(Answer):
    """What a part of the folder holds."""

    name: str = Field(description="The tier, or the collection's id.")
    files: int
    bytes: int


class FolderRun(Answer):
    """The latest run of the operator over the folder."""

    number: int
    operation: str = Field(description="Evict, Verify or Repair.")
    cause: str
    started_at: str | None
    ended_at: str | None = Field(description="Null while it is active.")
    result: str | None
    failures: int = Field(description="Runs in a row that did not succeed.")


class LastEviction(Answer):
    """The latest run that removed anything, or could not remove enough."""

    at: str | None
    cause: str | None
    files: int
    bytes: int
    by_reason: dict[str, int] = Field(description="Files by reason.")
    used_before: int | None
    used_after: int | None
    shortfalls: list[str] = Field(description="What could not be removed, and why.")


class LastVerification(Answer):
    """The latest run that compared the files with their records."""

    at: str | None
    operation: str = Field(description="Verify or Repair.")
    compared: int = Field(description="Files that are as recorded.")
    missing: int
    wrong_size: int
    unrecorded: int
    leaving: int
    foreign: int
    unreadable: int
    repaired: int
    young: int
    busy: list[str]
    troubles: list[str]
    names: list[str] = Field(description="Paths of some files that differ.")


class FolderDetail(Folder):
    """A cache folder with all there is to it."""

    deleting: bool
    managed_by: str | None = Field(
        description=(
            "Argo CD, Flux or Helm where one of them keeps its manifest, and would undo a change"
            " made here; null for nobody that is known."
        )
    )
    spec: dict[str, Any] = Field(description="As in its manifest.")
    high_bytes: int | None = Field(
        description="highWatermark in bytes: above it eviction starts; null without maxBytes."
    )
    low_bytes: int | None = Field(description="lowWatermark in bytes: there eviction ends.")
    tiers: list[Share] = Field(description="The largest, at most 50.")
    collections: list[Share] = Field(description="The largest, at most 50.")
    run: FolderRun | None
    requested: list[str] = Field(
        description="Evict, Verify, Repair: what is asked for and has not been started."
    )
    last_eviction: LastEviction | None
    last_verification: LastVerification | None
    events: list[JobEvent] = Field(description="The newest, in order of time.")
    may_change: bool = Field(
        description="Whether the caller may clean up, verify, repair and edit the policy."
    )
    may_purge: bool = Field(description="Whether the caller may order a purge.")


class NewPolicy(Request):
    """Both replace what is there; null for none."""

    max_bytes: Quantity | None = Field(description="Most it may hold; null: all of its storage.")
    policy: Policy | None = Field(description="As spec.policy in a manifest.")


class Part(Answer):
    """What would be removed of one reason, collection or tier."""

    name: str
    files: int
    bytes: int


class PlannedFile(Answer):
    """A file that would be removed."""

    collection: str
    tier: str
    source: str | None = Field(
        description="Key of the image that it was made of; null if that is not in the source."
    )
    path: str | None = Field(description="Its path in the folder; null if it is gone since.")
    bytes: int
    reason: str


class ShortLimit(Answer):
    """A limit that would be exceeded even then."""

    limit: str = Field(description="OverQuota, OverCollectionQuota or OverTierQuota.")
    name: str = Field(description="Its collection or tier; empty for the whole folder.")
    short_by: int
    kept: dict[str, int] = Field(description="Bytes that stay, by cause.")


class CleanupPlan(Answer):
    """What a clean-up would remove now."""

    namespace: str
    name: str
    used_bytes: int
    files: int
    bytes: int
    by_reason: list[Part]
    by_collection: list[Part] = Field(description="The largest, at most 100.")
    by_tier: list[Part] = Field(description="The largest, at most 100.")
    first: list[PlannedFile] = Field(description="The first that would go, at most 100.")
    shortfalls: list[ShortLimit]
    busy: list[str] = Field(
        description="Collections that a job works on: what is of those stays; at most 100."
    )
    refusal: str | None = Field(description="Why a clean-up would remove nothing at all.")


def detail_of(
    document: Document, events: Iterable[Event], *, may_change: bool, may_purge: bool
) -> FolderDetail:
    """A CacheFolder as the API server has it."""
    metadata, status = document["metadata"], document.get("status") or {}
    prefix = f"{metadata['namespace']}."
    run = status.get("run") or {}
    fields = folder_fields(document)
    return FolderDetail(
        **fields,
        high_bytes=_part_of(fields["max_bytes"], fields["high_watermark"]),
        low_bytes=_part_of(fields["max_bytes"], fields["low_watermark"]),
        deleting="deletionTimestamp" in metadata,
        managed_by=keeper_of(metadata),
        spec=document.get("spec") or {},
        tiers=[_share(each) for each in status.get("tiers") or ()],
        collections=[_share(each, prefix) for each in status.get("collections") or ()],
        run=_run(run) if run else None,
        requested=_requested(metadata, run),
        last_eviction=_eviction(status.get("lastEviction")),
        last_verification=_verification(status.get("lastVerification"), prefix),
        events=events_of(events),
        may_change=may_change,
        may_purge=may_purge,
    )


def _part_of(most: int | None, percent: int) -> int | None:
    return None if most is None else most * percent // 100


def _share(found: Mapping[str, Any], prefix: str = "") -> Share:
    name = str(found["name"]).removeprefix(prefix)
    return Share(name=name, files=found["files"], bytes=found["bytes"])


def _run(found: Mapping[str, Any]) -> FolderRun:
    return FolderRun(
        number=found.get("number") or 0,
        operation=found.get("operation") or EVICT,
        cause=str(found.get("cause") or ""),
        started_at=found.get("startTime"),
        ended_at=found.get("endTime"),
        result=found.get("result"),
        failures=found.get("failures") or 0,
    )


def _requested(metadata: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    marks = {name: (mark_of(metadata, on), run.get(noted)) for name, (on, noted) in ASKED.items()}
    return [name for name, (asked, done) in marks.items() if asked and asked != (done or "")]


def _eviction(found: Mapping[str, Any] | None) -> LastEviction | None:
    if not found:
        return None
    return LastEviction(
        at=found.get("time"),
        cause=found.get("cause"),
        files=found.get("files") or 0,
        bytes=found.get("bytes") or 0,
        by_reason=found.get("byReason") or {},
        used_before=found.get("usedBefore"),
        used_after=found.get("usedAfter"),
        shortfalls=found.get("shortfalls") or [],
    )


def _verification(found: Mapping[str, Any] | None, prefix: str) -> LastVerification | None:
    if not found:
        return None
    counts = {
        name: found.get(alias) or 0
        for name, alias in (
            ("compared", "compared"),
            ("missing", "missing"),
            ("wrong_size", "wrongSize"),
            ("unrecorded", "unrecorded"),
            ("leaving", "leaving"),
            ("foreign", "foreign"),
            ("unreadable", "unreadable"),
            ("repaired", "repaired"),
            ("young", "young"),
        )
    }
    return LastVerification(
        at=found.get("time"),
        operation=found.get("operation") or VERIFY,
        **counts,
        busy=[str(each).removeprefix(prefix) for each in found.get("busy") or ()],
        troubles=found.get("troubles") or [],
        names=found.get("names") or [],
    )
