"""Do what a plan says. Every step may be done again without harm."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fpj_core.errors import ConcurrencyError, FencedError, StoreError
from fpj_core.jobs import change_job
from fpj_core.kube import names
from fpj_core.kube.api import CONFLICT, Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import lease_name
from fpj_core.kube.records import folder_name
from fpj_core.model import Job, Phase
from fpj_core.store.protocol import Store
from fpj_operator import events, metrics
from fpj_operator.emit import Emit
from fpj_operator.jobs.children import RIGHTS, collection_of, manifest
from fpj_operator.jobs.conditions import attempt_from, same_status
from fpj_operator.jobs.leases import Leases
from fpj_operator.jobs.state import (
    Apply,
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
    Step,
    StoreView,
    SuspendChild,
)
from fpj_operator.storehealth import StoreHealth

_APPLY_TRIES = 2
_CONFLICT_TRIES, _CONFLICT_PAUSE_SECONDS = 3, 0.2
"""A quota that is being charged by others at the same time refuses with a conflict,
which is over at once.
"""

log = logging.getLogger("fpj.execute")


class DisturbedError(Exception):
    """A plan could not be carried out, for the world is not as it was taken to be; ``observed`` is
    how it is now.
    """

    def __init__(self, observed: Observed, message: str) -> None:
        self.observed = observed
        super().__init__(message)


class Executor:
    """Carries plans out."""

    def __init__(self, cluster: Cluster, store: Store, health: StoreHealth, leases: Leases) -> None:
        self._cluster = cluster
        self._store = store
        self._health = health
        self._leases = leases
        self.folder_used: Callable[[str, str], None] = lambda _namespace, _name: None
        self._emitted: dict[str, str] = {}
        """By job, the latest event that is written once:
        asking the API server each time would cost a request.
        """

    async def carry_out(
        self,
        observed: Observed,
        plan: Plan,
        written: Callable[[Document], object] = lambda _resource: None,
    ) -> None:
        """Steps, then the status, then the steps that may only follow it.

        ``written`` gets the resource as it stands once its status has been written, ahead of the
        event that shows it. Raises `DisturbedError` where another decision is called for: the store
        is away, the API server rejects a child or a renewal, the lease is another's. Raises
        `ClusterError`, and `StoreError` for what is only to be tried again.
        """
        for step in plan.steps_first:
            await self._step(observed, step)
        if plan.status is not None and not same_status(plan.status, observed.status):
            document = await self._write_status(observed, plan.status)
            written(document)
            observed = _after_status(observed, document)
        for step in plan.steps_after:
            await self._step(observed, step)

    async def _write_status(self, observed: Observed, status: Mapping[str, Any]) -> Document:
        """Only upon what was read: a decision that comes late is taken again.

        Every status says phase and attempt, also where this decision changed neither: another one
        may have since.
        """
        key = observed.key
        return await self._cluster.apply_status(
            "FileProcessingJob",
            key.namespace,
            key.name,
            status,
            observed.uid,
            observed.version or None,
        )

    async def _step(self, observed: Observed, step: Step) -> None:
        try:
            await self._do(observed, step)
        except (ConcurrencyError, FencedError):
            raise
        except StoreError as error:
            raise DisturbedError(
                replace(observed, store=StoreView(error=str(error)[:500])), str(error)
            ) from error

    async def acquire(self, observed: Observed, *, above: int = 0) -> LeaseView:
        """Try for the collection's lease.

        Raises `ClusterError` and `StoreError`. ``above`` as for `Leases.acquire`.
        """
        return await self._leases.acquire(
            observed.key, observed.uid, collection_of(observed), above=above
        )

    async def _do(self, observed: Observed, step: Step) -> None:
        match step:
            case Apply(document):
                await self._apply(observed, document)
            case DeleteChildren() | DeleteRights() | DeleteResource():
                await self._delete(observed, step)
            case SuspendChild() | MarkFiles():
                await self._change(observed, step)
            case RenewLease():
                await self._renew(observed, step)
            case ReleaseLease():
                await self._release(observed)
            case RefreshFolder(name):
                await self._refresh_folder(observed.key.namespace, name)
            case Emit():
                await self._emit(observed, step)
            case FenceShards():
                await self._fence(observed)
            case RecordJob() | RecordEnd():
                await self._health.ask(observed.uid, lambda _: self._write_record(observed, step))

    async def _change(self, observed: Observed, step: SuspendChild | MarkFiles) -> None:
        match step:
            case SuspendChild(name, suspend):
                await self._cluster.merge(
                    "Job", observed.key.namespace, name, {"spec": {"suspend": suspend}}
                )
            case MarkFiles(wait):
                await self._mark_files(observed, wait=wait)

    async def _delete(
        self, observed: Observed, step: DeleteChildren | DeleteRights | DeleteResource
    ) -> None:
        match step:
            case DeleteChildren():
                await self._delete_children(observed, step)
            case DeleteRights():
                await self._delete_rights(observed)
            case DeleteResource():
                key = observed.key
                await self._cluster.delete(
                    "FileProcessingJob", key.namespace, key.name, observed.uid
                )

    async def _fence(self, observed: Observed) -> None:
        """Late, it still means no attempt but those that were there when it was decided upon."""
        uid, latest = observed.uid, observed.latest_attempt
        await self._health.ask(
            uid, lambda check: self._store.release_shards(uid, latest, check), long=True
        )

    def _write_record(self, observed: Observed, step: RecordJob | RecordEnd) -> None:
        """Late, it comes before all that this process writes next,
        and the record's version guards it from others.
        """
        match step:
            case RecordJob():
                self._record(observed, step)
            case RecordEnd():
                self._record_end(observed)

    async def _apply(self, observed: Observed, document: Mapping[str, Any]) -> None:
        """A child object; what rejects it becomes part of what the next decision rests on."""
        for attempt in range(1, _CONFLICT_TRIES + 1):
            try:
                await self._cluster.apply(document, tries=_APPLY_TRIES)
                return
            except ClusterError as error:
                if error.status == 409 and attempt < _CONFLICT_TRIES:
                    await asyncio.sleep(_CONFLICT_PAUSE_SECONDS * attempt)
                    continue
                kind, name = document["kind"], document["metadata"]["name"]
                rejected = Rejected(kind, name, error.status, str(error), error.retry_after)
                raise DisturbedError(replace(observed, rejected=rejected), str(error)) from error

    async def _renew(self, observed: Observed, step: RenewLease) -> None:
        """What the API server refuses here is reported: until the Lease lapses,
        nobody else can have it.
        """
        collection = collection_of(observed)
        try:
            if step.store:
                view = await self.acquire(observed)
            else:
                view = await self._leases.renew_without_store(
                    observed.key, observed.uid, collection
                )
        except ClusterError as error:
            if not error.status or error.reason == CONFLICT:
                raise
            refused = Rejected(
                "Lease", lease_name(collection), error.status, str(error), error.retry_after
            )
            raise DisturbedError(replace(observed, unrenewed=refused), str(error)) from error
        now = time.time()
        if not view.held_by(observed.uid, now) or _was_taken(observed, view):
            text = "another job holds the collection's lease, or held it in the meantime"
            raise DisturbedError(replace(observed, lease=view, now=now), text)

    async def _delete_children(self, observed: Observed, step: DeleteChildren) -> None:
        for child in observed.children:
            wanted = child.attempt <= step.attempt and (step.finished_too or not child.finished)
            if wanted and not child.deleting:
                await self._cluster.delete("Job", observed.key.namespace, child.name)

    async def _mark_files(self, observed: Observed, *, wait: bool) -> None:
        """Refused, as a conflict, if the resource has changed meanwhile."""
        key = observed.key
        found = await self._cluster.get("FileProcessingJob", key.namespace, key.name)
        if found is not None and found["metadata"]["uid"] == observed.uid:
            change = with_files_finalizer(found, wait=wait)
            await self._cluster.merge("FileProcessingJob", key.namespace, key.name, change)

    async def _delete_rights(self, observed: Observed) -> None:
        """The account last: while it is there, something of the three may be left."""
        name = names.base_name(observed.key.name, observed.uid)
        for kind in reversed(RIGHTS):
            await self._cluster.delete(kind, observed.key.namespace, name)

    def _record(self, observed: Observed, step: RecordJob) -> None:
        fresh = Job(
            id=observed.uid,
            name=observed.key.name,
            collection=collection_of(observed),
            manifest=manifest(observed),
            digest="",
            created_at=observed.created_at,
        )
        self._store.create_job(fresh)
        change_job(
            self._store, observed.uid, lambda stored: _noted(stored, fresh, step, time.time())
        )

    def _record_end(self, observed: Observed) -> None:
        now = time.time()
        change_job(
            self._store,
            observed.uid,
            lambda stored: replace(stored, finished_at=stored.finished_at or now),
        )

    async def _release(self, observed: Observed) -> None:
        if observed.job is not None:
            await self._leases.release(
                observed.key.namespace, observed.uid, collection_of(observed)
            )

    async def _refresh_folder(self, namespace: str, name: str) -> None:
        """The folder's statistics in the store; those in its resource's status are another's.

        Late, they are those of that time. The next job's end makes them again.
        """
        stored = folder_name(namespace, name)
        try:
            await self._health.ask(f"folder {stored}", lambda _: self._refresh(stored))
        except StoreError as error:
            log.warning("statistics of the cache folder %s: %s", name, error)
        self.folder_used(namespace, name)

    def _refresh(self, name: str) -> None:
        """Not if no worker ever wrote to the folder."""
        if any(folder.name == name for folder in self._store.folders()):
            self._store.refresh_folder(name)

    async def _emit(self, observed: Observed, event: Emit) -> None:
        """One that is unique and cannot be written is tried again with the next reconcile that says
        it.
        """
        if event.unique and self._emitted.get(observed.uid) == event.unique:
            return
        is_news = await events.write(
            self._cluster, "FileProcessingJob", observed.key, observed.uid, event
        )
        if event.unique and is_news is not None:
            self._emitted[observed.uid] = event.unique
            metrics.ALERTS.inc(is_news and event.reason == "ImagesFailing")

    def forget(self, uid: str) -> None:
        """The job is gone."""
        self._emitted.pop(uid, None)


def with_files_finalizer(job: Document, *, wait: bool) -> dict[str, Any]:
    """The change that puts the finalizer of `names.FILES_FINALIZER` on a job, or takes it off.

    Refused if the job has changed since.
    """
    metadata = job["metadata"]
    others = [each for each in metadata.get("finalizers") or () if each != names.FILES_FINALIZER]
    finalizers = [*others, names.FILES_FINALIZER] if wait else others
    return {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}


def _was_taken(observed: Observed, renewed: LeaseView) -> bool:
    """Whether somebody had the store's lease meanwhile: then its fence has moved.

    It may have moved before the job's own Lease lapsed for this operator, which does not know when
    an earlier leader renewed it. A smaller fence is one of a store that has lost records.
    """
    lapsed = not observed.lease.held_by(observed.uid, observed.now)
    moved = renewed.fence - observed.attempt.fence
    return renewed.renewed and (moved > 0 or (lapsed and moved < 0))


def _after_status(observed: Observed, document: Document) -> Observed:
    """With the status as it was written: a decision in the middle of a plan must not fall back
    behind it.
    """
    status = document.get("status") or {}
    return replace(
        observed,
        status=status,
        phase=Phase(status.get("phase") or Phase.PENDING),
        attempt=attempt_from(status),
        version=str(document["metadata"].get("resourceVersion") or ""),
    )


def _noted(stored: Job, fresh: Job, step: RecordJob, now: float) -> Job:
    """An attempt that begins is noted with its number:
    pods of earlier ones are refused before the status says so.
    """
    begins = step.attempt if step.phase is Phase.INDEXING else 0
    restarted = stored.phase.finished and not step.phase.finished
    return replace(
        stored,
        planning_attempt=max(stored.planning_attempt, begins),
        manifest=fresh.manifest,
        begun_attempt=step.attempt if restarted else stored.begun_attempt,
        phase=step.phase,
        reason=step.reason,
        message=step.message,
        started_at=stored.started_at or now,
        finished_at=None,  # RecordEnd sets it
    )
