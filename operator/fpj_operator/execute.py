"""Do what a plan says. Every step may be done again without harm."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from fpj_core.cluster import Cluster, Document
from fpj_core.jobs import change_job
from fpj_core.model import Folder, Job
from fpj_core.records import folder_name
from fpj_core.store.protocol import Store
from fpj_operator import events, leases, metrics
from fpj_operator.children import collection_of, manifest
from fpj_operator.conditions import same_status
from fpj_operator.settings import OperatorSettings
from fpj_operator.state import (
    Apply,
    DeleteChildren,
    DeleteResource,
    Emit,
    FenceShards,
    LeaseView,
    Observed,
    Plan,
    RecordJob,
    RefreshFolder,
    ReleaseLease,
    RenewLease,
    Step,
)

log = logging.getLogger("fpj.execute")


class Executor:
    """Carries plans out."""

    def __init__(self, cluster: Cluster, store: Store, settings: OperatorSettings) -> None:
        self._cluster = cluster
        self._store = store
        self._settings = settings
        self._emitted: dict[str, str] = {}
        """By job, the latest event that is written once: asking the API server each time would cost a request."""

    async def carry_out(
        self, observed: Observed, plan: Plan, written: Callable[[Document], object] = lambda _resource: None
    ) -> None:
        """Steps, then the status, then the steps that may only follow it. Raises `ClusterError` and `StoreError`.

        ``written`` gets the resource as it stands once its status has been written, ahead of the event that shows it.
        """
        for step in plan.steps_first:
            await self._do(observed, step)
        if plan.status is not None and not same_status(plan.status, observed.status):
            key = observed.key
            written(
                await self._cluster.apply_status(
                    "FileProcessingJob", key.namespace, key.name, plan.status, observed.uid
                )
            )
        for step in plan.steps_after:
            await self._do(observed, step)

    async def acquire(self, observed: Observed) -> LeaseView:
        """Try for the collection's lease. Raises `ClusterError` and `StoreError`."""
        return await leases.acquire(
            self._cluster,
            self._store,
            observed.key,
            observed.uid,
            collection_of(observed),
            seconds=self._settings.lease_seconds,
        )

    async def _do(self, observed: Observed, step: Step) -> None:
        key = observed.key
        match step:
            case Apply(document):
                await self._cluster.apply(document)
            case DeleteChildren(attempt):
                await self._delete_children(observed, attempt)
            case FenceShards():
                await asyncio.to_thread(self._store.release_shards, observed.uid)
            case RecordJob():
                await asyncio.to_thread(self._record, observed, step)
            case RenewLease():
                await self.acquire(observed)
            case ReleaseLease():
                await self._release(observed)
            case RefreshFolder(name):
                await self._refresh_folder(key.namespace, name)
            case Emit():
                await self._emit(observed, step)
            case DeleteResource():
                await self._cluster.delete("FileProcessingJob", key.namespace, key.name, observed.uid)

    async def _delete_children(self, observed: Observed, attempt: int) -> None:
        for child in observed.children:
            if child.attempt <= attempt and not child.deleting:
                await self._cluster.delete("Job", observed.key.namespace, child.name)

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
        change_job(self._store, observed.uid, lambda stored: _noted(stored, fresh, step, time.time()))

    async def _release(self, observed: Observed) -> None:
        if observed.job is not None:
            await leases.release(
                self._cluster, self._store, observed.key.namespace, observed.uid, collection_of(observed)
            )

    async def _refresh_folder(self, namespace: str, name: str) -> None:
        """The folder's statistics, in the store and in its resource's status."""
        folder = await asyncio.to_thread(self._refreshed, folder_name(namespace, name))
        if folder is None:
            return
        totals = {"totalFiles": folder.files, "totalBytes": folder.bytes, "totalCollections": folder.collections}
        await self._cluster.apply_status("CacheFolder", namespace, name, totals)

    def _refreshed(self, name: str) -> Folder | None:
        """None if no worker ever wrote to the folder."""
        known = any(folder.name == name for folder in self._store.folders())
        return self._store.refresh_folder(name) if known else None

    async def _emit(self, observed: Observed, event: Emit) -> None:
        if event.unique and self._emitted.get(observed.uid) == event.unique:
            return
        created = await self._cluster.create(events.event("FileProcessingJob", observed.key, observed.uid, event))
        if event.unique:
            self._emitted[observed.uid] = event.unique
            metrics.ALERTS.inc(created is not None and event.reason == "ImagesFailing")

    def forget(self, uid: str) -> None:
        """The job is gone."""
        self._emitted.pop(uid, None)


def _noted(stored: Job, fresh: Job, step: RecordJob, now: float) -> Job:
    return replace(
        stored,
        manifest=fresh.manifest,
        phase=step.phase,
        reason=step.reason,
        message=step.message,
        started_at=stored.started_at or now,
        finished_at=now if step.phase.finished else None,
    )
