"""What the operator says of a CacheFolder."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from fpj_core.v1alpha1.common import ApiModel, Condition, conditions_field

MOST_SHARES = 50
"""Tiers, and collections, that a status names: the largest ones."""
MOST_SHORTFALLS = 10
MOST_DIFFERENCES = 20
"""Paths of a verification that a status names; and collections, and troubles."""
_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
_TIME: dict[str, Any] = {"max_length": 64, "json_schema_extra": {"format": "date-time"}}


_Text = Annotated[str, Field(max_length=4096)]


def _mark(operation: str) -> Any:
    return Field(
        None,
        description=(
            f"Value of the annotation fpj.dev/{operation}-requested-at that was acted upon; of one"
            " of more than 1,024 characters a digest."
        ),
        max_length=1024,
    )


def _texts(description: str) -> Any:
    return Field(
        None, description=description, max_length=MOST_DIFFERENCES, json_schema_extra=_ATOMIC
    )


class Operation(StrEnum):
    """What a run of a folder is for."""

    EVICT = "Evict"
    VERIFY = "Verify"
    REPAIR = "Repair"


class Share(ApiModel):
    """What a part of the folder holds."""

    name: str = Field(description="The tier, or the collection's id in the store.", max_length=253)
    files: int = Field(description="Derivatives.", ge=0)
    bytes: int = Field(description="Their bytes.", ge=0)


class FolderDisplay(ApiModel):
    """What `kubectl get` prints: its columns can show a field, but not compute one."""

    used: str | None = Field(None, description="Share of maxBytes, such as 83%.", max_length=16)
    policy: str | None = Field(None, description="Which derivatives go first.", max_length=16)


class FolderRun(ApiModel):
    """The latest run: each checks the folder, and evicts what its policy says or compares."""

    number: int | None = Field(None, description="Counts from 1.", ge=0)
    operation: Operation | None = Field(
        None, description="What it is for; Evict where nothing is said."
    )
    cause: str | None = Field(
        None,
        description="Why it was started: New, Changed, Requested, OverQuota, Expiry or Retry.",
        max_length=64,
    )
    generation: int | None = Field(None, description="Generation that it is about.", ge=0)
    evicted_at: str | None = Field(
        None,
        description="When the latest run that evicts ended, where this one only compares.",
        **_TIME,
    )
    requested_by: str | None = _mark("cleanup")
    verify_requested_by: str | None = _mark("verify")
    repair_requested_by: str | None = _mark("repair")
    start_time: str | None = Field(None, description="When it was started.", **_TIME)
    end_time: str | None = Field(None, description="When it ended.", **_TIME)
    result: str | None = Field(
        None,
        description=(
            "Succeeded; Short: the folder stayed above its high watermark; Failed; or Unknown: it"
            " ended, and nothing says how."
        ),
        max_length=64,
    )
    failures: int | None = Field(None, description="Runs in a row that did not succeed.", ge=0)


class LastEviction(ApiModel):
    """The latest run that removed anything, or that could not remove enough."""

    time: str | None = Field(None, description="When it ended.", **_TIME)
    cause: str | None = Field(None, description="As of the run.", max_length=64)
    files: int | None = Field(None, description="Files removed.", ge=0)
    bytes: int | None = Field(None, description="Their bytes.", ge=0)
    by_reason: dict[str, int] | None = Field(
        None,
        description="Files removed by reason.",
        max_length=16,
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
    used_before: int | None = Field(None, description="Bytes in the folder before.", ge=0)
    used_after: int | None = Field(None, description="Bytes in the folder after.", ge=0)
    shortfalls: list[str] | None = Field(
        None,
        description="What could not be removed, and why.",
        max_length=MOST_SHORTFALLS,
        json_schema_extra=_ATOMIC,
    )


class LastVerification(ApiModel):
    """The latest run that compared the files with what is recorded of them."""

    time: str | None = Field(None, description="When it ended.", **_TIME)
    operation: Operation | None = Field(None, description="Verify or Repair.")
    compared: int | None = Field(None, description="Files that are as recorded.", ge=0)
    missing: int | None = Field(None, description="Recorded, not there.", ge=0)
    wrong_size: int | None = Field(None, description="Of another size than recorded.", ge=0)
    unrecorded: int | None = Field(None, description="Files of fpj without a record.", ge=0)
    leaving: int | None = Field(None, description="Files that are being removed.", ge=0)
    foreign: int | None = Field(None, description="What fpj has not written; it stays.", ge=0)
    unreadable: int | None = Field(None, description="Folders that cannot be read.", ge=0)
    repaired: int | None = Field(None, description="Differences that were repaired.", ge=0)
    young: int | None = Field(
        None, description="Files without a record that are too new to judge; they stay.", ge=0
    )
    busy: list[_Text] | None = _texts("Collections that a job works on; they were not repaired.")
    troubles: list[_Text] | None = _texts("What stood in the way.")
    names: list[_Text] | None = _texts("Paths of some files that differ.")


class CacheFolderStatus(ApiModel):
    """What the folder holds."""

    observed_generation: int | None = Field(
        None, description="Generation of the spec last acted on.", ge=0
    )
    total_files: int | None = Field(None, description="Derivatives in the folder.", ge=0)
    total_bytes: int | None = Field(None, description="Their bytes.", ge=0)
    total_collections: int | None = Field(None, description="Collections they belong to.", ge=0)
    tiers: list[Share] | None = Field(
        None, description="The largest tiers.", max_length=MOST_SHARES, json_schema_extra=_ATOMIC
    )
    collections: list[Share] | None = Field(
        None,
        description="The largest collections.",
        max_length=MOST_SHARES,
        json_schema_extra=_ATOMIC,
    )
    display: FolderDisplay | None = Field(None, description="For the columns of `kubectl get`.")
    run: FolderRun | None = Field(None, description="The latest check.")
    last_eviction: LastEviction | None = Field(
        None, description="The latest run that removed anything, or could not remove enough."
    )
    last_verification: LastVerification | None = Field(
        None, description="The latest run that compared the files with what is recorded of them."
    )
    conditions: list[Condition] | None = conditions_field()


COLUMNS: tuple[dict[str, Any], ...] = (
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": ".status.conditions[?(@.type=='Ready')].status",
    },
    {"name": "Layout", "type": "string", "jsonPath": ".spec.layout", "priority": 1},
    {"name": "Priority", "type": "integer", "jsonPath": ".spec.priority", "priority": 1},
    {"name": "Used", "type": "string", "jsonPath": ".status.display.used"},
    {"name": "Quota", "type": "string", "jsonPath": ".spec.maxBytes"},
    {"name": "Policy", "type": "string", "jsonPath": ".status.display.policy"},
    {"name": "Files", "type": "integer", "jsonPath": ".status.totalFiles"},
    {"name": "Bytes", "type": "integer", "jsonPath": ".status.totalBytes"},
    {
        "name": "Collections",
        "type": "integer",
        "jsonPath": ".status.totalCollections",
        "priority": 1,
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)
