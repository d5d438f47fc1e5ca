"""One look at a purge: observe, decide, act.

Fed with events by the handlers; the clock is its own queue's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from fpj_core.errors import ManifestError, StoreError
from fpj_core.formatting import seconds_of
from fpj_core.kube import names
from fpj_core.kube.api import CONFLICT, Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.purgereport import PurgeReport, parse_purge_report
from fpj_core.leases import is_dead
from fpj_core.manifest import read_resource
from fpj_core.process.logs import about
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import CacheFolder, CachePurge, CachePurgeSpec
from fpj_operator import events, metrics
from fpj_operator.folders.state import JobState
from fpj_operator.jobs.pods import Pods
from fpj_operator.keys import Key
from fpj_operator.purges.job import job_name
from fpj_operator.purges.reconcile import decide
from fpj_operator.purges.state import Known, PurgeJob, PurgePlan, PurgeView
from fpj_operator.settings import OperatorSettings
from fpj_operator.storehealth import StoreHealth
from fpj_operator.workqueue import Workqueue

_KIND = "CachePurge"
_WORKERS = 2
_TRIES = 3
"""Against those who change the same purge. After that it waits for the next look."""
_MOST_PODS = 20
_REFUSALS = range(400, 500)
_ENDED = {"Complete": JobState.COMPLETE, "Failed": JobState.FAILED}
_LOCAL = "spec.storage.local works only with `fpj run`"

_R = TypeVar("_R", CachePurge, CacheFolder)

log = logging.getLogger("fpj.purges")


class PurgeController:
    """Works purges off through its queue. ``now`` gives the seconds since the epoch.

    ``purged`` is called with namespace and name of a folder that a purge has removed files from.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        health: StoreHealth,
        settings: OperatorSettings,
        purged: Callable[[str, str], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.work: Workqueue[Key] = Workqueue(
            self._handle,
            _WORKERS,
            lambda key: about(namespace=key.namespace, purge=key.name),
        )
        self._cluster = cluster
        self._store = store
        self._health = health
        self._settings = settings
        self._purged = purged
        self._pods = Pods(cluster, now)
        self._now = now

    # Events ---------------------------------------------------------------------------------------

    def changed(self, body: Mapping[str, Any]) -> None:
        """A purge appeared or changed."""
        self.work.add(Key(body["metadata"]["namespace"], body["metadata"]["name"]))

    def gone(self, body: Mapping[str, Any]) -> None:
        """A purge was deleted; Kubernetes collects its Job."""
        self.work.forget(Key(body["metadata"]["namespace"], body["metadata"]["name"]))

    def child_changed(self, body: Mapping[str, Any]) -> None:
        """A Job changed: if it is of a purge, that is to be looked at."""
        for owner in body["metadata"].get("ownerReferences") or ():
            if owner.get("kind") == _KIND:
                self.work.add(Key(body["metadata"]["namespace"], owner["name"]))

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

    async def _act(self, view: PurgeView) -> float | None:
        plan = decide(view, self._settings)
        if plan.delete:
            await self._cluster.delete(_KIND, view.key.namespace, view.key.name, view.uid)
            return None
        view = await self._say(view, plan)
        if plan.drop_job:
            name = job_name(view)
            await self._cluster.delete("Job", view.key.namespace, name, plan.drop_job)
        if plan.job is not None and (refusal := await self._start(plan.job)):
            failed = PurgeJob(JobState.FAILED, ("ChildRejected", refusal))
            view = replace(view, job=failed)
            plan = decide(view, self._settings)
            await self._say(view, plan)
        return plan.requeue_after

    async def _say(self, view: PurgeView, plan: PurgePlan) -> PurgeView:
        """Write the status, and then what follows from it; the purge as it stands then."""
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
        for said in plan.events:
            await events.write(self._cluster, _KIND, view.key, view.uid, said)
        if plan.ended and view.spec is not None:
            log.info("purge ended", extra={"phase": view.phase.value})
            self._purged(view.key.namespace, view.spec.cache_folder)
        return view

    async def _start(self, job: Mapping[str, Any]) -> str:
        """Create the Job; why it is refused, or nothing."""
        try:
            await self._cluster.create(job)
        except ClusterError as error:
            if error.status not in _REFUSALS or error.reason == CONFLICT:
                raise
            log.warning("the Job %s is refused: %s", job["metadata"]["name"], error)
            return str(error)
        return ""

    # What there is --------------------------------------------------------------------------------

    async def _observe(self, key: Key) -> PurgeView | None:
        document = await self._cluster.get(_KIND, key.namespace, key.name)
        if document is None:
            return None
        metadata = document["metadata"]
        purge, problem = _parse(document, CachePurge)
        view = PurgeView(
            key=key,
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            spec=purge.spec if purge is not None else None,
            problem=problem,
            status=document.get("status") or {},
            deleting="deletionTimestamp" in metadata,
            now=self._now(),
            version=str(metadata.get("resourceVersion") or ""),
        )
        if purge is None or view.deleting or view.phase.finished:
            return view
        view = replace(view, job=await self._job(view))
        return view if view.job.state is not JobState.MISSING else await self._aim(view, purge.spec)

    async def _aim(self, view: PurgeView, spec: CachePurgeSpec) -> PurgeView:
        """With the folder and the collection that are meant."""
        document = await self._cluster.get("CacheFolder", view.key.namespace, spec.cache_folder)
        if document is None:
            text = f"there is no CacheFolder {spec.cache_folder} in this namespace"
            return replace(view, folder_problem=("NoCacheFolder", text))
        folder, problem = _parse(document, CacheFolder)
        if folder is not None and folder.spec.storage.local is not None:
            problem = _LOCAL
        if folder is None or problem:
            text = f"the CacheFolder {spec.cache_folder} cannot be used: {problem}"
            return replace(view, folder_problem=("InvalidSpec", text))
        view = replace(view, folder=folder)
        namespace, collection = view.key.namespace, spec.collection
        try:
            known = await self._health.ask(
                f"purge {view.uid}", lambda _: _known(self._store, namespace, collection)
            )
        except StoreError as error:
            return replace(view, store_error=str(error)[:500])
        return replace(view, collection=known.collection, holder=known.holder)

    async def _job(self, view: PurgeView) -> PurgeJob:
        found = await self._cluster.list(
            "Job",
            view.key.namespace,
            labels=f"{names.LABEL_UID}={view.uid}",
            fields=f"metadata.name={job_name(view)}",
        )
        if not found or "deletionTimestamp" in found[0]["metadata"]:
            return PurgeJob(JobState.MISSING)
        (document,) = found
        state, ended_at = _state(document)
        findings = await self._pods.of(
            document, complete=state is JobState.COMPLETE, failed=state is JobState.FAILED
        )
        return PurgeJob(
            state,
            findings.stops.words if findings.stops else None,
            await self._report(document) if state is JobState.COMPLETE else None,
            ended_at,
            int((document.get("status") or {}).get("failed") or 0),
            document["metadata"]["uid"],
        )

    async def _report(self, job: Document) -> PurgeReport | None:
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
        return next((found for each in said if (found := parse_purge_report(each))), None)


def _known(store: Store, namespace: str, collection: str) -> Known:
    """The collection's id in the store, from either form, and who works on it."""
    ids = [names.store_collection(namespace, collection)]
    if collection.startswith(f"{namespace}."):  # no other namespace's ids begin so
        ids.append(collection)
    found = next((each for each in ids if store.next_ordinal(each)), "")
    lease = store.lease(names.lease_name(found)) if found else None
    if lease is None or lease.expires_at <= store.now() or is_dead(lease.holder):
        return Known(found, "")
    job = store.get_job(lease.holder)
    return Known(found, f"job {job.name}" if job else "another process")


def _state(job: Document) -> tuple[JobState, float]:
    for each in (job.get("status") or {}).get("conditions") or ():
        if each.get("type") in _ENDED and each.get("status") == "True":
            return _ENDED[each["type"]], seconds_of(each.get("lastTransitionTime"))
    return JobState.ACTIVE, 0.0


def _message(pod: Document) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    ended = [(each.get("state") or {}).get("terminated") or {} for each in statuses]
    return next((str(each["message"]) for each in ended if each.get("message")), "")


def _parse(document: Document, kind: type[_R]) -> tuple[_R | None, str]:
    metadata = {name: document["metadata"][name] for name in ("name", "namespace", "uid")}
    said = {"apiVersion": names.API_VERSION, "kind": kind.__name__, "spec": document.get("spec")}
    try:
        found = read_resource(said | {"metadata": metadata})
    except ManifestError as error:
        return None, "; ".join(error.problems)
    if not isinstance(found, kind):
        raise AssertionError("unreachable")
    return found, ""
