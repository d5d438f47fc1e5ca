"""What a decision about a cache folder rests on, and what it says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fpj_core.kube.folderreport import FolderReport
from fpj_core.v1alpha1 import CacheFolder
from fpj_core.v1alpha1.cachefolderstatus import Operation
from fpj_operator.emit import Emit
from fpj_operator.keys import Key


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the store has counted. The largest tiers and collections: (files, bytes) by name."""

    files: int
    bytes: int
    collections: int
    by_tier: Mapping[str, tuple[int, int]]
    by_collection: Mapping[str, tuple[int, int]]
    limited: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each collection that has a quota of its own."""


class JobState(Enum):
    """How the Job of a run stands."""

    MISSING = "Missing"
    ACTIVE = "Active"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class RunJob:
    """The Job of the run that the status shows as not ended.

    ``trouble`` is why none of its pods works, or why it failed: (reason, message).
    """

    state: JobState
    trouble: tuple[str, str] | None = None
    report: FolderReport | None = None
    ended_at: float = 0.0
    """0 if unknown."""


@dataclass(frozen=True, slots=True)
class FolderView:
    """Everything a decision rests on. Times are seconds since the epoch."""

    key: Key
    uid: str
    generation: int
    folder: CacheFolder | None
    """None when it is invalid; ``problem`` says why."""
    problem: str
    status: Mapping[str, Any]
    requested: str
    """Who asks for a clean-up now, see `fpj_core.kube.names.CLEANUP_ANNOTATION`."""
    deleting: bool
    holdings: Holdings | None
    """None while the store does not say; ``store_error`` is why."""
    store_error: str
    job: RunJob | None
    """None where no run is unfinished."""
    now: float
    version: str = ""
    """The resourceVersion that shows it so."""
    asked: Mapping[Operation, str] = field(default_factory=dict)
    """Who asks for the folder to be verified, and repaired; empty where nobody does."""

    @property
    def run(self) -> Mapping[str, Any]:
        """The latest run as the status has it; empty before the first."""
        found: Mapping[str, Any] = self.status.get("run") or {}
        return found

    @property
    def runs(self) -> bool:
        """Whether a run has started and not ended, by the status."""
        return bool(self.run) and not self.run.get("endTime")


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, for metrics."""

    result: str
    report: FolderReport | None


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """What to do now, in this order. The status shows a run before its Job exists."""

    status: Mapping[str, Any] | None = None
    """Everything that the status says; None: leave it alone."""
    job: Mapping[str, Any] | None = None
    """The Job to create."""
    ended: RunEnd | None = None
    events: tuple[Emit, ...] = ()
    requeue_after: float | None = None
