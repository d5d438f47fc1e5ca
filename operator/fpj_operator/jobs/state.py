"""What `reconcile` looks at, and what it may ask for.

Plain data; times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fpj_core.model import Counts, Job, Phase, ShardState
from fpj_core.progress import Progress
from fpj_core.v1alpha1 import CacheFolder, FileProcessingJob
from fpj_operator.emit import Emit
from fpj_operator.keys import Key


@dataclass(frozen=True, slots=True)
class ChildJob:
    """A child Job as the API server has it."""

    name: str
    role: str
    attempt: int
    wave: int
    complete: bool = False
    failed: bool = False
    gave_up: bool = False
    """It failed before all of its shards had their tries: one cannot be done by any pod,
    or too many failed.
    """
    active: int = 0
    deleting: bool = False
    suspended: bool = False
    """Its pods do not run, by its own ``spec.suspend``: until Kueue admits it,
    or until the job has a slot.
    """
    trouble: tuple[str, str] | None = None
    """(reason, message) of what keeps its pods from working, or of why it failed."""
    trouble_since: float = 0.0
    """When that was found, as when a pod ended: work that went on afterwards ends it.

    0 for what holds now.
    """
    delay: tuple[str, str] | None = None
    """(reason, message) of what keeps some of its pods from working while others do."""

    @property
    def finished(self) -> bool:
        """Whether no pod of it will run any more."""
        return self.complete or self.failed


@dataclass(frozen=True, slots=True)
class LeaseView:
    """The collection's lease. ``holder`` is a uid, empty when nobody holds it."""

    holder: str = ""
    holder_name: str = ""
    fence: int = 0
    expires_at: float = 0.0
    renewed: bool = False
    """Whether this job has just taken or renewed it, in the store too:
    only then is ``fence`` surely the store's.
    """

    def held_by(self, uid: str, now: float) -> bool:
        """Whether this job holds it."""
        return self.holder == uid and self.expires_at > now

    def held_by_another(self, uid: str, now: float) -> bool:
        """Whether some other job holds it."""
        return bool(self.holder) and self.holder != uid and self.expires_at > now


@dataclass(frozen=True, slots=True)
class StoreView:
    """What the store knows of the job, all of it from one look.

    ``error`` is why it could not be asked.
    """

    identity: str = ""
    """Which store this is: read last, so that the rest is of this one or does not count."""
    record: Job | None = None
    counts: Counts = field(default_factory=Counts)
    """Of the whole job: what its plan found done, and the sum over its shards."""
    shards: Mapping[ShardState, int] = field(default_factory=dict)
    progress: Progress | None = None
    """None before there is a plan to measure by."""
    silent: tuple[str, ...] = ()
    """Pods that hold all the shards that are left, and have all been silent:
    no pod is there to take them over.
    """
    error: str | None = None

    @property
    def total_shards(self) -> int:
        """Shards of the current plan."""
        return sum(self.shards.values())

    @property
    def latest_attempt(self) -> int:
        """The latest attempt that the store knows of; 0 for none."""
        return max(self.record.planning_attempt, self.record.planned_attempt) if self.record else 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One go at a job: lock, index, plan, run.

    Resuming, recovering and another spec begin another.
    """

    number: int = 0
    started_at: float = 0.0
    resumed_by: str = ""
    """The value of the resume annotation that it answers."""
    cache_folder: str = ""
    fence: int = 0
    spec_digest: str = ""
    """Of the spec that it was started with; see `fpj_operator.jobs.shape`."""
    store_id: str = ""
    """Identity of the store that it is recorded in."""
    planned_shards: int | None = None
    planned_images: int | None = None
    """What its plan came to; None before there is one. See `fpj_operator.jobs.evidence`."""


_CANNOT_PASS = frozenset({400, 405, 413, 415, 422})
_DENIED = ("denied request", "denied the request")
"""How policies and webhooks begin their words, whatever their HTTP status: 400, 403 or 422."""
_BAD_MANIFEST = "failed to create typed"
"""Server-side apply says so, as an internal error, of a list with the same key twice."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A child object that the API server rejected, in its own words."""

    kind: str
    name: str
    status: int
    """HTTP status; 0 if it did not answer."""
    message: str
    retry_after: float = 0.0
    """Seconds that it asks to wait."""

    @property
    def final(self) -> bool:
        """Whether trying again cannot help: the object itself is invalid.

        A quota or a policy may change.
        """
        if _BAD_MANIFEST in self.message:
            return True
        return self.status in _CANNOT_PASS and not any(words in self.message for words in _DENIED)


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a decision rests on."""

    key: Key
    uid: str
    generation: int
    job: FileProcessingJob | None
    """None when the spec is invalid.

    While an attempt goes on, the spec as it was last understood, if that is known.
    """
    problem: str | None
    """Why the spec of now is invalid, or not understood by this version."""
    status: Mapping[str, Any]
    phase: Phase
    attempt: Attempt
    resume: str
    """The value of the resume annotation, by `fpj_core.kube.names.resume_mark`."""
    created_at: float
    deleting: bool
    children: tuple[ChildJob, ...]
    lease: LeaseView
    store: StoreView
    folder: CacheFolder | None
    folder_problem: str | None
    slot_free: bool
    ahead: int
    """Jobs that run before this one when there is no slot."""
    now: float
    version: str = ""
    """The resourceVersion of the resource as it was read, or last written."""
    lock: str = ""
    """Why the collection's lock cannot be had, as far as this operator's other jobs tell.

    Empty if it may be tried.
    """
    rejected: Rejected | None = None
    """What the API server has just rejected of what a plan wanted to apply."""
    unrenewed: Rejected | None = None
    """How the API server has just refused to renew the job's own Lease."""
    rights: bool = False
    """Whether there is an account of the workers still, of a job at rest.

    Of others it is not asked.
    """
    pods_left: bool = False
    """Whether pods of an earlier attempt, by another spec, still run."""
    others_left: str = ""
    """Another job whose pods still work on the collection that this one has just locked."""
    marked: bool = False
    """Whether its deletion waits for the removal of its files: it has the finalizer for that."""
    stalled: tuple[str, ...] = ()
    """Pods that run and are silent, and hold all the shards that are left."""
    requester: str = ""
    """In whose name the job asks for its tiers, where that is not its own."""

    @property
    def understood(self) -> FileProcessingJob:
        """The job, where children are made of it. Raises ValueError when its spec is invalid."""
        if self.job is None:
            raise ValueError("the spec is invalid")
        return self.job

    @property
    def latest_attempt(self) -> int:
        """The latest attempt that anybody knows of: a status from a backup is older than store and
        children.
        """
        return max(
            self.attempt.number,
            self.store.latest_attempt,
            *(child.attempt for child in self.children),
        )

    @property
    def acted_on(self) -> int:
        """The generation of the spec that decisions follow: an earlier one,
        where that of now is not understood.
        """
        if self.problem and self.attempt.number and not self.phase.finished:
            return int(self.status.get("observedGeneration", 0))
        return self.generation


# Steps --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side-apply a child."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeleteChildren:
    """Delete the child Jobs of the attempts up to ``attempt``; their pods get their grace period.

    With ``finished_too`` False, those that have ended stay for a look at their logs, until their
    time to live is over.
    """

    attempt: int
    finished_too: bool = True


@dataclass(frozen=True, slots=True)
class SuspendChild:
    """Stop the pods of a child Job, or let them run again."""

    name: str
    suspend: bool


@dataclass(frozen=True, slots=True)
class DeleteRights:
    """Delete account, role and binding of the job's workers: no pod of it is to report any more."""


@dataclass(frozen=True, slots=True)
class FenceShards:
    """Take every unfinished shard from whoever works on it."""


@dataclass(frozen=True, slots=True)
class RecordJob:
    """Make the job known to the store, and note its phase there."""

    phase: Phase
    reason: str
    message: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RecordEnd:
    """Note in the store that nothing is left to do after the job's end.

    Until then, the steps after it are repeated.
    """


@dataclass(frozen=True, slots=True)
class RenewLease:
    """Keep the collection locked; with ``store`` False, while the store is away,
    by the Kubernetes Lease alone.
    """

    store: bool = True


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Unlock the collection."""


@dataclass(frozen=True, slots=True)
class RefreshFolder:
    """Aggregate the cache folder's statistics again, and have its resource show them.

    Best effort: what goes wrong is logged, and ends nothing.
    """

    name: str


@dataclass(frozen=True, slots=True)
class DeleteResource:
    """Delete the FileProcessingJob itself: its time to live is over."""


@dataclass(frozen=True, slots=True)
class MarkFiles:
    """Have the deletion of the FileProcessingJob wait for the removal of its files, or no more."""

    wait: bool


Step = (
    Apply
    | DeleteChildren
    | SuspendChild
    | DeleteRights
    | FenceShards
    | RecordJob
    | RecordEnd
    | RenewLease
    | ReleaseLease
    | RefreshFolder
    | Emit
    | DeleteResource
    | MarkFiles
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now.

    ``status`` is everything the operator says in the resource's status (None: leave it alone).

    With ``wants_lease`` nothing else is done: the lease is tried for, and the decision taken again
    with what came of it. ``steps_first`` are done before the status is written, ``steps_after``
    once it is.
    """

    status: Mapping[str, Any] | None = None
    steps_first: tuple[Step, ...] = ()
    steps_after: tuple[Step, ...] = ()
    requeue_after: float | None = None
    again: bool = False
    wants_lease: bool = False
