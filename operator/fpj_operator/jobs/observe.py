"""Gather what a decision rests on: the resource, its child Jobs, its lease, its cache folder,
the store's records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fpj_core import jobs
from fpj_core.errors import CacheFolderError, ManifestError, StoreError, UnrecordedJobError
from fpj_core.folders.selection import Candidate, select_folder
from fpj_core.formatting import seconds_of
from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.names import WAVE, lease_name
from fpj_core.kube.records import folder_record
from fpj_core.manifest import read_resource
from fpj_core.model import Folder, Phase, ShardState
from fpj_core.overlap import overlap_of_places
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import CacheFolder, FileProcessingJob, Resource
from fpj_operator.jobs.children import collection_of
from fpj_operator.jobs.conditions import attempt_from
from fpj_operator.jobs.folders import Folders
from fpj_operator.jobs.leases import Leases
from fpj_operator.jobs.pods import Pods
from fpj_operator.jobs.queue import JobQueue
from fpj_operator.jobs.shape import fits
from fpj_operator.jobs.state import Attempt, ChildJob, LeaseView, Observed, StoreView
from fpj_operator.jobs.trouble import Findings
from fpj_operator.keys import Key
from fpj_operator.storehealth import StoreHealth

_LOCAL = (
    "spec.collection.source.local: works only with `fpj run`; use persistentVolumeClaim or s3 in a"
    " cluster"
)
_ACTIVE = frozenset({Phase.INDEXING, Phase.RUNNING})
_GAVE_UP = frozenset({"PodFailurePolicy", "MaxFailedIndexesExceeded"})
"""The Job controller's reasons for ending a Job whose other indexes might go on."""
_MOST_PODS = 100
_LOST_SECONDS = 15.0
"""After the end of its grace period a pod that is still there is on a node that does not answer."""
_STALLED_SECONDS = 360.0
"""Longer than a pod waits for a store that does not answer it (4 minutes, and a minute of the
driver's for the last call); and than it takes until a lost node is reported as such.
"""
_MOST_SILENT = 10
_NEEDED_BYTES = 2**20
"""A folder must at least have room for so much to be chosen."""


async def observe(
    cluster: Cluster,
    store: Store,
    health: StoreHealth,
    leases: Leases,
    queue: JobQueue,
    cache_folders: Folders,
    pods: Pods,
    key: Key,
) -> Observed | None:
    """Everything about a job now; None if there is no such resource. Raises `ClusterError`."""
    document = await cluster.get("FileProcessingJob", key.namespace, key.name)
    if document is None:
        return None
    queue.note(document)
    uid = document["metadata"]["uid"]
    status = document.get("status") or {}
    phase = Phase(status.get("phase") or Phase.PENDING)
    attempt = attempt_from(status)
    job, problem = _parse(document)
    if problem and attempt.number and not phase.finished:
        job = await _begun(health, store, document)
    collection = names.store_collection(key.namespace, job.collection_id) if job else ""
    # One that never began has no child, and whether its collection is locked is found out when it
    # asks for the lock.
    began = (
        phase is not Phase.PENDING
        or attempt.number > 0
        or (job is not None and bool(job.spec.suspend))
    )
    owned, (lease, _), (folder, folder_problem) = await asyncio.gather(
        (
            cluster.list("Job", key.namespace, labels=f"{names.LABEL_UID}={uid}")
            if began
            else _no_children()
        ),
        leases.look(key.namespace, collection) if job and began else _no_lease(),
        _folder(cache_folders, key.namespace, job, attempt, phase),
    )
    rights = (
        phase.at_rest and attempt.number > 0 and await _has_account(cluster, key.namespace, uid)
    )
    current = attempt.number if phase in _ACTIVE else None
    children = tuple([await _child(pods, each, current) for each in owned])
    # After the children: pods record before they end, so what a finished Job did is in the store by
    # now. Asked before, the store could be older than the Job's end, and the Job would look as if
    # it had ended without its work. One that only waits in line needs nothing from the store;
    # thousands may.
    asks = began or (queue.place(key)[0] and not queue.lock(key))
    seen = await _store_view(health, store, uid, attempt.number) if asks else StoreView()
    slot_free, ahead = queue.place(key)
    begins = (
        job is not None
        and phase not in (Phase.INDEXING, Phase.RUNNING)
        and not fits(attempt, job.spec)
    )
    metadata = document["metadata"]
    marked = names.FILES_FINALIZER in (metadata.get("finalizers") or ())
    ends = marked and "deletionTimestamp" in metadata and not phase.finished
    return Observed(
        key=key,
        uid=uid,
        generation=document["metadata"].get("generation", 0),
        job=job,
        problem=problem,
        status=status,
        phase=phase,
        attempt=attempt,
        resume=names.resume_mark(document["metadata"]),
        created_at=seconds_of(document["metadata"].get("creationTimestamp")),
        deleting="deletionTimestamp" in document["metadata"],
        marked=marked,
        requester=names.requester_of(metadata),
        children=children,
        lease=lease,
        store=seen,
        folder=folder,
        folder_problem=folder_problem,
        slot_free=slot_free and asks,
        ahead=ahead,
        now=time.time(),
        rights=rights,
        lock=queue.lock(key),
        version=str(document["metadata"].get("resourceVersion") or ""),
        pods_left=(begins or ends) and await pods_left(cluster, key.namespace, uid),
        stalled=await _stalled(cluster, key.namespace, seen.silent),
    )


def _parse(document: Document) -> tuple[FileProcessingJob | None, str | None]:
    try:
        job = _resource(document)
    except ManifestError as error:
        return None, "; ".join(error.problems)
    if not isinstance(job, FileProcessingJob):
        raise AssertionError("unreachable")
    if job.spec.collection.source.local is not None:
        return None, _LOCAL
    return job, None


async def _begun(health: StoreHealth, store: Store, document: Document) -> FileProcessingJob | None:
    try:
        return await health.ask(document["metadata"]["uid"], lambda _: _as_begun(store, document))
    except StoreError:
        return None


def _as_begun(store: Store, document: Document) -> FileProcessingJob | None:
    """A job that has started, by its spec as it was last understood; whether it is suspended, by
    the current spec.

    The spec of now may be of a later version than this operator: no reason to fail what runs. None
    if it is not known.
    """
    try:
        record = store.get_job(document["metadata"]["uid"])
        job = read_resource(dict(record.manifest)) if record else None
    except (StoreError, ManifestError):
        return None
    if not isinstance(job, FileProcessingJob):
        return None
    suspend = bool((document.get("spec") or {}).get("suspend"))
    return job.model_copy(update={"spec": job.spec.model_copy(update={"suspend": suspend})})


def _resource(document: Document) -> Resource:
    """What a document says, without its status, which is not a person's to write.

    Raises `ManifestError`.
    """
    metadata = {name: document["metadata"][name] for name in ("name", "namespace", "uid")}
    said = {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "spec": document.get("spec") or {},
    }
    return read_resource(said | {"metadata": metadata})


async def _no_children() -> list[Document]:
    return []


async def _no_lease() -> tuple[LeaseView, None]:
    return LeaseView(), None


async def _has_account(cluster: Cluster, namespace: str, uid: str) -> bool:
    return bool(await cluster.list("ServiceAccount", namespace, labels=f"{names.LABEL_UID}={uid}"))


async def _store_view(health: StoreHealth, store: Store, uid: str, attempt: int) -> StoreView:
    try:
        return await health.ask(uid, lambda _: _ask_store(store, uid, attempt), informs=True)
    except StoreError as error:
        return StoreView(error=str(error)[:500])


def _ask_store(store: Store, uid: str, attempt: int) -> StoreView:
    """What the store shows of the job, and last of all which store it is. Raises `StoreError`.

    Records that vanish while they are read are missing records, not an error.
    """
    if (record := store.get_job(uid)) is None:
        return StoreView(store.identity())
    try:
        view = jobs.observe(store, uid, attempt, store.now())
    except UnrecordedJobError:
        return StoreView(store.identity())
    if view is None:
        return StoreView(store.identity(), record)
    silent = _silent(store, uid, attempt, view.states)
    return StoreView(store.identity(), view.job, view.counts, view.states, view.progress, silent)


def _silent(
    store: Store, uid: str, attempt: int, states: Mapping[ShardState, int]
) -> tuple[str, ...]:
    """See `StoreView.silent`.

    Where there are more than a few such shards, other pods end and take them over.

    Shards of later waves wait for this one to end.
    """
    left, waiting = states.get(ShardState.RUNNING, 0), states.get(ShardState.PENDING, 0)
    if not 0 < left <= _MOST_SILENT:
        return ()
    found = store.silent_shards(uid, attempt, store.now() - _STALLED_SECONDS)
    if len(found) != left or waiting > max(
        sum(states.values()) - (found[-1] // WAVE + 1) * WAVE, 0
    ):
        return ()
    shards = [store.shard(uid, attempt, index) for index in found]
    holders = [shard.holder for shard in shards if shard is not None and shard.holder is not None]
    return tuple(dict.fromkeys(holders)) if len(holders) == left else ()


async def _stalled(cluster: Cluster, namespace: str, silent: tuple[str, ...]) -> tuple[str, ...]:
    """Silent pods that still run, if all do: else the Job controller starts another pod,
    which takes their shards.
    """
    for pod in silent:
        fields = f"metadata.name={pod},status.phase=Running"
        if not (await cluster.page("Pod", namespace, limit=1, fields=fields)).get("items"):
            return ()
    return silent


async def pods_left(cluster: Cluster, namespace: str, uid: str, labels: str = "") -> bool:
    """Whether pods of the job run; only those that have the further ``labels``."""
    fields = "status.phase!=Succeeded,status.phase!=Failed"
    page = await cluster.page(
        "Pod", namespace, limit=_MOST_PODS, labels=f"{names.LABEL_UID}={uid}{labels}", fields=fields
    )
    return any(_may_write(pod) for pod in page["items"])


async def others_left(cluster: Cluster, observed: Observed) -> str:
    """Another job whose pods still run though this one has the lock of their collection.

    Empty for none.

    Whoever had it before gives it back while its pods end: they may have images in hand.
    """
    labels = f"{names.LABEL_LOCK}={lease_name(collection_of(observed))}"
    page = await cluster.page(
        "Pod",
        observed.key.namespace,
        limit=_MOST_PODS,
        labels=labels,
        fields="status.phase=Running",
    )
    found = [pod["metadata"]["labels"] for pod in page["items"] if _may_write(pod)]
    return next(
        (
            each.get(names.LABEL_JOB, "")
            for each in found
            if each.get(names.LABEL_UID) != observed.uid
        ),
        "",
    )


def _may_write(pod: Document) -> bool:
    """One that outlives its grace period is on a lost node."""
    end = seconds_of(pod["metadata"].get("deletionTimestamp"))
    return end == 0 or time.time() < end + _LOST_SECONDS


# Children -----------------------------------------------------------------------------------------


async def _child(pods: Pods, document: Document, current: int | None) -> ChildJob:
    """A child Job. Its pods are asked about if it is of the ``current`` attempt."""
    labels = document["metadata"].get("labels", {})
    status = document.get("status", {})
    conditions = {
        each["type"] for each in status.get("conditions", []) if each.get("status") == "True"
    }
    failed = bool(conditions & {"Failed", "FailureTarget"})
    complete = bool(conditions & {"Complete", "SuccessCriteriaMet"})
    deleting = "deletionTimestamp" in document["metadata"]
    attempt = _number(labels.get(names.LABEL_ATTEMPT))
    found = Findings()
    if attempt == current and not deleting:
        found = await pods.of(document, complete=complete, failed=failed)
    return ChildJob(
        name=document["metadata"]["name"],
        role=labels.get(names.LABEL_ROLE, ""),
        attempt=attempt,
        wave=_number(labels.get(names.LABEL_WAVE)),
        complete=complete,
        failed=failed,
        gave_up=failed
        and any(each.get("reason") in _GAVE_UP for each in status.get("conditions", [])),
        active=status.get("active", 0),
        deleting=deleting,
        suspended=bool(document["spec"].get("suspend")),
        trouble=found.stops.words if found.stops else None,
        trouble_since=found.stops.since if found.stops else 0.0,
        delay=found.delays.words if found.delays else None,
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


# Cache folders ------------------------------------------------------------------------------------


async def _folder(
    cache_folders: Folders,
    namespace: str,
    job: FileProcessingJob | None,
    attempt: Attempt,
    phase: Phase,
) -> tuple[CacheFolder | None, str | None]:
    """The folder that this attempt writes to, or the one that the next should."""
    if job is None or (phase.finished and not attempt.number):
        return None, None
    documents = await cache_folders.of(namespace)
    folders = [(folder, each) for each in documents if (folder := parse_folder(each))]
    wanted = job.spec.cache_folder
    if phase in (Phase.INDEXING, Phase.RUNNING) and attempt.cache_folder:
        wanted = attempt.cache_folder
    try:
        candidates = [Candidate(_record(folder, document), None) for folder, document in folders]
        overlapping = {} if wanted else _overlapping(job, [folder for folder, _ in folders])
        chosen = select_folder(candidates, _NEEDED_BYTES, wanted, overlapping)
    except CacheFolderError as error:
        return None, str(error)
    return next(folder for folder, _ in folders if folder.metadata.name == chosen.name), None


def _overlapping(job: FileProcessingJob, folders: Sequence[CacheFolder]) -> dict[str, str]:
    """By name, how folders overlap the job's source: such a folder is never chosen,
    and refused if it is named.
    """
    found = {
        each.metadata.name: overlap_of_places(job.spec.collection.source, each.spec.storage)
        for each in folders
    }
    return {name: how for name, how in found.items() if how}


def parse_folder(document: Document) -> CacheFolder | None:
    """A CacheFolder of the cluster; None for one that is not understood."""
    try:
        folder = _resource(document)
    except ManifestError:
        return None
    if not isinstance(folder, CacheFolder) or folder.spec.storage.local is not None:
        return None
    return folder


def _record(folder: CacheFolder, document: Document) -> Folder:
    """With what it holds, by its own name: only folders of one namespace are compared."""
    status = document.get("status") or {}
    files, size = status.get("totalFiles", 0), status.get("totalBytes", 0)
    return replace(folder_record(folder), name=folder.metadata.name, files=files, bytes=size)
