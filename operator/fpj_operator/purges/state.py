"""What a decision about a purge rests on, and what it says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fpj_core.kube.purgereport import PurgeReport
from fpj_core.v1alpha1 import CacheFolder, CachePurgeSpec, PurgePhase
from fpj_operator.emit import Emit
from fpj_operator.folders.state import JobState
from fpj_operator.keys import Key


@dataclass(frozen=True, slots=True)
class PurgeJob:
    """The Job of a purge.

    ``trouble`` is why none of its pods works, or why it failed: (reason, message). ``failed`` pods
    ended early.
    """

    state: JobState
    trouble: tuple[str, str] | None = None
    report: PurgeReport | None = None
    ended_at: float = 0.0
    """0 if unknown."""
    failed: int = 0
    uid: str = ""


@dataclass(frozen=True, slots=True)
class PurgeView:
    """Everything a decision rests on. Times are seconds since the epoch.

    Folder, collection and holder are looked for only where a Job is to be started.
    """

    key: Key
    uid: str
    generation: int
    spec: CachePurgeSpec | None
    """None when it is invalid; ``problem`` says why."""
    problem: str
    status: Mapping[str, Any]
    deleting: bool
    now: float
    version: str = ""
    """The resourceVersion that shows it so."""
    job: PurgeJob = PurgeJob(JobState.MISSING)
    folder: CacheFolder | None = None
    folder_problem: tuple[str, str] | None = None
    """Why it cannot be used: (reason, message)."""
    collection: str = ""
    """Its id in the store; empty if the store does not know it."""
    holder: str = ""
    """Who works on the collection."""
    store_error: str = ""
    """Why the store does not say."""

    @property
    def interrupted(self) -> bool:
        """Whether a pod has ended early, of this Job or of one before: what it removed is in no
        receipt.
        """
        return self.job.failed > 0 or bool(self.status.get("receiptTruncated"))

    @property
    def phase(self) -> PurgePhase:
        """As the status has it; Pending for what this version does not know."""
        said = self.status.get("phase")
        return PurgePhase(said) if said in list(PurgePhase) else PurgePhase.PENDING


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """What to do now, in this order."""

    status: Mapping[str, Any] | None = None
    """Everything that the status says; None: leave it alone."""
    job: Mapping[str, Any] | None = None
    """The Job to create."""
    drop_job: str = ""
    """The uid of a Job to delete: its pod has removed nothing."""
    events: tuple[Emit, ...] = ()
    ended: bool = False
    """Whether it has just ended."""
    delete: bool = False
    """Whether its time is over."""
    requeue_after: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the store says of a purge's collection."""

    collection: str
    holder: str
