"""CachePurge: removing at once what was made of some images, or of a whole collection."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fpj_core.v1alpha1.common import (
    NAME_PATTERN,
    ApiModel,
    Condition,
    Metadata,
    Rule,
    conditions_field,
    optional,
)

MOST_IMAGES = 1_000
MOST_RECEIPT = 100
"""Removed files that a status names; the pod's log names all of them."""
_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
_TIME: dict[str, Any] = {"max_length": 64, "json_schema_extra": {"format": "date-time"}}
_ONE = "exactly one of images and all: true must be given"
_KEPT = "a purge is immutable: make a new CachePurge instead"
_Key = Annotated[str, Field(min_length=1, max_length=4096)]


class PurgePhase(StrEnum):
    """Where a purge stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"

    @property
    def finished(self) -> bool:
        """Whether it is final."""
        return self in (PurgePhase.COMPLETED, PurgePhase.FAILED)


def _kept(name: str) -> str:
    """The CEL of an optional field that does not change."""
    same = f"has(self.{name}) == has(oldSelf.{name})"
    return f"{same} && (!has(self.{name}) || self.{name} == oldSelf.{name})"


class CachePurgeSpec(ApiModel):
    """Which files to remove. Immutable."""

    cache_folder: str = Field(
        description="Name of the CacheFolder, in the same namespace.",
        min_length=1,
        max_length=253,
        pattern=NAME_PATTERN,
    )
    collection: str = Field(
        description="Id of the collection, as its jobs give it or as the store has it.",
        min_length=1,
        max_length=253,
        pattern=NAME_PATTERN,
    )
    images: list[_Key] | None = Field(
        None,
        description="Keys of images, as the source lists them: what was made of those is removed.",
        min_length=1,
        max_length=MOST_IMAGES,
        json_schema_extra=_ATOMIC,
    )
    all: bool | None = optional(
        "Remove all that was made of the collection in this folder.", default=False
    )
    ttl_seconds_after_finished: int | None = optional(
        "Seconds after its end until the purge is deleted.",
        default=604_800,
        ge=0,
        le=31_536_000,
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(cel="has(self.images) != (has(self.all) && self.all)", message=_ONE),
        Rule(
            cel=" && ".join(
                (
                    "self.cacheFolder == oldSelf.cacheFolder",
                    "self.collection == oldSelf.collection",
                    _kept("images"),
                    _kept("all"),
                    _kept("ttlSecondsAfterFinished"),
                )
            ),
            message=_KEPT,
        ),
    )

    @model_validator(mode="after")
    def _one(self) -> CachePurgeSpec:
        if (self.images is not None) == bool(self.all):
            raise ValueError(_ONE)
        return self


class Removed(ApiModel):
    """What was removed."""

    files: int = Field(description="Files.", ge=0)
    bytes: int = Field(description="Their bytes.", ge=0)


class PurgedFile(ApiModel):
    """A file that was removed."""

    source: str = Field(description="Key of the image that it was made of.", max_length=4096)
    tier: str = Field(description="Its tier.", max_length=63)
    path: str = Field(description="Its path in the cache folder.", max_length=4096)
    bytes: int = Field(description="Its bytes.", ge=0)


class Notified(ApiModel):
    """What was sent to the purgeWebhook of the folder."""

    urls: int = Field(description="URLs that it has accepted.", ge=0)
    failed: int = Field(description="URLs that it has not.", ge=0)
    message: str | None = Field(None, description="Why not.", max_length=1024)


class CachePurgeStatus(ApiModel):
    """How the purge stands, and what was removed."""

    phase: PurgePhase | None = Field(None, description="Where the purge stands.")
    message: str | None = Field(None, description="A sentence for people.", max_length=1024)
    observed_generation: int | None = Field(
        None,
        description="Generation of the spec last acted on; -1 before the first reconciliation.",
        ge=-1,
    )
    start_time: str | None = Field(None, description="When it was first acted on.", **_TIME)
    completion_time: str | None = Field(None, description="When it ended.", **_TIME)
    removed: Removed | None = Field(None, description="What was removed.")
    receipt: list[PurgedFile] | None = Field(
        None,
        description="The first files that were removed; the log of the pod names all of them.",
        max_length=MOST_RECEIPT,
        json_schema_extra=_ATOMIC,
    )
    receipt_truncated: bool | None = Field(
        None, description="Whether more was removed than the receipt names."
    )
    notified: Notified | None = Field(
        None, description="What was sent to the purgeWebhook of the folder, if it has one."
    )
    conditions: list[Condition] | None = conditions_field()


class CachePurge(ApiModel):
    """Removes at once what was made of some images, or of a whole collection."""

    api_version: Literal["fpj.dev/v1alpha1"] = Field("fpj.dev/v1alpha1", description="API version.")
    kind: Literal["CachePurge"] = Field("CachePurge", description="Kind.")
    metadata: Metadata = Field(description="Standard object metadata.")
    spec: CachePurgeSpec = Field(description="Which files to remove. Immutable.")
    status: CachePurgeStatus | None = Field(
        None, description="How the purge stands, and what was removed."
    )

    plural: ClassVar[str] = "cachepurges"
    short_names: ClassVar[tuple[str, ...]] = ("fpjpurge",)
    awaited: ClassVar[bool] = True
    """Whether whoever applies one has to wait for the operator."""
    columns: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Folder", "type": "string", "jsonPath": ".spec.cacheFolder"},
        {"name": "Collection", "type": "string", "jsonPath": ".spec.collection"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Files", "type": "integer", "jsonPath": ".status.removed.files"},
        {"name": "Bytes", "type": "integer", "jsonPath": ".status.removed.bytes"},
        {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )
