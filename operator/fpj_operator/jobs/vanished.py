"""Jobs that were deleted: who still works for them is fenced, their record is closed,
their collection unlocked.

No finalizer holds a deletion back for that: it would hang wherever no operator runs. Instead the
job's Lease, which is given back last, says what is left to do. A deletion that is seen is cleaned
up at once, and tried again until it is done. One that nobody saw, or that an operator died over, is
found by a sweep over the Leases: whose holder is gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from fpj_core.jobs import change_job
from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import lease_name
from fpj_core.model import Job, Phase
from fpj_core.process.logs import about
from fpj_core.store.protocol import Store
from fpj_operator.jobs.leases import COLLECTION, HOLDER_NAME, Leases
from fpj_operator.keys import Key
from fpj_operator.storecalls import Check
from fpj_operator.storehealth import StoreHealth
from fpj_operator.workqueue import Workqueue

_JOB = "FileProcessingJob"
_WORKERS = 4
_PAGE, _MOST = 500, 100_000
_LABELS = f"app.kubernetes.io/managed-by={names.MANAGER}"

log = logging.getLogger("fpj.vanished")


@dataclass(frozen=True, slots=True)
class Gone:
    """A job that is no more. ``collection`` is its id in the store; empty if that is not known."""

    key: Key
    uid: str
    collection: str


class Vanished:
    """Cleans up after deleted jobs.

    Args:
        is_known: whether the watch shows this job (key, uid): then nobody needs to ask for it.
        holds: gets each such job that holds the Lease of its collection.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        health: StoreHealth,
        leases: Leases,
        is_known: Callable[[Key, str], bool],
        holds: Callable[[Key], None],
    ) -> None:
        self.work: Workqueue[Gone | Key] = Workqueue(self._handle, _WORKERS, _about)
        self._cluster = cluster
        self._store = store
        self._health = health
        self._leases = leases
        self._is_known = is_known
        self._holds = holds

    def gone(self, body: Mapping[str, Any]) -> None:
        """A job was deleted."""
        metadata = body["metadata"]
        given = ((body.get("spec") or {}).get("collection") or {}).get("id") or metadata["name"]
        collection = names.store_collection(metadata["namespace"], given)
        self.work.add(
            Gone(Key(metadata["namespace"], metadata["name"]), metadata["uid"], collection)
        )

    def missed(self, key: Key, uid: str) -> None:
        """A job is gone, and nothing is known of it any more; the store may know its collection."""
        self.work.add(Gone(key, uid, ""))

    def held(self, key: Key) -> None:
        """A job has the finalizer of an earlier version."""
        self.work.add(key)

    async def sweep(self, namespaces: Sequence[str], seconds: float) -> None:
        """Look every so many seconds, in these namespaces or in all,
        for Leases whose jobs are gone.
        """
        while True:
            try:
                for namespace in namespaces or (None,):
                    await self.sweep_once(namespace)
            except ClusterError as error:
                log.warning("leases of deleted jobs are not looked for: %s", error)
            await asyncio.sleep(seconds)

    async def sweep_once(self, namespace: str | None) -> None:
        """Put in line whatever is left to do. Raises `ClusterError`."""
        async for page in self._cluster.pages(
            "Lease", namespace, size=_PAGE, most=_MOST, labels=_LABELS
        ):
            for lease in page:
                gone = _holder(lease)
                if gone is None:
                    continue
                if self._is_known(gone.key, gone.uid):
                    self._holds(gone.key)
                elif await self._is_gone(gone):
                    self.work.add(gone)

    async def _is_gone(self, gone: Gone) -> bool:
        found = await self._cluster.get(_JOB, gone.key.namespace, gone.key.name)
        return found is None or found["metadata"]["uid"] != gone.uid

    async def _handle(self, what: Gone | Key) -> None:
        """Raises `ClusterError` and `StoreError`; then it comes again, later and later."""
        if isinstance(what, Key):
            await self._free(what)
            return
        known = await self._health.ask(
            what.uid, lambda check: self._cancel(what.uid, check), long=True
        )
        collection = known or what.collection
        if collection:
            await self._leases.release(what.key.namespace, what.uid, collection)

    async def _free(self, key: Key) -> None:
        found = await self._cluster.get(_JOB, key.namespace, key.name)
        if found is None or names.FINALIZER not in (found["metadata"].get("finalizers") or ()):
            return
        await self._cluster.merge(_JOB, key.namespace, key.name, without_finalizer(found))

    def _cancel(self, uid: str, check: Check) -> str:
        """Close the record and fence the workers; the job's collection,
        as far as the store knows it.

        Late or twice, it does the same: no job has this uid ever again.
        """
        record = self._store.get_job(uid)
        if record is None:
            return ""
        if not record.phase.finished:
            change_job(self._store, uid, _cancelled)
            self._store.release_shards(
                uid, max(record.planning_attempt, record.planned_attempt), check
            )
        check()
        self._store.break_lease(lease_name(record.collection), uid)
        return record.collection


def without_finalizer(job: Document) -> dict[str, Any]:
    """The change that takes our own finalizer off, and no other.

    Refused if the job has changed since.
    """
    left = [each for each in job["metadata"].get("finalizers") or () if each != names.FINALIZER]
    return {"metadata": {"finalizers": left, "resourceVersion": job["metadata"]["resourceVersion"]}}


def _cancelled(record: Job) -> Job:
    if record.phase.finished:
        return record
    return replace(
        record, phase=Phase.CANCELLED, reason="Deleted", message="", finished_at=time.time()
    )


def _holder(lease: Document) -> Gone | None:
    """The job that holds a collection's Lease; None for the leader's,
    and for one that nobody holds.
    """
    metadata = lease["metadata"]
    notes, uid = metadata.get("annotations") or {}, (lease.get("spec") or {}).get("holderIdentity")
    name, collection = notes.get(HOLDER_NAME), notes.get(COLLECTION)
    return (
        Gone(Key(metadata["namespace"], name), uid, collection)
        if uid and name and collection
        else None
    )


def _about(what: Gone | Key) -> AbstractContextManager[None]:
    key = what if isinstance(what, Key) else what.key
    return about(namespace=key.namespace, job=key.name)
