"""What the API is sent, and says, of purges. Sizes are bytes, times RFC 3339."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, model_validator

from fpj_api.foldermodels import Part
from fpj_api.models import Answer, Condition, Name, conditions_of
from fpj_api.requests import Request
from fpj_core.v1alpha1.cachepurge import MOST_IMAGES, PurgePhase

_ONE = "exactly one of images and all must be given"
_Key = Annotated[str, Field(min_length=1, max_length=4096)]


def _one_choice(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": ["images"]}, {"required": ["all"]}]


class NewPurge(Request):
    """What to purge: exactly one of images and all."""

    model_config = Request.model_config | {"json_schema_extra": _one_choice}

    cache_folder: Name = Field(description="Name of the cache folder.")
    collection: Name = Field(description="Id of the collection.")
    images: list[_Key] | None = Field(
        None,
        min_length=1,
        max_length=MOST_IMAGES,
        description="Keys of images, exactly as the source lists them.",
    )
    all: Literal[True] | None = Field(None, description="All that was made of the collection.")
    dry_run: StrictBool = Field(False, description="Say what would be removed, and do nothing.")

    @model_validator(mode="after")
    def _one(self) -> NewPurge:
        if (self.images is None) == (self.all is None):
            raise ValueError(_ONE)
        return self


class PurgedFile(Answer):
    """A file that was removed, or would be."""

    source: str = Field(description="Key of its image; empty if that is not known any more.")
    tier: str
    path: str = Field(description="Its path in the folder.")
    bytes: int


class PurgePlan(Answer):
    """What a purge would remove now."""

    namespace: str
    cache_folder: str
    collection: str
    files: int
    bytes: int
    by_tier: list[Part]
    first: list[PurgedFile] = Field(description="At most 100.")
    unknown: list[str] = Field(
        description="Keys of images that were never seen in the collection; at most 100."
    )
    busy: bool = Field(description="Whether a job works on the collection: the purge waits.")


class Notified(Answer):
    """What the folder's purgeWebhook was sent."""

    urls: int
    failed: int
    message: str | None


class Purge(Answer):
    """A CachePurge."""

    namespace: str
    name: str
    uid: str
    created_at: str
    cache_folder: str
    collection: str
    images: list[str] | None
    all: bool
    phase: str
    finished: bool
    message: str | None
    started_at: str | None
    completed_at: str | None
    files: int | None = Field(description="Files removed; null before its end.")
    bytes: int | None
    receipt: list[PurgedFile] = Field(description="The first files that were removed.")
    receipt_truncated: bool
    notified: Notified | None
    conditions: list[Condition]


class PurgePage(Answer):
    """The newest first."""

    items: list[Purge]
    next: str | None


def purge_of(document: Mapping[str, Any]) -> Purge:
    """A CachePurge as the API server has it."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    status = document.get("status") or {}
    phase = str(status.get("phase") or PurgePhase.PENDING)
    removed: Mapping[str, Any] = status.get("removed") or {}
    notified = status.get("notified")
    return Purge(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=metadata["creationTimestamp"],
        cache_folder=str(spec.get("cacheFolder", "")),
        collection=str(spec.get("collection", "")),
        images=spec.get("images"),
        all=bool(spec.get("all")),
        phase=phase,
        finished=phase in (PurgePhase.COMPLETED, PurgePhase.FAILED),
        message=status.get("message"),
        started_at=status.get("startTime"),
        completed_at=status.get("completionTime"),
        files=removed.get("files"),
        bytes=removed.get("bytes"),
        receipt=[_file(each) for each in status.get("receipt") or ()],
        receipt_truncated=bool(status.get("receiptTruncated")),
        notified=_notified(notified) if notified else None,
        conditions=conditions_of(status.get("conditions") or ()),
    )


def _file(found: Mapping[str, Any]) -> PurgedFile:
    return PurgedFile(
        source=found["source"], tier=found["tier"], path=found["path"], bytes=found["bytes"]
    )


def _notified(notified: Mapping[str, Any]) -> Notified:
    return Notified(
        urls=notified.get("urls") or 0,
        failed=notified.get("failed") or 0,
        message=notified.get("message"),
    )
