"""One look at a cache folder: observe, decide, act.

Fed with events by the handlers; its queue's clock brings every folder back now and then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fpj_core.errors import ManifestError, StoreError
from fpj_core.formatting import seconds_of
from fpj_core.kube import names
from fpj_core.kube.api import CONFLICT, Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.folderreport import FolderReport, parse_folder_report
from fpj_core.kube.records import folder_record
from fpj_core.manifest import read_resource
from fpj_core.model import Folder, Layout
from fpj_core.process.logs import about
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import CacheFolder
from fpj_core.v1alpha1.cachefolderstatus import MOST_SHARES, Operation
from fpj_operator import events, metrics
from fpj_operator.folders.job import run_name
from fpj_operator.folders.limits import policy_of_resource
from fpj_operator.folders.reconcile import decide
from fpj_operator.folders.state import FolderPlan, FolderView, Holdings, JobState, RunJob
from fpj_operator.jobs.pods import Pods
from fpj_operator.keys import Key
from fpj_operator.settings import OperatorSettings
from fpj_operator.storehealth import StoreHealth
from fpj_operator.workqueue import Workqueue

_KIND = "CacheFolder"
_WORKERS = 2
_TRIES = 3
"""Against those who change the same folder. After that it waits for the next look."""
_MOST_PODS = 20
_REFUSALS = range(400, 500)
_ENDED = {"Complete": JobState.COMPLETE, "Failed": JobState.FAILED}
_LOCAL = (
    "spec.storage.local works only with `fpj run`; use persistentVolumeClaim or s3 in a cluster"
)

log = logging.getLogger("fpj.folders")


class FolderController:
    """Works cache folders off through its queue. ``now`` gives the seconds since the epoch."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        health: StoreHealth,
        settings: OperatorSettings,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.work: Workqueue[Key] = Workqueue(
            self._handle,
            _WORKERS,
            lambda key: about(namespace=key.namespace, folder=key.name),
        )
        self._cluster = cluster
        self._store = store
        self._health = health
        self._settings = settings
        self._pods = Pods(cluster, now)
        self._now = now

    # Events ---------------------------------------------------------------------------------------

    def changed(self, body: Mapping[str, Any]) -> None:
        """A folder appeared or changed."""
        self.used(body["metadata"]["namespace"], body["metadata"]["name"])

    def gone(self, body: Mapping[str, Any]) -> None:
        """A folder was deleted; Kubernetes collects its Jobs."""
        self.work.forget(Key(body["metadata"]["namespace"], body["metadata"]["name"]))

    def used(self, namespace: str, name: str) -> None:
        """A folder may hold something else than before."""
        self.work.add(Key(namespace, name))

    def child_changed(self, body: Mapping[str, Any]) -> None:
        """A Job changed: if it is of a folder's run, that is to be looked at."""
        for owner in body["metadata"].get("ownerReferences") or ():
            if owner.get("kind") == _KIND:
                self.used(body["metadata"]["namespace"], owner["name"])

    # Work -----------------------------------------------------------------------------------------

    async def _handle(self, key: Key) -> float | None:
        try:
            return await self.look(key)
        except Exception:
            metrics.RECONCILE_ERRORS.inc()
            raise

    async def look(self, key: Key) -> float | None:
        """Do what is due; the seconds until the next look. Raises `ClusterError`."""
        for left in reversed(range(_TRIES)):
            try:
                view = await self._observe(key)
                return None if view is None else await self._act(view)
            except ClusterError as error:
                if error.reason != CONFLICT or not left:
                    raise
        raise AssertionError("unreachable")

    async def _act(self, view: FolderView) -> float | None:
        plan = decide(view, self._settings)
        view = await self._say(view, plan)
        if plan.job is not None and (refusal := await self._start(plan.job)):
            view = replace(view, job=RunJob(JobState.FAILED, ("ChildRejected", refusal)))
            plan = decide(view, self._settings)
            await self._say(view, plan)
        return plan.requeue_after

    async def _say(self, view: FolderView, plan: FolderPlan) -> FolderView:
        """Write the status, and then what follows from it; the folder as it stands then."""
        if plan.status is not None and plan.status != view.status:
            document = await self._cluster.apply_status(
                _KIND,
                view.key.namespace,
                view.key.name,
                plan.status,
                view.uid,
                view.version or None,
            )
            version = str(document["metadata"].get("resourceVersion") or "")
            view = replace(view, status=document.get("status") or {}, version=version)
        if plan.ended is not None:
            log.info("run ended", extra={"result": plan.ended.result})
            metrics.count_run(plan.ended.result, plan.ended.report)
        for said in plan.events:
            await events.write(self._cluster, _KIND, view.key, view.uid, said)
        return view

    async def _start(self, job: Mapping[str, Any]) -> str:
        """Create the Job of a run; why it is refused, or nothing."""
        try:
            await self._cluster.create(job)
        except ClusterError as error:
            if error.status not in _REFUSALS or error.reason == CONFLICT:
                raise
            log.warning("the Job %s is refused: %s", job["metadata"]["name"], error)
            return str(error)
        return ""

    # What there is --------------------------------------------------------------------------------

    async def _observe(self, key: Key) -> FolderView | None:
        document = await self._cluster.get(_KIND, key.namespace, key.name)
        if document is None:
            return None
        metadata = document["metadata"]
        folder, problem = _parse(document)
        view = FolderView(
            key=key,
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            folder=folder,
            problem=problem,
            status=document.get("status") or {},
            requested=names.mark_of(metadata, names.CLEANUP_ANNOTATION),
            deleting="deletionTimestamp" in metadata,
            holdings=None,
            store_error="",
            job=None,
            now=self._now(),
            version=str(metadata.get("resourceVersion") or ""),
            asked={
                Operation.VERIFY: names.mark_of(metadata, names.VERIFY_ANNOTATION),
                Operation.REPAIR: names.mark_of(metadata, names.REPAIR_ANNOTATION),
            },
        )
        if folder is None or view.deleting:
            return view
        # The Job first: what it removed is in the store before it ends.
        job = await self._job(view) if view.runs else None
        held, error = await self._holdings(folder)
        return replace(view, job=job, holdings=held, store_error=error)

    async def _holdings(self, folder: CacheFolder) -> tuple[Holdings | None, str]:
        record = folder_record(folder)
        limited = frozenset(policy_of_resource(folder).collection_quotas)
        try:
            held = await self._health.ask(
                f"folder {record.name}", lambda _: _counted(self._store, record, limited)
            )
        except StoreError as error:
            return None, str(error)[:500]
        return held, ""

    async def _job(self, view: FolderView) -> RunJob:
        name = run_name(view.key.name, view.uid, view.run)
        found = await self._cluster.list(
            "Job",
            view.key.namespace,
            labels=f"{names.LABEL_UID}={view.uid}",
            fields=f"metadata.name={name}",
        )
        if not found or "deletionTimestamp" in found[0]["metadata"]:
            return RunJob(JobState.MISSING)
        (document,) = found
        state, ended_at = _state(document)
        findings = await self._pods.of(
            document, complete=state is JobState.COMPLETE, failed=state is JobState.FAILED
        )
        trouble = findings.stops.words if findings.stops else None
        report = await self._report(document) if state is JobState.COMPLETE else None
        return RunJob(state, trouble, report, ended_at)

    async def _report(self, job: Document) -> FolderReport | None:
        """What the pod that succeeded said."""
        metadata = job["metadata"]
        page = await self._cluster.page(
            "Pod",
            metadata["namespace"],
            limit=_MOST_PODS,
            labels=f"batch.kubernetes.io/job-name={metadata['name']}",
            fields="status.phase=Succeeded",
        )
        said = [_message(pod) for pod in page.get("items") or ()]
        return next((found for each in said if (found := parse_folder_report(each))), None)


def _counted(store: Store, record: Folder, limited: frozenset[str]) -> Holdings:
    """What the folder holds, after its record says what its resource does."""
    _record(store, record)
    files, size, collections = store.folder_totals(record.name)
    shares = store.folder_shares(record.name, MOST_SHARES)
    by_limited = dict.fromkeys(limited, 0)
    amounts = store.folder_amounts(record.name) if limited else {}
    for (collection, _tier), (_files, its) in amounts.items():
        if collection in limited:
            by_limited[collection] += its
    return Holdings(files, size, collections, shares.by_tier, shares.by_collection, by_limited)


def _record(store: Store, record: Folder) -> None:
    """Which one collection a folder mirrors only a job knows: before one has said so, there is
    nothing to record.
    """
    known = next((each for each in store.folders() if each.name == record.name), None)
    if known is None or (record.layout is Layout.MIRROR and known.mirrored is None):
        if record.layout is not Layout.MIRROR:
            store.upsert_folder(record)
        return
    wanted = replace(
        record,
        mirrored=known.mirrored,
        files=known.files,
        bytes=known.bytes,
        collections=known.collections,
    )
    if wanted != known:
        store.upsert_folder(wanted)


def _state(job: Document) -> tuple[JobState, float]:
    for each in (job.get("status") or {}).get("conditions") or ():
        if each.get("type") in _ENDED and each.get("status") == "True":
            return _ENDED[each["type"]], seconds_of(each.get("lastTransitionTime"))
    return JobState.ACTIVE, 0.0


def _message(pod: Document) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    ended = [(each.get("state") or {}).get("terminated") or {} for each in statuses]
    return next((str(each["message"]) for each in ended if each.get("message")), "")


def _parse(document: Document) -> tuple[CacheFolder | None, str]:
    metadata = {name: document["metadata"][name] for name in ("name", "namespace", "uid")}
    said = {name: document.get(name) for name in ("apiVersion", "kind", "spec")}
    try:
        found = read_resource(said | {"metadata": metadata})
    except ManifestError as error:
        return None, "; ".join(error.problems)
    if not isinstance(found, CacheFolder):
        raise AssertionError("unreachable")
    return (None, _LOCAL) if found.spec.storage.local is not None else (found, "")
