"""A small world for reconcile: what the API server, the Job controller,
the pods and the store would hold.

Only facts are modelled, none of the decisions; times are given by hand.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fpj_core.kube import names
from fpj_core.manifest import parse_resource
from fpj_core.model import Counts, Job, Phase, ShardState
from fpj_core.progress import measure
from fpj_core.v1alpha1 import CacheFolder, FileProcessingJob
from fpj_operator.emit import Emit
from fpj_operator.jobs.conditions import attempt_from, same_status
from fpj_operator.jobs.queue import JobQueue
from fpj_operator.jobs.reconcile import reconcile
from fpj_operator.jobs.state import (
    Apply,
    ChildJob,
    DeleteChildren,
    DeleteResource,
    DeleteRights,
    FenceShards,
    LeaseView,
    MarkFiles,
    Observed,
    Plan,
    RecordEnd,
    RecordJob,
    RefreshFolder,
    Rejected,
    ReleaseLease,
    RenewLease,
    StoreView,
    SuspendChild,
)
from fpj_operator.keys import Key
from fpj_operator.settings import OperatorSettings

SETTINGS = OperatorSettings(
    store_url="mongodb://store", worker_image="fpj:test", max_concurrent_jobs=2
)
NAMESPACE = "team"


def job_resource(name: str = "photos", **spec: Any) -> FileProcessingJob:
    document = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "FileProcessingJob",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}"},
        "spec": {
            "jobType": "Both",
            "collection": {
                "id": "photos",
                "source": {"persistentVolumeClaim": {"claimName": "photos"}},
            },
        }
        | spec,
    }
    found = parse_resource(document)
    assert isinstance(found, FileProcessingJob)
    return found


def folder_resource(**claim: str | None) -> CacheFolder:
    found = parse_resource(
        {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": "CacheFolder",
            "metadata": {"name": "cache", "namespace": NAMESPACE},
            "spec": {"storage": {"persistentVolumeClaim": claim or {"claimName": "cache"}}},
        }
    )
    assert isinstance(found, CacheFolder)
    return found


@dataclass
class Records:
    """What a store has of one job."""

    job: Job | None = None
    counts: Counts = field(default_factory=Counts)
    shards: list[ShardState] = field(default_factory=list)


@dataclass
class Database:
    """A store: another one, and one that was emptied, has another identity.

    One from a backup has its own.
    """

    identity: str
    jobs: dict[str, Records] = field(default_factory=dict)
    holder: str = ""
    """Of its own lease on the collection."""
    fence: int = 0

    def of(self, uid: str) -> Records:
        return self.jobs.setdefault(uid, Records())


@dataclass
class Resource:
    """One FileProcessingJob and all that belongs to it."""

    world: World
    job: FileProcessingJob
    created_at: float
    status: dict[str, Any] = field(default_factory=dict)
    resume: str = ""
    generation: int = 1
    problem: str | None = None
    """Why the operator does not understand the spec of now."""
    children: dict[str, ChildJob] = field(default_factory=dict)
    tasks: dict[str, Any] = field(default_factory=dict)
    """By child Job, the task that its pods get."""
    fenced: int = 0
    refreshed: int = 0
    """Times that the statistics of its cache folder were made."""
    events: list[Emit] = field(default_factory=list)
    writes: int = 0
    gone: bool = False
    deleting: bool = False
    marked: bool = False
    """Whether it has the finalizer with which its deletion waits for its files."""
    rights: set[str] = field(default_factory=set)
    """Kinds of what lets its workers report."""

    @property
    def uid(self) -> str:
        return str(self.job.metadata.uid)

    @property
    def record(self) -> Job | None:
        return self.world.database.of(self.uid).job

    @record.setter
    def record(self, job: Job | None) -> None:
        self.world.database.of(self.uid).job = job

    @property
    def counts(self) -> Counts:
        return self.world.database.of(self.uid).counts

    @counts.setter
    def counts(self, counts: Counts) -> None:
        self.world.database.of(self.uid).counts = counts

    @property
    def shards(self) -> list[ShardState]:
        return self.world.database.of(self.uid).shards

    @shards.setter
    def shards(self, shards: list[ShardState]) -> None:
        self.world.database.of(self.uid).shards = shards

    def edit(self, **spec: Any) -> None:
        """Somebody changes the spec."""
        self.job = self.job.model_copy(update={"spec": self.job.spec.model_copy(update=spec)})
        self.generation += 1

    def phase(self) -> Phase:
        """Of now.

        No property: a type checker would take it for unchanged until the next assignment.
        """
        return Phase(self.status.get("phase") or Phase.PENDING)

    def condition(self, name: str) -> dict[str, Any]:
        return next(each for each in self.status["conditions"] if each["type"] == name)


class DisturbedError(Exception):
    """A step could not be done; what is observed instead."""

    def __init__(self, **observed: Any) -> None:
        self.observed = observed
        super().__init__(str(observed))


@dataclass
class World:
    """Several resources over one lease: all of them mean the same collection."""

    settings: OperatorSettings = SETTINGS
    now: float = 1_000_000.0
    resources: dict[str, Resource] = field(default_factory=dict)
    lease: LeaseView = field(default_factory=LeaseView)
    folder: CacheFolder | None = field(default_factory=folder_resource)
    database: Database = field(default_factory=lambda: Database("store-0"))
    databases: int = 1
    pods_left: bool = False
    others_left: str = ""
    store_error: str | None = None
    refusal: Callable[[dict[str, Any]], Rejected | None] = lambda _manifest: None
    """What the API server says to a child object that is applied."""
    applied: int = 0
    """Child objects that were sent to the API server, rejected ones included."""
    store_fails_at: type | None = None
    """Kind of step at which the store goes away."""

    def add(self, name: str = "photos", **spec: Any) -> Resource:
        self.resources[name] = Resource(self, job_resource(name, **spec), self.now)
        return self.resources[name]

    # The store ------------------------------------------------------------------------------------

    def another_store(self) -> Database:
        """The store is emptied, or another one takes its place.

        The one before, for whoever brings it back.
        """
        before = self.database
        self.database = Database(f"store-{self.databases}")
        self.databases += 1
        return before

    def backup(self) -> Database:
        """The store as it is now."""
        return copy.deepcopy(self.database)

    # The operator ---------------------------------------------------------------------------------

    def look(self, name: str = "photos", *, steps: int | None = None) -> Plan:
        """One reconcile, carried out; with ``steps`` the operator dies after so many of them."""
        resource = self.resources[name]
        observed = self.observe(name)
        plan = reconcile(observed, self.settings)
        if plan.wants_lease:
            if self.lease.expires_at <= self.now or self.lease.holder in ("", resource.uid):
                self._take(resource, above=observed.attempt.fence)
            lease = replace(self.lease, renewed=self.lease.holder == resource.uid)
            observed = replace(self.observe(name), slot_free=observed.slot_free, lease=lease)
            observed = replace(observed, others_left=self.others_left)
            plan = reconcile(observed, self.settings)
        for _ in range(4):
            todo: list[Any] = [*plan.steps_first, plan.status, *plan.steps_after]
            try:
                for step in todo[: len(todo) if steps is None else steps]:
                    self._do(resource, step)
            except DisturbedError as disturbed:
                plan = reconcile(replace(self.observe(name), **disturbed.observed), self.settings)
            else:
                return plan
        raise AssertionError("it is disturbed again and again")

    def settle(self, name: str = "photos", most: int = 20) -> Plan:
        """Look until nothing changes any more."""
        for _ in range(most):
            before = copy.deepcopy(self._shown(name))
            plan = self.look(name)
            if self.resources[name].gone or before == self._shown(name):
                return plan
        raise AssertionError("it never settles")

    def _shown(self, name: str) -> tuple[Any, ...]:
        resource = self.resources[name]
        return resource.status, resource.children, resource.marked, self.lease

    def observe(self, name: str) -> Observed:
        resource = self.resources[name]
        queue = JobQueue(self.settings.max_concurrent_jobs)
        for each in self.resources.values():
            if not each.gone:
                queue.note(self._body(each))
        slot_free, ahead = queue.place(Key(NAMESPACE, name))
        return Observed(
            key=Key(NAMESPACE, name),
            uid=resource.uid,
            generation=resource.generation,
            job=None if resource.problem and resource.phase().finished else resource.job,
            problem=resource.problem,
            status=resource.status,
            phase=resource.phase(),
            attempt=attempt_from(resource.status),
            resume=resource.resume,
            created_at=resource.created_at,
            deleting=resource.deleting,
            marked=resource.marked,
            children=tuple(resource.children.values()),
            lease=self.lease,
            store=self._store_view(resource),
            folder=self.folder,
            folder_problem=None if self.folder else "there is no cache folder",
            slot_free=slot_free,
            ahead=ahead,
            now=self.now,
            rights=resource.phase().at_rest and "ServiceAccount" in resource.rights,
            pods_left=self.pods_left,
            lock=queue.lock(Key(NAMESPACE, name)),
        )

    def _store_view(self, resource: Resource) -> StoreView:
        if self.store_error:
            return StoreView(error=self.store_error)
        record = resource.record
        attempt = attempt_from(resource.status).number
        identity = self.database.identity
        if record is None or (record.planning_attempt, record.planned_attempt) != (
            attempt,
            attempt,
        ):
            return StoreView(identity, record)
        states = {state: resource.shards.count(state) for state in set(resource.shards)}
        counts = record.base + resource.counts
        return StoreView(identity, record, counts, states, measure(record, resource.counts))

    def _body(self, resource: Resource) -> dict[str, Any]:
        metadata = {"name": resource.job.metadata.name, "namespace": NAMESPACE, "uid": resource.uid}
        collection = {"id": resource.job.collection_id}
        spec = {
            "priority": resource.job.spec.priority,
            "suspend": resource.job.spec.suspend,
            "collection": collection,
        }
        return {"metadata": metadata, "spec": spec, "status": resource.status}

    def _take(self, resource: Resource, above: int = 0) -> None:
        if (
            resource.uid not in (self.lease.holder, self.database.holder)
            or self.lease.holder != self.database.holder
        ):
            self.database.fence += 1
        self.database.fence = max(self.database.fence, above + 1)
        self.database.holder = resource.uid
        expires = self.now + self.settings.lease_seconds
        self.lease = LeaseView(
            resource.uid, resource.job.metadata.name, self.database.fence, expires
        )

    def _do(self, resource: Resource, step: Any) -> None:  # noqa: C901 - one case a step
        needs_store = isinstance(
            step, FenceShards | RecordJob | RecordEnd | ReleaseLease | RefreshFolder
        )
        if self.store_fails_at is not None and isinstance(step, self.store_fails_at):
            self.store_error = "it went away"
        if self.store_error and (needs_store or (isinstance(step, RenewLease) and step.store)):
            raise DisturbedError(store=StoreView(error=self.store_error))
        match step:
            case Apply(manifest):
                self.applied += 1
                if (rejected := self.refusal(dict(manifest))) is not None:
                    raise DisturbedError(rejected=rejected)
                if manifest["kind"] == "Job":
                    self._apply_job(resource, dict(manifest))
                else:
                    resource.rights.add(manifest["kind"])
            case MarkFiles(wait):
                resource.marked = wait
            case DeleteRights():
                resource.rights.clear()
            case DeleteChildren(attempt, finished_too):
                for name, child in list(resource.children.items()):
                    if child.attempt <= attempt and (finished_too or not child.finished):
                        del resource.children[name]
                        resource.tasks.pop(name, None)
            case SuspendChild(name, suspend):
                child = resource.children[name]
                resource.children[name] = replace(
                    child, suspended=suspend, active=0 if suspend else 1
                )
            case FenceShards():
                resource.fenced += 1
                resource.shards = [
                    s if s is ShardState.SUCCEEDED else ShardState.PENDING for s in resource.shards
                ]
            case RecordJob(phase, reason, message, attempt):
                made = Job(resource.uid, resource.job.metadata.name, "team.photos", {}, "")
                known = resource.record or made
                begins = attempt if phase is Phase.INDEXING else 0
                known = replace(
                    known, planning_attempt=max(known.planning_attempt, begins), finished_at=None
                )
                resource.record = replace(known, phase=phase, reason=reason, message=message)
            case RecordEnd():
                assert resource.record is not None
                resource.record = replace(
                    resource.record, finished_at=resource.record.finished_at or self.now
                )
            case RefreshFolder():
                resource.refreshed += 1
            case RenewLease():
                if self.lease.held_by_another(resource.uid, self.now):
                    raise DisturbedError(lease=self.lease)
                lapsed, fence = (
                    self.lease.expires_at <= self.now,
                    attempt_from(resource.status).fence,
                )
                self._take(resource)
                if self.lease.fence > fence or (lapsed and self.lease.fence != fence):
                    raise DisturbedError(lease=replace(self.lease, renewed=True))
            case ReleaseLease():
                if self.lease.holder == resource.uid:
                    self.lease = LeaseView("", "", self.lease.fence, 0.0)
            case Emit():
                if not (step.unique and step.unique in {e.unique for e in resource.events}):
                    resource.events.append(step)
            case DeleteResource():
                resource.gone = True
            case dict():
                if not same_status(step, resource.status):
                    kept = {
                        name: resource.status[name]
                        for name in ("lastProgressAt",)
                        if name in resource.status
                    }
                    resource.status = kept | step
                    resource.writes += 1

    def _apply_job(self, resource: Resource, manifest: dict[str, Any]) -> None:
        labels = manifest["metadata"]["labels"]
        name = manifest["metadata"]["name"]
        attempt, wave = int(labels[names.LABEL_ATTEMPT]), int(labels.get(names.LABEL_WAVE, 0))
        (task,) = [
            each["value"]
            for each in manifest["spec"]["template"]["spec"]["containers"][0]["env"]
            if each["name"] == "FPJ_TASK"
        ]
        resource.tasks.setdefault(name, json.loads(task.replace("$$", "$")))
        if name not in resource.children:
            resource.children[name] = ChildJob(
                name, labels[names.LABEL_ROLE], attempt, wave, active=1
            )

    # The pods -------------------------------------------------------------------------------------

    def child(self, role: str, name: str = "photos", wave: int = 0) -> ChildJob | None:
        resource = self.resources[name]
        attempt = attempt_from(resource.status).number
        return next(
            (
                c
                for c in resource.children.values()
                if (c.role, c.attempt, c.wave) == (role, attempt, wave)
            ),
            None,
        )

    def indexed(
        self, name: str = "photos", *, shards: int = 3, total: int = 300, skipped: int = 0
    ) -> None:
        """The index pod does its work and ends. Without shards all images are up to date."""
        resource, child = self.resources[name], self.child(names.ROLE_INDEX, name)
        assert child is not None
        assert resource.status["attempt"]["fence"] == self.database.fence, (
            "else the store refuses what the pod writes"
        )
        assert resource.record is not None
        resource.shards = [ShardState.PENDING] * shards
        base = Counts(skipped=skipped if shards else total)
        resource.counts = Counts()
        resource.record = replace(
            resource.record,
            total=total,
            base=base,
            planning_attempt=child.attempt,
            planned_attempt=child.attempt,
            planned_shards=shards,
            last_progress_at=self.now,
        )
        resource.children[child.name] = replace(child, complete=True, active=0)

    def worked(
        self, name: str = "photos", *, shard: int, completed: int = 0, failed: int = 0
    ) -> None:
        """A pod finishes a shard."""
        resource = self.resources[name]
        errors = {"CorruptImage": failed} if failed else {}
        resource.counts += Counts(completed=completed, failed=failed, errors=errors)
        resource.shards[shard] = ShardState.SUCCEEDED
        self.progressed(name)

    def progressed(self, name: str = "photos") -> None:
        resource = self.resources[name]
        if resource.record:
            resource.record = replace(resource.record, last_progress_at=self.now)

    def ended(
        self, name: str = "photos", *, wave: int = 0, failed: bool = False, trouble: Any = None
    ) -> None:
        """The Job controller says that the Indexed Job is over."""
        child = self.child(names.ROLE_SHARDS, name, wave)
        assert child is not None
        self.resources[name].children[child.name] = replace(
            child, complete=not failed, failed=failed, active=0, trouble=trouble
        )
